#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/simd/simd_check.h"
#include "rowmax/cpu.h"

namespace rowmax {
namespace {

simd::CheckFn check_for(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx2) return simd::check_avx2;
  if (isa == Isa::kAvx512) return simd::check_avx512;
#elif defined(__aarch64__)
  if (isa == Isa::kNeon) return simd::check_neon;
#endif
  return isa == Isa::kScalar ? simd::check_scalar : nullptr;
}

std::uint32_t next(std::uint64_t& state) {
  state = state * 6364136223846793005ull + 1442695040888963407ull;
  return static_cast<std::uint32_t>(state >> 32);
}

float interesting(std::uint64_t& state) {
  static const float special[] = {0.0f,   -0.0f,   1.0f,    -1.0f,          0.5f,       1.5f,      2.5f,
                                  1e-40f, -1e-42f, 3e38f,   -3e38f,         INFINITY,   -INFINITY, NAN,
                                  88.9f,  -104.5f, 0x1p22f, 0x1.000002p22f, 8388607.5f, 65519.9f};
  const std::uint32_t r = next(state);
  if (r % 4 == 0) return special[next(state) % (sizeof special / sizeof special[0])];
  if (r % 4 == 1) {  // any bit pattern
    const std::uint32_t bits = next(state);
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
  }
  return (static_cast<float>(next(state)) / 4294967296.0f - 0.5f) * (r % 4 == 2 ? 4.0f : 200.0f);
}

TEST(Simd, EveryIsaGivesTheBitsOfTheScalarOne) {
  std::uint64_t state = 42;
  int compared = 0;
  for (int round = 0; round < 4000; ++round) {
    float a[16], b[16], c[16];
    std::uint16_t h[16];
    for (int i = 0; i < 16; ++i) {
      a[i] = interesting(state);
      b[i] = interesting(state);
      c[i] = interesting(state);
      h[i] = static_cast<std::uint16_t>(next(state));
    }
    std::vector<std::uint32_t> want(simd::kCheckWords, 0), got(simd::kCheckWords, 0);
    simd::check_scalar(a, b, c, h, want.data());
    for (Isa isa : supported_isas()) {
      const simd::CheckFn check = check_for(isa);
      ASSERT_NE(check, nullptr) << isa_name(isa);
      check(a, b, c, h, got.data());
      for (int i = 0; i < simd::kCheckWords; ++i) {
        ASSERT_EQ(got[i], want[i]) << isa_name(isa) << " round " << round << " operation " << i / 16 << " lane "
                                   << i % 16 << " a " << a[i % 16] << " b " << b[i % 16] << " c " << c[i % 16];
      }
      ++compared;
    }
  }
  EXPECT_GE(compared, 4000);
}

double ulps(float got, double want) {
  if (std::isnan(want)) return std::isnan(got) ? 0 : 1e9;
  const float rounded = static_cast<float>(want);
  if (got == rounded) return 0;
  if (std::isinf(rounded) || std::isinf(got)) return 1e9;
  int exponent = 0;
  std::frexp(want, &exponent);
  return std::fabs(got - want) / std::ldexp(1.0, std::max(exponent, -125) - 24);
}

// Every `stride`-th f32 from -inf to +inf, in order.
void sweep_exp(std::int64_t stride) {
  double worst = 0;
  float previous = 0;
  for (std::int64_t key = -0x7F800000ll; key <= 0x7F800000ll; key += 16 * stride) {
    float x[16], y[16];
    for (int i = 0; i < 16; ++i) {
      const std::int64_t k = std::min<std::int64_t>(key + i * stride, 0x7F800000ll);
      const std::uint32_t bits = k < 0 ? static_cast<std::uint32_t>(-k) | 0x80000000u : static_cast<std::uint32_t>(k);
      std::memcpy(&x[i], &bits, 4);
    }
    simd::store(y, simd::exp(simd::load(x)));
    for (int i = 0; i < 16; ++i) {
      worst = std::max(worst, ulps(y[i], std::exp(static_cast<double>(x[i]))));
      ASSERT_GE(y[i], previous) << "not monotone at " << x[i];
      if (x[i] <= 0) {
        ASSERT_LE(y[i], 1.0f);
      }
      previous = y[i];
    }
  }
  EXPECT_LE(worst, 1.02);
  EXPECT_GT(worst, 0.5);  // the sweep saw rounding at all
}

TEST(Simd, ExpIsWithin102UlpAndMonotone) { sweep_exp(4099); }
TEST(Full_Simd, ExpOverEveryFloat) { sweep_exp(1); }

TEST(Simd, TanhSigmoidSiluGeluAgainstF64) {
  double tanh_worst = 0, sigmoid_worst = 0, silu_worst = 0, gelu_worst = 0;
  for (int i = -60000; i < 60000; ++i) {
    const float x = static_cast<float>(i) * 1.3e-4f;
    float y[16];
    simd::store(y, simd::tanh(simd::splat(x)));
    tanh_worst = std::max(tanh_worst, ulps(y[0], std::tanh(static_cast<double>(x))));
    simd::store(y, simd::sigmoid(simd::splat(11 * x)));  // to where the result is no longer normal
    sigmoid_worst = std::max(sigmoid_worst, ulps(y[0], 1 / (1 + std::exp(-static_cast<double>(11 * x)))));
    simd::store(y, simd::silu(simd::splat(x)));
    silu_worst = std::max(silu_worst, ulps(y[0], x / (1 + std::exp(-static_cast<double>(x)))));
    simd::store(y, simd::gelu_tanh(simd::splat(x)));
    const double u = std::sqrt(2 / M_PI) * (x + 0.044715 * x * static_cast<double>(x) * x);
    const double want = x / (1 + std::exp(-2 * u));
    if (std::fabs(u) < 8) gelu_worst = std::max(gelu_worst, std::fabs(y[0] - want) / (std::fabs(want) * 0x1p-24));
  }
  EXPECT_LE(tanh_worst, 2.6);
  EXPECT_LE(sigmoid_worst, 3);
  EXPECT_GT(sigmoid_worst, 0.5);
  EXPECT_LE(silu_worst, 4);
  // e^-2u turns the rounding of u (|u| < 8) into a relative error: about |2u| half-ulps.
  EXPECT_LE(gelu_worst, 40);
}

}  // namespace
}  // namespace rowmax
