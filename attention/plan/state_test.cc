// Plans as objects: kinds, the next step of decoding, indices that do not exist.
#include "attention/plan/test_masks.h"

namespace rowmax::attention::test::state_test {
namespace {

MaskKind kind_of(const MaskSpec& spec, const Sequence& sequence) {
  const Result<MaskPlan> plan = compile(spec, {{&sequence, 1}, 1, 1});
  EXPECT_TRUE(plan.ok());
  return plan->kind(0);
}

TEST(MaskKind, OfWhatIsSeenNotOfTheCalls) {
  const Sequence square{0, 8, 0, 8}, chunk{0, 4, 6, 10}, one{0, 1, 9, 10};
  const KeySpan left{3, 8}, none{4, 4}, right{0, 6};
  EXPECT_EQ(kind_of(MaskSpec(), square), MaskKind::kFull);
  EXPECT_EQ(kind_of(MaskSpec().window(7, 7), square), MaskKind::kFull);
  EXPECT_EQ(kind_of(MaskSpec().causal(), one), MaskKind::kFull);
  EXPECT_EQ(kind_of(MaskSpec().causal().window(3, 0), one), MaskKind::kPadding);
  EXPECT_EQ(kind_of(MaskSpec(), {0, 0, 0, 8}), MaskKind::kEmpty);
  EXPECT_EQ(kind_of(MaskSpec(), {0, 8, 0, 0}), MaskKind::kEmpty);
  EXPECT_EQ(kind_of(MaskSpec().valid({&none, 1}), square), MaskKind::kEmpty);
  EXPECT_EQ(kind_of(MaskSpec().causal(), {0, 4, -9, 8}), MaskKind::kEmpty);
  EXPECT_EQ(kind_of(MaskSpec().valid({&left, 1}), square), MaskKind::kPadding);
  EXPECT_EQ(kind_of(MaskSpec().valid({&right, 1}), square), MaskKind::kPadding);
  EXPECT_EQ(kind_of(MaskSpec().causal(), square), MaskKind::kCausal);
  EXPECT_EQ(kind_of(MaskSpec().causal().window(7, 0), square), MaskKind::kCausal);
  EXPECT_EQ(kind_of(MaskSpec().causal().valid({&left, 1}), square), MaskKind::kCausal);
  EXPECT_EQ(kind_of(MaskSpec().causal(), chunk), MaskKind::kCausal);
  EXPECT_EQ(kind_of(MaskSpec().causal().chunk(8), square), MaskKind::kCausal);
  EXPECT_EQ(kind_of(MaskSpec().causal().keep_first(2), square), MaskKind::kCausal);
  EXPECT_EQ(kind_of(MaskSpec().causal().window(3, 0), square), MaskKind::kSlidingWindow);
  EXPECT_EQ(kind_of(MaskSpec().window(kUnbounded, -1), square), MaskKind::kSlidingWindow);
  EXPECT_EQ(kind_of(MaskSpec().window(2, 2), square), MaskKind::kSlidingWindow);
  EXPECT_EQ(kind_of(MaskSpec().causal().window(3, 0).keep_first(2), square), MaskKind::kTwoSpans);
  const std::int64_t prefix = 3;
  EXPECT_EQ(kind_of(MaskSpec().causal().prefix({&prefix, 1}), square), MaskKind::kPrefix);
  EXPECT_EQ(kind_of(MaskSpec().causal().prefix({&prefix, 1}).valid({&left, 1}), square), MaskKind::kCausal);
  EXPECT_EQ(kind_of(MaskSpec().causal().window(1, 0).prefix({&prefix, 1}), square), MaskKind::kTwoSpans);
  EXPECT_EQ(kind_of(MaskSpec().chunk(4), square), MaskKind::kChunked);
  EXPECT_EQ(kind_of(MaskSpec().chunk(4).causal(), square), MaskKind::kChunked);
  const std::int32_t two[] = {0, 0, 0, 1, 1, 1, 1, 1}, single[] = {5, 5, 5, 5, 5, 5, 5, 5},
                     mixed[] = {1, 0, 1, 0, 1, 0, 1, 0};
  const SegmentIds packed{two, two}, whole{single, single}, woven{mixed, mixed};
  EXPECT_EQ(kind_of(MaskSpec().segments({&packed, 1}), square), MaskKind::kDocuments);
  EXPECT_EQ(kind_of(MaskSpec().segments({&packed, 1}).causal(), square), MaskKind::kDocuments);
  EXPECT_EQ(kind_of(MaskSpec().segments({&whole, 1}).causal(), square), MaskKind::kCausal);
  EXPECT_EQ(kind_of(MaskSpec().segments({&woven, 1}), square), MaskKind::kArbitrary);
  const std::int64_t jumps[] = {0, 1, 2, 3, 4, 5, 6, 9}, plain[] = {0, 1, 2, 3, 4, 5, 6, 7};
  EXPECT_EQ(kind_of(MaskSpec().causal(), {0, 8, 0, 8, jumps}), MaskKind::kArbitrary);
  EXPECT_EQ(kind_of(MaskSpec().causal(), {0, 8, 0, 8, plain}), MaskKind::kCausal);
  const std::uint64_t ones = ~std::uint64_t{0};
  const BitmapView bitmap{&ones, 0, 0};
  EXPECT_EQ(kind_of(MaskSpec().bitmap({&bitmap, 1}), square), MaskKind::kArbitrary);
  EXPECT_EQ(MaskPlan().kind(0), MaskKind::kEmpty);
}

bool same_sequences(const MaskPlan& a, const MaskPlan& b) {
  if (a.impl()->n_sequences != b.impl()->n_sequences) return false;
  for (std::int64_t k = 0; k < a.impl()->n_sequences; ++k) {
    const PlanSequence &x = a.impl()->sequences[k], &y = b.impl()->sequences[k];
    const PlanSource &u = a.impl()->sources[k], &v = b.impl()->sources[k];
    if (x.source != y.source || x.q_begin != y.q_begin || x.q_first != y.q_first || x.n_q != y.n_q ||
        x.q_pos != y.q_pos || x.n_kv != y.n_kv || x.kv_begin != y.kv_begin || x.kv_end != y.kv_end ||
        x.anchor != y.anchor || x.left != y.left || x.right != y.right || x.chunk != y.chunk ||
        x.chunk_origin != y.chunk_origin || x.prefix_end != y.prefix_end || x.keep_end != y.keep_end ||
        x.document.begin != y.document.begin || x.document.end != y.document.end || u.first != v.first ||
        u.n_q != v.n_q || u.valid.begin != v.valid.begin || u.valid.end != v.valid.end ||
        (x.positions == nullptr) != (y.positions == nullptr)) {
      return false;
    }
    for (std::int64_t i = 0; x.positions != nullptr && i < x.n_q; ++i) {
      if (x.positions[i] != y.positions[i]) return false;
    }
  }
  return true;
}

// The case n keys later, by the words of advance().
MaskCase later(MaskCase c, std::int64_t n) {
  for (KeySpan& span : c.valid) span.end += span.end == c.n_kv ? n : 0;
  for (std::int64_t& p : c.positions) p += n;
  c.n_kv += n;
  c.q_pos += n;
  return c;
}

TEST(MaskAdvance, IsWhatCompilingAnewGives) {
  Random random(21);
  for (int round = 0; round < 3000; ++round) {
    MaskCase c = random_case(random, 3, 40);
    c.segments.clear();
    c.bitmaps.clear();
    c.blocks.clear();
    c.has_tree = false;
    for (KeySpan& span : c.valid) span.end = random.below(2) == 0 ? c.n_kv : span.end;
    const CaseSpec start(c);
    Result<MaskPlan> plan = compile(start.spec, start.geometry());
    ASSERT_TRUE(plan.ok());
    for (int step = 0; step < 4; ++step) {
      const std::int64_t n = random.below(4);
      ASSERT_TRUE(plan->advance(n).ok());
      c = later(c, n);
      const CaseSpec now(c);
      const Result<MaskPlan> anew = compile(now.spec, now.geometry());
      ASSERT_TRUE(anew.ok());
      ASSERT_TRUE(same_sequences(*plan, *anew)) << "round " << round << " step " << step;
      for (std::int64_t i = 0; i < c.n_q; ++i) {
        for (std::int64_t j = 0; j < c.n_kv; ++j) ASSERT_EQ(plan->visible(0, 0, i, j), c.visible(0, i, j));
      }
    }
  }
}

TEST(MaskAdvance, SeveralSequencesWithPositions) {
  const std::int64_t first[] = {4, 6}, third[] = {9};
  std::vector<Sequence> sequences{{0, 2, 0, 5, first}, {2, 1, 7, 8}, {3, 1, 0, 10, third}};
  Result<MaskPlan> plan = compile(MaskSpec().causal(), {sequences, 2, 1});
  ASSERT_TRUE(plan->advance(3).ok());
  const std::int64_t first_later[] = {7, 9}, third_later[] = {12};
  sequences = {{0, 2, 3, 8, first_later}, {2, 1, 10, 11}, {3, 1, 3, 13, third_later}};
  EXPECT_TRUE(same_sequences(*plan, *compile(MaskSpec().causal(), {sequences, 2, 1})));
}

// Spans without a common key stay empty, though the later one ends at the last key and grows.
TEST(MaskAdvance, DisjointSpansStayEmpty) {
  const KeySpan early{0, 5}, none{10, 10}, grown{10, 12};
  const Sequence now{0, 1, 9, 10}, then{0, 1, 11, 12};
  Result<MaskPlan> plan = compile(MaskSpec().valid({&early, 1}).valid({&none, 1}), {{&now, 1}, 1, 1});
  ASSERT_TRUE(plan->advance(2).ok());
  EXPECT_TRUE(same_sequences(*plan, *compile(MaskSpec().valid({&early, 1}).valid({&grown, 1}), {{&then, 1}, 1, 1})));
  EXPECT_EQ(plan->kind(0), MaskKind::kEmpty);
}

TEST(MaskAdvance, AttendGivesTheSameBits) {
  Random random(22);
  const Shape shape{4, 2, 8, 8};
  const std::vector<KeySpan> start{{5, 500}};
  MaskPlan plan;
  std::vector<Sequence> sequences{{0, 1, 499, 500}};
  const auto spec = [&](const std::vector<KeySpan>& valid) {
    return MaskSpec().causal().window(200, 0).keep_first(3).valid(valid);
  };
  ASSERT_TRUE(plan.compile(spec(start), {sequences, 4, 2}).ok());
  for (std::int64_t n_kv = 501; n_kv <= 640; n_kv += 1 + n_kv % 7 / 6 * 20) {
    ASSERT_TRUE(plan.advance(n_kv - plan.n_key(0)).ok());
    const Numbers x = random_numbers(random, shape, 1, n_kv);
    const std::vector<KeySpan> valid{{5, n_kv}};
    sequences = {{0, 1, n_kv - 1, n_kv}};
    RunOptions options;
    options.isa = best_isa();
    const Output anew = run(shape, {x}, sequences, spec(valid), options);
    std::vector<float> out(static_cast<std::size_t>(shape.n_head * shape.v_dim));
    KvMemory memory(shape, {x}, DType::kF32, Layout::kKeyHeadDim);
    AttendArgs args;
    args.q = packed_heads(x.q.data(), 1, shape.n_head, shape.k_dim);
    args.kv = memory.view();
    args.sequences = memory.sequences();
    args.scale = options.scale;
    args.out = packed_heads(out.data(), 1, shape.n_head, shape.v_dim);
    ASSERT_TRUE(attend_exact(args, plan, pool(1), options.isa).ok());
    ASSERT_EQ(std::memcmp(out.data(), anew.out.data(), out.size() * sizeof(float)), 0) << n_kv << " keys";
  }
}

TEST(MaskAdvance, RefusesWhatItCannotDoAndLeavesThePlan) {
  const std::uint64_t ones = ~std::uint64_t{0};
  const BitmapView bitmap{&ones, 0, 0};
  const std::int32_t ids[] = {0, 1, 2, 3};
  const SegmentIds segments{ids, ids};
  const std::int32_t parents[] = {-1, 0};
  const TreeView tree{parents, -1};
  const BlockMaskView blocks{&ones, 0, 0, 64, 64};
  const Sequence sequence{0, 2, 2, 4};
  const MaskSpec specs[] = {MaskSpec().bitmap({&bitmap, 1}), MaskSpec().segments({&segments, 1}),
                            MaskSpec().tree({&tree, 1}), MaskSpec().blocks({&blocks, 1})};
  for (const MaskSpec& spec : specs) {
    Result<MaskPlan> plan = compile(spec, {{&sequence, 1}, 1, 1});
    ASSERT_TRUE(plan.ok());
    EXPECT_EQ(plan->advance(1).error().code, ErrorCode::kUnsupported);
    EXPECT_EQ(plan->n_key(0), 4);
  }
  Result<MaskPlan> plan = compile(MaskSpec().causal(), {{&sequence, 1}, 1, 1});
  EXPECT_EQ(plan->advance(-1).error().message, "advance: by -1, expected 0 to 2^60");
  EXPECT_EQ(plan->advance(std::int64_t{1} << 60).error().message, "advance: sequence 0 would pass 2^60");
  EXPECT_EQ(plan->n_key(0), 4);
  EXPECT_TRUE(plan->advance((std::int64_t{1} << 60) - 4).ok());
  EXPECT_FALSE(plan->advance(1).ok());
  EXPECT_FALSE(MaskPlan().advance(1).ok());
}

TEST(MaskPlanState, OutOfRangeIsInvisibleNotRead) {
  const Sequence sequences[] = {{0, 2, 0, 3}, {2, 0, 0, 5}};
  const Result<MaskPlan> plan = compile(MaskSpec(), {sequences, 2, 1});
  for (const std::int64_t bad : {std::int64_t{-1}, std::int64_t{2}, INT64_MIN, INT64_MAX}) {
    EXPECT_FALSE(plan->visible(bad, 0, 0, 0));
    EXPECT_FALSE(plan->visible(0, bad, 0, 0));
    EXPECT_FALSE(plan->visible(0, 0, bad, 0));
    EXPECT_FALSE(plan->visible(0, 0, 0, bad == 2 ? 3 : bad));
    EXPECT_EQ(plan->anchor(bad, 0), 0);
    EXPECT_EQ(plan->n_query(bad), 0);
    EXPECT_EQ(plan->n_key(bad), 0);
    EXPECT_EQ(plan->kind(bad), MaskKind::kEmpty);
  }
  EXPECT_EQ(plan->n_key(1), 5);
  std::vector<std::uint64_t> words(2);
  EXPECT_TRUE(plan->materialise(0, 0, words, 1).ok());
  EXPECT_EQ(words[0], 7u);
  EXPECT_FALSE(plan->materialise(0, 0, words, 0).ok());
  EXPECT_EQ(plan->materialise(0, 0, words, 2).error().message,
            "materialise: 2 rows of at least 1 words needed, found 2 words in rows of 2");
  EXPECT_FALSE(plan->materialise(0, 0, words, INT64_MAX).ok());
  EXPECT_FALSE(plan->materialise(2, 0, words, 1).ok());
  EXPECT_FALSE(plan->materialise(0, 2, words, 1).ok());
}

}  // namespace
}  // namespace rowmax::attention::test::state_test
