// G11: the exponential of weights: at most 1.02 ulp off, monotone, exp(0) = 1, exp(-inf) = +0, never above 1, NaN stays
// NaN; the same bits in every lane on every instruction set. (WeightExp.*: every sixty-first input, and corners.)
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "attention/guarantees/test_exp.h"
#include "rowmax/cpu.h"

namespace rowmax::attention::test::g11_exp_test {
namespace {

ExpFunction function_of(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx2) return exp_avx2;
  if (isa == Isa::kAvx512) return exp_avx512;
#elif defined(__aarch64__)
  if (isa == Isa::kNeon) return exp_neon;
#endif
  return isa == Isa::kScalar ? exp_scalar : nullptr;
}

std::uint32_t bits_of(float x) { return std::isnan(x) ? 0x7FC00000u : std::bit_cast<std::uint32_t>(x); }

struct Sweep {
  double worst = 0;  // ulp
  float last = 2.0f;
  std::int64_t n = 0;

  // A run of descending inputs (their bit patterns ascend) and what came out.
  void check(const std::vector<float>& x, const std::vector<float>& y) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (std::isnan(x[i])) {
        ASSERT_TRUE(std::isnan(y[i])) << std::bit_cast<std::uint32_t>(x[i]);
        continue;
      }
      ASSERT_TRUE(y[i] >= 0 && !std::signbit(y[i]) && y[i] <= 1.0f) << x[i];
      ASSERT_LE(y[i], last) << x[i];
      last = y[i];
      ++n;
      if (x[i] < kWeightFloor) {
        ASSERT_EQ(y[i], 0.0f) << x[i];
        continue;
      }
      const double exact = std::exp(static_cast<double>(x[i]));
      worst = std::max(worst, std::fabs(y[i] - exact) / std::ldexp(1.0, std::ilogb(exact) - 23));
    }
  }
};

// Inputs whose bit patterns are begin, begin + step ... below end, on every instruction set.
void sweep(std::uint64_t begin, std::uint64_t end, std::uint64_t step) {
  const std::vector<Isa> isas(supported_isas().begin(), supported_isas().end());
  const std::uint64_t most = (end - begin) / step / 16 * 16 + 16;
  std::vector<float> x(std::min<std::uint64_t>(1 << 14, most)), y(x.size()), other(x.size());
  Sweep result;
  while (begin < end) {
    for (float& value : x) {
      value = std::bit_cast<float>(static_cast<std::uint32_t>(std::min(begin, end - 1)));
      begin += step;
    }
    const auto n = static_cast<std::int64_t>(x.size());
    function_of(isas.back())(x.data(), y.data(), n);
    ASSERT_NO_FATAL_FAILURE(result.check(x, y));
    for (Isa isa : isas) {
      if (isa == isas.back()) continue;
      function_of(isa)(x.data(), other.data(), n);
      if (std::memcmp(y.data(), other.data(), y.size() * sizeof(float)) == 0) continue;
      for (std::size_t i = 0; i < x.size(); ++i)
        ASSERT_EQ(bits_of(y[i]), bits_of(other[i])) << isa_name(isa) << " " << x[i];
    }
  }
  EXPECT_LE(result.worst, 1.02);
  testing::Test::RecordProperty("worst_ulp", std::to_string(result.worst));
}

TEST(G11, InputsOfAllSizesOnEveryIsa) { sweep(0x80000000u, 0x100000000u, 4099); }

// Around 0, the floor, the largest and smallest numbers, and where the reduction steps from one power of two to the
// next.
TEST(G11, EveryInputAroundTheEdges) {
  const float edges[] = {-0.0f, -0x1p-126f, -0x1p-24f, -1.0f, kWeightFloor, -87.3365f, -88.7228f, -103.972f, -INFINITY};
  for (float edge : edges) {
    const std::uint64_t at = std::bit_cast<std::uint32_t>(edge);
    sweep(std::max<std::uint64_t>(0x80000000u, at - 20000), std::min<std::uint64_t>(at + 20000, 0xFFFFFFFFu), 1);
    if (testing::Test::HasFatalFailure()) return;
  }
  for (int n = 0; n < 125; ++n) {
    const auto at = std::bit_cast<std::uint32_t>(static_cast<float>(-(n + 0.5) * 0.6931471805599453));
    sweep(at - 500u, at + 500u, 1);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(G11, EveryLaneGivesTheSameBits) {
  for (Isa isa : supported_isas()) {
    for (float value : {-0.0f, -1e-30f, -0.3f, -1.0f, -17.25f, -86.5f, -86.7f, -INFINITY}) {
      std::uint32_t first = 0;
      for (std::size_t lane = 0; lane < 16; ++lane) {
        float x[16], y[16];
        for (std::size_t i = 0; i < 16; ++i) x[i] = i == lane ? value : -static_cast<float>(i * lane) - 1.5f;
        function_of(isa)(x, y, 16);
        if (lane == 0) first = bits_of(y[0]);
        ASSERT_EQ(bits_of(y[lane]), first) << isa_name(isa) << " " << value << " in lane " << lane;
      }
    }
  }
}

// Every number that is not above 0, -inf and every NaN with the sign; then those without.
TEST(Full_G11, EveryInputOnEveryIsa) {
  sweep(0x80000000u, 0x100000000u, 1);
  if (HasFatalFailure()) return;
  sweep(0x7F800001u, 0x80000000u, 1);
}

}  // namespace
}  // namespace rowmax::attention::test::g11_exp_test
