// Test support: decisions and numbers out of a fuzzer's bytes.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "rowmax/result.h"

namespace rowmax::attention::fuzz {

inline void require(bool condition, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  if (condition) return;
  std::fprintf(stderr, "%s:%d: not so\n", file, line);
  std::abort();
}
template <class T>
void require_ok(const Result<T>& result, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  if (!result.ok()) std::fprintf(stderr, "%s\n", result.error().message.c_str());
  require(result.ok(), file, line);
}

// Once the bytes are used up, noise that depends on them, so that short inputs say much.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  std::uint8_t byte() {
    if (at_ < size_) {
      noise_ = noise_ * 31 + data_[at_];
      return data_[at_++];
    }
    noise_ = noise_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::uint8_t>(noise_ >> 56);
  }
  std::int64_t below(std::int64_t n) { return byte() % n; }
  bool one_in(int n) { return byte() % n == 0; }
  template <class T, std::size_t N>
  T one_of(const T (&choices)[N]) {
    return choices[byte() % N];
  }
  std::uint64_t word() {
    std::uint64_t word = 0;
    for (int b = 0; b < 8; ++b) word = word << 8 | byte();
    return word;
  }
  // Mostly small, sometimes an extreme.
  std::int64_t number() {
    const std::uint8_t kind = byte();
    if (kind < 200) return static_cast<std::int64_t>(kind % 40) - 8;
    if (kind < 248) return static_cast<std::int64_t>(byte()) * 3 - 100;
    constexpr std::int64_t extremes[] = {INT64_MAX,
                                         INT64_MAX - 1,
                                         INT64_MIN,
                                         INT64_MIN + 1,
                                         std::int64_t{1} << 60,
                                         -(std::int64_t{1} << 60),
                                         std::int64_t{1} << 31,
                                         -1};
    return extremes[kind % 8];
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
  std::size_t at_ = 0;
  std::uint64_t noise_ = 1;
};

}  // namespace rowmax::attention::fuzz
