// Arithmetic::kF64 against the definition in long double, within a bound derived as in attention/reference.h with
// u = 2^-53; and the promise of equal bits.
#include "attention/kernels/attend_f64/attend_f64.h"

#include "attention/test_problem.h"
#include "rowmax/probe.h"

namespace rowmax::attention::test::attend_f64_test {
namespace {

using Real = long double;

// Everything a call can add to scores.
struct Options {
  std::int64_t left = kUnbounded, right = 0;
  float scale = 0.4f, softcap = 0;
  bool bias = false, sinks = false, distance = false;
  DType kv_type = DType::kF64;
  std::int64_t page_size = 0, ring_keys = 0;
  EmptyRows empty_rows = EmptyRows::kZero;
  WeightCheck check_weights = WeightCheck::kOff;
  bool weights = true;
};

struct Problem {
  std::int64_t n_head = 4, n_kv_head = 2, k_dim = 24, v_dim = 17, n_q = 6, n_kv = 1300;
  std::vector<double> q, k, v, bias;  // as the definition sees them
  std::vector<float> slopes, table, sinks;
};

Problem make_problem(const Options& options) {
  Random random(11);
  Problem p;
  const auto fill = [&](std::vector<double>* values, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) {
      const double x = static_cast<double>(random.uniform()) + static_cast<double>(random.uniform()) * 0x1p-25;
      const bool f64 = options.kv_type == DType::kF64 || values == &p.q || values == &p.bias;
      values->push_back(f64 ? x : static_cast<double>(rounded_to(options.kv_type, static_cast<float>(x))));
    }
  };
  fill(&p.q, p.n_q * p.n_head * p.k_dim);
  fill(&p.k, p.n_kv * p.n_kv_head * p.k_dim);
  fill(&p.v, p.n_kv * p.n_kv_head * p.v_dim);
  fill(&p.bias, p.n_q * p.n_head * p.n_kv);
  for (std::size_t i = 0; i < p.bias.size(); i += 13) p.bias[i] = -INFINITY;
  for (std::int64_t h = 0; h < p.n_head; ++h) {
    p.slopes.push_back(0.01f * static_cast<float>(h + 1));
    p.sinks.push_back(static_cast<float>(h) - 1);
    for (int i = 0; i < 9; ++i) p.table.push_back(random.uniform());
  }
  p.sinks[3] = -INFINITY;
  return p;
}

struct Found {
  std::vector<double> out;
  std::vector<float> lse;
  std::vector<float> weights;  // [query][head][key]
  std::vector<RowStatus> status;
  std::string error;

  bool same_weights(const Found& other) const {
    return std::memcmp(weights.data(), other.weights.data(), weights.size() * 4) == 0;
  }
  bool operator==(const Found& other) const {
    return std::memcmp(out.data(), other.out.data(), out.size() * 8) == 0 && lse == other.lse &&
           status == other.status && same_weights(other);
  }
};

std::uint32_t bits(float x) { return std::bit_cast<std::uint32_t>(x); }

// The queries [first, first + n) of the problem in one call.
void attend_part(const Problem& p, const Options& options, Isa isa, int threads, std::int64_t first, std::int64_t n,
                 Found* found) {
  const std::int64_t slots = options.ring_keys > 0 ? options.ring_keys : p.n_kv;
  const auto store = [&](const std::vector<double>& from, std::int64_t n_dim) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(slots * p.n_kv_head * n_dim) * 8, std::byte{0xFF});
    for (std::int64_t j = 0; j < p.n_kv; ++j) {
      for (std::int64_t i = 0; i < p.n_kv_head * n_dim; ++i) {
        const double x = from[static_cast<std::size_t>(j * p.n_kv_head * n_dim + i)];
        const std::int64_t at = j % slots * p.n_kv_head * n_dim + i;
        if (options.kv_type == DType::kF64) {
          std::memcpy(&bytes[static_cast<std::size_t>(at) * 8], &x, 8);
        } else {
          store_as(options.kv_type, bytes.data(), at, static_cast<float>(x));
        }
      }
    }
    return bytes;
  };
  const std::vector<std::byte> k = store(p.k, p.k_dim), v = store(p.v, p.v_dim);
  const std::vector<double> q(p.q.begin() + first * p.n_head * p.k_dim, p.q.begin() + (first + n) * p.n_head * p.k_dim);
  const Sequence sequence{0, n, p.n_kv - p.n_q + first, p.n_kv};
  MaskPlan plan;
  ASSERT_TRUE(plan.compile(MaskSpec().window(options.left, options.right), {{&sequence, 1}, 4, 2}).ok());
  KvSequence kv{k.data(), v.data(), nullptr, nullptr};
  if (options.bias) kv.bias = p.bias.data() + first * p.n_head * p.n_kv;
  AttendArgs args;
  args.arithmetic = Arithmetic::kF64;
  args.q = {q.data(), DType::kF64, MemorySpace::kHost, n, p.n_head, p.k_dim, p.n_head * p.k_dim, p.k_dim, 1};
  args.kv = packed_kv(options.kv_type, p.n_kv_head, p.k_dim, p.v_dim);
  args.kv.page_size = options.page_size;
  args.kv.k.page_stride = options.page_size * args.kv.k.key_stride;
  args.kv.v.page_stride = options.page_size * args.kv.v.key_stride;
  args.kv.ring_keys = options.ring_keys;
  args.sequences = {&kv, 1};
  args.bias = {DType::kF64, p.n_head * p.n_kv, p.n_kv, 1};
  args.scale = options.scale;
  args.softcap = options.softcap;
  args.empty_rows = options.empty_rows;
  if (options.sinks) args.sinks = p.sinks.data();
  if (options.distance) {
    args.alibi_slopes = p.slopes.data();
    args.relative_bias = {p.table.data(), -7, 1, 9};
  }
  const std::int64_t at = first * p.n_head;
  args.out = {found->out.data() + at * p.v_dim,
              DType::kF64,
              MemorySpace::kHost,
              n,
              p.n_head,
              p.v_dim,
              p.n_head * p.v_dim,
              p.v_dim,
              1};
  args.lse = found->lse.data() + at;
  args.lse_row_stride = p.n_head;
  args.row_status = found->status.data() + at;
  args.status_row_stride = p.n_head;
  if (options.weights) args.weights = {found->weights.data() + at * p.n_kv, p.n_head * p.n_kv, p.n_kv};
  args.check_weights = options.check_weights;
  const auto report = attend_exact(args, plan, pool(threads), isa);
  if (!report.ok()) found->error = report.error().message;
}

Found attend_all(const Problem& p, const Options& options, Isa isa, int threads, std::int64_t chunk = 0) {
  Found found;
  found.out.resize(static_cast<std::size_t>(p.n_q * p.n_head * p.v_dim));
  found.lse.resize(static_cast<std::size_t>(p.n_q * p.n_head));
  found.status.resize(found.lse.size());
  found.weights.assign(static_cast<std::size_t>(p.n_q * p.n_head * p.n_kv), -77.0f);
  if (chunk == 0) chunk = p.n_q;
  for (std::int64_t first = 0; first < p.n_q; first += chunk) {
    attend_part(p, options, isa, threads, first, std::min(chunk, p.n_q - first), &found);
  }
  return found;
}

struct Expected {
  std::vector<Real> out;
  std::vector<Real> weights;  // [n_kv]; 0 where hidden
  Real weight_bound = 0;      // relative
  Real lse, bound;            // of out: absolute
};

Expected expect_row(const Problem& p, const Options& options, std::int64_t i, std::int64_t h) {
  const std::int64_t position = p.n_kv - p.n_q + i, kv_head = h / 2;
  std::vector<std::pair<std::int64_t, Real>> scores;
  Real highest = -INFINITY, score_error = 0, value_max = 0;
  for (std::int64_t j = 0; j < p.n_kv; ++j) {
    if (j > position + options.right || (options.left != kUnbounded && j < position - options.left)) continue;
    const double bias = p.bias[static_cast<std::size_t>((i * p.n_head + h) * p.n_kv + j)];
    if (options.bias && std::isinf(bias)) continue;
    Real dot = 0, size = 0;
    for (std::int64_t d = 0; d < p.k_dim; ++d) {
      const Real product = static_cast<Real>(p.q[static_cast<std::size_t>((i * p.n_head + h) * p.k_dim + d)]) *
                           static_cast<Real>(p.k[static_cast<std::size_t>((j * p.n_kv_head + kv_head) * p.k_dim + d)]);
      dot += product;
      size += std::fabs(product);
    }
    Real s = dot * static_cast<Real>(options.scale);
    Real error = static_cast<Real>(p.k_dim + 1) * size * static_cast<Real>(options.scale);
    if (options.softcap > 0) {
      s = static_cast<Real>(options.softcap) * std::tanh(s / static_cast<Real>(options.softcap));
      error += 8 * static_cast<Real>(options.softcap);  // tanh_of errs by 5e-16 = 4.5 u absolute, cap times that
    }
    if (options.bias) s += static_cast<Real>(bias);
    if (options.distance) {
      s -= static_cast<Real>(p.slopes[static_cast<std::size_t>(h)]) * std::fabs(static_cast<Real>(position - j));
      const std::int64_t distance = std::clamp<std::int64_t>(j - position, -7, 1) + 7;
      s += static_cast<Real>(p.table[static_cast<std::size_t>(h * 9 + distance)]);
      error +=
          4 * static_cast<Real>(p.slopes[static_cast<std::size_t>(h)]) * std::fabs(static_cast<Real>(position - j)) + 4;
    }
    error += 6 * std::fabs(s) + 2;
    score_error = std::max(score_error, error);
    scores.push_back({j, s});
    highest = std::max(highest, s);
  }
  Real sum = 0;
  Expected row{std::vector<Real>(static_cast<std::size_t>(p.v_dim), 0),
               std::vector<Real>(static_cast<std::size_t>(p.n_kv), 0), 0, -INFINITY, 0};
  const bool sink = options.sinks && !std::isinf(p.sinks[static_cast<std::size_t>(h)]);
  if (sink) highest = std::max(highest, static_cast<Real>(p.sinks[static_cast<std::size_t>(h)]));
  if (sink) sum += std::exp(static_cast<Real>(p.sinks[static_cast<std::size_t>(h)]) - highest);
  for (const auto& [j, s] : scores) sum += std::exp(s - highest);
  if (sum == 0) return row;
  for (const auto& [j, s] : scores) {
    const Real weight = std::exp(s - highest) / sum;
    row.weights[static_cast<std::size_t>(j)] = weight;
    for (std::int64_t d = 0; d < p.v_dim; ++d) {
      const Real value = p.v[static_cast<std::size_t>((j * p.n_kv_head + kv_head) * p.v_dim + d)];
      row.out[static_cast<std::size_t>(d)] += weight * value;
      value_max = std::max(value_max, std::fabs(value));
    }
  }
  row.lse = highest + std::log(sum);
  const Real tiles = static_cast<Real>(p.n_kv / 64 + 2);
  row.weight_bound = (4 * score_error + 76 * tiles + 40) * 0x1p-53L;
  row.bound = row.weight_bound * value_max;
  return row;
}

// Within the bound and one rounding to f32; +0 to the bit where hidden.
void expect_weights(const Problem& p, const Expected& row, const float* found) {
  for (std::size_t j = 0; j < static_cast<std::size_t>(p.n_kv); ++j) {
    const Real exact = row.weights[j];
    if (exact == 0) {
      ASSERT_EQ(bits(found[j]), 0u) << j;
    }
    ASSERT_LE(std::fabs(static_cast<Real>(found[j]) - exact), exact * (0x1p-24L + row.weight_bound) + 0x1p-150L) << j;
  }
}

// The largest error in units of the bound.
double worst_error(const Problem& p, const Options& options, const Found& found) {
  double worst = 0;
  for (std::int64_t i = 0; i < p.n_q; ++i) {
    for (std::int64_t h = 0; h < p.n_head; ++h) {
      const Expected row = expect_row(p, options, i, h);
      const std::size_t at = static_cast<std::size_t>(i * p.n_head + h);
      expect_weights(p, row, &found.weights[at * static_cast<std::size_t>(p.n_kv)]);
      EXPECT_NEAR(found.lse[at], static_cast<double>(row.lse), 1e-6 * (1 + std::fabs(static_cast<double>(row.lse))));
      EXPECT_EQ(found.status[at], row.bound > 0 ? RowStatus::kOk : RowStatus::kEmpty);
      for (std::size_t d = 0; d < static_cast<std::size_t>(p.v_dim); ++d) {
        const double x = found.out[at * static_cast<std::size_t>(p.v_dim) + d];
        const Real error = std::fabs(static_cast<Real>(x) - row.out[d]);
        if (row.bound == 0) {
          EXPECT_EQ(error, 0);
          continue;
        }
        worst = std::max(worst, std::isnan(x) ? INFINITY : static_cast<double>(error / row.bound));
      }
    }
  }
  return worst;
}

std::vector<Options> all_options() {
  std::vector<Options> all(9);
  all[1].left = 300;
  all[2].softcap = 2;
  all[3].bias = true;
  all[4].distance = true;
  all[5].sinks = true;
  all[6] = {200, 0, 0.4f, 3, true, true, true, DType::kF16, 5, 0};
  all[7] = {200, 0, 0.4f, 0, false, false, false, DType::kBF16, 64, 704};
  all[8].kv_type = DType::kF32;
  return all;
}

TEST(F64, AgreesWithLongDoubleWithinTheBound) {
  for (const Options& options : all_options()) {
    const Problem p = make_problem(options);
    const double worst = worst_error(p, options, attend_all(p, options, Isa::kScalar, 1));
    EXPECT_LT(worst, 1);
    EXPECT_GT(worst, 1e-4) << "the bound says nothing";
  }
}

TEST(F64, IsasThreadsAndChunksGiveTheSameBits) {
  for (const Options& options : all_options()) {
    const Problem p = make_problem(options);
    const Found expected = attend_all(p, options, Isa::kScalar, 1);
    for (const Isa isa : supported_isas()) {
      EXPECT_TRUE(attend_all(p, options, isa, 2) == expected) << isa_name(isa);
    }
    if (!options.bias) {
      EXPECT_TRUE(attend_all(p, options, best_isa(), 3, 1) == expected);
      EXPECT_TRUE(attend_all(p, options, best_isa(), 1, 4) == expected);
    }
    Options plain = options;
    plain.weights = false;
    const Found without = attend_all(p, plain, best_isa(), 2);
    EXPECT_EQ(std::memcmp(without.out.data(), expected.out.data(), expected.out.size() * 8), 0);
    EXPECT_TRUE(without.lse == expected.lse && without.status == expected.status);
  }
}

TEST(F64, HiddenPoisonChangesNoBitAndEmptyRowsAreZero) {
  Options options;
  options.right = -1300 + 4;  // the first queries see nothing
  Problem p = make_problem(options);
  const Found clean = attend_all(p, options, Isa::kScalar, 1);
  EXPECT_EQ(clean.status[0], RowStatus::kEmpty);
  for (std::size_t d = 0; d < 17; ++d) EXPECT_TRUE(clean.out[d] == 0 && !std::signbit(clean.out[d]));
  options.right = -200;
  p = make_problem(options);
  const Found before = attend_all(p, options, Isa::kScalar, 1);
  // Queries 0..5 at 1294..1299 see keys up to 1094..1099: key 1097 is hidden from the first three.
  p.k[1097 * 48] = NAN;
  p.v[1097 * 34 + 20] = INFINITY;
  const Found after = attend_all(p, options, best_isa(), 2);
  EXPECT_EQ(std::memcmp(before.out.data(), after.out.data(), 3 * 4 * 17 * 8), 0);
  EXPECT_EQ(after.status[3 * 4], RowStatus::kNonFinite);     // NaN in the key of kv head 0
  EXPECT_EQ(after.status[3 * 4 + 2], RowStatus::kOverflow);  // an infinite value of kv head 1
}

TEST(F64, NumbersBeyondF32) {
  Options options;
  Problem p = make_problem(options);
  for (double& x : p.v) x *= 1e200;
  const Found found = attend_all(p, options, best_isa(), 1);
  for (const RowStatus status : found.status) EXPECT_EQ(status, RowStatus::kOk);
  EXPECT_GT(std::fabs(found.out[0]), 1e150);
  for (double& x : p.k) x *= 1e200;
  for (double& x : p.q) x *= 1e200;
  for (const RowStatus status : attend_all(p, options, best_isa(), 1).status) EXPECT_EQ(status, RowStatus::kOverflow);
}

TEST(F64, AnLseBeyondF32IsOverflow) {
  Options options;
  options.scale = 1;
  Problem p = make_problem(options);
  for (double& x : p.q) x = 1e30;
  for (double& x : p.k) x = 1e30;  // scores of 24e60: the softmax is fine, its logarithm no f32
  const Found found = attend_all(p, options, best_isa(), 1);
  for (const double x : found.out) EXPECT_TRUE(std::isfinite(x));
  for (const float lse : found.lse) EXPECT_EQ(lse, INFINITY);
  for (const RowStatus status : found.status) EXPECT_EQ(status, RowStatus::kOverflow);
}

TEST(F64, NarrowResultsAreRoundedOnce) {
  // 1 + 2^-11 + 2^-40 lies above the middle of two halves; through f32 it would fall on it, and down.
  const double value = 1 + 0x1p-11 + 0x1p-40;
  const double key = 0, query = 1;
  const Sequence sequence{0, 1, 0, 1};
  MaskPlan plan;
  ASSERT_TRUE(plan.compile(MaskSpec(), {{&sequence, 1}, 1, 1}).ok());
  const KvSequence kv{&key, &value, nullptr, nullptr};
  AttendArgs args;
  args.arithmetic = Arithmetic::kF64;
  args.q = {&query, DType::kF64, MemorySpace::kHost, 1, 1, 1, 1, 1, 1};
  args.kv = packed_kv(DType::kF64, 1, 1, 1);
  args.sequences = {&kv, 1};
  for (const Isa isa : supported_isas()) {
    std::uint16_t half = 0;
    args.out = {&half, DType::kF16, MemorySpace::kHost, 1, 1, 1, 1, 1, 1};
    ASSERT_TRUE(attend_exact(args, plan, pool(1), isa).ok());
    EXPECT_EQ(half, 0x3C01);  // 1 + 2^-10
    float single = 0;
    args.out = {&single, DType::kF32, MemorySpace::kHost, 1, 1, 1, 1, 1, 1};
    ASSERT_TRUE(attend_exact(args, plan, pool(1), isa).ok());
    EXPECT_EQ(single, 1 + 0x1p-11f);
  }
}

// The first two queries see nothing, the others few keys.
TEST(F64, EmptyRowsGiveWhatWasAskedFor) {
  for (const std::int64_t n_q : {6, 70}) {  // few rows are computed split by split
    Options options;
    options.right = -1300 + n_q - 2;
    options.sinks = true;
    Problem p = make_problem(options);
    const std::size_t row_numbers = static_cast<std::size_t>(p.n_head * p.k_dim);
    p.n_q = n_q;
    p.q.resize(static_cast<std::size_t>(n_q) * row_numbers, 0.25);
    for (double& x : p.v) x *= 1e100;
    std::vector<Real> mean(static_cast<std::size_t>(p.n_kv_head * p.v_dim), 0);
    for (std::size_t i = 0; i < p.v.size(); ++i) mean[i % mean.size()] += static_cast<Real>(p.v[i]) / 1300;
    const Found zero = attend_all(p, options, Isa::kScalar, 1);
    for (const EmptyRows policy : {EmptyRows::kNaN, EmptyRows::kUniform}) {
      options.empty_rows = policy;
      const Found found = attend_all(p, options, Isa::kScalar, 1);
      for (const Isa isa : supported_isas()) {
        for (const int threads : {1, 3}) EXPECT_TRUE(attend_all(p, options, isa, threads) == found) << isa_name(isa);
      }
      EXPECT_TRUE(found.lse == zero.lse && found.status == zero.status);
      for (std::size_t at = 0; at < 2 * 4; ++at) {
        EXPECT_EQ(found.status[at], RowStatus::kEmpty);
        for (std::size_t d = 0; d < 17; ++d) {
          const double out = found.out[at * 17 + d];
          const Real exact = mean[at % 4 / 2 * 17 + d];
          if (policy == EmptyRows::kNaN) {
            EXPECT_EQ(std::bit_cast<std::uint64_t>(out), 0x7FF8000000000000u);
          } else {
            EXPECT_LE(std::fabs(static_cast<Real>(out) - exact), 520 * 0x1p-53L * 1e100L);
            EXPECT_EQ(zero.out[at * 17 + d], 0);
          }
        }
        for (std::size_t j = 0; j < 1300; ++j) {
          const float weight = found.weights[at * 1300 + j];
          ASSERT_EQ(bits(weight), policy == EmptyRows::kNaN ? 0x7FC00000u : bits(1.0f / 1300.0f));
        }
      }
      const std::size_t rest = 2 * 4 * 17;
      EXPECT_EQ(std::memcmp(&found.out[rest], &zero.out[rest], (found.out.size() - rest) * 8), 0);
    }
  }
}

TEST(F64, WeightsOfAFaultyRowAreNaNWhereVisible) {
  Options options;
  Problem p = make_problem(options);
  p.k[1297 * 48] = -NAN;  // kv head 0: heads 0 and 1 from query 3 on
  const Found found = attend_all(p, options, best_isa(), 2);
  for (std::size_t i = 0; i < 6; ++i) {
    for (std::size_t j = 0; j < 1300; ++j) {
      const std::uint32_t weight = bits(found.weights[i * 4 * 1300 + j]);
      const bool visible = j <= 1294 + i;
      ASSERT_EQ(weight == 0u, !visible) << i << " " << j;
      ASSERT_EQ(weight == 0x7FC00000u, visible && i >= 3) << i << " " << j;
    }
  }
}

TEST(F64, TheWeightCheckNamesTheFirstKeyToBlame) {
  Options options;
  options.check_weights = WeightCheck::kOn;
  const Problem clean = make_problem(options);
  EXPECT_EQ(attend_all(clean, options, best_isa(), 2).error, "");
  Problem p = clean;
  p.k[1297 * 48 + 24] = NAN;  // kv head 1, seen by queries 3 and later
  p.k[1298 * 48 + 24] = NAN;
  for (const Isa isa : supported_isas()) {
    for (const int threads : {1, 3}) {
      const Found found = attend_all(p, options, isa, threads);
      EXPECT_EQ(found.error, "attend: weight is NaN at sequence 0, head 2, query 3, key 1297 (score NaN)");
      EXPECT_EQ(found.status[3 * 4 + 2], RowStatus::kNonFinite);  // written all the same
    }
  }
  p = clean;
  for (double& x : p.q) x = 1e300;
  for (double& x : p.k) x = -1e300;  // all scores are -inf: 0 / 0
  EXPECT_EQ(attend_all(p, options, best_isa(), 1).error,
            "attend: weight is NaN at sequence 0, head 0, query 0, key 0 (score -inf)");
  p.k[700 * 48] = 1e300;  // the first product is infinite and stays so: the others are finite inside a fused step
  EXPECT_EQ(attend_all(p, options, best_isa(), 1).error,
            "attend: weight is NaN at sequence 0, head 0, query 0, key 700 (score +inf)");
  options.check_weights = WeightCheck::kOff;
  EXPECT_EQ(attend_all(p, options, best_isa(), 1).error, "");
}

TEST(F64, WhatHoldsF32ByTypeIsRefused) {
  const double number = 1;
  const Sequence sequence{0, 1, 0, 1};
  MaskPlan plan;
  ASSERT_TRUE(plan.compile(MaskSpec(), {{&sequence, 1}, 1, 1}).ok());
  const KvSequence kv{&number, &number, nullptr, nullptr};
  float o = 0, m = 0, l = 0;
  RowStatus status{};
  struct NoProbe final : Probe {
    bool wants(std::int64_t, std::int64_t, std::int64_t) const noexcept override { return true; }
    void row(const ProbeRow&) const noexcept override {}
  } probe;
  AttendArgs args;
  args.arithmetic = Arithmetic::kF64;
  args.q = {&number, DType::kF64, MemorySpace::kHost, 1, 1, 1, 1, 1, 1};
  args.out = {&o, DType::kF32, MemorySpace::kHost, 1, 1, 1, 1, 1, 1};
  args.kv = packed_kv(DType::kF64, 1, 1, 1);
  args.sequences = {&kv, 1};
  const auto message = [&] {
    const auto report = attend_exact(args, plan, pool(1), best_isa());
    return report.ok() ? std::string() : report.error().message;
  };
  EXPECT_EQ(message(), "");
  args.probe = &probe;
  EXPECT_EQ(message(), "attend: a probe with Arithmetic::kF64");
  args.probe = nullptr;
  args.partial = {&o, 1, 1, &m, &l, &status, 1, 1};
  EXPECT_EQ(message(), "attend: partial results with Arithmetic::kF64");
}

}  // namespace
}  // namespace rowmax::attention::test::attend_f64_test
