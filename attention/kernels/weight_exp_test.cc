#include "attention/kernels/weight_exp.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

namespace rowmax::attention::weight_exp_test {
namespace {

float one(float x) {
  float lanes[16];
  simd::store(lanes, exp_weight(simd::splat(x)));
  return lanes[0];
}

TEST(WeightExp, WithinItsUlpAndMonotone) {
  double worst = 0;
  float last = 2.0f;
  std::int64_t compared = 0;
  // From -0 down to the floor in steps of some bit patterns, sixteen at a time.
  const std::uint32_t end = std::bit_cast<std::uint32_t>(kWeightFloor);
  for (std::uint64_t bits = 0x80000000u; bits + 16 * 61 < end; bits += 16 * 61) {
    float x[16], y[16];
    for (std::uint32_t i = 0; i < 16; ++i) x[i] = std::bit_cast<float>(static_cast<std::uint32_t>(bits) + i * 61);
    simd::store(y, exp_weight(simd::load(x)));
    for (int i = 0; i < 16; ++i) {
      const double exact = std::exp(static_cast<double>(x[i]));
      const double ulp = std::ldexp(1.0, std::ilogb(exact) - 23);
      worst = std::max(worst, std::fabs(y[i] - exact) / ulp);
      ASSERT_LE(y[i], last) << "at " << x[i];
      last = y[i];
      ++compared;
    }
  }
  EXPECT_LT(worst, 1.02);
  EXPECT_GT(compared, 10000000);
}

TEST(WeightExp, Corners) {
  EXPECT_EQ(one(0.0f), 1.0f);
  EXPECT_EQ(one(-0.0f), 1.0f);
  for (float x : {-86.7f, -88.0f, -104.0f, -1e9f, -3e38f, -INFINITY}) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(one(x)), 0u) << x;
  }
  EXPECT_GT(one(-86.5f), 0x1p-126f);
  for (std::uint32_t nan : {0x7FC00000u, 0x7F800001u, 0xFFC12345u, 0x7FFFFFFFu}) {
    EXPECT_TRUE(std::isnan(one(std::bit_cast<float>(nan)))) << nan;
  }
}

}  // namespace
}  // namespace rowmax::attention::weight_exp_test
