// Test support: exp_weight over arrays, one function for each instruction set (g11_exp_*_test.cc). No standard library:
// those files are compiled for one instruction set.
#pragma once

#include "attention/kernels/weight_exp.h"

namespace rowmax::attention::test {

// y[i] = exp_weight(x[i]), n a multiple of 16.
using ExpFunction = void (*)(const float* x, float* y, std::int64_t n);
void exp_scalar(const float* x, float* y, std::int64_t n);
void exp_avx2(const float* x, float* y, std::int64_t n);
void exp_avx512(const float* x, float* y, std::int64_t n);
void exp_neon(const float* x, float* y, std::int64_t n);

namespace {

inline void exp_of_all(const float* x, float* y, std::int64_t n) noexcept {
  for (std::int64_t i = 0; i < n; i += 16) simd::store(y + i, exp_weight(simd::load(x + i)));
}

}  // namespace
}  // namespace rowmax::attention::test
