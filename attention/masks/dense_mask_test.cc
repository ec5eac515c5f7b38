// Keep masks in: the same mask comes out, in its cheapest form.
#include "rowmax/mask_convert.h"

#include "attention/plan/test_masks.h"

namespace rowmax::attention::test::dense_mask_test {
namespace {

std::vector<std::uint8_t> bytes_of(const MaskPlan& plan) {
  std::vector<std::uint8_t> bytes;
  for (std::int64_t i = 0; i < plan.n_query(0); ++i) {
    for (std::int64_t j = 0; j < plan.n_key(0); ++j) bytes.push_back(plan.visible(0, 0, i, j) ? 1 : 0);
  }
  return bytes;
}

Result<DenseMask> from_bytes(const std::vector<std::uint8_t>& bytes, std::int64_t n_q, std::int64_t n_kv) {
  return from_keep({bytes.data(), n_q, n_kv, n_kv, 1});
}

// The mask that add_to() makes is the mask itself, whatever position the queries have; and what `detected` says holds.
void check_round_trip(const DenseMask& mask, const std::vector<std::uint8_t>& bytes, std::int64_t q_pos) {
  const DetectedMask& d = mask.detected();
  const Sequence sequence{0, mask.n_q(), q_pos, mask.n_kv()};
  MaskSpec spec;
  mask.add_to(&spec, q_pos);
  const Result<MaskPlan> plan = compile(spec, {{&sequence, 1}, 1, 1});
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  std::int64_t n_hidden = 0;
  for (std::int64_t i = 0; i < mask.n_q(); ++i) {
    for (std::int64_t j = 0; j < mask.n_kv(); ++j) {
      const bool want = bytes[static_cast<std::size_t>(i * mask.n_kv() + j)] != 0;
      ASSERT_EQ(plan->visible(0, 0, i, j), want) << d.text() << ": query " << i << " key " << j;
      ASSERT_EQ(mask.keeps(i, j), want);
      n_hidden += !want;
      const Wide p = Wide{d.q_pos} + i;
      const bool inside = j >= d.valid.begin && j < d.valid.end && (d.left == kUnbounded || j >= p - d.left) &&
                          (d.right == kUnbounded || j <= p + d.right);
      if (d.kind == MaskKind::kArbitrary) {
        ASSERT_TRUE(inside || !want) << d.text();
      } else {
        ASSERT_EQ(inside, want) << d.text() << ": query " << i << " key " << j;
      }
    }
  }
  ASSERT_EQ(d.n_hidden, n_hidden);
  ASSERT_EQ(d.left_padded, d.kind != MaskKind::kEmpty && d.valid.begin > 0);
  ASSERT_EQ(d.right_padded, d.kind != MaskKind::kEmpty && d.valid.end < mask.n_kv());
}

// The first word that fits each mask of a shape that is a band, found by writing down all bands.
std::vector<MaskKind> kinds_by_enumeration(std::int64_t n_q, std::int64_t n_kv) {
  std::vector<MaskKind> kinds(std::size_t{1} << (n_q * n_kv), MaskKind::kArbitrary);
  for (std::int64_t begin = 0; begin <= n_kv; ++begin) {
    for (std::int64_t end = begin; end <= n_kv; ++end) {
      for (std::int64_t first = -6; first <= 6; ++first) {    // -6: no bound to the left
        for (std::int64_t after = -6; after <= 6; ++after) {  // 6: none to the right
          std::size_t bits = 0;
          for (std::int64_t i = 0; i < n_q; ++i) {
            for (std::int64_t j = begin; j < end; ++j) {
              if ((first == -6 || j >= first + i) && (after == 6 || j < after + i))
                bits |= std::size_t{1} << (i * n_kv + j);
            }
          }
          const bool full = bits + 1 == kinds.size();
          const MaskKind kind = full                        ? MaskKind::kFull
                                : bits == 0                 ? MaskKind::kEmpty
                                : first == -6 && after == 6 ? MaskKind::kPadding
                                : first == -6               ? MaskKind::kCausal
                                                            : MaskKind::kSlidingWindow;
          if (kind < kinds[bits]) kinds[bits] = kind;
        }
      }
    }
  }
  return kinds;
}

TEST(DenseMask, EveryMaskUpToFourByFour) {
  for (std::int64_t n_q = 1; n_q <= 4; ++n_q) {
    for (std::int64_t n_kv = 1; n_kv <= 4; ++n_kv) {
      const std::vector<MaskKind> kinds = kinds_by_enumeration(n_q, n_kv);
      std::vector<std::uint8_t> bytes(static_cast<std::size_t>(n_q * n_kv));
      for (std::size_t bits = 0; bits < kinds.size(); ++bits) {
        for (std::size_t b = 0; b < bytes.size(); ++b) bytes[b] = static_cast<std::uint8_t>(bits >> b & 1);
        const Result<DenseMask> mask = from_bytes(bytes, n_q, n_kv);
        ASSERT_TRUE(mask.ok());
        check_round_trip(*mask, bytes, static_cast<std::int64_t>(bits % 7) - 3);
        ASSERT_EQ(mask->detected().kind, kinds[bits])
            << n_q << " x " << n_kv << " bits " << bits << ": " << mask->detected().text();
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Bands with padding, empty rows and chunks of queries are found as bands, across words.
TEST(DenseMask, BandsAreFound) {
  Random random(41);
  for (int round = 0; round < 3000; ++round) {
    const std::int64_t n_q = 1 + random.below(12), n_kv = 1 + random.below(round % 3 == 0 ? 140 : 14);
    const Sequence sequence{0, n_q, random.below(n_kv + 8) - 6, n_kv};
    const std::int64_t begin = random.below(n_kv);
    const KeySpan span{begin, begin + random.below(n_kv - begin + 1)};
    MaskSpec spec;
    if (random.below(2) == 0) spec.valid({&span, 1});
    if (random.below(2) == 0) spec.window(kUnbounded, random.below(4) - 1);
    if (random.below(2) == 0) spec.window(random.below(n_kv), kUnbounded);
    const Result<MaskPlan> plan = compile(spec, {{&sequence, 1}, 1, 1});
    const std::vector<std::uint8_t> bytes = bytes_of(*plan);
    const Result<DenseMask> mask = from_bytes(bytes, n_q, n_kv);
    check_round_trip(*mask, bytes, sequence.q_pos + random.below(3) * 100);
    if (HasFatalFailure()) return;
    ASSERT_NE(mask->detected().kind, MaskKind::kArbitrary);
    ASSERT_LE(mask->detected().kind, plan->kind(0));
    ASSERT_EQ(mask->detected().n_empty_rows, plan->stats().empty_rows);
  }
}

DetectedMask detect(const MaskSpec& spec, const Sequence& sequence) {
  const Result<MaskPlan> plan = compile(spec, {{&sequence, 1}, 1, 1});
  return from_bytes(bytes_of(*plan), sequence.n_q, sequence.n_kv)->detected();
}

TEST(DenseMask, SaysWhatItFound) {
  const Sequence square{0, 8, 0, 8}, chunk{0, 4, 6, 10};
  const KeySpan left{3, 8}, right{0, 6}, both{2, 7}, none{0, 0};
  EXPECT_EQ(detect(MaskSpec(), square).text(), "full; 0 of 64 pairs hidden, 0 rows see nothing");
  EXPECT_EQ(detect(MaskSpec().valid({&none, 1}), square).text(), "empty; 64 of 64 pairs hidden, 8 rows see nothing");
  EXPECT_EQ(detect(MaskSpec().causal(), square).text(),
            "causal from position 0; 28 of 64 pairs hidden, 0 rows see nothing");
  EXPECT_EQ(detect(MaskSpec().causal(), chunk).text(),
            "causal from position 6; 6 of 40 pairs hidden, 0 rows see nothing");
  EXPECT_EQ(detect(MaskSpec().causal().valid({&left, 1}), square).text(),
            "causal from position 0, keys [3, 8) of 8 valid (left padding); 49 of 64 pairs hidden, 3 rows see nothing");
  EXPECT_EQ(
      detect(MaskSpec().causal().valid({&right, 1}), square).text(),
      "causal from position 0, keys [0, 6) of 8 valid (right padding); 31 of 64 pairs hidden, 0 rows see nothing");
  EXPECT_EQ(
      detect(MaskSpec().causal().valid({&both, 1}), square).text(),
      "causal from position 0, keys [2, 7) of 8 valid (left and right padding); 44 of 64 pairs hidden, 2 rows see "
      "nothing");
  EXPECT_EQ(detect(MaskSpec().valid({&both, 1}), square).text(),
            "padding, keys [2, 7) of 8 valid (left and right padding); 24 of 64 pairs hidden, 0 rows see nothing");
  EXPECT_EQ(detect(MaskSpec().causal().window(2, 0), square).text(),
            "sliding_window from position 0 (left 2, right 0); 43 of 64 pairs hidden, 0 rows see nothing");
  EXPECT_EQ(detect(MaskSpec().causal().window(2, 0), chunk).text(),
            "sliding_window from position 6 (left 2, right 0); 28 of 40 pairs hidden, 0 rows see nothing");
  EXPECT_EQ(detect(MaskSpec().window(2, 1), square).text(),
            "sliding_window from position 0 (left 2, right 1); 36 of 64 pairs hidden, 0 rows see nothing");
  EXPECT_EQ(detect(MaskSpec().window(2, kUnbounded), chunk).text(),
            "sliding_window from position 6 (left 2, right unbounded); 22 of 40 pairs hidden, 0 rows see nothing");
  EXPECT_EQ(detect(MaskSpec().causal().window(1, 0).keep_first(1), square).text(),
            "arbitrary; 43 of 64 pairs hidden, 0 rows see nothing");
  EXPECT_EQ(detect(MaskSpec().causal(), {0, 2, -1, 2}).text(),
            "causal from position -1; 3 of 4 pairs hidden, 1 row sees nothing");
}

// The usual batch, causal and left-padded, comes back as spans: bit for bit what the spec gives, and shorter rows
// alone.
TEST(DenseMask, PaddedCausalGivesTheBitsOfItsSpec) {
  Random random(42);
  const Shape shape{4, 2, 8, 8};
  const std::int64_t n = 150;
  for (const KeySpan span : {KeySpan{70, n}, KeySpan{0, 101}, KeySpan{33, 140}}) {
    const Numbers x = random_numbers(random, shape, n, n);
    const std::vector<Sequence> sequences{{0, n, 0, n}};
    const MaskSpec spec = MaskSpec().causal().valid({&span, 1});
    const Result<MaskPlan> plan = compile(spec, {sequences, 4, 2});
    const Result<DenseMask> mask = from_bytes(bytes_of(*plan), n, n);
    MaskSpec found;
    mask->add_to(&found, 0);
    const Result<MaskPlan> again = compile(found, {sequences, 4, 2});
    EXPECT_EQ(again->anchor(0, 0), span.begin);
    EXPECT_EQ(again->impl()->sequences[0].n_bitmaps, 0);
    RunOptions options;
    options.isa = best_isa();
    EXPECT_TRUE(run(shape, {x}, sequences, spec, options).same_bits(run(shape, {x}, sequences, found, options)));
  }
}

TEST(DenseMask, AnyStrides) {
  // [n_kv][n_q] in memory, read backwards along the keys.
  const std::uint8_t bytes[] = {1, 0, 0, 1, 1, 0};
  const Result<DenseMask> mask = from_keep({bytes + 4, 2, 3, 1, -2});
  ASSERT_TRUE(mask.ok());
  for (std::int64_t i = 0; i < 2; ++i) {
    for (std::int64_t j = 0; j < 3; ++j) EXPECT_EQ(mask->keeps(i, j), bytes[4 + i - 2 * j] != 0);
  }
  EXPECT_FALSE(mask->keeps(2, 0));
  EXPECT_FALSE(mask->keeps(0, 3));
  EXPECT_FALSE(mask->keeps(-1, -1));
  // One row for many queries: stored once.
  std::vector<std::uint8_t> row(70, 1);
  row[3] = 0;
  const Result<DenseMask> wide = from_keep({row.data(), 1000, 70, 0, 1});
  EXPECT_EQ(wide->bitmap().row_stride, 0);
  EXPECT_FALSE(wide->keeps(999, 3));
  EXPECT_TRUE(wide->keeps(999, 69));
  EXPECT_EQ(wide->detected().n_hidden, 1000);
  DenseMask none;
  EXPECT_FALSE(none.keeps(0, 0));
  const Result<DenseMask> empty = from_keep({nullptr, 0, 5, 0, 1});
  EXPECT_EQ(empty->detected().kind, MaskKind::kEmpty);
}

TEST(DenseMask, AFarPositionIsAnotherNumberNotAnOverflow) {
  const std::uint8_t bytes[] = {1, 0, 1, 1};
  const Result<DenseMask> mask = from_keep({bytes, 2, 2, 2, 1});
  ASSERT_EQ(mask->detected().kind, MaskKind::kCausal);
  for (const std::int64_t q_pos : {INT64_MIN, INT64_MAX, std::int64_t{1} << 60, -(std::int64_t{1} << 60)}) {
    MaskSpec spec;
    mask->add_to(&spec, q_pos);
    const Sequence sequence{0, 2, q_pos, 2};
    const Result<MaskPlan> plan = compile(spec, {{&sequence, 1}, 1, 1});
    if (!plan.ok()) continue;  // positions end at 2^60
    EXPECT_FALSE(plan->visible(0, 0, 0, 1));
    EXPECT_TRUE(plan->visible(0, 0, 1, 1));
  }
}

TEST(DenseMask, RefusesWhatMakesNoSense) {
  const std::uint8_t byte = 1;
  const auto message = [](const DenseMaskView& view) {
    const Result<DenseMask> mask = from_keep(view);
    return mask.ok() ? std::string() : mask.error().message;
  };
  EXPECT_EQ(message({&byte, -1, 2, 0, 0}), "keep mask: -1 by 2 pairs, expected 0 to 2^60");
  EXPECT_EQ(message({nullptr, 1, 2, 0, 0}), "keep mask: no data");
  EXPECT_EQ(message({&byte, 3, 2, INT64_MIN, 0}), "keep mask: strides -9223372036854775808 and 0 reach beyond memory");
  EXPECT_EQ(message({&byte, 3, 2, INT64_MAX, 1}), "keep mask: strides 9223372036854775807 and 1 reach beyond memory");
  EXPECT_EQ(from_keep({&byte, std::int64_t{1} << 60, std::int64_t{1} << 60, 2, 0}).error().code,
            ErrorCode::kInvalidArgument);
}

TEST(KeepMask, SidesSpansAndHoles) {
  const std::uint8_t data[] = {
      1, 1, 1, 1, 9,  //
      0, 0, 1, 1, 9,  //
      1, 1, 0, 0, 9,  //
      0, 1, 1, 0, 9,  //
      0, 0, 0, 0, 9,  //
      0, 1, 0, 1, 9,  //
  };
  const Result<KeepMask> padded = from_keep_mask(data, 5, 4, 5);
  ASSERT_TRUE(padded.ok());
  EXPECT_FALSE(padded->has_holes());
  const KeySpan spans[] = {{0, 4}, {2, 4}, {0, 2}, {1, 3}, {0, 0}};
  const char* const sides[] = {"none", "left", "right", "both", "right"};
  for (std::size_t b = 0; b < 5; ++b) {
    EXPECT_EQ(padded->spans()[b].begin, spans[b].begin);
    EXPECT_EQ(padded->spans()[b].end, spans[b].end);
    EXPECT_STREQ(padding_side_name(padded->sides()[b]), sides[b]);
  }
  const Result<KeepMask> holes = from_keep_mask(data, 6, 4, 5);
  ASSERT_TRUE(holes->has_holes());
  EXPECT_EQ(holes->sides()[5], PaddingSide::kHoles);
  MaskSpec spec;
  holes->add_to(&spec);
  std::vector<Sequence> sequences;
  for (std::int64_t b = 0; b < 6; ++b) sequences.push_back({b * 3, 3, 1, 4});
  const Result<MaskPlan> plan = compile(spec.causal(), {sequences, 1, 1});
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  for (std::int64_t b = 0; b < 6; ++b) {
    for (std::int64_t i = 0; i < 3; ++i) {
      for (std::int64_t j = 0; j < 4; ++j) {
        EXPECT_EQ(plan->visible(b, 0, i, j), data[b * 5 + j] == 1 && j <= 1 + i) << b << " " << i << " " << j;
      }
    }
  }
  EXPECT_EQ(from_keep_mask(nullptr, 1, 4, 4).error().message, "keep mask: no data");
  EXPECT_FALSE(from_keep_mask(data, -1, 4, 4).ok());
  EXPECT_FALSE(from_keep_mask(data, 3, 4, INT64_MAX).ok());
  EXPECT_TRUE(from_keep_mask(nullptr, 0, 4, 4).ok());
  EXPECT_EQ(from_keep_mask(nullptr, 2, 0, 0)->sides()[1], PaddingSide::kNone);
}

TEST(KeepMask, BitmapsFollowTheObject) {
  const std::uint8_t data[] = {1, 0, 1, 1, 1, 0};
  Result<KeepMask> found = from_keep_mask(data, 2, 3, 3);
  ASSERT_TRUE(found.ok());
  const KeepMask moved = std::move(*found);
  ASSERT_EQ(moved.bitmaps().size(), 2u);
  EXPECT_EQ(moved.bitmaps()[0].words[0], 5u);
  EXPECT_EQ(moved.bitmaps()[1].words[0], 3u);
  EXPECT_EQ(moved.spans()[1].end, 2);
}

// More entries than any machine has memory for, all of them the same row.
TEST(KeepMask, NoMemoryIsAnError) {
  const std::vector<std::uint8_t> row(64, 1);
  for (const int bits : {50, 58, 60}) {
    const Result<KeepMask> found = from_keep_mask(row.data(), std::int64_t{1} << bits, 64, 0);
    ASSERT_FALSE(found.ok());
    EXPECT_EQ(found.error().code, ErrorCode::kOutOfMemory);
  }
  const Result<DenseMask> dense = from_keep({row.data(), std::int64_t{1} << 50, 64, 1, 0});
  ASSERT_FALSE(dense.ok());
  EXPECT_EQ(dense.error().code, ErrorCode::kOutOfMemory);
}

}  // namespace
}  // namespace rowmax::attention::test::dense_mask_test
