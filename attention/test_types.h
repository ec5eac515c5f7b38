// Test support: what the stored types mean, written from their definitions.
#pragma once

#include <cmath>
#include <cstdint>

#include "base/half.h"

namespace rowmax::attention::test {

// OCP 8-bit Floating Point Specification 1.0, E4M3: bias 7, no infinities, S.1111.111 is NaN.
inline double f8_by_definition(unsigned code) {
  const unsigned exponent = (code >> 3) & 15u, mantissa = code & 7u;
  const double sign = (code & 0x80u) != 0 ? -1 : 1;
  if (exponent == 15 && mantissa == 7) return NAN;
  if (exponent == 0) return sign * mantissa / 8.0 * std::exp2(-6);
  return sign * (1 + mantissa / 8.0) * std::exp2(static_cast<double>(exponent) - 7);
}

// The half (or bfloat16) nearest to x, ties to even, found by looking at the neighbours; x is far from overflow.
inline std::uint16_t nearest_narrow(double x, bool half) {
  const float single = static_cast<float>(x);
  const std::uint16_t guess = half ? base::f32_to_f16(single) : base::f32_to_bf16(single);
  const auto value = [half](std::uint16_t bits) {
    return static_cast<double>(half ? base::f16_to_f32(bits) : base::bf16_to_f32(bits));
  };
  std::uint16_t best = guess;
  for (const int step : {-1, 1}) {
    const auto other = static_cast<std::uint16_t>(guess + step);
    if (((other ^ guess) & 0x8000u) != 0) continue;
    const double a = std::fabs(value(other) - x), b = std::fabs(value(best) - x);
    if (a < b || (a == b && (other & 1u) == 0 && (best & 1u) != 0)) best = other;
  }
  return best;
}

}  // namespace rowmax::attention::test
