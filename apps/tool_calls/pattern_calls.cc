// Calls whose form is a pattern: marks around a name, an id and JSON.
#include <string>

#include "apps/tool_calls/call_reader.h"
#include "apps/tool_calls/json_object_reader.h"

namespace rowmax::tool_calls {
namespace {

class PatternReader final : public CallReader {
 public:
  // The mark that begins the calls was read: that of the whole, or of the first call where the whole has none.
  explicit PatternReader(const ToolFormat& format) : format_(format) {
    if (format.begin.empty()) {
      rest_ = format.call.substr(format.marks.front().size());
      is_call_ = true;
    }
  }

  Step push(char byte) override {
    if (!is_call_) return between(byte);
    if (rest_.empty()) return Step::kOver;
    if (rest_[0] != '%') return literal(byte);
    return rest_[1] == 'j' ? json(byte) : field(byte);
  }

  bool resting() const override { return n_calls_ > 0 && !is_call_; }

 private:
  // Another call, or the end; white space in front of either.
  Step between(char byte) {
    if (text_.empty() && is_space(byte)) return Step::kGoing;
    text_ += byte;
    if (text_ == format_.end && !text_.empty()) return Step::kDone;
    const std::string_view first = format_.call.substr(0, format_.call.find('%'));
    const bool may_begin = !format_.begin.empty() && first.starts_with(text_);
    if (may_begin && first == text_) {
      text_.clear();
      rest_ = format_.call.substr(first.size());
      is_call_ = true;
    }
    return may_begin || format_.end.starts_with(text_) ? Step::kGoing : Step::kOver;
  }

  Step literal(char byte) {
    const bool at_space = is_space(rest_[0]);
    if (byte == rest_[0]) {
      rest_.remove_prefix(1);
      in_mark_ = !at_space;
      return end_if_whole();
    }
    if (at_space) {  // is left out
      rest_.remove_prefix(1);
      return push(byte);
    }
    return is_space(byte) && !in_mark_ ? Step::kGoing : Step::kOver;
  }

  // Up to the text behind it; Mistral's id may be there without the pattern having one.
  Step field(char byte) {
    text_ += byte;
    const char which = rest_[1];
    const std::string_view behind = rest_.substr(2, rest_.find('%', 2) - 2);
    if (!text_.ends_with(behind)) return text_.size() > 2 * kMaxNameBytes ? Step::kOver : Step::kGoing;
    text_.resize(text_.size() - behind.size());
    (which == 'n' ? call_.name : call_.id) = text_;
    if (const std::size_t id = text_.find("[CALL_ID]"); which == 'n' && id != std::string::npos) {
      call_.name = text_.substr(0, id);
      call_.id = text_.substr(id + 9);
    }
    if (which == 'i' && format_.name == "kimi-k2") call_.id = "functions." + call_.name + ":" + text_;
    text_.clear();
    while (!call_.name.empty() && is_space(call_.name.back())) call_.name.pop_back();
    rest_.remove_prefix(2 + behind.size());
    in_mark_ = false;
    if (call_.name.empty() || call_.name.size() > kMaxNameBytes) return Step::kOver;
    return Step::kGoing;
  }

  Step json(char byte) {
    if (!extent_.begun() && is_space(byte)) return Step::kGoing;
    const JsonExtent::Step step = extent_.push(byte);
    if (step == JsonExtent::Step::kBad) return Step::kOver;
    call_.arguments += byte;
    named_ = true;
    if (step != JsonExtent::Step::kEnd) return Step::kGoing;
    if (!is_json_object(call_.arguments)) return Step::kOver;
    rest_.remove_prefix(2);
    extent_ = {};
    in_mark_ = false;
    return end_if_whole();
  }

  Step end_if_whole() {
    if (!rest_.empty()) return Step::kGoing;
    complete_ = true;
    ++n_calls_;
    is_call_ = false;
    return format_.end.empty() ? Step::kDone : Step::kGoing;
  }

  const ToolFormat& format_;
  bool is_call_ = false;
  std::string_view rest_;  // of the call's pattern
  std::string text_;
  JsonExtent extent_;
  int n_calls_ = 0;
  bool in_mark_ = false;  // behind a byte of a mark, of which more are to come
};

}  // namespace

std::unique_ptr<CallReader> make_pattern_reader(const ToolFormat& format) {
  return std::make_unique<PatternReader>(format);
}

}  // namespace rowmax::tool_calls
