// Calls between tags: <tool_call>, and inside <function=NAME> with <parameter=KEY> tags, NAME with <arg_key> and <arg_value>
// tags, or JSON. Models that were trained on one form write another now and then, so what is there decides.
#include <string>

#include "apps/tool_calls/call_reader.h"

namespace rowmax::tool_calls {
namespace {

class TagReader final : public CallReader {
 public:
  TagReader(const ToolFormat& format, std::string_view mark, const std::vector<ToolFunction>& functions)
      : functions_(functions), keeps_lines_(format.parameter.find("%v\n") == std::string_view::npos) {
    if (mark.starts_with("<function")) {
      place_ = Place::kFunctionName;
      end_mark_ = "</tool_call>";
    } else {
      end_mark_ = "</" + std::string(mark.substr(1));
    }
  }

  Step push(char byte) override {
    if (json_) return json_byte(byte);
    switch (place_) {
      case Place::kBegin: return begin(byte);
      case Place::kTag: return tag(byte);
      case Place::kFunctionName: return name(byte, '>');
      case Place::kName: return name(byte, '<');
      case Place::kKey: return key(byte);
      case Place::kArgumentKey: return until(byte, "</arg_key>", Place::kTag);
      case Place::kValue: return until(byte, "</parameter>", Place::kTag);
      case Place::kArgumentValue: return until(byte, "</arg_value>", Place::kTag);
    }
    return Step::kOver;
  }

  bool resting() const override { return json_ ? json_->resting() : n_calls_ > 0 && !in_call_; }

 private:
  enum class Place { kBegin, kTag, kFunctionName, kName, kKey, kArgumentKey, kValue, kArgumentValue };

  Step begin(char byte) {
    if (is_space(byte)) return Step::kGoing;
    if (byte == '<') {
      text_ = byte;
      place_ = Place::kTag;
      return Step::kGoing;
    }
    if (byte == '{' || byte == '[') {
      json_ = make_json_reader(ToolFormat(), end_mark_);
      return json_byte(byte);
    }
    text_.clear();
    place_ = Place::kName;
    return name(byte, '<');
  }

  Step json_byte(char byte) {
    const Step step = json_->push(byte);
    call_ = json_->call();
    named_ = json_->named();
    complete_ = json_->complete();
    return step;
  }
  void started() override {
    if (json_) json_->next();
  }

  // Tags between the parts of a call; with white space in front of each.
  Step tag(char byte) {
    if (text_.empty() && is_space(byte)) return Step::kGoing;
    text_ += byte;
    const bool in_tags = in_call_ && !by_name_;
    if (!in_call_ && text_ == "<function=") return go(Place::kFunctionName);
    if (in_tags && text_ == "<parameter=") return go(Place::kKey);
    if (in_tags && text_ == "</function>") return end_call(Step::kGoing);
    if (in_call_ && by_name_ && text_ == "<arg_key>") return go(Place::kArgumentKey);
    if (in_call_ && by_name_ && has_key_ && text_ == "<arg_value>") return go(Place::kArgumentValue);
    if (text_ == end_mark_ && !in_call_ && n_calls_ > 0) return Step::kDone;
    if (text_ == end_mark_ && in_call_ && by_name_ && !has_key_) return end_call(Step::kDone);
    for (const std::string_view known :
         {std::string_view("<function="), std::string_view("<parameter="), std::string_view("</function>"),
          std::string_view("<arg_key>"), std::string_view("<arg_value>"), std::string_view(end_mark_)}) {
      if (known.starts_with(text_) && known != text_) return Step::kGoing;
    }
    return Step::kOver;
  }

  Step name(char byte, char behind) {
    if (byte == behind || (behind == '<' && is_space(byte))) {
      by_name_ = behind == '<';
      call_.name = text_;
      if (call_.name.empty()) return Step::kOver;
      named_ = in_call_ = true;
      has_key_ = false;
      function_ = find_function(functions_, call_.name);
      call_.arguments = "{";
      text_ = byte == '<' ? "<" : "";
      place_ = Place::kTag;
      return Step::kGoing;
    }
    if (text_.size() >= kMaxNameBytes || byte == '"' || static_cast<unsigned char>(byte) < ' ') return Step::kOver;
    if (behind == '>' && (byte == '<' || is_space(byte))) return Step::kOver;
    text_ += byte;
    return Step::kGoing;
  }

  Step key(char byte) {
    if (byte == '>') {
      key_ = text_;
      return go(Place::kValue);
    }
    if (text_.size() >= kMaxNameBytes || byte == '\n') return Step::kOver;
    text_ += byte;
    return Step::kGoing;
  }

  // A value's text goes to its closing tag: there is no way to write that one in it.
  Step until(char byte, std::string_view closing, Place behind) {
    text_ += byte;
    if (!text_.ends_with(closing)) return Step::kGoing;
    text_.resize(text_.size() - closing.size());
    if (place_ == Place::kArgumentKey) {
      key_ = text_;
      has_key_ = true;
      return go(behind);
    }
    std::string_view value = text_;
    if (place_ == Place::kValue && !keeps_lines_) {
      if (value.starts_with('\n')) value.remove_prefix(1);
      if (value.ends_with('\n')) value.remove_suffix(1);
    }
    const JsonTypes types = function_ == nullptr ? kAnyType : function_->types_of(key_);
    if (call_.arguments.size() > 1) call_.arguments += ", ";
    call_.arguments += json_string(key_) + ": " + value_as_json(value, types);
    has_key_ = false;
    return go(behind);
  }

  Step end_call(Step step) {
    call_.arguments += "}";
    complete_ = true;
    in_call_ = false;
    ++n_calls_;
    text_.clear();
    return step;
  }

  Step go(Place place) {
    text_.clear();
    place_ = place;
    return Step::kGoing;
  }

  const std::vector<ToolFunction>& functions_;
  const bool keeps_lines_;
  std::string end_mark_;
  Place place_ = Place::kBegin;
  std::string text_;  // of the place
  std::string key_;
  const ToolFunction* function_ = nullptr;
  bool in_call_ = false;
  bool by_name_ = false;  // with <arg_key> tags
  bool has_key_ = false;
  int n_calls_ = 0;
  std::unique_ptr<CallReader> json_;
};

}  // namespace

std::unique_ptr<CallReader> make_tag_reader(const ToolFormat& format, std::string_view mark,
                                            const std::vector<ToolFunction>& functions) {
  return std::make_unique<TagReader>(format, mark, functions);
}

}  // namespace rowmax::tool_calls
