// Mask plans against brute force: every small shape, every bound, and what compile() refuses.
#include "attention/plan/plan.h"

#include <algorithm>
#include <array>

#include "attention/test_problem.h"

namespace rowmax::attention::test::plan_test {
namespace {

TEST(Plan, EveryWindowOffsetAndSpanUpToTwelveKeys) {
  std::int64_t compared = 0;
  for (std::int64_t n_kv : {0, 1, 2, 5, 12}) {
    for (std::int64_t n_q : {1, 3, 12}) {
      for (std::int64_t q_pos = -8; q_pos <= 13; q_pos += 3) {
        for (std::int64_t left = -2; left <= 9; ++left) {
          for (std::int64_t right = -2; right <= 9; ++right) {
            for (const KeySpan span : {KeySpan{0, n_kv}, KeySpan{n_kv / 3, n_kv}, KeySpan{n_kv / 3, n_kv - n_kv / 4}}) {
              const std::vector<KeySpan> valid{span};
              const std::vector<Sequence> sequences{{0, n_q, q_pos, n_kv}};
              const std::int64_t l = left == 9 ? kUnbounded : left, r = right == 9 ? kUnbounded : right;
              const Result<MaskPlan> plan = compile(MaskSpec().window(l, r).valid(valid), {sequences, 1, 1});
              ASSERT_TRUE(plan.ok());
              std::int64_t pairs = 0, empty = 0;
              for (std::int64_t i = 0; i < n_q; ++i) {
                std::int64_t row = 0;
                for (std::int64_t j = 0; j < n_kv; ++j) {
                  const std::int64_t p = q_pos + i;
                  const bool want =
                      j >= span.begin && j < span.end && (left == 9 || j >= p - left) && (right == 9 || j <= p + right);
                  ASSERT_EQ(plan->visible(0, 0, i, j), want)
                      << "left " << left << " right " << right << " p " << p << " j " << j;
                  row += want;
                  ++compared;
                }
                pairs += row;
                empty += row == 0;
              }
              const MaskStats stats = plan->stats();
              ASSERT_EQ(stats.visible_pairs, pairs);
              ASSERT_EQ(stats.empty_rows, empty);
            }
          }
        }
      }
    }
  }
  EXPECT_GT(compared, 500000);
}

TEST(Plan, RowSpansAreOrderedApartAndCountEveryKeyOnce) {
  Random random(3);
  for (int round = 0; round < 200000; ++round) {
    PlanSequence s;
    s.n_kv = 40;
    s.kv_begin = random.below(20);
    s.kv_end = s.kv_begin + random.below(20);
    s.q_pos = random.below(60) - 10;
    s.left = random.below(3) == 0 ? kUnbounded : random.below(15) - 3;
    s.right = random.below(3) == 0 ? kUnbounded : random.below(15) - 3;
    s.chunk = random.below(3) == 0 ? 1 + random.below(9) : 0;
    s.chunk_origin = s.kv_begin;
    s.prefix_end = random.below(3) == 0 ? random.below(45) - 2 : 0;
    s.keep_end = random.below(3) == 0 ? s.kv_begin + random.below(9) : 0;
    const RowSpans spans = row_spans(s, 0);
    ASSERT_LE(spans.begin0, spans.end0);
    ASSERT_LE(spans.end0, spans.begin1);
    ASSERT_LE(spans.begin1, spans.end1);
    if (spans.begin1 < spans.end1) {
      ASSERT_LT(spans.end0, spans.begin1);
      ASSERT_LT(spans.begin0, spans.end0);
    }
    const std::int64_t p = s.q_pos;
    for (std::int64_t j = 0; j < 40; ++j) {
      const auto floor_div = [](std::int64_t a, std::int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); };
      const bool valid = j >= s.kv_begin && j < s.kv_end;
      const bool chunk =
          s.chunk == 0 || floor_div(j - s.chunk_origin, s.chunk) == floor_div(p - s.chunk_origin, s.chunk);
      const bool right = s.right == kUnbounded || j <= p + s.right;
      const bool left = s.left == kUnbounded || j >= p - s.left;
      const bool want = valid && chunk && (j < s.prefix_end || (right && (left || j < s.keep_end)));
      const bool got = (j >= spans.begin0 && j < spans.end0) || (j >= spans.begin1 && j < spans.end1);
      ASSERT_EQ(got, want) << "round " << round << " key " << j;
    }
  }
}

TEST(Plan, BitmapWordsAtEveryOffset) {
  Random random(4);
  for (std::int64_t n_kv : {1, 5, 63, 64, 65, 127, 128, 200}) {
    std::vector<std::uint64_t> row(static_cast<std::size_t>((n_kv + 63) / 64));
    for (auto& word : row) word = std::uint64_t{random.bits()} << 32 | random.bits();
    for (std::int64_t begin = 0; begin < n_kv + 70; ++begin) {
      const std::uint64_t word = bitmap_word(row.data(), n_kv, begin);
      for (std::int64_t b = 0; b < 64; ++b) {
        const std::int64_t j = begin + b;
        const bool want = j < n_kv && (row[static_cast<std::size_t>(j / 64)] >> (j % 64) & 1) != 0;
        ASSERT_EQ((word >> b & 1) != 0, want) << n_kv << " keys, word from " << begin << ", bit " << b;
      }
    }
  }
}

// Every bitmap of up to n_q x n_kv pairs: result within the bound, empty rows exact, and a bitmap that happens to be an
// interval gives the bits of the interval.
void sweep_small_masks(std::int64_t most) {
  Random random(8);
  const Shape shape{1, 1, 3, 5};
  for (std::int64_t n_q = 1; n_q <= most; ++n_q) {
    for (std::int64_t n_kv = 1; n_kv <= most; ++n_kv) {
      Numbers x = random_numbers(random, shape, n_q, n_kv);
      for (std::uint64_t mask = 0; mask < std::uint64_t{1} << (n_q * n_kv); ++mask) {
        std::vector<std::uint64_t> words(static_cast<std::size_t>(n_q));
        for (std::int64_t i = 0; i < n_q; ++i)
          words[static_cast<std::size_t>(i)] = mask >> (i * n_kv) & ((1u << n_kv) - 1);
        const std::vector<BitmapView> bitmaps{{words.data(), 1, 0}};
        const std::vector<Sequence> sequences{{0, n_q, 0, n_kv}};
        const MaskSpec spec = MaskSpec().bitmap(bitmaps);
        RunOptions options;
        options.isa = best_isa();
        const Output output = run(shape, {x}, sequences, spec, options);
        ASSERT_LT(worst_error(shape, x, output, 0, options,
                              [&](std::int64_t, std::int64_t i, std::int64_t j) {
                                return (words[static_cast<std::size_t>(i)] >> j & 1) != 0;
                              }),
                  1.0)
            << n_q << " x " << n_kv << " mask " << mask;
        options.isa = Isa::kScalar;
        ASSERT_TRUE(run(shape, {x}, sequences, spec, options).same_bits(output));
      }
    }
  }
}
TEST(Plan, EveryMaskUpToThreeByThree) { sweep_small_masks(3); }
TEST(Full_Plan, EveryMaskUpToFourByFour) { sweep_small_masks(4); }

TEST(Plan, EveryIntervalAsBandAndAsBitmapGivesTheSameBits) {
  Random random(9);
  const Shape shape{2, 1, 6, 7};
  const std::int64_t n_q = 14, n_kv = 140;
  const Numbers x = random_numbers(random, shape, n_q, n_kv);
  for (std::int64_t left : {std::int64_t{0}, std::int64_t{1}, std::int64_t{5}, std::int64_t{63}, std::int64_t{64},
                            std::int64_t{100}, kUnbounded}) {
    for (std::int64_t right : {std::int64_t{-3}, std::int64_t{0}, std::int64_t{2}, std::int64_t{70}, kUnbounded}) {
      for (std::int64_t q_pos : {-5, 0, 60, 126, 150}) {
        const std::vector<Sequence> sequences{{0, n_q, q_pos, n_kv}};
        const MaskSpec band = MaskSpec().window(left, right);
        const Result<MaskPlan> plan = compile(band, {sequences, 2, 1});
        std::vector<std::uint64_t> words(static_cast<std::size_t>(n_q * 3), 0);
        for (std::int64_t i = 0; i < n_q; ++i) {
          for (std::int64_t j = 0; j < n_kv; ++j) {
            if (plan->visible(0, 0, i, j))
              words[static_cast<std::size_t>(i * 3 + j / 64)] |= std::uint64_t{1} << (j % 64);
          }
        }
        const std::vector<BitmapView> bitmaps{{words.data(), 3, 0}};
        for (Isa isa : supported_isas()) {
          RunOptions options;
          options.isa = isa;
          ASSERT_TRUE(run(shape, {x}, sequences, band, options)
                          .same_bits(run(shape, {x}, sequences, MaskSpec().bitmap(bitmaps), options)))
              << "left " << left << " right " << right << " q_pos " << q_pos;
        }
      }
    }
  }
}

TEST(Plan, BitmapPerHead) {
  Random random(10);
  const Shape shape{4, 2, 6, 7};
  const Numbers x = random_numbers(random, shape, 9, 80);
  std::vector<std::uint64_t> words(4 * 9 * 2);
  for (auto& word : words) word = std::uint64_t{random.bits()} << 32 | random.bits();
  const std::vector<BitmapView> bitmaps{{words.data(), 2, 18}};
  const std::vector<Sequence> sequences{{0, 9, 0, 80}};
  RunOptions options;
  options.isa = best_isa();
  const Output output = run(shape, {x}, sequences, MaskSpec().bitmap(bitmaps), options);
  EXPECT_LT(worst_error(shape, x, output, 0, options,
                        [&](std::int64_t h, std::int64_t i, std::int64_t j) {
                          return (words[static_cast<std::size_t>(h * 18 + i * 2 + j / 64)] >> (j % 64) & 1) != 0;
                        }),
            1.0);
}

TEST(Plan, RecompilingAllocatesNothingAndForgetsTheOldMask) {
  MaskPlan plan;
  std::vector<Sequence> sequences{{0, 1, 9, 10}, {1, 1, 4, 5}};
  ASSERT_TRUE(plan.compile(MaskSpec().causal(), {sequences, 2, 1}).ok());
  const PlanSequence* storage = plan.impl()->sequences;
  sequences.pop_back();
  sequences[0] = {0, 1, 10, 11};
  ASSERT_TRUE(plan.compile(MaskSpec().causal().window(2, 0), {sequences, 2, 1}).ok());
  EXPECT_EQ(plan.impl()->sequences, storage);
  EXPECT_EQ(plan.n_sequence(), 1);
  EXPECT_FALSE(plan.visible(0, 0, 0, 7));
  EXPECT_TRUE(plan.visible(0, 0, 0, 8));
  EXPECT_FALSE(plan.compile(MaskSpec(), {sequences, 3, 2}).ok());
  EXPECT_EQ(plan.n_sequence(), 0);  // unusable after an error
}

TEST(Plan, OrderOfConditionsDoesNotMatter) {
  const std::vector<Sequence> sequences{{0, 20, 5, 40}};
  const std::vector<KeySpan> a{{3, 40}}, b{{0, 30}};
  const Result<MaskPlan> one =
      compile(MaskSpec().causal().window(9, 4).valid(a).valid(b).keep_first(2), {sequences, 1, 1});
  const Result<MaskPlan> two =
      compile(MaskSpec().keep_first(2).valid(b).window(9, 4).valid(a).causal(), {sequences, 1, 1});
  for (std::int64_t i = 0; i < 20; ++i) {
    for (std::int64_t j = 0; j < 40; ++j) ASSERT_EQ(one->visible(0, 0, i, j), two->visible(0, 0, i, j));
  }
  EXPECT_EQ(one->anchor(0, 0), 3);
}

TEST(Plan, RefusesWhatMakesNoSense) {
  const std::vector<Sequence> sequences{{0, 2, 0, 10}, {2, 1, 0, 10}};
  const auto message = [&](const MaskSpec& spec, const std::vector<Sequence>& s, std::int32_t n_head = 2,
                           std::int32_t n_kv_head = 1) {
    const Result<MaskPlan> plan = compile(spec, {s, n_head, n_kv_head});
    return plan.ok() ? std::string() : plan.error().message;
  };
  EXPECT_EQ(message(MaskSpec(), sequences, 3, 2), "n_head 3 must be a positive multiple of n_kv_head 2");
  const std::vector<KeySpan> long_span{{0, 11}}, three(3);
  EXPECT_EQ(message(MaskSpec().valid(long_span), sequences), "sequence 0: valid keys [0, 11), expected within [0, 10)");
  EXPECT_EQ(message(MaskSpec().valid(three), sequences),
            "valid: expected one element for each of 2 sequences or a single one, found 3");
  EXPECT_EQ(message(MaskSpec().chunk(0), sequences), "mask: chunk size 0, expected 1 to 2^60");
  EXPECT_EQ(message(MaskSpec().keep_first(1).keep_first(2), sequences),
            "mask: keep_first given 2 times, at most 1 can be combined");
  EXPECT_EQ(message(MaskSpec().keep_first(-1), sequences), "mask: keep_first -1 is negative");
  EXPECT_EQ(message(MaskSpec(), {{0, -1, 0, 10}}), "sequence 0: n_q -1, n_kv 10, q_begin 0: expected 0 to 2^60");
  EXPECT_EQ(message(MaskSpec(), {{0, 1, 0, 10, nullptr, 1}}), "sequence 0: anchor 1 lies after the first valid key 0");
  const std::vector<BitmapView> no_words(1);
  EXPECT_EQ(message(MaskSpec().bitmap(no_words), sequences), "sequence 0: bitmap without words");
  const std::int64_t far[] = {std::int64_t{1} << 61};
  EXPECT_EQ(message(MaskSpec(), {{0, 1, 0, 10, far}}),
            "sequence 0: position 2305843009213693952 of query 0 out of range");
  EXPECT_EQ(message(MaskSpec().window(-kUnbounded, kUnbounded - 1), sequences), "");
}

}  // namespace
}  // namespace rowmax::attention::test::plan_test
