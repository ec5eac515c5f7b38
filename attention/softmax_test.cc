// softmax(): the bits of attend()'s weights for the same scores, and the definition.
#include "rowmax/softmax.h"

#include "attention/test_problem.h"

namespace rowmax::attention::test::softmax_test {
namespace {

struct Rows {
  std::int64_t n_row = 0, n_key = 0;
  std::vector<float> scores, bias, sink;
  std::vector<std::uint64_t> keep;
  float scale = 1, softcap = 0;

  std::int64_t n_words() const { return (n_key + 63) / 64; }
  bool visible(std::int64_t r, std::int64_t j) const {
    const std::size_t at = static_cast<std::size_t>(r * n_key + j);
    if (!bias.empty() && bias[at] == -INFINITY) return false;
    return keep.empty() || ((keep[static_cast<std::size_t>(r * n_words() + j / 64)] >> (j % 64)) & 1) != 0;
  }
  SoftmaxArgs args() const {
    SoftmaxArgs a;
    a.scores = scores.data();
    a.n_row = n_row;
    a.n_key = n_key;
    a.row_stride = n_key;
    if (!keep.empty()) a.keep = keep.data(), a.keep_row_stride = n_words();
    a.scale = scale;
    a.softcap = softcap;
    if (!bias.empty()) a.bias = bias.data(), a.bias_row_stride = n_key;
    if (!sink.empty()) a.sink = sink.data();
    return a;
  }
};

struct SoftmaxOutput {
  std::vector<float> weights, lse;
  std::vector<RowStatus> status;
  AttendReport report;
};

SoftmaxOutput run_softmax(const Rows& rows, Isa isa, int threads, EmptyRows policy = EmptyRows::kZero) {
  SoftmaxOutput output;
  output.weights.assign(rows.scores.size(), -77.0f);
  output.lse.assign(static_cast<std::size_t>(rows.n_row), -77.0f);
  output.status.assign(static_cast<std::size_t>(rows.n_row), RowStatus::kOk);
  SoftmaxArgs args = rows.args();
  args.empty_rows = policy;
  args.weights = output.weights.data();
  args.weights_row_stride = rows.n_key;
  args.lse = output.lse.data();
  args.row_status = output.status.data();
  const Result<AttendReport> report = softmax(args, *cpu_backend(pool(threads), isa));
  EXPECT_TRUE(report.ok()) << (report.ok() ? "" : report.error().message);
  if (report.ok()) output.report = *report;
  return output;
}

Rows random_rows(Random& random, std::int64_t n_row, std::int64_t n_key, bool all) {
  Rows rows;
  rows.n_row = n_row;
  rows.n_key = n_key;
  rows.scores.resize(static_cast<std::size_t>(n_row * n_key));
  for (float& score : rows.scores) score = random.uniform() * 9;
  if (!all) return rows;
  rows.scale = 0.7f;
  rows.softcap = 4.0f;
  rows.bias.resize(rows.scores.size());
  for (float& bias : rows.bias) bias = random.below(6) == 0 ? -INFINITY : random.uniform();
  rows.keep.resize(static_cast<std::size_t>(n_row * rows.n_words()));
  for (auto& word : rows.keep) word = std::uint64_t{random.bits()} << 32 | random.bits();
  for (std::int64_t r = 0; r < n_row; ++r) rows.sink.push_back(r % 3 == 0 ? -INFINITY : random.uniform() * 5);
  return rows;
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// attend() with one query, a head for every row, one dimension: q = 1, so that key j of head r is score j of row r.
TEST(Softmax, HasTheBitsOfAttendsWeights) {
  Random random(91);
  for (std::int64_t n_key : {1, 63, 64, 100, 1400}) {
    for (bool all : {false, true}) {
      const std::int64_t n_row = 11;
      const Rows rows = random_rows(random, n_row, n_key, all);
      Numbers x;
      x.n_q = 1;
      x.n_kv = n_key;
      x.q.assign(static_cast<std::size_t>(n_row), 1.0f);
      x.v.assign(static_cast<std::size_t>(n_row * n_key), 1.0f);
      for (std::int64_t j = 0; j < n_key; ++j) {
        for (std::int64_t r = 0; r < n_row; ++r) x.k.push_back(rows.scores[static_cast<std::size_t>(r * n_key + j)]);
      }
      x.bias = rows.bias;
      const std::vector<BitmapView> bitmaps{{rows.keep.data(), 0, rows.n_words()}};
      MaskSpec spec;
      if (!rows.keep.empty()) spec.bitmap(bitmaps);
      for (Isa isa : supported_isas()) {
        std::vector<float> weights(rows.scores.size(), -77.0f);
        RunOptions options;
        options.isa = isa;
        options.scale = rows.scale;
        options.softcap = rows.softcap;
        options.adjust = [&](AttendArgs* args) {
          args->weights = {weights.data(), 0, n_key};
          if (!rows.sink.empty()) args->sinks = rows.sink.data();
        };
        const Output want = run({n_row, n_row, 1, 1}, {x}, {{0, 1, 0, n_key}}, spec, options);
        for (int threads : {1, 2}) {
          const SoftmaxOutput got = run_softmax(rows, isa, threads);
          ASSERT_TRUE(same(got.weights, weights)) << isa_name(isa) << ", " << n_key << " keys, all " << all;
          ASSERT_TRUE(same(got.lse, want.lse));
          ASSERT_EQ(got.status, want.status);
        }
      }
    }
  }
}

TEST(Softmax, AgreesWithTheDefinition) {
  Random random(92);
  for (bool all : {false, true}) {
    const Rows rows = random_rows(random, 5, 300, all);
    const SoftmaxOutput got = run_softmax(rows, best_isa(), 1);
    for (std::int64_t r = 0; r < 5; ++r) {
      std::vector<double> s;
      double sum = all ? std::exp(static_cast<double>(rows.sink[static_cast<std::size_t>(r)])) : 0.0;
      for (std::int64_t j = 0; j < 300; ++j) {
        const std::size_t at = static_cast<std::size_t>(r * 300 + j);
        double score = static_cast<double>(rows.scores[at]) * static_cast<double>(rows.scale);
        if (all) score = 4 * std::tanh(score / 4) + static_cast<double>(rows.bias[at]);
        s.push_back(rows.visible(r, j) ? std::exp(score) : 0.0);
        sum += s.back();
      }
      for (std::int64_t j = 0; j < 300; ++j) {
        const double want = s[static_cast<std::size_t>(j)] / sum;
        ASSERT_NEAR(got.weights[static_cast<std::size_t>(r * 300 + j)], want, 200 * 0x1p-24 * want);
      }
      EXPECT_NEAR(got.lse[static_cast<std::size_t>(r)], std::log(sum), 1e-5);
    }
  }
}

TEST(Softmax, InPlaceAndWithHiddenPoisonTheBitsAreTheSame) {
  Random random(93);
  Rows rows = random_rows(random, 9, 200, true);
  for (Isa isa : supported_isas()) {
    const SoftmaxOutput want = run_softmax(rows, isa, 1);
    Rows poisoned = rows;
    for (std::int64_t r = 0; r < 9; ++r) {
      for (std::int64_t j = 0; j < 200; ++j) {
        if (!rows.visible(r, j)) poisoned.scores[static_cast<std::size_t>(r * 200 + j)] = j % 2 == 0 ? NAN : INFINITY;
      }
    }
    EXPECT_TRUE(same(run_softmax(poisoned, isa, 1).weights, want.weights)) << isa_name(isa);
    SoftmaxArgs args = poisoned.args();
    args.weights = poisoned.scores.data();
    args.weights_row_stride = 200;
    ASSERT_TRUE(softmax(args, *cpu_backend(pool(2), isa)).ok());
    EXPECT_TRUE(same(poisoned.scores, want.weights)) << isa_name(isa);
  }
}

TEST(Softmax, RowsWithoutVisibleKeysAndFaultyRows) {
  Random random(94);
  Rows rows = random_rows(random, 6, 70, false);
  rows.keep.assign(12, ~std::uint64_t{0});
  rows.keep[2] = rows.keep[3] = 0;  // row 1
  rows.sink = {-INFINITY, 2.5f, -INFINITY, -INFINITY, -INFINITY, -INFINITY};
  rows.scores[4 * 70 + 69] = NAN;
  rows.scores[5 * 70 + 3] = INFINITY;
  for (Isa isa : supported_isas()) {
    for (EmptyRows policy : {EmptyRows::kZero, EmptyRows::kNaN, EmptyRows::kUniform}) {
      const SoftmaxOutput got = run_softmax(rows, isa, 2, policy);
      for (std::size_t j = 70; j < 140; ++j) {
        const float want = policy == EmptyRows::kZero ? 0.0f : policy == EmptyRows::kUniform ? 1.0f / 70.0f : NAN;
        if (policy == EmptyRows::kNaN) {
          EXPECT_TRUE(std::isnan(got.weights[j]));
        } else {
          EXPECT_EQ(got.weights[j], want);
        }
      }
      EXPECT_EQ(got.lse[1], 2.5f);
      EXPECT_EQ(got.status[1], RowStatus::kEmpty);
      EXPECT_EQ(got.status[4], RowStatus::kNonFinite);
      EXPECT_EQ(got.status[5], RowStatus::kOverflow);
      EXPECT_EQ(got.report.n_rows, 6);
      EXPECT_EQ(got.report.n_empty, 1);
      EXPECT_EQ(got.report.fault_row, 4);
      EXPECT_EQ(got.report.fault_head, 0);
    }
  }
}

TEST(Softmax, WrongArgumentsAreNamed) {
  Random random(95);
  const Rows rows = random_rows(random, 2, 8, false);
  std::vector<float> weights(16);
  const auto error_of = [&](const std::function<void(SoftmaxArgs*)>& change) {
    SoftmaxArgs args = rows.args();
    args.weights = weights.data();
    args.weights_row_stride = 8;
    change(&args);
    const Result<AttendReport> report = softmax(args, *cpu_backend(pool(1), best_isa()));
    return report.ok() ? std::string() : report.error().message;
  };
  const float sinks[] = {0, NAN};
  EXPECT_EQ(error_of([](SoftmaxArgs*) {}), "");
  EXPECT_EQ(error_of([](SoftmaxArgs* a) { a->n_row = 0, a->scores = nullptr; }), "");
  EXPECT_EQ(error_of([](SoftmaxArgs* a) { a->n_key = -1; }), "softmax: n_row 2, n_key -1");
  EXPECT_EQ(error_of([](SoftmaxArgs* a) { a->weights = nullptr; }), "softmax: scores or weights have no data");
  EXPECT_EQ(error_of([](SoftmaxArgs* a) { a->scores = a->weights, a->row_stride = 9; }),
            "softmax: in place, but row_stride 9 is not weights_row_stride 8");
  EXPECT_EQ(error_of([](SoftmaxArgs* a) { a->scale = INFINITY; }), "scale is not finite");
  EXPECT_EQ(error_of([](SoftmaxArgs* a) { a->softcap = -1; }), "softcap is not finite or negative");
  EXPECT_EQ(error_of([&](SoftmaxArgs* a) { a->sink = sinks; }), "sinks: row 1 is NaN");
}

}  // namespace
}  // namespace rowmax::attention::test::softmax_test
