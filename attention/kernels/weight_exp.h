// e^x for softmax weights: x <= 0 or NaN, on sixteen lanes, the same bits on every ISA.
#pragma once

#include "base/simd/simd.h"

namespace rowmax::attention {
namespace {

// Below this weights are +0: e^-86.6 = 2.5e-38 of the largest weight, less than any f32 sum of weights can show, and
// every other result is a normal number, so that 2^n is one product.
inline constexpr float kWeightFloor = -86.6f;

// At most 1.02 ulp from e^x for kWeightFloor <= x <= 0; exp(0) = 1 exactly, never above 1, monotone; +0 below the
// floor, -inf included; NaN stays NaN. Cody-Waite reduction by ln 2 in two pieces with n = round(x / ln 2), degree 6
// minimax (the coefficients of simd::exp).
ROWMAX_INLINE simd::F32x16 exp_weight(simd::F32x16 x) noexcept {
  using namespace simd;
  // Adding 1.5 * 2^23 + 127 rounds to an integer and leaves n + 127 in the low bits: the exponent field of 2^n.
  const F32x16 magic = splat(0x1.8p23f + 127.0f);
  const F32x16 shifted = fma(x, splat(1.44269504f), magic);
  const F32x16 n = sub(shifted, magic);
  F32x16 r = fma(n, splat(-0x1.62e4p-1f), x);
  r = fma(n, splat(-0x1.7f7d1cp-20f), r);
  F32x16 p = splat(0x1.6a239p-10f);
  p = fma(p, r, splat(0x1.123a5cp-7f));
  p = fma(p, r, splat(0x1.5558f4p-5f));
  p = fma(p, r, splat(0x1.55549p-3f));
  p = fma(p, r, splat(0x1.fffffcp-2f));
  p = fma(mul(r, r), p, r);
  p = add(p, splat(1.0f));
  return select(less(x, splat(kWeightFloor)), splat(0.0f), mul_power_of_2(p, n, shifted));
}

}  // namespace
}  // namespace rowmax::attention
