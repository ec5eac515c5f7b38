#include "engine/ops/delta/delta_gates.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <limits>
#include <vector>

namespace rowmax::engine::delta_gates_test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Gates {
  float decay, beta;
};
Gates gates(float a, float b, float a_coef, float dt_bias) {
  Gates out{};
  delta_gates(&a, &b, &a_coef, &dt_bias, 1, &out.decay, &out.beta);
  return out;
}

// |got - want| in units of want's last f32 place, subnormal numbers too.
double ulps(float got, long double want) {
  int exponent = 0;
  std::frexp(static_cast<double>(want), &exponent);
  return static_cast<double>(std::fabs(got - want)) / std::ldexp(1.0, std::max(exponent, -125) - 24);
}

// One rounding to f32 and what f64 adds: below it, softplus is off by 2^-53 (its argument, 1 + e^x) and a few 2^-53 of
// its value, at most 40 here; times a_coef, at most 16, that is a relative error below 2^-53 * 16 * (1 + 4 * 40) < 2^-41
// of decay, or 2^-17 ulp.
TEST(DeltaGates, AreRoundedOnceAgainstLongDouble) {
  double decay_worst = 0, beta_worst = 0;
  std::vector<float> a, b, a_coef, dt_bias, decay, beta;
  for (int i = -4000; i <= 4000; ++i) {
    for (const float coef : {-0.01f, -0.7f, -1.0f, -3.3f, -16.0f}) {
      a.push_back(static_cast<float>(i) * 0.01f);
      b.push_back(static_cast<float>(i) * 0.025f);
      a_coef.push_back(coef);
      dt_bias.push_back(0.37f * static_cast<float>(i % 3));
    }
  }
  decay.resize(a.size());
  beta.resize(a.size());
  delta_gates(a.data(), b.data(), a_coef.data(), dt_bias.data(), static_cast<std::int64_t>(a.size()), decay.data(),
              beta.data());
  for (std::size_t i = 0; i < a.size(); ++i) {
    const long double x = static_cast<long double>(a[i]) + dt_bias[i];
    const long double softplus = x > 20 ? x : std::log1p(std::exp(x));
    decay_worst = std::max(decay_worst, ulps(decay[i], std::exp(a_coef[i] * softplus)));
    beta_worst = std::max(beta_worst, ulps(beta[i], 1 / (1 + std::exp(-static_cast<long double>(b[i])))));
  }
  std::printf("decay %.6f ulp, beta %.6f ulp\n", decay_worst, beta_worst);
  EXPECT_LE(decay_worst, 0.5 + 0x1p-17);
  EXPECT_LE(beta_worst, 0.5 + 0x1p-17);
}

TEST(DeltaGates, AtTheirEnds) {
  EXPECT_EQ(gates(-kInfinity, 0.0f, -2.0f, 1.0f).decay, 1.0f);  // nothing is forgotten
  EXPECT_EQ(gates(kInfinity, 0.0f, -2.0f, 1.0f).decay, 0.0f);
  EXPECT_EQ(gates(-1000.0f, 0.0f, -2.0f, 1.0f).decay, 1.0f);
  EXPECT_EQ(gates(21.0f, 0.0f, -1.0f, -0.5f).decay, static_cast<float>(std::exp(-20.5)));
  EXPECT_EQ(gates(0.0f, 0.0f, 0.0f, 0.0f).decay, 1.0f);
  EXPECT_TRUE(std::isnan(gates(kNan, 0.0f, -2.0f, 1.0f).decay));
  EXPECT_TRUE(std::isnan(gates(0.0f, 0.0f, -2.0f, kNan).decay));
  EXPECT_EQ(gates(0.0f, 0.0f, -2.0f, 1.0f).beta, 0.5f);
  EXPECT_EQ(gates(0.0f, kInfinity, -2.0f, 1.0f).beta, 1.0f);
  EXPECT_EQ(gates(0.0f, -kInfinity, -2.0f, 1.0f).beta, 0.0f);
  EXPECT_TRUE(std::isnan(gates(0.0f, kNan, -2.0f, 1.0f).beta));
}

}  // namespace
}  // namespace rowmax::engine::delta_gates_test
