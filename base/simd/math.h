// exp, tanh and friends on sixteen lanes: one code for the body and the tail of a row, the same bits on every ISA.
// Errors are stated against the exact value and measured over all f32 inputs by base/simd/math_test.cc.
#pragma once

#include "base/simd/simd.h"

namespace rowmax::simd {
namespace {

// x * 2^n for integer-valued n in [-252, 254]: two exact-or-once-rounded products, as a single 2^n may not be an f32.
ROWMAX_INLINE F32x16 scale_by_power(F32x16 x, I32x16 n) noexcept {
  const I32x16 half = shift_right<1>(n);
  const I32x16 rest = sub(n, half);
  const I32x16 bias = splat_i32(127);
  return mul(mul(x, bitcast_f32(shift_left<23>(add(half, bias)))), bitcast_f32(shift_left<23>(add(rest, bias))));
}

// e^x. Cody-Waite reduction by ln 2 in two pieces, degree 6 minimax on [-ln2/2, ln2/2] (Horner, fma).
// At most 1.02 ulp over all inputs; exp(0) = 1 exactly, exp(-inf) = 0, monotone; NaN stays NaN;
// x above 88.7228 gives +inf.
ROWMAX_INLINE F32x16 exp(F32x16 x) noexcept {
  // max and min return their second operand where one is NaN, so NaN passes both.
  const F32x16 clamped = min(splat(89.0f), max(splat(-105.0f), x));
  const I32x16 n = round_to_i32(select(is_nan(clamped), splat(0.0f), mul(clamped, splat(1.44269504f))));
  const F32x16 nf = to_f32(n);
  F32x16 r = fma(nf, splat(-0x1.62e4p-1f), clamped);
  r = fma(nf, splat(-0x1.7f7d1cp-20f), r);
  F32x16 p = splat(0x1.6a239p-10f);
  p = fma(p, r, splat(0x1.123a5cp-7f));
  p = fma(p, r, splat(0x1.5558f4p-5f));
  p = fma(p, r, splat(0x1.55549p-3f));
  p = fma(p, r, splat(0x1.fffffcp-2f));
  p = fma(mul(r, r), p, r);
  p = add(p, splat(1.0f));
  return scale_by_power(p, n);
}

// e^x - 1 without the loss of exp(x) - 1 near zero. At most 1.7 ulp.
ROWMAX_INLINE F32x16 expm1(F32x16 x) noexcept {
  const F32x16 clamped = min(splat(89.0f), max(splat(-30.0f), x));
  const I32x16 n = round_to_i32(select(is_nan(clamped), splat(0.0f), mul(clamped, splat(1.44269504f))));
  const F32x16 nf = to_f32(n);
  F32x16 r = fma(nf, splat(-0x1.62e4p-1f), clamped);
  r = fma(nf, splat(-0x1.7f7d1cp-20f), r);
  F32x16 p = splat(0x1.a01a02p-13f);  // 1/7!
  p = fma(p, r, splat(0x1.6c16c2p-10f));
  p = fma(p, r, splat(0x1.111112p-7f));
  p = fma(p, r, splat(0x1.555556p-5f));
  p = fma(p, r, splat(0x1.555556p-3f));
  p = fma(p, r, splat(0.5f));
  p = fma(mul(r, r), p, r);  // e^r - 1
  const F32x16 power = scale_by_power(splat(1.0f), n);
  return fma(p, power, sub(power, splat(1.0f)));
}

// tanh x = t / (t + 2) with t = e^(2|x|) - 1. At most 2.5 ulp; odd, |tanh| <= 1, NaN stays NaN.
ROWMAX_INLINE F32x16 tanh(F32x16 x) noexcept {
  const F32x16 t = expm1(min(splat(20.0f), add(abs(x), abs(x))));
  return copy_sign(div(t, add(t, splat(2.0f))), x);
}

// 1 / (1 + e^-x). At most 3 ulp where the result is normal; 0 below -88.7228, 1 above 17; NaN stays NaN.
ROWMAX_INLINE F32x16 sigmoid(F32x16 x) noexcept { return div(splat(1.0f), add(splat(1.0f), exp(neg(x)))); }

// x * sigmoid(x) = x / (1 + e^-x). At most 4 ulp where the result is normal.
ROWMAX_INLINE F32x16 silu(F32x16 x) noexcept { return div(x, add(splat(1.0f), exp(neg(x)))); }

// GELU in its tanh form, x/2 (1 + tanh u) with u = sqrt(2/pi) (x + 0.044715 x^3), computed as x / (1 + e^-2u): the same
// value without the cancellation of 1 + tanh u for negative x.
ROWMAX_INLINE F32x16 gelu_tanh(F32x16 x) noexcept {
  const F32x16 cube = mul(mul(x, x), x);
  const F32x16 minus_2u = mul(splat(-1.59576912f), fma(splat(0.044715f), cube, x));
  return div(x, add(splat(1.0f), exp(minus_2u)));
}

}  // namespace
}  // namespace rowmax::simd
