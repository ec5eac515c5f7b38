// Bytes of sampled tokens on their way to the user: held back until they are whole UTF-8 characters and cannot be the
// beginning of a stop string any more.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rowmax::engine {

class TextStream {
 public:
  explicit TextStream(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  // True when a stop string was completed: the text ends before it, and nothing may follow.
  bool push(std::string_view bytes);
  // Makes certain what was held back (an incomplete character at the end becomes U+FFFD).
  void finish();
  // The text that became certain since the last call.
  std::string take() { return std::exchange(certain_, {}); }
  const std::string& stop_string() const noexcept { return stop_string_; }

 private:
  std::vector<std::string> stops_;
  std::string certain_;
  std::string held_;
  std::string stop_string_;

  void emit(std::size_t n_bytes);
};

}  // namespace rowmax::engine
