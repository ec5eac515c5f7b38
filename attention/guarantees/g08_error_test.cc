// G8: results lie within the bound derived in docs/numerics.md of the exact ones. Each test prints the worst error in
// units of that bound. (All masks and shapes: EveryMask.AgreesWithTheReferenceWithinTheDerivedBound.)
#include <cstdio>

#include "attention/guarantees/test_call.h"

namespace rowmax::attention::test::g08_error_test {
namespace {

double gaussian(Random& random) {
  const double a = (static_cast<double>(random.bits()) + 1) * 0x1p-32, b = static_cast<double>(random.bits()) * 0x1p-32;
  return std::sqrt(-2 * std::log(a)) * std::cos(6.283185307179586 * b);
}

struct Measured {
  Shape shape;
  Numbers x;
  float scale = 1.0f;
};

// The worst error of all ISAs, which is one number, as their bits are the same.
double measure(const char* name, const Measured& p, int threads = 1) {
  const std::vector<Sequence> sequences{{0, p.x.n_q, p.x.n_kv - p.x.n_q, p.x.n_kv}};
  RunOptions options;
  options.isa = best_isa();
  options.threads = threads;
  options.scale = p.scale;
  const Output output = run(p.shape, {p.x}, sequences, MaskSpec().causal(), options);
  const double worst = worst_error(p.shape, p.x, output, 0, options, [&](std::int64_t, std::int64_t i, std::int64_t j) {
    return j <= p.x.n_kv - p.x.n_q + i;
  });
  std::printf("[    ratio ] %s, %lld keys, head size %lld: worst error / bound %.2g\n", name,
              static_cast<long long>(p.x.n_kv), static_cast<long long>(p.shape.k_dim), worst);
  return worst;
}

Measured problem(std::int64_t n_q, std::int64_t n_kv, std::int64_t dim, float size = 2.0f) {
  Random random(static_cast<std::uint64_t>(800 + n_kv + dim));
  const Shape shape{1, 1, dim, dim};
  return {shape, random_numbers(random, shape, n_q, n_kv, DType::kF32, size),
          1.0f / std::sqrt(static_cast<float>(dim))};
}

TEST(G8, RandomNumbers) {
  for (std::int64_t dim : {1, 64, 128}) {
    for (std::int64_t n_kv : {1, 64, 700}) {
      EXPECT_LT(measure("uniform", problem(1, n_kv, dim), 2), 1.0);
      EXPECT_LT(measure("uniform, small scores", problem(1, n_kv, dim, 0.1f)), 1.0);
    }
  }
}

// Products of a score that cancel to almost nothing, and values that cancel in the result.
TEST(G8, CancellingProductsAndValues) {
  Measured p = problem(2, 700, 64);
  for (std::size_t i = 0; i < p.x.k.size(); ++i) p.x.k[i] *= i % 2 == 0 ? 100.0f : 1.0f;
  for (std::size_t i = 0; i + 1 < p.x.k.size(); i += 2) p.x.k[i + 1] = -p.x.k[i] * (1 + 1e-3f);
  for (std::size_t i = 0; i + 1 < p.x.q.size(); i += 2) p.x.q[i + 1] = p.x.q[i];
  EXPECT_LT(measure("cancelling products", p), 1.0);
  p = problem(2, 700, 64, 0.01f);
  for (std::size_t i = 0; i < p.x.v.size(); ++i) p.x.v[i] = i / 64 % 2 == 0 ? 1.0f : -1.0f;
  EXPECT_LT(measure("cancelling values", p), 1.0);
}

// Scores all over: one far above the rest; growing, so that every tile rescales; falling; far apart.
TEST(G8, HugeGrowingAndFallingScores) {
  for (int kind = 0; kind < 4; ++kind) {
    Measured p = problem(1, 1300, 16);
    p.scale = 1.0f;
    for (std::int64_t j = 0; j < p.x.n_kv; ++j) {
      for (std::size_t d = 0; d < 16; ++d) {
        float& k = p.x.k[static_cast<std::size_t>(j) * 16 + d];
        if (kind == 0 && j == 333) k = p.x.q[d] * 20;
        if (kind == 1) k = p.x.q[d] * static_cast<float>(j) * 0.01f;
        if (kind == 2) k = p.x.q[d] * static_cast<float>(1300 - j) * 0.01f;
        if (kind == 3) k *= 50.0f;
      }
    }
    static const char* const kNames[] = {"one huge key", "growing scores", "falling scores", "scores far apart"};
    EXPECT_LT(measure(kNames[kind], p), 1.0);
  }
}

TEST(Full_G8, RowsOf128ThousandKeys) {
  EXPECT_LT(measure("uniform", problem(1, 131072, 64), 2), 1.0);
  EXPECT_LT(measure("uniform, small scores", problem(1, 131072, 64, 0.05f)), 1.0);
  Measured p = problem(1, 131072, 16);
  for (std::int64_t j = 0; j < p.x.n_kv; ++j) {
    for (std::size_t d = 0; d < 16; ++d) {
      p.x.k[static_cast<std::size_t>(j) * 16 + d] = p.x.q[d] * static_cast<float>(j) * 1e-4f;
    }
  }
  EXPECT_LT(measure("growing scores", p), 1.0);
}

// What f32 attention is when written down: all sums in one chain, the maximum known before the first exponential.
std::vector<float> naive(const Measured& p) {
  const std::int64_t dim = p.shape.k_dim;
  std::vector<float> out, s(static_cast<std::size_t>(p.x.n_kv));
  for (std::int64_t i = 0; i < p.x.n_q; ++i) {
    const std::int64_t end = p.x.n_kv - p.x.n_q + i + 1;
    float highest = -INFINITY, sum = 0;
    for (std::int64_t j = 0; j < end; ++j) {
      float dot = 0;
      for (std::int64_t d = 0; d < dim; ++d) {
        dot += p.x.q[static_cast<std::size_t>(i * dim + d)] * p.x.k[static_cast<std::size_t>(j * dim + d)];
      }
      s[static_cast<std::size_t>(j)] = dot * p.scale;
      highest = std::max(highest, dot * p.scale);
    }
    for (std::int64_t j = 0; j < end; ++j) {
      float& weight = s[static_cast<std::size_t>(j)];
      sum += weight = std::exp(weight - highest);
    }
    for (std::int64_t d = 0; d < dim; ++d) {
      float o = 0;
      for (std::int64_t j = 0; j < end; ++j) {
        o += s[static_cast<std::size_t>(j)] / sum * p.x.v[static_cast<std::size_t>(j * dim + d)];
      }
      out.push_back(o);
    }
  }
  return out;
}

// N(0,1) + N(0,100) * Bernoulli(0.001), the distribution of the FlashAttention-3 paper: root mean square errors.
void outliers(std::int64_t n_q, std::int64_t n_kv, std::int64_t dim) {
  Random random(808);
  Measured p{{1, 1, dim, dim}, {}, 1.0f / std::sqrt(static_cast<float>(dim))};
  p.x.n_q = n_q;
  p.x.n_kv = n_kv;
  for (auto [values, n] : {std::pair{&p.x.q, n_q}, std::pair{&p.x.k, n_kv}, std::pair{&p.x.v, n_kv}}) {
    for (std::int64_t i = 0; i < n * dim; ++i) {
      const double outlier = random.below(1000) == 0 ? 10 * gaussian(random) : 0;
      values->push_back(static_cast<float>(gaussian(random) + outlier));
    }
  }
  EXPECT_LT(measure("outliers", p), 1.0);
  RunOptions options;
  options.isa = best_isa();
  options.scale = p.scale;
  const Output ours = run(p.shape, {p.x}, {{0, n_q, n_kv - n_q, n_kv}}, MaskSpec().causal(), options);
  const std::vector<float> other = naive(p);
  const std::vector<double> k(p.x.k.begin(), p.x.k.end()), v(p.x.v.begin(), p.x.v.end());
  double our_sum = 0, naive_sum = 0;
  for (std::int64_t i = 0; i < n_q; ++i) {
    const std::vector<double> q(p.x.q.begin() + i * dim, p.x.q.begin() + (i + 1) * dim);
    const reference::Row row = reference::attend_row(
        q, n_kv, dim, {static_cast<double>(p.scale), 0.0}, [&](std::int64_t j) { return j <= n_kv - n_q + i; },
        [&](std::int64_t j) { return &k[static_cast<std::size_t>(j * dim)]; },
        [&](std::int64_t j) { return &v[static_cast<std::size_t>(j * dim)]; }, {});
    for (std::int64_t d = 0; d < dim; ++d) {
      const auto at = static_cast<std::size_t>(i * dim + d);
      our_sum += std::pow(ours.out[at] - row.out[static_cast<std::size_t>(d)], 2);
      naive_sum += std::pow(other[at] - row.out[static_cast<std::size_t>(d)], 2);
    }
  }
  const double n = static_cast<double>(n_q * dim), rmse = std::sqrt(our_sum / n), naive_rmse = std::sqrt(naive_sum / n);
  std::printf("[     rmse ] outliers, %lld keys, head size %lld: ours %.3g, naive f32 %.3g, ratio %.3f\n",
              static_cast<long long>(n_kv), static_cast<long long>(dim), rmse, naive_rmse, rmse / naive_rmse);
  EXPECT_LT(rmse, naive_rmse);
}
TEST(G8, OutliersCloserThanNaiveF32) { outliers(24, 512, 128); }
TEST(Full_G8, OutliersCloserThanNaiveF32) {
  for (std::int64_t n_kv : {1024, 4096, 16384}) {
    outliers(64, n_kv, 64);
    outliers(64, n_kv, 128);
  }
}

}  // namespace
}  // namespace rowmax::attention::test::g08_error_test
