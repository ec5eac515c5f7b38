// The floating-point environment our arithmetic is defined in: round to nearest even, denormals kept, no traps.
// ScopedFpEnv sets it and gives the caller's back at the end of the scope. Every task body that computes opens one, as
// the thread that runs it may belong to anyone.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#ifdef __FAST_MATH__
#error "rowmax promises defined bits: build it without -ffast-math"
#endif

namespace rowmax::base {
namespace {

class ScopedFpEnv {
 public:
#if defined(__x86_64__)
  ScopedFpEnv() noexcept : saved_(_mm_getcsr()) {
    if (saved_ != kDefault) _mm_setcsr(kDefault);
  }
  ~ScopedFpEnv() {
    // Exception flags that our arithmetic raised are not the caller's business: its own state comes back whole.
    _mm_setcsr(saved_);
  }

 private:
  static constexpr std::uint32_t kDefault = 0x1F80;
  std::uint32_t saved_;
#elif defined(__aarch64__)
  ScopedFpEnv() noexcept {
    asm volatile("mrs %0, fpcr" : "=r"(saved_));
    asm volatile("mrs %0, fpsr" : "=r"(saved_flags_));
    if (saved_ != 0) asm volatile("msr fpcr, %0" : : "r"(std::uint64_t{0}));
  }
  ~ScopedFpEnv() {
    asm volatile("msr fpsr, %0" : : "r"(saved_flags_));  // as on x86-64: flags that we raised go
    if (saved_ != 0) asm volatile("msr fpcr, %0" : : "r"(saved_));
  }

 private:
  std::uint64_t saved_;
  std::uint64_t saved_flags_;
#else
  ScopedFpEnv() noexcept {}
  ~ScopedFpEnv() {}
#endif

 public:
  ScopedFpEnv(const ScopedFpEnv&) = delete;
  ScopedFpEnv& operator=(const ScopedFpEnv&) = delete;
};

}  // namespace
}  // namespace rowmax::base
