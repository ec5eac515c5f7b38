// Counts what counted code does (tests/growth/CMakeLists.txt): one for every basic block that this thread enters, one for
// every 16 bytes that it lets the C library copy, fill or compare. What std::string does inside the C++ library is not
// seen.
#pragma once

#include <cstdint>

namespace rowmax::test {

// A count that no test here comes near: beyond it the process ends with a message, so that work which has become
// quadratic fails in seconds.
inline constexpr std::uint64_t kRunaway = std::uint64_t{1} << 32;

// So far.
std::uint64_t counted_work() noexcept;

template <class Fn>
std::uint64_t work_of(Fn&& fn) {
  const std::uint64_t before = counted_work();
  fn();
  return counted_work() - before;
}

}  // namespace rowmax::test
