#include "engine/ops/rows/row_kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/half.h"

namespace rowmax::engine::row_kernels_test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> random_row(std::int64_t n, std::uint64_t seed, float spread = 2.0f) {
  std::vector<float> row(static_cast<std::size_t>(n));
  for (float& x : row) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    x = (static_cast<float>(seed >> 40) / 16777216.0f - 0.5f) * 2 * spread;
  }
  return row;
}

const std::int64_t kSizes[] = {1, 2, 15, 16, 17, 31, 64, 100, 576, 1537};

template <class Run>
void expect_same_bits(std::int64_t n, Run run) {
  const std::vector<float> want = run(row_kernels(Isa::kScalar));
  for (Isa isa : supported_isas()) {
    const std::vector<float> got = run(row_kernels(isa));
    ASSERT_EQ(std::memcmp(got.data(), want.data(), want.size() * sizeof(float)), 0) << isa_name(isa) << " n " << n;
  }
}

TEST(RowKernels, RmsNormAgainstF64AndAcrossIsas) {
  for (std::int64_t n : kSizes) {
    const std::vector<float> x = random_row(n, 1), w = random_row(n, 2);
    expect_same_bits(n, [&](const RowKernels& k) {
      std::vector<float> y(x.size(), NAN);
      k.rms_norm(x.data(), w.data(), 1e-5f, n, y.data());
      return y;
    });
    double squares = 0;
    for (float v : x) squares += static_cast<double>(v) * v;
    const double factor = 1 / std::sqrt(squares / static_cast<double>(n) + static_cast<double>(1e-5f));
    std::vector<float> y(x.size(), NAN);
    row_kernels(supported_isas().back()).rms_norm(x.data(), w.data(), 1e-5f, n, y.data());
    // Sum of n/16 + 4 rounded additions, halved by the root, and five more roundings.
    const double bound = (static_cast<double>(n) / 16 + 4 + 10) * 0x1p-24;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double want = x[i] * factor * w[i];
      ASSERT_NEAR(y[i], want, bound * std::fabs(want)) << n << " " << i;
    }
  }
}

TEST(RowKernels, RopePairingsAreThePairsTheyName) {
  for (std::int64_t n_pair : {1, 4, 16, 17, 32, 48}) {
    const std::vector<float> x = random_row(2 * n_pair, 3);
    std::vector<float> cos(static_cast<std::size_t>(n_pair)), sin(cos.size());
    for (std::size_t i = 0; i < cos.size(); ++i) {
      cos[i] = static_cast<float>(std::cos(0.37 * static_cast<double>(i + 1)));
      sin[i] = static_cast<float>(std::sin(0.37 * static_cast<double>(i + 1)));
    }
    for (const bool halves : {true, false}) {
      expect_same_bits(n_pair, [&](const RowKernels& k) {
        std::vector<float> y = x;
        (halves ? k.rope_halves : k.rope_adjacent)(y.data(), cos.data(), sin.data(), n_pair);
        return y;
      });
      std::vector<float> y = x;
      const RowKernels& k = row_kernels(supported_isas().back());
      (halves ? k.rope_halves : k.rope_adjacent)(y.data(), cos.data(), sin.data(), n_pair);
      for (std::int64_t i = 0; i < n_pair; ++i) {
        const std::size_t first = static_cast<std::size_t>(halves ? i : 2 * i);
        const std::size_t second = static_cast<std::size_t>(halves ? i + n_pair : 2 * i + 1);
        const double c = cos[static_cast<std::size_t>(i)], s = sin[static_cast<std::size_t>(i)];
        ASSERT_NEAR(y[first], x[first] * c - x[second] * s, 1e-6);
        ASSERT_NEAR(y[second], x[second] * c + x[first] * s, 1e-6);
      }
    }
  }
}

TEST(RowKernels, GatesResidualsAndSoftcap) {
  for (std::int64_t n : kSizes) {
    const std::vector<float> g = random_row(n, 4, 6), u = random_row(n, 5);
    for (int which = 0; which < 10; ++which) {
      const auto run = [&](const RowKernels& k) {
        std::vector<float> y = g;
        if (which == 0) k.gate_silu(y.data(), u.data(), n);
        if (which == 1) k.gate_gelu_tanh(y.data(), u.data(), n);
        if (which == 2) k.add(y.data(), u.data(), n);
        if (which == 3) k.scale(y.data(), 25.298221f, n);
        if (which == 4) k.softcap(y.data(), 5.0f, n);
        if (which == 5) k.gate_relu_squared(y.data(), u.data(), n);
        if (which == 6) k.gate_relu(y.data(), u.data(), n);
        if (which == 7) k.gate_identity(y.data(), u.data(), n);
        if (which == 8) k.gate_gelu_erf(y.data(), u.data(), n);
        if (which == 9) k.gate_gelu_quick(y.data(), u.data(), n);
        return y;
      };
      expect_same_bits(n, run);
      const std::vector<float> y = run(row_kernels(supported_isas().back()));
      for (std::size_t i = 0; i < y.size(); ++i) {
        const double x = g[i], v = u[i];
        const double inner = std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
        const double want[] = {x / (1 + std::exp(-x)) * v,
                               0.5 * x * (1 + std::tanh(inner)) * v,
                               x + v,
                               x * static_cast<double>(25.298221f),
                               5 * std::tanh(x / 5),
                               x > 0 ? x * x * v : 0.0,
                               x > 0 ? x * v : 0.0,
                               x * v,
                               0.5 * x * std::erfc(-x / std::sqrt(2.0)) * v,
                               x / (1 + std::exp(-1.702 * x)) * v};
        ASSERT_NEAR(y[i], want[which], 4e-6 * std::fabs(want[which]) + 1e-12) << which << " " << x;
      }
    }
  }
}

TEST(RowKernels, LimitsOfGates) {
  for (std::int64_t n : kSizes) {
    std::vector<float> g = random_row(n, 14, 6), u = random_row(n, 15, 6);
    g[0] = u[0] = std::numeric_limits<float>::quiet_NaN();
    for (const float limit : {2.5f, std::numeric_limits<float>::infinity()}) {
      const auto run = [&](const RowKernels& k, bool of_up) {
        std::vector<float> gate = g, up = u;
        k.limit_gate(gate.data(), up.data(), limit, 1.0f, n);
        return of_up ? up : gate;
      };
      for (const bool of_up : {false, true}) {
        expect_same_bits(n, [&](const RowKernels& k) { return run(k, of_up); });
        const std::vector<float> y = run(row_kernels(supported_isas().back()), of_up);
        EXPECT_TRUE(std::isnan(y[0]));
        for (std::size_t i = 1; i < y.size(); ++i) {
          ASSERT_EQ(y[i], of_up ? std::clamp(u[i], -limit, limit) + 1.0f : std::min(g[i], limit)) << i;
        }
      }
    }
  }
}

// The largest |got - want| in units of its bound, and a message where it is above 1.
struct Worst {
  double part = 0;
  void see(double got, double want, double bound) { part = std::max(part, std::fabs(got - want) / bound); }
  ~Worst() {
    EXPECT_LE(part, 1);
    std::printf("largest error %.3f of its bound\n", part);
  }
};

TEST(RowKernels, L2NormAgainstF64AndAcrossIsas) {
  Worst worst;
  for (std::int64_t n : kSizes) {
    for (const float scale : {1.0f, 0.08838835f}) {
      for (const float spread : {2.0f, 1e-4f}) {  // the second: eps counts
        const std::vector<float> x = random_row(n, 11, spread);
        const auto run = [&](const RowKernels& k) {
          std::vector<float> y = x;
          k.l2_norm(y.data(), 1e-6f, scale, n);
          return y;
        };
        expect_same_bits(n, run);
        double squares = 0;
        for (float v : x) squares += static_cast<double>(v) * v;
        const double factor = scale / std::sqrt(squares + static_cast<double>(1e-6f));
        const std::vector<float> y = run(row_kernels(supported_isas().back()));
        // n/16 + 5 roundings of the sum, halved by the root; root, division and product.
        const double bound = ((static_cast<double>(n) / 16 + 6) / 2 + 3) * 0x1p-24;
        for (std::size_t i = 0; i < x.size(); ++i) {
          worst.see(y[i], x[i] * factor, bound * std::fabs(x[i] * factor) + 1e-45);
        }
      }
    }
  }
}

TEST(RowKernels, SigmoidGateSiluAndScaledSumsAgainstF64) {
  Worst worst[3];
  for (std::int64_t n : kSizes) {
    const std::vector<float> g = random_row(n, 12, 30), u = random_row(n, 13);
    for (int which = 0; which < 3; ++which) {
      const auto run = [&](const RowKernels& k) {
        std::vector<float> y = g;
        if (which == 0) k.gate_sigmoid(y.data(), u.data(), n);
        if (which == 1) k.silu(y.data(), n);
        if (which == 2) k.add_scaled(y.data(), u.data(), 0.7310586f, n);
        return y;
      };
      expect_same_bits(n, run);
      const std::vector<float> y = run(row_kernels(supported_isas().back()));
      for (std::size_t i = 0; i < y.size(); ++i) {
        const double x = g[i], v = u[i], sigmoid = 1 / (1 + std::exp(-x));
        const double want[] = {sigmoid * v, x * sigmoid, x + v * static_cast<double>(0.7310586f)};
        // Of the contracts in math.h: 3 ulp and the product's rounding, 4 ulp; one rounding. An ulp is at most 2^-23.
        const double bound[] = {3.5 * 0x1p-23, 4 * 0x1p-23, 0x1p-24};
        worst[which].see(y[i], want[which], bound[which] * std::fabs(want[which]));
      }
    }
  }
}

TEST(RowKernels, SigmoidGateAtItsEnds) {
  const std::vector<float> g = {kInfinity, -kInfinity, static_cast<float>(NAN), 0.0f, -200.0f, 200.0f, 1.0f};
  const std::vector<float> up = {2.0f, 2.0f, 2.0f, 3.0f, 2.0f, 2.0f, static_cast<float>(NAN)};
  for (Isa isa : supported_isas()) {
    std::vector<float> y = g;
    row_kernels(isa).gate_sigmoid(y.data(), up.data(), 7);
    EXPECT_EQ(y[0], 2.0f);
    EXPECT_EQ(y[1], 0.0f);
    EXPECT_TRUE(std::isnan(y[2]) && std::isnan(y[6])) << isa_name(isa);
    EXPECT_EQ(y[3], 1.5f);
    EXPECT_EQ(y[4], 0.0f);
    EXPECT_EQ(y[5], 2.0f);
  }
}

TEST(RowKernels, SoftmaxAgainstF64AndAcrossIsas) {
  Worst worst;
  for (std::int64_t n : kSizes) {
    for (const float offset : {0.0f, -1000.0f, 1000.0f}) {  // all below 0: the tail's missing lanes are not the maximum
      std::vector<float> x = random_row(n, 14, 8);
      for (float& v : x) v += offset;
      if (n > 2) x[1] = -kInfinity;
      const auto run = [&](const RowKernels& k) {
        std::vector<float> y = x;
        k.softmax(y.data(), n);
        return y;
      };
      expect_same_bits(n, run);
      const std::vector<float> y = run(row_kernels(supported_isas().back()));
      const float most = *std::max_element(x.begin(), x.end());
      double sum = 0;
      for (float v : x) sum += std::exp(static_cast<double>(v) - most);
      for (std::size_t i = 0; i < y.size(); ++i) {
        const double difference = static_cast<double>(x[i]) - most, want = std::exp(difference) / sum;
        if (x[i] == -kInfinity) {
          EXPECT_EQ(y[i], 0.0f);
          continue;
        }
        // The difference is rounded by 2^-24 of itself, which the exponential turns into a relative error (the sum's
        // mean of them is no larger than e^-1, the largest |d| e^d, a term); exp 1.02 ulp above and below the line; n/16
        // + 4 additions; the division.
        const double bound = std::fabs(difference) + 0.4 + 4 * 1.02 + static_cast<double>(n) / 16 + 4 + 1;
        worst.see(y[i], want, bound * 0x1p-24 * want);
      }
    }
  }
}

TEST(RowKernels, SoftmaxOfNonFiniteNumbers) {
  for (Isa isa : supported_isas()) {
    for (std::int64_t n : kSizes) {
      for (float bad : {kInfinity, static_cast<float>(NAN)}) {
        for (std::int64_t at : {std::int64_t{0}, n / 2, n - 1}) {
          std::vector<float> x = random_row(n, 15);
          x[static_cast<std::size_t>(at)] = bad;
          row_kernels(isa).softmax(x.data(), n);
          for (float v : x) ASSERT_TRUE(std::isnan(v)) << isa_name(isa) << " " << bad << " at " << at << " of " << n;
        }
      }
      std::vector<float> x(static_cast<std::size_t>(n), -kInfinity);
      row_kernels(isa).softmax(x.data(), n);
      for (float v : x) ASSERT_TRUE(std::isnan(v)) << isa_name(isa) << " " << n;
      x.assign(x.size(), 7.0f);
      row_kernels(isa).softmax(x.data(), n);
      for (float v : x) ASSERT_EQ(v, 1.0f / static_cast<float>(n)) << isa_name(isa) << " " << n;
    }
  }
}

// Nothing is written beyond the row.
TEST(RowKernels, InPlaceKernelsLeaveWhatLiesBehindTheRow) {
  for (Isa isa : supported_isas()) {
    const RowKernels& k = row_kernels(isa);
    for (std::int64_t n : kSizes) {
      const std::vector<float> y = random_row(n + 16, 16);
      for (int which = 0; which < 5; ++which) {
        std::vector<float> x = y;
        if (which == 0) k.gate_sigmoid(x.data(), y.data(), n);
        if (which == 1) k.silu(x.data(), n);
        if (which == 2) k.add_scaled(x.data(), y.data(), 3.0f, n);
        if (which == 3) k.softmax(x.data(), n);
        if (which == 4) k.l2_norm(x.data(), 1e-6f, 3.0f, n);
        EXPECT_EQ(std::memcmp(x.data() + n, y.data() + n, 16 * sizeof(float)), 0) << isa_name(isa) << " " << which;
      }
    }
  }
}

TEST(RowKernels, ReluSquaredKeepsNaN) {
  for (Isa isa : supported_isas()) {
    std::vector<float> gate(17, 2.0f);
    const std::vector<float> up(17, 1.0f);
    gate[0] = gate[16] = std::nanf("");
    row_kernels(isa).gate_relu_squared(gate.data(), up.data(), 17);
    EXPECT_TRUE(std::isnan(gate[0]) && std::isnan(gate[16])) << isa_name(isa);
    EXPECT_EQ(gate[1], 4.0f);
  }
}

// Blocks of eight bits, from the definition in double, on every instruction set.
TEST(RowKernels, BlocksOfEightBits) {
  std::vector<float> x = random_row(32 * 9, 7, 5);
  for (int i = 0; i < 32; ++i) x[static_cast<std::size_t>(i)] = 0;        // all zero
  for (int i = 32; i < 64; ++i) x[static_cast<std::size_t>(i)] *= 1e-9f;  // d is no half any more
  for (int i = 64; i < 96; ++i) x[static_cast<std::size_t>(i)] *= 3e-6f;  // d is a coarse half
  x[70] = 1.82e-5f, x[71] = -1.8e-5f;  // 2.4 of the smallest half, rounded down: codes beyond a byte
  x[96 + 3] = NAN, x[128 + 31] = kInfinity, x[160] = -kInfinity, x[192 + 16] = 8.4e6f;  // 8.4e6 / 127 is no half
  x[224 + 7] = -8.3e6f;
  const auto n = static_cast<std::int64_t>(x.size());
  for (Isa isa : supported_isas()) {
    std::vector<std::uint8_t> out(x.size() / 32 * 34 + 1, 0xEE);
    row_kernels(isa).to_q8_0(x.data(), n, out.data());
    EXPECT_EQ(out.back(), 0xEE) << "written past the end";
    for (std::size_t block = 0; block < x.size() / 32; ++block) {
      SCOPED_TRACE(std::string(isa_name(isa)) + ", block " + std::to_string(block));
      const float* const from = x.data() + block * 32;
      std::uint16_t bits = 0;
      std::memcpy(&bits, out.data() + block * 34, sizeof bits);
      float largest = 0;
      bool finite = true;
      for (int i = 0; i < 32; ++i) {
        finite = finite && std::isfinite(from[i]);
        largest = std::max(largest, std::fabs(from[i]));
      }
      const float d = base::f16_to_f32(base::f32_to_f16(largest / 127.0f));
      if (!finite || std::isinf(d)) {
        EXPECT_TRUE(std::isnan(base::f16_to_f32(bits)));
        continue;
      }
      EXPECT_EQ(base::f16_to_f32(bits), d);
      for (int i = 0; i < 32; ++i) {
        const double code = d == 0 ? 0.0 : static_cast<double>(from[i] / d);
        const auto want = static_cast<int>(std::clamp(std::nearbyint(code), -127.0, 127.0));
        EXPECT_EQ(static_cast<std::int8_t>(out[block * 34 + 2 + static_cast<std::size_t>(i)]), want) << i;
      }
    }
  }
}

TEST(RowKernels, HalvesAndFiniteness) {
  for (std::int64_t n : kSizes) {
    const std::vector<float> x = random_row(n, 6, 70000);
    for (Isa isa : supported_isas()) {
      for (std::int64_t stride : {1, 3}) {
        std::vector<std::uint16_t> out(static_cast<std::size_t>(n * stride), 0xDEAD);
        row_kernels(isa).to_f16(x.data(), n, out.data(), stride);
        for (std::int64_t i = 0; i < n * stride; ++i) {
          const std::uint16_t want =
              i % stride == 0 ? base::f32_to_f16(x[static_cast<std::size_t>(i / stride)]) : 0xDEAD;
          ASSERT_EQ(out[static_cast<std::size_t>(i)], want) << isa_name(isa);
        }
      }
      EXPECT_TRUE(row_kernels(isa).all_finite(x.data(), n));
      for (float bad : {kInfinity, -kInfinity, static_cast<float>(NAN)}) {
        for (std::int64_t at : {std::int64_t{0}, n / 2, n - 1}) {
          std::vector<float> y = x;
          y[static_cast<std::size_t>(at)] = bad;
          EXPECT_FALSE(row_kernels(isa).all_finite(y.data(), n)) << isa_name(isa) << " " << bad << " at " << at;
        }
      }
    }
  }
}

TEST(RowKernels, ProductsOfRows) {
  for (std::int64_t n : kSizes) {
    const std::vector<float> x = random_row(n, 7), w = random_row(n, 8);
    expect_same_bits(n, [&](const RowKernels& k) {
      std::vector<float> y(x.size(), NAN);
      k.multiply(x.data(), w.data(), n, y.data());
      return y;
    });
    std::vector<float> y = x;
    row_kernels(supported_isas().back()).multiply(y.data(), w.data(), n, y.data());
    for (std::size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], x[i] * w[i]);
  }
}

// Width and block: below, at and beyond the tile of 256, with rest and without.
const std::pair<std::int64_t, std::int64_t> kHadamardShapes[] = {
    {1, 1},     {6, 2},    {8, 8},   {48, 16},   {64, 64},  {96, 32},    {256, 256},   {320, 64},    {384, 128},
    {768, 256}, {512, 16}, {512, 4}, {512, 512}, {576, 32}, {1024, 512}, {3072, 1024}, {2048, 2048}, {2304, 128}};

TEST(RowKernels, HadamardIsItsDefinition) {
  for (const auto& [n, block] : kHadamardShapes) {
    const std::vector<float> x = random_row(n, 9);
    for (Isa isa : supported_isas()) {
      std::vector<float> y = x;
      row_kernels(isa).hadamard(y.data(), n, block);
      for (std::int64_t i = 0; i < n; ++i) {
        // A row of the matrix, by popcount, in fp64.
        double want = 0, size = 0;
        for (std::int64_t j = 0; j < block; ++j) {
          const double value = x[static_cast<std::size_t>(i / block * block + j)];
          want += __builtin_popcountll(static_cast<unsigned long long>((i % block) & j)) % 2 == 0 ? value : -value;
          size += std::fabs(value);
        }
        const double root = std::sqrt(static_cast<double>(block));
        // log2(block) + 2 roundings of sums that are no larger than the sum of magnitudes.
        ASSERT_NEAR(y[static_cast<std::size_t>(i)], want / root, 14 * 0x1p-24 * size / root) << n << " " << block;
      }
    }
  }
}

TEST(RowKernels, HadamardHasTheBitsOfItsOrder) {
  for (const auto& [n, block] : kHadamardShapes) {
    const std::vector<float> x = random_row(n, 10, 1e3f);
    std::vector<float> want = x;
    for (std::int64_t h = 1; h < block; h *= 2) {
      for (std::int64_t i = 0; i < n; ++i) {
        if ((i & h) != 0) continue;
        const float a = want[static_cast<std::size_t>(i)], b = want[static_cast<std::size_t>(i + h)];
        want[static_cast<std::size_t>(i)] = a + b;
        want[static_cast<std::size_t>(i + h)] = a - b;
      }
    }
    for (float& value : want) value *= static_cast<float>(1 / std::sqrt(static_cast<double>(block)));
    for (Isa isa : supported_isas()) {
      std::vector<float> got = x;
      row_kernels(isa).hadamard(got.data(), n, block);
      ASSERT_EQ(std::memcmp(got.data(), want.data(), want.size() * sizeof(float)), 0)
          << isa_name(isa) << " " << n << " " << block;
    }
  }
}

}  // namespace
}  // namespace rowmax::engine::row_kernels_test
