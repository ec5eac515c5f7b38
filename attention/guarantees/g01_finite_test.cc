// G1: finite inputs give finite results under every mask, as long as max(1, |scale|) * sum |q k| + |bias| and
// n * max |v| are finite in f32; beyond that the row's status says overflow, and it is counted.
#include "attention/guarantees/test_call.h"
#include "attention/plan/test_masks.h"

namespace rowmax::attention::test::g01_finite_test {
namespace {

constexpr std::int64_t kMost = 4;  // queries and keys of the exhaustive sweep
constexpr std::int64_t kVDim = 5;
constexpr float kMax = std::numeric_limits<float>::max();

// Four queries and keys of four dimensions.
struct Kind {
  const char* name;
  std::vector<float> q, k, v;
};

Kind kind_of(const char* name, float q, float k, float v, bool random_size) {
  Random random(101);
  Kind kind{name, {}, {}, {}};
  const auto fill = [&](std::vector<float>* values, std::int64_t n, float size) {
    for (std::int64_t i = 0; i < n; ++i) {
      const float x = random_size ? random.uniform() : random.below(2) == 0 ? -1.0f : 1.0f;
      values->push_back(x * size);
    }
  };
  fill(&kind.q, kMost * 4, q);
  fill(&kind.k, kMost * 4, k);
  fill(&kind.v, kMost * kVDim, v);
  return kind;
}

std::vector<Kind> kinds() {
  std::vector<Kind> all;
  all.push_back(kind_of("random", 2, 2, 2, true));
  // sum |q k| = 0.999 of the largest float, 4 * |v| too.
  all.push_back(kind_of("largest", 0x1p63f, 0.999f * kMax / 0x1p65f, 0.999f * kMax / 4, false));
  all.push_back(kind_of("denormal", 1e-40f, 1e-40f, 1e-40f, true));
  all.push_back(kind_of("denormal keys and values, largest queries", 0.999f * kMax, 1e-40f, 1e-42f, true));
  Kind equal = kind_of("equal rows", 3, 3, 3, true);
  for (std::size_t i = 0; i < equal.k.size(); ++i) equal.k[i] = equal.k[i % 4];
  for (std::size_t i = 0; i < equal.v.size(); ++i) equal.v[i] = equal.v[i % kVDim];
  for (std::size_t i = 0; i < equal.q.size(); ++i) equal.q[i] = equal.q[i % 4];
  all.push_back(equal);
  return all;
}

RawCall call_of() {
  RawCall call = packed_call({1, 1, 4, kVDim});
  call.scale = 1.0f;
  return call;
}

// Every row there can be: query i seeing the keys of mask m, alone; row 16 * i + m. Checked against fp64.
Output rows_alone(const Kind& kind, Isa isa) {
  RawCall call = call_of();
  std::vector<std::uint64_t> words;
  std::vector<BitmapView> bitmaps;
  for (std::uint64_t m = 0; m < 16; ++m) words.push_back(m);
  for (std::int64_t i = 0; i < kMost; ++i) {
    for (std::size_t m = 0; m < 16; ++m) {
      bitmaps.push_back({&words[m], 1, 0});
      call.add({kind.q.begin() + i * 4, kind.q.begin() + (i + 1) * 4}, 0, kMost, {kind.k.data(), kind.v.data()});
    }
  }
  const Output output = run_raw(call, MaskSpec().bitmap(bitmaps), isa);
  const std::vector<double> k(kind.k.begin(), kind.k.end()), v(kind.v.begin(), kind.v.end());
  for (std::int64_t row = 0; row < 64; ++row) {
    const auto at = static_cast<std::size_t>(row);
    const std::vector<double> q(kind.q.begin() + row / 16 * 4, kind.q.begin() + row / 16 * 4 + 4);
    const reference::Row want = reference::attend_row(
        q, kMost, kVDim, {1.0, 0.0}, [&](std::int64_t j) { return (row % 16 >> j & 1) != 0; },
        [&](std::int64_t j) { return &k[static_cast<std::size_t>(j * 4)]; },
        [&](std::int64_t j) { return &v[static_cast<std::size_t>(j * kVDim)]; }, {});
    EXPECT_EQ(output.status[at], row % 16 == 0 ? RowStatus::kEmpty : RowStatus::kOk) << kind.name << " row " << row;
    EXPECT_TRUE(std::isfinite(output.lse[at]) || row % 16 == 0) << kind.name;
    for (std::int64_t d = 0; d < kVDim; ++d) {
      const float got = output.out[at * kVDim + static_cast<std::size_t>(d)];
      EXPECT_TRUE(std::isfinite(got)) << kind.name << " row " << row;
      // At the largest scores the bound says nothing more than "between the values".
      const double bound = std::min(reference::error_bound(want, kMost), 2.01 * want.value_max);
      EXPECT_LE(std::fabs(got - want.out[static_cast<std::size_t>(d)]), bound) << kind.name << " row " << row;
    }
  }
  return output;
}

// All 2^(n_q * n_kv) masks of a shape as the sequences of one call.
void every_mask(const Kind& kind, const Output& alone, std::int64_t n_q, std::int64_t n_kv, Isa isa) {
  RawCall call = call_of();
  const std::uint64_t n_masks = std::uint64_t{1} << (n_q * n_kv), row_mask = (1u << n_kv) - 1;
  const std::vector<float> q(kind.q.begin(), kind.q.begin() + n_q * 4);
  std::vector<std::uint64_t> words;
  std::vector<BitmapView> bitmaps;
  words.reserve(n_masks * static_cast<std::size_t>(n_q));
  call.q.reserve(n_masks * q.size());
  for (std::uint64_t mask = 0; mask < n_masks; ++mask) {
    bitmaps.push_back({words.data() + words.size(), 1, 0});
    for (std::int64_t i = 0; i < n_q; ++i) words.push_back(mask >> (i * n_kv) & row_mask);
    call.add(q, 0, n_kv, {kind.k.data(), kind.v.data()});
  }
  const Output output = run_raw(call, MaskSpec().bitmap(bitmaps), isa);
  std::int64_t n_empty = 0;
  for (std::size_t row = 0; row < words.size(); ++row) {
    const std::int64_t i = static_cast<std::int64_t>(row) % n_q;
    const auto want = i * 16 + static_cast<std::int64_t>(words[row]);
    ASSERT_TRUE(same_row(output, static_cast<std::int64_t>(row), alone, want, kVDim))
        << kind.name << ", " << isa_name(isa) << ", " << n_q << " x " << n_kv << ", row " << row;
    n_empty += words[row] == 0;
  }
  ASSERT_EQ(output.report.n_empty, n_empty);
  ASSERT_EQ(output.report.n_overflow + output.report.n_non_finite, 0);
}

// A row's bits depend on its own mask alone (G6), so every row of every mask must be one of the 64 checked alone.
TEST(G1, EveryMaskUpToFourByFourIsFinite) {
  for (const Kind& kind : kinds()) {
    const Output alone = rows_alone(kind, supported_isas()[0]);
    for (Isa isa : supported_isas()) {
      for (std::int64_t n_q = 1; n_q <= kMost; ++n_q) {
        for (std::int64_t n_kv = 1; n_kv <= kMost; ++n_kv) {
          if (isa != best_isa() && n_q * n_kv > 9) continue;
          every_mask(kind, alone, n_q, n_kv, isa);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(G1, RandomMasksOfEveryKindAtEveryMagnitude) {
  Random random(102);
  const float sizes[] = {1e-38f, 1e-20f, 1.0f, 1e4f, 1e9f, 1e18f};
  for (int round = 0; round < 600; ++round) {
    const MaskCase c = random_case(random, 6, 150);
    const CaseSpec x(c);
    const Shape shape{c.n_head, 1, 3, 4};
    const float size = sizes[round % 6];
    Numbers numbers = random_numbers(random, shape, c.n_q, c.n_kv, DType::kF32, size);
    for (float& value : numbers.v) value *= round % 2 == 0 ? 1.0f : size;  // up to 1e36
    RunOptions options;
    options.isa = supported_isas()[static_cast<std::size_t>(round) % supported_isas().size()];
    options.scale = round % 4 == 3 ? 10.0f : 1.0f;
    options.softcap = round % 5 == 4 ? 50.0f : 0.0f;
    const Output output = run(shape, {numbers}, x.sequences, x.spec, options);
    ASSERT_TRUE(all_finite(output.out)) << "round " << round;
    for (std::int64_t row = 0; row < c.n_q * c.n_head; ++row) {
      bool empty = true;
      for (std::int64_t j = 0; j < c.n_kv && empty; ++j) empty = !c.visible(row % c.n_head, row / c.n_head, j);
      const auto at = static_cast<std::size_t>(row);
      ASSERT_EQ(output.status[at], empty ? RowStatus::kEmpty : RowStatus::kOk) << "round " << round;
      ASSERT_EQ(std::isfinite(output.lse[at]), !empty) << "round " << round;
    }
  }
}

// n keys of equal score, values 1 and 3 in turn: exactly 2, whatever the score and however many tiles.
TEST(G1, EqualLogitsFarFromZeroGiveTheExactMean) {
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    for (float logit : {1e4f, 133120.0f, 1e30f, 1e38f, -1e4f, -5e4f, -65504.0f, -133120.0f, -2.45e5f, -1e9f, -3e38f}) {
      const float stored = rounded_to(dtype, logit);
      for (std::int64_t n_kv : {2, 64, 130, 1100}) {
        Numbers x;
        x.n_q = 1;
        x.n_kv = n_kv;
        x.q = {1.0f};
        x.k.assign(static_cast<std::size_t>(n_kv), stored);
        for (std::int64_t j = 0; j < n_kv; ++j) x.v.push_back(j % 2 == 0 ? 1.0f : 3.0f);
        for (Isa isa : supported_isas()) {
          const RunOptions options{isa, 1, dtype, Layout::kKeyHeadDim, 1.0f, 0.0f};
          const Output output = run({1, 1, 1, 1}, {x}, {{0, 1, 0, n_kv}}, MaskSpec(), options);
          ASSERT_EQ(output.out[0], 2.0f) << logit << ", " << n_kv << " keys";
          ASSERT_EQ(output.status[0], RowStatus::kOk);
        }
      }
    }
  }
}

// Beyond the condition: whatever comes out, a row that is not a number, or that lost a score, is not called ok.
TEST(G1, BeyondTheConditionTheStatusSaysSo) {
  Random random(103);
  std::int64_t n_fault = 0, n_fine = 0;
  for (int round = 0; round < 400; ++round) {
    const Shape shape{1, 1, 4, 3};
    const std::int64_t n_q = 3, n_kv = 1 + random.below(140);
    const Numbers x = random_numbers(random, shape, n_q, n_kv, DType::kF32, round % 2 == 0 ? 1.5e19f : 8e18f);
    Numbers y = x;
    for (float& value : y.v) value = random.uniform() * kMax;
    RunOptions options;
    options.isa = supported_isas()[static_cast<std::size_t>(round) % supported_isas().size()];
    options.scale = 1.0f;
    const std::vector<Sequence> sequences{{0, n_q, n_kv - n_q, n_kv}};
    const Output output = run(shape, {y}, sequences, MaskSpec().causal(), options);
    std::int64_t n_overflow = 0, n_empty = 0;
    for (std::int64_t i = 0; i < n_q; ++i) {
      bool lost = false;  // a visible score whose size leaves f32
      for (std::int64_t j = 0; j < n_kv && j <= n_kv - n_q + i; ++j) {
        double dot = 0;
        for (std::size_t d = 0; d < 4; ++d) {
          dot += static_cast<double>(y.q[static_cast<std::size_t>(i) * 4 + d]) *
                 static_cast<double>(y.k[static_cast<std::size_t>(j) * 4 + d]);
        }
        lost = lost || std::fabs(dot) > 1.001 * static_cast<double>(kMax);
      }
      const auto at = static_cast<std::size_t>(i);
      bool finite = true;
      for (std::size_t d = 0; d < 3; ++d) finite = finite && std::isfinite(output.out[at * 3 + d]);
      if (output.status[at] == RowStatus::kEmpty) {
        ++n_empty;
        continue;
      }
      if (lost || !finite) {
        ASSERT_EQ(output.status[at], RowStatus::kOverflow) << "round " << round << " query " << i;
      }
      n_overflow += output.status[at] == RowStatus::kOverflow;
      (lost || !finite ? n_fault : n_fine) += 1;
    }
    ASSERT_EQ(output.report.n_overflow, n_overflow);
    ASSERT_EQ(output.report.n_non_finite, 0) << "round " << round;
    ASSERT_EQ(output.report.n_empty, n_empty);
  }
  EXPECT_GT(n_fault, 100);
  EXPECT_GT(n_fine, 100);
}

}  // namespace
}  // namespace rowmax::attention::test::g01_finite_test
