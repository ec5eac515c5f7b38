// Calls that are JSON: one object, several behind each other, or an array of them; with a mark behind them or without.
#include <string>

#include "apps/tool_calls/call_reader.h"
#include "apps/tool_calls/json_object_reader.h"

namespace rowmax::tool_calls {
namespace {

class JsonReader final : public CallReader {
 public:
  // end_mark: empty where the calls end with their JSON.
  explicit JsonReader(std::string_view end_mark) : end_mark_(end_mark) {}

  Step push(char byte) override {
    switch (place_) {
      case Place::kBegin: return begin(byte);
      case Place::kObject: return object(byte);
      case Place::kBetween: return between(byte);
      case Place::kBehind: return behind(byte);
    }
    return Step::kOver;
  }

  bool resting() const override { return n_calls_ > 0 && place_ != Place::kObject; }

 private:
  enum class Place { kBegin, kObject, kBetween, kBehind };

  Step begin(char byte) {
    if (is_space(byte)) return Step::kGoing;
    if (byte == '[' && !list_ && n_calls_ == 0) {
      list_ = true;
      return Step::kGoing;
    }
    if (byte == ']' && list_ && n_calls_ == 0) {  // a list of none
      place_ = Place::kBehind;
      return end_mark_.empty() ? Step::kDone : Step::kGoing;
    }
    if (byte != '{') return Step::kOver;
    object_ = {};
    place_ = Place::kObject;
    return object(byte);
  }

  Step object(char byte) {
    const JsonExtent::Step step = object_.push(byte);
    if (step == JsonExtent::Step::kBad) return Step::kOver;
    if (object_.named()) {
      if (!named_) call_.name = object_.name(), named_ = true;
      call_.arguments = object_.arguments_so_far();
    }
    if (step != JsonExtent::Step::kEnd) return Step::kGoing;
    call_ = {};
    if (!object_.take(call_)) return Step::kOver;
    complete_ = true;
    ++n_calls_;
    place_ = list_ ? Place::kBetween : Place::kBehind;
    return Step::kGoing;
  }

  Step between(char byte) {
    if (is_space(byte)) return Step::kGoing;
    if (byte == ',') {
      place_ = Place::kBegin;
      return Step::kGoing;
    }
    if (byte != ']') return Step::kOver;
    place_ = Place::kBehind;
    return end_mark_.empty() ? Step::kDone : Step::kGoing;
  }

  Step behind(char byte) {
    if (n_matched_ == 0 && is_space(byte)) return Step::kGoing;
    if (n_matched_ < end_mark_.size() && byte == end_mark_[n_matched_]) {
      return ++n_matched_ == end_mark_.size() ? Step::kDone : Step::kGoing;
    }
    if (n_matched_ > 0 || list_) return Step::kOver;
    if (byte == ';' || byte == ',') {
      place_ = Place::kBegin;
      return Step::kGoing;
    }
    return byte == '{' ? begin(byte) : Step::kOver;
  }

  const std::string_view end_mark_;
  Place place_ = Place::kBegin;
  JsonObjectReader object_;
  bool list_ = false;
  int n_calls_ = 0;
  std::size_t n_matched_ = 0;
};

}  // namespace

std::unique_ptr<CallReader> make_json_reader(const ToolFormat& /*format*/, std::string_view end_mark) {
  return std::make_unique<JsonReader>(end_mark);
}

}  // namespace rowmax::tool_calls
