// The probe: every field against fp64, verdicts, text.
#include "rowmax/probe.h"

#include "attention/test_problem.h"

namespace rowmax::attention::test::probe_test {
namespace {

class Collect final : public Probe {
 public:
  explicit Collect(std::function<bool(std::int64_t, std::int64_t, std::int64_t)> wanted) : wanted_(std::move(wanted)) {}
  bool wants(std::int64_t sequence, std::int64_t head, std::int64_t query) const noexcept override {
    return wanted_(sequence, head, query);
  }
  void row(const ProbeRow& row) const noexcept override { rows.push_back(row); }

  mutable std::vector<ProbeRow> rows;

 private:
  std::function<bool(std::int64_t, std::int64_t, std::int64_t)> wanted_;
};

struct Case {
  const char* name;
  std::int64_t n_q, n_kv, q_pos, left;
  float softcap;
  bool sinks, dense, distance, bitmap;
  DType dtype;
  Layout layout;
};
constexpr Case kCases[] = {
    {"plain", 9, 40, 31, kUnbounded, 0, false, false, false, false, DType::kF32, Layout::kKeyHeadDim},
    {"one_key", 1, 1, 0, kUnbounded, 0, false, false, false, false, DType::kF32, Layout::kPagedFast},
    {"window", 5, 700, 650, 90, 0, true, false, false, false, DType::kF16, Layout::kPagedSmall},
    {"dense", 12, 150, 130, kUnbounded, 3.0f, false, true, false, false, DType::kF32, Layout::kTransposed},
    {"distance", 70, 130, 60, 50, 0, true, false, true, false, DType::kBF16, Layout::kPagedOdd},
    {"all", 6, 600, 500, 300, 2.0f, true, true, true, true, DType::kF32, Layout::kWide},
};

// Sets the members of a case and the fp64 words for them.
struct Built {
  Shape shape{4, 2, 24, 20};
  Numbers x;
  std::vector<float> sinks{0.5f, -INFINITY, 3.0f, 1.0f}, slopes{0.01f, 0.02f, 0.05f, 0.1f}, table;
  std::vector<std::uint64_t> words;
  std::vector<BitmapView> bitmaps;
  MaskSpec spec;
  RunOptions options;
  Case c;

  Built(Random& random, const Case& of) : c(of) {
    x = random_numbers(random, shape, c.n_q, c.n_kv, c.dtype);
    if (c.dense) {
      x.bias.resize(static_cast<std::size_t>(c.n_q * 4 * c.n_kv));
      for (float& value : x.bias) value = random.below(4) == 0 ? -INFINITY : random.uniform();
    }
    for (int i = 0; i < 31; ++i) table.push_back(random.uniform());
    const std::int64_t n_words = (c.n_kv + 63) / 64;
    words.resize(static_cast<std::size_t>(c.n_q * 4 * n_words));
    for (auto& word : words) word = std::uint64_t{random.bits()} << 32 | random.bits();
    bitmaps = {{words.data(), 4 * n_words, n_words}};
    spec.window(c.left, 0);
    if (c.bitmap) spec.bitmap(bitmaps);
    options.isa = best_isa();
    options.dtype = c.dtype;
    options.layout = c.layout;
    options.softcap = c.softcap;
    options.threads = 2;
    if (c.sinks) options.sinks = sinks;
    if (c.distance)
      options.added_bias = [this](std::int64_t h, std::int64_t i, std::int64_t j) { return far(h, i, j); };
  }
  double far(std::int64_t h, std::int64_t i, std::int64_t j) const {
    const std::int64_t p = c.q_pos + i;
    return -static_cast<double>(slopes[static_cast<std::size_t>(h)]) * static_cast<double>(std::llabs(p - j)) +
           static_cast<double>(table[static_cast<std::size_t>(std::clamp<std::int64_t>(j - p, -25, 5) + 25)]);
  }
  bool masked_in(std::int64_t h, std::int64_t i, std::int64_t j) const {
    const std::int64_t p = c.q_pos + i, n_words = (c.n_kv + 63) / 64;
    if (j > p || (c.left != kUnbounded && j < p - c.left)) return false;
    return !c.bitmap || ((words[static_cast<std::size_t>((i * 4 + h) * n_words + j / 64)] >> (j % 64)) & 1) != 0;
  }
  float dense(std::int64_t h, std::int64_t i, std::int64_t j) const {
    return x.bias.empty() ? 0.0f : x.bias[static_cast<std::size_t>((i * 4 + h) * c.n_kv + j)];
  }
  bool visible(std::int64_t h, std::int64_t i, std::int64_t j) const {
    return masked_in(h, i, j) && dense(h, i, j) != -INFINITY;
  }
  double dot(std::int64_t h, std::int64_t i, std::int64_t j) const {
    double sum = 0;
    for (std::int64_t d = 0; d < 24; ++d) {
      sum += static_cast<double>(x.q[static_cast<std::size_t>((i * 4 + h) * 24 + d)]) *
             static_cast<double>(x.k[static_cast<std::size_t>((j * 2 + h / 2) * 24 + d)]);
    }
    return sum;
  }
  // Before the mask; the dense bias of hidden keys does not count.
  double score(std::int64_t h, std::int64_t i, std::int64_t j) const {
    double s = dot(h, i, j) * static_cast<double>(options.scale);
    if (c.softcap > 0) s = static_cast<double>(c.softcap) * std::tanh(s / static_cast<double>(c.softcap));
    if (visible(h, i, j)) s += static_cast<double>(dense(h, i, j));
    return c.distance ? s + far(h, i, j) : s;
  }
  Output run_with(const Probe* probe) {
    options.adjust = [this, probe](AttendArgs* args) {
      args->probe = probe;
      if (c.sinks) args->sinks = sinks.data();
      if (c.distance) {
        args->alibi_slopes = slopes.data();
        args->relative_bias = {table.data(), -25, 5, 0};
      }
    };
    return run(shape, {x}, {{0, c.n_q, c.q_pos, c.n_kv}}, spec, options);
  }
};

void expect_row(const Built& b, const Output& output, const ProbeRow& row) {
  const std::int64_t h = row.head, i = row.query, n = b.c.n_kv;
  SCOPED_TRACE(std::string(b.c.name) + " head " + std::to_string(h) + " query " + std::to_string(i));
  const reference::Row want =
      reference_row(b.shape, b.x, b.options, h, i,
                    [&](std::int64_t a, std::int64_t q, std::int64_t j) { return b.visible(a, q, j); });
  const std::size_t at = static_cast<std::size_t>(i * 4 + h);
  EXPECT_EQ(row.row, i);
  EXPECT_EQ(row.position, b.c.q_pos + i);
  EXPECT_EQ(row.n_kv, n);
  EXPECT_EQ(row.n_visible, want.n_visible);
  EXPECT_EQ(row.status, output.status[at]);
  EXPECT_EQ(row.scale, static_cast<double>(b.options.scale));
  EXPECT_EQ(std::bit_cast<std::uint32_t>(row.lse), std::bit_cast<std::uint32_t>(output.lse[at]));
  double low[3] = {INFINITY, INFINITY, INFINITY}, high[3] = {-INFINITY, -INFINITY, -INFINITY};
  double largest = -INFINITY, largest_dot = 0, squares = 0;
  const auto add = [&](int which, double value) {
    low[which] = std::min(low[which], value);
    high[which] = std::max(high[which], value);
  };
  for (std::int64_t j = 0; j < n; ++j) {
    bool readable = false;
    for (std::int64_t q = 0; q < b.c.n_q; ++q)
      readable = readable || b.visible(h / 2 * 2, q, j) || b.visible(h / 2 * 2 + 1, q, j);
    if (readable) add(1, b.score(h, i, j));
    if (!b.visible(h, i, j)) continue;
    add(0, b.dot(h, i, j));
    add(2, b.score(h, i, j));
    largest = std::max(largest, b.score(h, i, j));
    squares += b.score(h, i, j) * b.score(h, i, j);
    largest_dot = std::max(largest_dot, std::fabs(b.dot(h, i, j)));
  }
  const float got[3][2] = {
      {row.raw_min, row.raw_max}, {row.before_mask_min, row.before_mask_max}, {row.after_mask_min, row.after_mask_max}};
  for (int which = 0; which < 3; ++which) {
    if (std::isinf(low[which])) {
      EXPECT_EQ(got[which][0], INFINITY) << which;
      EXPECT_EQ(got[which][1], -INFINITY) << which;
      continue;
    }
    EXPECT_NEAR(got[which][0], low[which], 2e-4) << which;
    EXPECT_NEAR(got[which][1], high[which], 2e-4) << which;
  }
  const double mean_square = want.n_visible == 0 ? 0 : squares / static_cast<double>(want.n_visible);
  EXPECT_NEAR(row.after_mask_mean_square, mean_square, 1e-4 * (1 + mean_square));
  const ProbeVerdict verdict = judge(row);
  EXPECT_EQ(row.n_hidden_weighted, 0);
  EXPECT_EQ(row.n_visible_lost, 0);
  EXPECT_EQ(row.n_non_finite_weights, 0);
  EXPECT_EQ(row.first_non_finite_key, -1);
  EXPECT_FALSE(verdict.failed()) << probe_text(row);
  EXPECT_EQ(row.hidden_max, -INFINITY);
  EXPECT_EQ(row.n_compared, b.shape.v_dim);
  if (want.n_visible == 0) {
    EXPECT_EQ(row.weights_sum, 0.0);
    EXPECT_EQ(row.out_error, 0.0);
    EXPECT_FALSE(verdict.ok());
    return;
  }
  const double sink = b.c.sinks ? static_cast<double>(b.sinks[static_cast<std::size_t>(h)]) : -INFINITY;
  EXPECT_TRUE(verdict.ok()) << probe_text(row);
  EXPECT_NEAR(row.measured_scale, row.scale, row.scale_error);
  EXPECT_LT(row.scale_error, 1e-3 * row.scale);
  // The bounds are about those that the library's own results are held to (terms are taken apart, so a little wider);
  // what was found is the error of that dimension.
  EXPECT_GE(row.out_bound, 0.999 * reference::error_bound(want, n));
  EXPECT_LE(row.out_bound, 2 * reference::error_bound(want, n));
  EXPECT_GE(row.lse_bound, 0.999 * reference::lse_bound(want, n));
  EXPECT_LE(row.lse_bound, 2 * reference::lse_bound(want, n));
  const auto dim = static_cast<std::size_t>(row.out_dim);
  EXPECT_NEAR(row.out_error, std::fabs(output.out[at * 20 + dim] - want.out[dim]), 1e-12);
  EXPECT_NEAR(row.lse_error, std::fabs(row.lse - want.lse), 1e-12);
  for (std::size_t d = 0; d < 20; ++d) {
    EXPECT_LE(std::fabs(output.out[at * 20 + d] - want.out[d]), row.out_error + 1e-12);
  }
  EXPECT_NEAR(row.row_max, std::max(largest, sink), 1e-4);
  EXPECT_NEAR(row.largest_exp, std::exp(largest - std::max(largest, sink)), 1e-4);
  EXPECT_NEAR(row.sum, std::exp(want.lse - std::max(largest, sink)), 1e-3 * row.sum);
  double sum = 0, smallest = 1;
  for (std::int64_t j = 0; j < n; ++j) {
    const double weight = want.weights[static_cast<std::size_t>(j)];
    sum += weight;
    if (b.visible(h, i, j)) smallest = std::min(smallest, weight);
  }
  EXPECT_NEAR(row.weights_sum, sum, 1e-5);
  EXPECT_NEAR(row.smallest_weight, smallest, 1e-4 * smallest);
  ASSERT_EQ(row.n_edge, std::min<std::int64_t>(n, 8));
  for (int e = 0; e < row.n_edge; ++e) {
    for (bool first : {true, false}) {
      const std::int64_t j = first ? e : n - row.n_edge + e;
      EXPECT_EQ((first ? row.first_keys : row.last_keys)[e], j);
      const float score = (first ? row.first_scores : row.last_scores)[e];
      const float weight = (first ? row.first_weights : row.last_weights)[e];
      const float dot = (first ? row.first_dots : row.last_dots)[e];
      if (!b.visible(h, i, j)) {
        EXPECT_TRUE(std::isnan(dot));
        EXPECT_EQ(score, -INFINITY);
        EXPECT_EQ(weight, 0.0f);
        continue;
      }
      EXPECT_NEAR(dot, b.dot(h, i, j), 1e-6);
      EXPECT_NEAR(score, b.score(h, i, j), 2e-4);
      EXPECT_NEAR(weight, want.weights[static_cast<std::size_t>(j)], 1e-4);
    }
  }
}

TEST(Probe, EveryFieldAgreesWithFp64AndResultsDoNotChange) {
  Random random(101);
  for (const Case& c : kCases) {
    Built b(random, c);
    const Collect probe([&](std::int64_t, std::int64_t head, std::int64_t query) {
      return query % 4 == 0 ? head == 2 : query == c.n_q - 1;
    });
    const Output without = b.run_with(nullptr);
    const Output with = b.run_with(&probe);
    EXPECT_TRUE(with.same_bits(without)) << c.name;
    ASSERT_FALSE(probe.rows.empty());
    for (const ProbeRow& row : probe.rows) expect_row(b, with, row);
  }
}

TEST(Probe, SeesRowsInOrderAndTheSameOnEveryIsa) {
  Random random(102);
  const Shape shape{4, 2, 16, 16};
  const std::vector<Numbers> numbers{random_numbers(random, shape, 3, 80), random_numbers(random, shape, 2, 5)};
  // The second sequence's first query sees nothing.
  const std::vector<Sequence> sequences{{2, 3, 77, 80}, {0, 2, -1, 5}};
  std::vector<std::string> first;
  for (Isa isa : supported_isas()) {
    const Collect probe([](std::int64_t, std::int64_t, std::int64_t) { return true; });
    RunOptions options;
    options.isa = isa;
    options.threads = 2;
    options.adjust = [&](AttendArgs* args) { args->probe = &probe; };
    run(shape, numbers, sequences, MaskSpec().causal(), options);
    ASSERT_EQ(probe.rows.size(), 5u * 4u);
    std::vector<std::string> lines;
    for (std::size_t r = 0; r < probe.rows.size(); ++r) {
      const ProbeRow& row = probe.rows[r];
      EXPECT_EQ(row.sequence, r < 12 ? 0 : 1);
      EXPECT_EQ(row.query, static_cast<std::int64_t>(r < 12 ? r / 4 : (r - 12) / 4));
      EXPECT_EQ(row.head, static_cast<std::int64_t>(r % 4));
      EXPECT_EQ(row.row, row.sequence == 0 ? 2 + row.query : row.query);
      EXPECT_EQ(row.status, row.sequence == 1 && row.query == 0 ? RowStatus::kEmpty : RowStatus::kOk);
      lines.push_back(probe_json(row));
    }
    if (first.empty()) first = lines;
    EXPECT_EQ(lines, first) << isa_name(isa);
  }
}

// Products below 2^-126 are rounded more coarsely at every step: the kernel is right, and the scale's gate must say so.
TEST(Probe, DenormalProductsDoNotFailTheScale) {
  Random random(77);
  const Shape shape{1, 1, 64, 8};
  std::int64_t n_judged = 0;
  for (int round = 0; round < 200; ++round) {
    Numbers x = random_numbers(random, shape, 1, 12);
    const float size = std::ldexp(1.0f, -66 - round % 8);
    for (std::vector<float>* values : {&x.q, &x.k}) {
      for (float& value : *values) value *= size;
    }
    const Collect probe([](std::int64_t, std::int64_t, std::int64_t) { return true; });
    RunOptions options;
    options.isa = best_isa();
    options.scale = 8;
    options.adjust = [&](AttendArgs* args) { args->probe = &probe; };
    run(shape, {x}, {{0, 1, 11, 12}}, MaskSpec(), options);
    ASSERT_EQ(probe.rows.size(), 1u);
    ASSERT_NE(judge(probe.rows[0]).scale_once, Gate::kFail) << probe_text(probe.rows[0]);
    n_judged += judge(probe.rows[0]).scale_once == Gate::kPass;
  }
  EXPECT_GT(n_judged, 20);
}

TEST(Probe, AFaultyRowFailsItsGatesAndNamesTheKey) {
  Random random(103);
  const Shape shape{1, 1, 16, 16};
  Numbers x = random_numbers(random, shape, 1, 100);
  x.k[70 * 16 + 3] = NAN;
  const Collect probe([](std::int64_t, std::int64_t, std::int64_t) { return true; });
  RunOptions options;
  options.isa = best_isa();
  options.adjust = [&](AttendArgs* args) { args->probe = &probe; };
  run(shape, {x}, {{0, 1, 99, 100}}, MaskSpec().causal(), options);
  ASSERT_EQ(probe.rows.size(), 1u);
  EXPECT_EQ(probe.rows[0].status, RowStatus::kNonFinite);
  EXPECT_EQ(probe.rows[0].n_non_finite_weights, 100);
  const ProbeVerdict verdict = judge(probe.rows[0]);
  EXPECT_EQ(verdict.weights_sum_to_one, Gate::kFail);
  EXPECT_EQ(verdict.mask_applied, Gate::kPass);
}

// Values wider than what the probe holds at a time, results of all types, partial results.
TEST(Probe, ParityOfWideValuesAndOfEveryKindOfResult) {
  Random random(104);
  const Shape shape{2, 1, 24, 600};
  const Numbers x = random_numbers(random, shape, 2, 70);
  const Collect probe([](std::int64_t, std::int64_t, std::int64_t) { return true; });
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF64}) {
    std::vector<std::byte> out(2 * 2 * 600 * 8);
    RunOptions options;
    options.isa = best_isa();
    options.adjust = [&](AttendArgs* args) {
      args->probe = &probe;
      args->out.data = out.data();
      args->out.dtype = dtype;
    };
    run(shape, {x}, {{0, 2, 68, 70}}, MaskSpec().causal(), options);
    ASSERT_EQ(probe.rows.size(), 4u);
    for (const ProbeRow& row : probe.rows) {
      EXPECT_EQ(row.n_compared, 600);
      EXPECT_EQ(judge(row).parity, Gate::kPass) << probe_text(row);
      EXPECT_LT(row.out_bound, dtype == DType::kBF16 ? 1e-2 : dtype == DType::kF16 ? 2e-3 : 1e-4);
    }
    probe.rows.clear();
  }
  std::vector<float> o(2 * 2 * 600), m(4), l(4);
  std::vector<RowStatus> status(4);
  RunOptions options;
  options.isa = best_isa();
  options.adjust = [&](AttendArgs* args) {
    args->probe = &probe;
    args->partial = {o.data(), 1200, 600, m.data(), l.data(), status.data(), 2, 1};
    args->out.data = nullptr;
    args->lse = nullptr;
    args->row_status = nullptr;
  };
  run(shape, {x}, {{0, 2, 68, 70}}, MaskSpec().causal(), options);
  ASSERT_EQ(probe.rows.size(), 4u);
  for (const ProbeRow& row : probe.rows) EXPECT_EQ(judge(row).parity, Gate::kPass) << probe_text(row);
}

// A row of attention as it is done wrong: q, keys, values and a bias that hides by being low.
enum class Fault {
  kNone,
  kScaleTwice,
  kNoScale,
  kBiasBeforeScale,  // a mask that is added, before the scale
  kBiasTwice,
  kNoBias,
  kNoRescale,  // the maximum of the first half stays for its exponentials
  kNotNormalised,
  kOwnKeyLeftOut,
  kFutureSeen,
  kOtherKvHead,
  kValuesByOne,
};
constexpr const char* kFaultNames[] = {
    "none",       "scale twice",    "no scale",         "bias before scale", "bias twice",    "no bias",
    "no rescale", "not normalised", "own key left out", "future seen",       "other kv head", "values by one"};

// Writes a faulty result over what attend() has written, before the row is looked at.
class Planted final : public Probe {
 public:
  Planted(const Numbers& x, Fault fault) : x_(x), fault_(fault) {}
  bool wants(std::int64_t, std::int64_t head, std::int64_t query) const noexcept override {
    plant(head, query);
    return true;
  }
  void row(const ProbeRow& row) const noexcept override { rows.push_back(row); }

  float* out = nullptr;
  mutable std::vector<ProbeRow> rows;
  static constexpr Shape kShape{4, 2, 16, 16};
  static constexpr double kScale = 0.25;
  static constexpr std::int64_t kQueries = 3, kKeys = 40;  // query i is at position 37 + i

 private:
  void plant(std::int64_t head, std::int64_t query) const noexcept {
    const std::int64_t position = kKeys - kQueries + query;
    const std::int64_t kv_head = fault_ == Fault::kOtherKvHead ? 1 - head / 2 : head / 2;
    const auto score = [&](std::int64_t j) {
      double dot = 0;
      for (std::int64_t d = 0; d < 16; ++d) {
        dot += static_cast<double>(x_.q[static_cast<std::size_t>((query * 4 + head) * 16 + d)]) *
               static_cast<double>(x_.k[static_cast<std::size_t>((j * 2 + kv_head) * 16 + d)]);
      }
      const auto bias = static_cast<double>(x_.bias[static_cast<std::size_t>((query * 4 + head) * kKeys + j)]);
      switch (fault_) {
        case Fault::kScaleTwice: return dot * kScale * kScale + bias;
        case Fault::kNoScale: return dot + bias;
        case Fault::kBiasBeforeScale: return (dot + bias) * kScale;
        case Fault::kBiasTwice: return dot * kScale + 2 * bias;
        case Fault::kNoBias: return dot * kScale;
        default: return dot * kScale + bias;
      }
    };
    const std::int64_t last = std::min(kKeys - 1, position + (fault_ == Fault::kOwnKeyLeftOut ? -1
                                                              : fault_ == Fault::kFutureSeen  ? 1
                                                                                              : 0));
    double first_max = -INFINITY, max = -INFINITY, sum = 0, o[16] = {};
    for (std::int64_t j = 0; j <= last; ++j) {
      if (j <= last / 2) first_max = std::max(first_max, score(j));
      max = std::max(max, score(j));
    }
    if (fault_ == Fault::kNoRescale && first_max == max) first_max = max - 1;
    for (std::int64_t j = 0; j <= last; ++j) {
      const double weight = std::exp(score(j) - (fault_ == Fault::kNoRescale && j <= last / 2 ? first_max : max));
      sum += weight;
      const std::int64_t from = fault_ == Fault::kValuesByOne ? (j + 1) % kKeys : j;
      for (std::int64_t d = 0; d < 16; ++d)
        o[d] += weight * static_cast<double>(x_.v[static_cast<std::size_t>((from * 2 + kv_head) * 16 + d)]);
    }
    for (std::int64_t d = 0; d < 16; ++d) {
      out[(query * 4 + head) * 16 + d] = static_cast<float>(fault_ == Fault::kNotNormalised ? o[d] : o[d] / sum);
    }
  }

  const Numbers& x_;
  Fault fault_;
};

TEST(Probe, EachPlantedFaultFailsParityAndTheRightRowPasses) {
  Random random(105);
  Numbers x = random_numbers(random, Planted::kShape, Planted::kQueries, Planted::kKeys);
  x.bias.resize(static_cast<std::size_t>(Planted::kQueries * 4 * Planted::kKeys));
  for (float& value : x.bias) value = -2.0f * std::fabs(random.uniform());
  for (std::size_t f = 0; f < std::size(kFaultNames); ++f) {
    Planted planted(x, static_cast<Fault>(f));
    RunOptions options;
    options.isa = best_isa();
    options.scale = static_cast<float>(Planted::kScale);
    options.adjust = [&](AttendArgs* args) {
      args->probe = &planted;
      planted.out = static_cast<float*>(args->out.data);
    };
    run(Planted::kShape, {x}, {{0, Planted::kQueries, Planted::kKeys - Planted::kQueries, Planted::kKeys}},
        MaskSpec().causal(), options);
    ASSERT_EQ(planted.rows.size(), 12u);
    for (const ProbeRow& row : planted.rows) {
      const bool same = static_cast<Fault>(f) == Fault::kFutureSeen && row.query == Planted::kQueries - 1;
      const ProbeVerdict verdict = judge(row);
      EXPECT_EQ(verdict.parity, f == 0 || same ? Gate::kPass : Gate::kFail) << kFaultNames[f] << "\n"
                                                                            << probe_text(row);
      // The kernel's own row is right: nothing else fails.
      EXPECT_EQ(verdict.scale_once, Gate::kPass);
      EXPECT_EQ(verdict.mask_applied, Gate::kPass);
      EXPECT_EQ(verdict.weights_sum_to_one, Gate::kPass);
    }
  }
}

TEST(Probe, TheTableHasEveryGateOnce) {
  ASSERT_EQ(gate_table().size(), 5u);
  for (const GateInfo& info : gate_table()) {
    ProbeVerdict verdict;
    verdict.*info.gate = Gate::kFail;
    EXPECT_TRUE(verdict.failed()) << info.name;
    ProbeVerdict others{Gate::kPass, Gate::kPass, Gate::kPass, Gate::kPass, Gate::kPass};
    EXPECT_TRUE(others.ok());
    others.*info.gate = Gate::kInconclusive;
    EXPECT_FALSE(others.ok()) << info.name;
  }
}

// What a row looks like that went right: 3 of 4 keys visible.
ProbeRow good_row() {
  ProbeRow row;
  row.head = 2;
  row.query = 1;
  row.row = 5;
  row.position = 2;
  row.n_kv = 4;
  row.n_visible = 3;
  row.scale = 0.125;
  row.measured_scale = 0.12500001;
  row.scale_error = 1e-6;
  row.sink = -INFINITY;
  row.raw_min = 1;
  row.raw_max = 3;
  row.before_mask_min = 0.125f;
  row.before_mask_max = 0.5f;
  row.after_mask_min = 0.125f;
  row.after_mask_max = 0.375f;
  row.row_max = 0.375f;
  row.largest_exp = 1;
  row.sum = 2.5;
  row.weights_sum = 1.0000001;
  row.smallest_weight = 0.25f;
  row.lse = 1.2912908f;
  row.n_compared = 16;
  row.out_dim = 5;
  row.out_error = 1e-8;
  row.out_bound = 4e-6;
  row.lse_error = 2e-8;
  row.lse_bound = 3e-6;
  row.n_edge = 4;
  for (int e = 0; e < 4; ++e) {
    row.first_keys[e] = row.last_keys[e] = e;
    row.first_scores[e] = row.last_scores[e] = e == 3 ? -INFINITY : 0.125f * static_cast<float>(e + 1);
    row.first_dots[e] = row.last_dots[e] = e == 3 ? NAN : static_cast<float>(e + 1);
    row.first_weights[e] = row.last_weights[e] = e == 3 ? 0.0f : 0.33f;
  }
  return row;
}

TEST(Probe, JudgeFindsEachFault) {
  EXPECT_TRUE(judge(good_row()).ok());
  const auto verdict_of = [](const std::function<void(ProbeRow*)>& change) {
    ProbeRow row = good_row();
    change(&row);
    return judge(row);
  };
  // The scale twice, not at all, and too much rounding to tell.
  EXPECT_EQ(verdict_of([](ProbeRow* r) { r->measured_scale = 0.125 * 0.125; }).scale_once, Gate::kFail);
  EXPECT_EQ(verdict_of([](ProbeRow* r) { r->measured_scale = 1; }).scale_once, Gate::kFail);
  EXPECT_EQ(verdict_of([](ProbeRow* r) { r->scale_error = 0.1; }).scale_once, Gate::kInconclusive);
  EXPECT_EQ(verdict_of([](ProbeRow* r) { r->measured_scale = r->scale_error = 0; }).scale_once, Gate::kInconclusive);
  // The mask left out, or too much of it.
  EXPECT_EQ(verdict_of([](ProbeRow* r) { r->n_hidden_weighted = 1; }).mask_applied, Gate::kFail);
  EXPECT_EQ(verdict_of([](ProbeRow* r) { r->n_visible_lost = 1; }).mask_applied, Gate::kFail);
  // A finite sentinel, also one that was put in before the scale.
  EXPECT_EQ(verdict_of([](ProbeRow* r) { r->hidden_max = -1e9f; }).mask_applied, Gate::kFail);
  EXPECT_EQ(verdict_of([](ProbeRow* r) { r->hidden_max = -1e9f * 0.125f; }).mask_applied, Gate::kFail);
  // Another result than that of fp64.
  EXPECT_EQ(verdict_of([](ProbeRow* r) { r->out_error = 5e-6; }).parity, Gate::kFail);
  EXPECT_EQ(verdict_of([](ProbeRow* r) { r->lse_error = 5e-6; }).parity, Gate::kFail);
  EXPECT_EQ(verdict_of([](ProbeRow* r) { r->out_error = NAN; }).parity, Gate::kFail);
  EXPECT_EQ(verdict_of([](ProbeRow* r) { r->n_compared = 0; }).parity, Gate::kInconclusive);
  EXPECT_EQ(verdict_of([](ProbeRow* r) { r->out_error = INFINITY, r->status = RowStatus::kOverflow; }).parity,
            Gate::kInconclusive);
  // The wrong maximum.
  EXPECT_EQ(verdict_of([](ProbeRow* r) { r->largest_exp = 1.0000001f; }).exp_in_range, Gate::kFail);
  EXPECT_EQ(verdict_of([](ProbeRow* r) { r->largest_exp = NAN; }).exp_in_range, Gate::kFail);
  EXPECT_EQ(verdict_of([](ProbeRow* r) { r->smallest_weight = -0.1f; }).exp_in_range, Gate::kFail);
  // Sums.
  EXPECT_EQ(verdict_of([](ProbeRow* r) { r->weights_sum = 0.99997; }).weights_sum_to_one, Gate::kFail);
  EXPECT_EQ(verdict_of([](ProbeRow* r) { r->weights_sum = NAN; }).weights_sum_to_one, Gate::kFail);
  EXPECT_EQ(verdict_of([](ProbeRow* r) { r->n_non_finite_weights = 1; }).weights_sum_to_one, Gate::kFail);
  // A sink takes its share: e^(0.375 - 0.375) / 2.5.
  EXPECT_EQ(verdict_of([](ProbeRow* r) { r->sink = 0.375f; }).weights_sum_to_one, Gate::kFail);
  EXPECT_EQ(verdict_of([](ProbeRow* r) { r->sink = 0.375f, r->weights_sum = 0.6; }).weights_sum_to_one, Gate::kPass);
  // No visible key: nothing about scale and exponentials, but weights must be 0.
  const auto empty = [](double sum) {
    ProbeRow row;
    row.n_kv = 3;
    row.weights_sum = sum;
    return judge(row);
  };
  EXPECT_FALSE(empty(0).ok());
  EXPECT_FALSE(empty(0).failed());
  EXPECT_EQ(empty(0).scale_once, Gate::kInconclusive);
  EXPECT_EQ(empty(0).weights_sum_to_one, Gate::kPass);
  EXPECT_TRUE(empty(1).failed());
  EXPECT_FALSE(judge(ProbeRow()).ok());
}

TEST(Probe, TextAndJson) {
  ProbeRow row = good_row();
  row.n_hidden_weighted = 1;
  EXPECT_EQ(probe_text(row),
            "sequence 0, head 2, query 1 (row 5, position 2): ok, 3 of 4 keys visible\n"
            "  scale        0.125, measured 0.125 +- 1e-06                               PASS\n"
            "  mask         hidden keys -inf, 1 with weight; 0 visible ones lost         FAIL\n"
            "  row max      0.375, largest exp 1, smallest weight 0.25                   PASS\n"
            "  sum          of weights 1.0000001, 0 not finite                           PASS\n"
            "  parity       off by 1e-08 of 4e-06 (lse 2e-08 of 3e-06)                   PASS\n"
            "  dot products 1 .. 3\n"
            "  before mask  0.125 .. 0.5\n"
            "  after mask   0.125 .. 0.375\n"
            "  softmax      sum of exps 2.5, lse 1.29129, soft cap 0, sink -inf\n"
            "  first keys               0            1            2            3\n"
            "    dots                   1            2            3          nan\n"
            "    scores             0.125         0.25        0.375         -inf\n"
            "    weights             0.33         0.33         0.33            0\n"
            "  last keys                0            1            2            3\n"
            "    dots                   1            2            3          nan\n"
            "    scores             0.125         0.25        0.375         -inf\n"
            "    weights             0.33         0.33         0.33            0\n");
  row.lse = NAN;
  row.raw_min = INFINITY;
  EXPECT_EQ(
      probe_json(row),
      "{\"sequence\":0,\"query\":1,\"head\":2,\"row\":5,\"position\":2,\"n_kv\":4,\"n_visible\":3,"
      "\"status\":\"ok\",\"scale_once\":\"PASS\",\"mask_applied\":\"FAIL\",\"exp_in_range\":\"PASS\","
      "\"weights_sum_to_one\":\"PASS\",\"parity\":\"PASS\",\"scale\":0.125,\"measured_scale\":0.12500001,\"scale_"
      "error\":1e-06,"
      "\"softcap\":0,\"sink\":\"-inf\",\"raw_min\":\"inf\",\"raw_max\":3,\"before_mask_min\":0.125,"
      "\"before_mask_max\":0.5,\"after_mask_min\":0.125,\"after_mask_max\":0.375,\"hidden_max\":\"-inf\",\"n_hidden_"
      "weighted\":1,"
      "\"n_visible_lost\":0,\"row_max\":0.375,\"largest_exp\":1,\"sum\":2.5,\"weights_sum\":1.0000001,"
      "\"smallest_weight\":0.25,\"n_non_finite_weights\":0,\"first_non_finite_key\":-1,\"lse\":\"nan\","
      "\"n_compared\":16,\"out_dim\":5,\"out_error\":1e-08,\"out_bound\":4e-06,\"lse_error\":2e-08,\"lse_bound\":3e-06,"
      "\"first_keys\":[0,1,2,3],\"first_dots\":[1,2,3,\"nan\"],\"first_scores\":[0.125,0.25,0.375,\"-inf\"],"
      "\"first_weights\":[0.33,0.33,0.33,0],\"last_keys\":[0,1,2,3],\"last_dots\":[1,2,3,\"nan\"],"
      "\"last_scores\":[0.125,0.25,0.375,\"-inf\"],\"last_weights\":[0.33,0.33,0.33,0]}");
}

}  // namespace
}  // namespace rowmax::attention::test::probe_test
