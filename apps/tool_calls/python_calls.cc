// Calls as Python writes them: [name(key="text", other=[1, 2.5, True]), ...], which become JSON.
#include <string>

#include "apps/tool_calls/call_reader.h"
#include "apps/tool_calls/json_object_reader.h"

namespace rowmax::tool_calls {
namespace {

constexpr std::size_t kMaxNesting = 64;

class PythonReader final : public CallReader {
 public:
  explicit PythonReader(const ToolFormat& format) : end_mark_(format.control[1]) {}

  Step push(char byte) override {
    switch (place_) {
      case Place::kBegin: return begin(byte);
      case Place::kName: return name(byte);
      case Place::kKey: return key(byte);
      case Place::kValue: return value(byte);
      case Place::kString: return string(byte);
      case Place::kBetween: return between(byte);
      case Place::kEnd: return end(byte);
    }
    return Step::kOver;
  }

  bool resting() const override { return n_calls_ > 0 && (place_ == Place::kBetween || place_ == Place::kEnd); }

 private:
  enum class Place { kBegin, kName, kKey, kValue, kString, kBetween, kEnd };

  static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
           c == '-';
  }

  Step begin(char byte) {
    if (is_space(byte)) return Step::kGoing;
    if (byte != '[') return Step::kOver;
    place_ = Place::kName;
    return Step::kGoing;
  }

  Step name(char byte) {
    if (text_.empty() && is_space(byte)) return Step::kGoing;
    if (byte == '(' && !text_.empty()) {
      call_.name = std::exchange(text_, {});
      call_.arguments = "{";
      named_ = true;
      place_ = Place::kKey;
      return Step::kGoing;
    }
    if (!is_word(byte) || text_.size() >= kMaxNameBytes) return Step::kOver;
    text_ += byte;
    return Step::kGoing;
  }

  Step key(char byte) {
    if (is_space(byte)) return Step::kGoing;
    if (byte == ')' && text_.empty()) return whole();
    if (byte == '=' && !text_.empty()) {
      call_.arguments += (call_.arguments.size() > 1 ? ", " : "") + json_string(text_) + ": ";
      text_.clear();
      has_value_ = false;
      place_ = Place::kValue;
      return Step::kGoing;
    }
    if (!is_word(byte) || text_.size() >= kMaxNameBytes) return Step::kOver;
    text_ += byte;
    return Step::kGoing;
  }

  Step value(char byte) {
    if (byte == '"' || byte == '\'') {
      if (!text_.empty()) return Step::kOver;
      quote_ = byte;
      place_ = Place::kString;
      return Step::kGoing;
    }
    if (is_word(byte) || byte == '+') {
      text_ += byte;
      return Step::kGoing;
    }
    if (is_space(byte)) return Step::kGoing;
    word();
    if ((byte == ',' || byte == ')') && open_.empty()) {
      if (!has_value_) return Step::kOver;
      place_ = Place::kKey;
      return byte == ')' ? whole() : Step::kGoing;
    }
    if (byte == '[' || byte == '{') {
      if (open_.size() >= kMaxNesting) return Step::kOver;
      open_ += byte;
    } else if (byte == ']' || byte == '}') {
      if (open_.empty() || open_.back() != (byte == '}' ? '{' : '[')) return Step::kOver;
      open_.pop_back();
      has_value_ = true;
    } else if ((byte != ',' && byte != ':') || open_.empty()) {
      return Step::kOver;
    }
    call_.arguments += byte;
    if (byte == ',' || byte == ':') call_.arguments += ' ';
    return Step::kGoing;
  }

  void word() {
    if (text_.empty()) return;
    call_.arguments += value_as_json(text_, kNumber | kBool | kNull);
    text_.clear();
    has_value_ = true;
  }

  Step string(char byte) {
    if (escaped_) {
      escaped_ = false;
      constexpr std::string_view kNames = "ntr", kBytes = "\n\t\r";
      const std::size_t at = kNames.find(byte);
      const bool plain = byte == '\\' || byte == '\'' || byte == '"';
      if (at == std::string_view::npos && !plain) text_ += '\\';  // as Python keeps it
      text_ += at == std::string_view::npos ? byte : kBytes[at];
    } else if (byte == '\\') {
      escaped_ = true;
    } else if (byte == quote_) {
      call_.arguments += json_string(text_);
      text_.clear();
      has_value_ = true;
      place_ = Place::kValue;
    } else {
      text_ += byte;
    }
    return Step::kGoing;
  }

  Step whole() {
    call_.arguments += '}';
    if (!is_json_object(call_.arguments)) return Step::kOver;
    complete_ = true;
    ++n_calls_;
    place_ = Place::kBetween;
    return Step::kGoing;
  }

  Step between(char byte) {
    if (is_space(byte)) return Step::kGoing;
    if (byte != ',' && byte != ']') return Step::kOver;
    place_ = byte == ',' ? Place::kName : Place::kEnd;
    return Step::kGoing;
  }

  Step end(char byte) {
    if (text_.empty() && is_space(byte)) return Step::kGoing;
    text_ += byte;
    if (text_ == end_mark_) return Step::kDone;
    return end_mark_.starts_with(text_) ? Step::kGoing : Step::kOver;
  }

  const std::string_view end_mark_;
  Place place_ = Place::kBegin;
  std::string text_, open_;
  char quote_ = '"';
  bool escaped_ = false, has_value_ = false;
  int n_calls_ = 0;
};

}  // namespace

std::unique_ptr<CallReader> make_python_reader(const ToolFormat& format) {
  return std::make_unique<PythonReader>(format);
}

}  // namespace rowmax::tool_calls
