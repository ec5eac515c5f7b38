// Arithmetic::kF64 against the definition in long double, within a bound derived as in attention/reference.h with
// u = 2^-53; and the promise of equal bits.
#include "attention/kernels/attend_f64/attend_f64.h"

#include "attention/test_problem.h"

namespace rowmax::attention::test {
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
  std::vector<RowStatus> status;
  bool operator==(const Found& other) const {
    return std::memcmp(out.data(), other.out.data(), out.size() * 8) == 0 && lse == other.lse && status == other.status;
  }
};

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
  const auto report = attend_exact(args, plan, pool(threads), isa);
  ASSERT_TRUE(report.ok()) << report.error().message;
}

Found attend_all(const Problem& p, const Options& options, Isa isa, int threads, std::int64_t chunk = 0) {
  Found found;
  found.out.resize(static_cast<std::size_t>(p.n_q * p.n_head * p.v_dim));
  found.lse.resize(static_cast<std::size_t>(p.n_q * p.n_head));
  found.status.resize(found.lse.size());
  if (chunk == 0) chunk = p.n_q;
  for (std::int64_t first = 0; first < p.n_q; first += chunk) {
    attend_part(p, options, isa, threads, first, std::min(chunk, p.n_q - first), &found);
  }
  return found;
}

struct Expected {
  std::vector<Real> out;
  Real lse, bound;  // of out: absolute
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
  Expected row{std::vector<Real>(static_cast<std::size_t>(p.v_dim), 0), -INFINITY, 0};
  const bool sink = options.sinks && !std::isinf(p.sinks[static_cast<std::size_t>(h)]);
  if (sink) highest = std::max(highest, static_cast<Real>(p.sinks[static_cast<std::size_t>(h)]));
  if (sink) sum += std::exp(static_cast<Real>(p.sinks[static_cast<std::size_t>(h)]) - highest);
  for (const auto& [j, s] : scores) sum += std::exp(s - highest);
  if (sum == 0) return row;
  for (const auto& [j, s] : scores) {
    const Real weight = std::exp(s - highest) / sum;
    for (std::int64_t d = 0; d < p.v_dim; ++d) {
      const Real value = p.v[static_cast<std::size_t>((j * p.n_kv_head + kv_head) * p.v_dim + d)];
      row.out[static_cast<std::size_t>(d)] += weight * value;
      value_max = std::max(value_max, std::fabs(value));
    }
  }
  row.lse = highest + std::log(sum);
  const Real tiles = static_cast<Real>(p.n_kv / 64 + 2);
  row.bound = (4 * score_error + 76 * tiles + 40) * 0x1p-53L * value_max;
  return row;
}

// The largest error in units of the bound.
double worst_error(const Problem& p, const Options& options, const Found& found) {
  double worst = 0;
  for (std::int64_t i = 0; i < p.n_q; ++i) {
    for (std::int64_t h = 0; h < p.n_head; ++h) {
      const Expected row = expect_row(p, options, i, h);
      const std::size_t at = static_cast<std::size_t>(i * p.n_head + h);
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
  args.probe = nullptr;
  float weights[1];
  args.weights = {weights, 1, 1};
  const auto refused = attend_exact(args, plan, pool(1), Isa::kScalar);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message, "attend: weights with Arithmetic::kF64");
}

}  // namespace
}  // namespace rowmax::attention::test
