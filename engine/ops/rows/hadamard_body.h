// RowKernels::hadamard over sixteen virtual lanes; part of row_kernels_body.h. Every number is the end of a chain of
// single additions and subtractions in the order of the contract, so how many of them run side by side changes no bit.
#pragma once

#include <cstdint>

#include "base/simd/simd.h"

namespace rowmax::engine {
namespace {

// Sixteen vectors of sixteen: what lies in registers at a time.
constexpr std::int64_t kHadamardTile = 256;

ROWMAX_INLINE void butterfly(simd::F32x16& a, simd::F32x16& b) {
  const simd::F32x16 sum = simd::add(a, b);
  b = simd::sub(a, b);
  a = sum;
}

// Butterflies between vectors 1, 2, 4, 8 apart, up to half of n_vector of them.
ROWMAX_INLINE void butterflies(simd::F32x16 (&v)[16], std::int64_t n_vector) {
  for (int step = 1; step < 16 && step < n_vector; step *= 2) {
    for (int i = 0; i < 16; ++i) {
      if ((i & step) == 0) butterfly(v[i], v[i + step]);
    }
  }
}

// h below 256 of one tile. Transposed, vector i holds the numbers i, 16 + i, 32 + i, ...: there the steps up to 8 are
// between vectors too.
ROWMAX_INLINE void hadamard_tile(float* x, std::int64_t block) {
  simd::F32x16 v[16];
  for (int i = 0; i < 16; ++i) v[i] = simd::load(x + 16 * i);
  simd::transpose(v);
  butterflies(v, block);
  simd::transpose(v);
  butterflies(v, block / 16);
  for (int i = 0; i < 16; ++i) simd::store(x + 16 * i, v[i]);
}

// Fewer numbers than a tile.
ROWMAX_INLINE void hadamard_rest(float* x, std::int64_t n, std::int64_t block) {
  for (std::int64_t h = 1; h < block; h *= 2) {
    for (std::int64_t i = 0; i < n; ++i) {
      if ((i & h) != 0) continue;
      const float a = x[i], b = x[i + h];
      x[i] = a + b;
      x[i + h] = a - b;
    }
  }
}

// 1 / sqrt(block), rounded to nearest: a power of two, or one times sqrt(1/2).
ROWMAX_INLINE float hadamard_factor(std::int64_t block) {
  const int log2 = __builtin_ctzll(static_cast<unsigned long long>(block));
  const float power = __builtin_bit_cast(float, static_cast<std::uint32_t>(127 - log2 / 2) << 23);
  return log2 % 2 == 0 ? power : power * 0x1.6a09e6p-1f;
}

void hadamard(float* x, std::int64_t n, std::int64_t block) {
  std::int64_t done = 0;
  for (; done + kHadamardTile <= n; done += kHadamardTile) hadamard_tile(x + done, block);
  hadamard_rest(x + done, n - done, block);
  for (std::int64_t h = kHadamardTile; h < block; h *= 2) {
    for (std::int64_t begin = 0; begin < n; begin += 2 * h) {
      for (std::int64_t i = begin; i < begin + h; i += 16) {
        simd::F32x16 a = simd::load(x + i), b = simd::load(x + i + h);
        butterfly(a, b);
        simd::store(x + i, a);
        simd::store(x + i + h, b);
      }
    }
  }
  const float factor = hadamard_factor(block);
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) simd::store(x + i, simd::mul(simd::load(x + i), simd::splat(factor)));
  for (; i < n; ++i) x[i] *= factor;
}

}  // namespace
}  // namespace rowmax::engine
