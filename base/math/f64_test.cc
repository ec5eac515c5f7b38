#include "base/math/f64.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace rowmax::base {
namespace {

// The oracle is the C library (glibc states < 1 ulp for these), used by tests alone.
double ulps(double got, double want) {
  if (got == want) return 0;
  int exponent = 0;
  std::frexp(want, &exponent);
  return std::fabs(got - want) / std::ldexp(1.0, std::max(exponent, -1021) - 53);
}

std::uint64_t next(std::uint64_t& state) {
  std::uint64_t z = (state += 0x9E3779B97F4A7C15ull);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}
double uniform(std::uint64_t& state, double low, double high) {
  return low + (high - low) * (static_cast<double>(next(state) >> 11) * 0x1p-53);
}

TEST(F64, ExpWithinTwoUlp) {
  std::uint64_t state = 1;
  double worst = 0;
  for (int i = 0; i < 300000; ++i) {
    const double x = i % 2 ? uniform(state, -2, 2) : uniform(state, -744, 709);
    worst = std::max(worst, ulps(exp_f64(x), std::exp(x)));
  }
  EXPECT_LE(worst, 2.0);
  EXPECT_EQ(exp_f64(0), 1.0);
  EXPECT_EQ(exp_f64(-std::numeric_limits<double>::infinity()), 0.0);
  EXPECT_EQ(exp_f64(710), std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(exp_f64(std::nan(""))));
}

TEST(F64, LogWithinTwoUlp) {
  std::uint64_t state = 2;
  double worst = 0;
  for (int i = 0; i < 300000; ++i) {
    const double x = i % 3 == 0 ? uniform(state, 0.5, 2) : std::exp(uniform(state, -700, 700));
    worst = std::max(worst, ulps(log_f64(x), std::log(x)));
  }
  EXPECT_LE(worst, 2.0);
  EXPECT_EQ(log_f64(1), 0.0);
  EXPECT_EQ(log_f64(0), -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(log_f64(-1)));
  EXPECT_LE(ulps(log_f64(5e-324), std::log(5e-324)), 2.0);
}

TEST(F64, SinCosNearPositionsTimesFrequencies) {
  std::uint64_t state = 3;
  double worst = 0;
  for (int i = 0; i < 300000; ++i) {
    const double x = i % 2 ? uniform(state, -200000, 200000) : uniform(state, -4, 4);
    double s = 0, c = 0;
    sincos_f64(x, &s, &c);
    worst = std::max({worst, std::fabs(s - std::sin(x)), std::fabs(c - std::cos(x))});
  }
  EXPECT_LE(worst, 3e-16);
  double s = 1, c = 0;
  sincos_f64(0, &s, &c);
  EXPECT_EQ(s, 0.0);
  EXPECT_EQ(c, 1.0);
  sincos_f64(0x1p31, &s, &c);
  EXPECT_TRUE(std::isnan(s) && std::isnan(c));
}

TEST(F64, ErfWithinItsBound) {
  std::uint64_t state = 4;
  double worst = 0;
  for (int i = 0; i < 100000; ++i) {
    const double x = i % 2 ? uniform(state, -7, 7) : uniform(state, -1, 1);
    worst = std::max(worst, std::fabs(erf_f64(x) - std::erf(x)));
  }
  EXPECT_LE(worst, 4e-15);
  EXPECT_EQ(erf_f64(0), 0.0);
  EXPECT_EQ(erf_f64(std::numeric_limits<double>::infinity()), 1.0);
  EXPECT_EQ(erf_f64(-std::numeric_limits<double>::infinity()), -1.0);
  EXPECT_TRUE(std::isnan(erf_f64(std::nan(""))));
}

TEST(F64, PowForRopeBases) {
  for (double base : {10000.0, 100000.0, 500000.0, 1000000.0}) {
    for (int i = 0; i < 128; ++i) {
      const double exponent = -2.0 * i / 256;
      EXPECT_NEAR(pow_f64(base, exponent) / std::pow(base, exponent), 1.0, 4e-15);
    }
  }
}

}  // namespace
}  // namespace rowmax::base
