#include "tests/growth/counter.h"

#include <cstddef>
#include <cstdio>
#include <cstdlib>

namespace rowmax::test {
namespace {

thread_local std::uint64_t count = 0;

void add(std::uint64_t n) noexcept {
  const std::uint64_t before = count;
  count += n;
  if (before <= kRunaway && count > kRunaway) {
    std::fputs("more work than any test here has: something grows faster than its input\n", stderr);
    std::abort();
  }
}

void add_bytes(std::size_t n) noexcept { add(1 + n / 16); }

}  // namespace

std::uint64_t counted_work() noexcept { return count; }

}  // namespace rowmax::test

// Called by what -fsanitize-coverage=trace-pc compiles, and through --wrap by everything in the program.
extern "C" {
void* __real_memcpy(void* to, const void* from, std::size_t n);
void* __real_memmove(void* to, const void* from, std::size_t n);
void* __real_memset(void* to, int value, std::size_t n);
int __real_memcmp(const void* a, const void* b, std::size_t n);
void* __real_memchr(const void* in, int value, std::size_t n);

void __sanitizer_cov_trace_pc() { rowmax::test::add(1); }
void* __wrap_memcpy(void* to, const void* from, std::size_t n) {
  rowmax::test::add_bytes(n);
  return __real_memcpy(to, from, n);
}
void* __wrap_memmove(void* to, const void* from, std::size_t n) {
  rowmax::test::add_bytes(n);
  return __real_memmove(to, from, n);
}
void* __wrap_memset(void* to, int value, std::size_t n) {
  rowmax::test::add_bytes(n);
  return __real_memset(to, value, n);
}
int __wrap_memcmp(const void* a, const void* b, std::size_t n) {
  rowmax::test::add_bytes(n);
  return __real_memcmp(a, b, n);
}
void* __wrap_memchr(const void* in, int value, std::size_t n) {
  void* found = __real_memchr(in, value, n);
  rowmax::test::add_bytes(
      found == nullptr ? n : static_cast<std::size_t>(static_cast<char*>(found) - static_cast<const char*>(in)));
  return found;
}
}
