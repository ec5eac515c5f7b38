// Bytes of sampled tokens on their way to the user: held back until they are whole UTF-8 characters and cannot be the
// beginning of a stop string any more.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rowmax/engine/generate.h"

namespace rowmax::engine {

class TextStream {
 public:
  enum class State { kOpen, kStopped, kCancelled };

  TextStream(const std::vector<std::string>& stops, const TextSink& sink) : stops_(stops), sink_(sink) {}

  // kStopped: a stop string was completed; the text ends before it. kCancelled: the sink asked to stop.
  State push(std::string_view bytes);
  // Gives out what was held back (an incomplete character at the end becomes U+FFFD). False when the sink cancelled.
  bool finish();
  std::string take_text() { return std::move(text_); }
  const std::string& stop_string() const noexcept { return stop_string_; }

 private:
  const std::vector<std::string>& stops_;
  const TextSink& sink_;
  std::string text_;  // given out
  std::string held_;
  std::string stop_string_;
  bool cancelled_ = false;

  bool emit(std::size_t n_bytes);
};

}  // namespace rowmax::engine
