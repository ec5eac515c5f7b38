// Gemma's calls: call:NAME{key:value,...} with strings between marks, which become JSON.
#include <algorithm>
#include <string>

#include "apps/tool_calls/call_reader.h"
#include "apps/tool_calls/json_object_reader.h"

namespace rowmax::tool_calls {
namespace {

constexpr std::size_t kMaxNesting = 64;

class BraceReader final : public CallReader {
 public:
  explicit BraceReader(const ToolFormat& format) : quote_(format.quote), end_mark_(format.control[1]) {}

  Step push(char byte) override {
    switch (place_) {
      case Place::kPrefix: return prefix(byte);
      case Place::kName: return name(byte);
      case Place::kValue: return value(byte);
      case Place::kString: return string(byte);
      case Place::kEnd: return end(byte);
    }
    return Step::kOver;
  }

  bool resting() const override { return n_calls_ > 0; }

 private:
  enum class Place { kPrefix, kName, kValue, kString, kEnd };

  Step prefix(char byte) {
    constexpr std::string_view kPrefix = "call:";
    if (text_.empty() && is_space(byte)) return Step::kGoing;
    text_ += byte;
    if (!kPrefix.starts_with(text_)) return Step::kOver;
    if (text_ == kPrefix) text_.clear(), place_ = Place::kName;
    return Step::kGoing;
  }

  Step name(char byte) {
    if (byte == '{') {
      if (text_.empty()) return Step::kOver;
      call_.name = std::exchange(text_, {});
      named_ = true;
      call_.arguments = "{";
      open_ = "{";
      place_ = Place::kValue;
      return Step::kGoing;
    }
    if (text_.size() >= kMaxNameBytes || is_space(byte) || byte == '"' || byte == '<') return Step::kOver;
    text_ += byte;
    return Step::kGoing;
  }

  // Outside of strings: brackets, commas, and words, which are keys in front of a colon.
  Step value(char byte) {
    if (quote_.starts_with(text_ + byte)) {
      text_ += byte;
      if (text_ == quote_) text_.clear(), place_ = Place::kString;
      return Step::kGoing;
    }
    const bool empty = text_.find_first_not_of(" \t\r\n") == std::string::npos;
    switch (byte) {
      case ':':
        call_.arguments += (empty ? std::string() : json_string(trimmed())) + ": ";
        text_.clear();
        return Step::kGoing;
      case ',':
        word();
        call_.arguments += ", ";
        return Step::kGoing;
      case '{':
      case '[':
        if (!empty || open_.size() >= kMaxNesting) return Step::kOver;
        text_.clear();
        open_ += byte;
        call_.arguments += byte;
        return Step::kGoing;
      case '}':
      case ']':
        if (open_.back() != (byte == '}' ? '{' : '[')) return Step::kOver;
        word();
        open_.pop_back();
        call_.arguments += byte;
        return open_.empty() ? whole() : Step::kGoing;
      default: text_ += byte; return Step::kGoing;
    }
  }

  Step string(char byte) {
    text_ += byte;
    if (!text_.ends_with(quote_)) return Step::kGoing;
    text_.resize(text_.size() - quote_.size());
    call_.arguments += json_string(text_);
    text_.clear();
    place_ = Place::kValue;
    return Step::kGoing;
  }

  Step whole() {
    if (!is_json_object(call_.arguments)) return Step::kOver;
    complete_ = true;
    ++n_calls_;
    place_ = Place::kEnd;
    return Step::kGoing;
  }

  Step end(char byte) {
    if (text_.empty() && is_space(byte)) return Step::kGoing;
    text_ += byte;
    if (text_ == end_mark_) return Step::kDone;
    return end_mark_.starts_with(text_) ? Step::kGoing : Step::kOver;
  }

  std::string trimmed() const {
    const std::size_t begin = text_.find_first_not_of(" \t\r\n");
    return text_.substr(begin, text_.find_last_not_of(" \t\r\n") + 1 - begin);
  }

  void word() {
    if (text_.find_first_not_of(" \t\r\n") != std::string::npos) {
      call_.arguments += value_as_json(trimmed(), kNumber | kBool | kNull);
    }
    text_.clear();
  }

  const std::string_view quote_, end_mark_;
  Place place_ = Place::kPrefix;
  std::string text_, open_;
  int n_calls_ = 0;
};

}  // namespace

std::unique_ptr<CallReader> make_brace_reader(const ToolFormat& format) {
  return std::make_unique<BraceReader>(format);
}

}  // namespace rowmax::tool_calls
