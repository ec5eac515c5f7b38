#include "base/math/f64.h"

#include <bit>
#include <cstdint>

namespace rowmax::base {
namespace {

constexpr double kLn2High = 0x1.62e42feep-1;  // 33 bits, so that n * kLn2High is exact for |n| < 2^20
constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
constexpr double kInfinity = std::bit_cast<double>(0x7FF0000000000000ull);
constexpr double kNan = std::bit_cast<double>(0x7FF8000000000000ull);

double power_of_two(int n) noexcept { return std::bit_cast<double>(static_cast<std::uint64_t>(1023 + n) << 52); }

double nearest(double x) noexcept {
  const volatile double shifted = x + 0x1.8p52;
  return shifted - 0x1.8p52;
}

// Taylor series of sin and cos on [-pi/4, pi/4]; the first term left out is below 2^-57.
double sin_kernel(double x, double tail) noexcept {
  const double z = x * x;
  double p = -1.0 / 1307674368000.0;
  p = p * z + 1.0 / 6227020800.0;
  p = p * z - 1.0 / 39916800.0;
  p = p * z + 1.0 / 362880.0;
  p = p * z - 1.0 / 5040.0;
  p = p * z + 1.0 / 120.0;
  p = p * z - 1.0 / 6.0;
  return x + (x * z * p + tail * (1.0 - 0.5 * z));
}

double cos_kernel(double x, double tail) noexcept {
  const double z = x * x;
  double p = 1.0 / 20922789888000.0;
  p = p * z - 1.0 / 87178291200.0;
  p = p * z + 1.0 / 479001600.0;
  p = p * z - 1.0 / 3628800.0;
  p = p * z + 1.0 / 40320.0;
  p = p * z - 1.0 / 720.0;
  p = p * z + 1.0 / 24.0;
  const double half = 0.5 * z;
  const double head = 1.0 - half;
  return head + (((1.0 - head) - half) + (z * z * p - x * tail));
}

}  // namespace

double exp_f64(double x) noexcept {
  if (x != x) return kNan;
  if (x > 709.79) return kInfinity;
  if (x < -745.2) return 0.0;
  const double n = nearest(x * 0x1.71547652b82fep0);
  const double high = x - n * kLn2High;
  const double low = n * kLn2Low;
  const double r = high - low;
  // e^r = 1 + 2r / (2 - r + r^2 q(r^2)) rearranged so that the error of r stays in its last place; Taylor to r^13.
  double p = 1.0 / 6227020800.0;
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  const double tail = (high - r) - low;
  const double value = 1.0 + (r + (r * r * p + tail));
  const int exponent = static_cast<int>(n);
  const int half = exponent / 2;
  return value * power_of_two(half) * power_of_two(exponent - half);
}

double log_f64(double x) noexcept {
  if (x != x || x < 0) return kNan;
  if (x == 0) return -kInfinity;
  if (x == kInfinity) return kInfinity;
  int exponent = 0;
  if (x < 0x1p-1022) {
    x *= 0x1p54;
    exponent = -54;
  }
  std::uint64_t bits = std::bit_cast<std::uint64_t>(x);
  exponent += static_cast<int>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0xFFFFFFFFFFFFFull) | 0x3FF0000000000000ull);
  if (m > 0x1.6a09e667f3bcdp0) {
    m *= 0.5;
    ++exponent;
  }
  // log m = 2 atanh(s), s = f / (2 + f), |s| <= 0.172: odd series to s^21.
  const double f = m - 1.0;
  const double s = f / (2.0 + f);
  const double z = s * s;
  double p = 2.0 / 21.0;
  p = p * z + 2.0 / 19.0;
  p = p * z + 2.0 / 17.0;
  p = p * z + 2.0 / 15.0;
  p = p * z + 2.0 / 13.0;
  p = p * z + 2.0 / 11.0;
  p = p * z + 2.0 / 9.0;
  p = p * z + 2.0 / 7.0;
  p = p * z + 2.0 / 5.0;
  p = p * z + 2.0 / 3.0;
  p = p * z;
  // f - s (f - p) = f - f^2/2 + ..., which keeps the leading term exact.
  const double half_square = 0.5 * f * f;
  const double k = exponent;
  return k * kLn2High - ((half_square - (s * (half_square + p) + k * kLn2Low)) - f);
}

void sincos_f64(double x, double* sin, double* cos) noexcept {
  if (!(x <= 0x1p30 && x >= -0x1p30)) {
    *sin = kNan;
    *cos = kNan;
    return;
  }
  // pi/2 in three pieces of 33, 33 and 53 bits: the first two products are exact for |n| < 2^20.
  const double n = nearest(x * 0x1.45f306dc9c883p-1);
  const double first = x - n * 0x1.921fb544p0;
  const double w = n * 0x1.0b4611a6p-34;
  const double second = first - w;
  const double rest = n * 0x1.3198a2e037073p-69;
  const double lost = (first - second) - w;
  const double r = second - (rest - lost);
  const double tail = (second - r) - (rest - lost);
  const double s = sin_kernel(r, tail);
  const double c = cos_kernel(r, tail);
  switch (static_cast<std::int64_t>(n) & 3) {
    case 0:
      *sin = s;
      *cos = c;
      break;
    case 1:
      *sin = c;
      *cos = -s;
      break;
    case 2:
      *sin = -s;
      *cos = -c;
      break;
    default:
      *sin = -c;
      *cos = s;
      break;
  }
}

// e^(-x^2) times a series whose terms all have the sign of x (Kummer): 2 / sqrt(pi) sum of 2^n x^(2n+1) / (2n+1)!!.
double erf_f64(double x) noexcept {
  if (x >= 6.0) return 1.0;  // less than 2^-54 is left
  if (x <= -6.0) return -1.0;
  const double z = x * x;
  double term = x, sum = x;
  for (double k = 3.0; term * term > 0x1p-112 * (sum * sum); k += 2.0) {
    term *= 2.0 * z / k;
    sum += term;
  }
  return 0x1.20dd750429b6dp0 * exp_f64(-z) * sum;
}

double pow_f64(double base, double exponent) noexcept { return exp_f64(exponent * log_f64(base)); }

}  // namespace rowmax::base
