#include "attention/plan/test_masks.h"

namespace rowmax::attention::test::cache_test {
namespace {

TEST(MaskPlanCache, HitsOnEqualContentsInOtherArrays) {
  MaskPlanCache cache;
  Random random(31);
  for (int round = 0; round < 200; ++round) {
    MaskCase c = random_case(random, 5, 100);
    c.bitmaps.clear();
    c.blocks.clear();  // words are compared by address
    const MaskCase copy = c;
    const CaseSpec one(c), two(copy);
    const Result<const MaskPlan*> first = cache.get(one.spec, one.geometry());
    ASSERT_TRUE(first.ok());
    const std::int64_t hits = cache.n_hits();
    const Result<const MaskPlan*> second = cache.get(two.spec, two.geometry());
    EXPECT_EQ(*first, *second);
    EXPECT_EQ(cache.n_hits(), hits + 1);
    for (std::int64_t i = 0; i < c.n_q; ++i) {
      for (std::int64_t j = 0; j < c.n_kv; ++j) ASSERT_EQ((*second)->visible(0, 0, i, j), c.visible(0, i, j));
    }
  }
}

// Changing any one number of a mask is a miss, and gives that mask's plan.
TEST(MaskPlanCache, NeverTakesOneMaskForAnother) {
  Random random(32);
  MaskPlanCache cache(4);
  std::int64_t n_changes = 0;
  for (int round = 0; round < 400; ++round) {
    MaskCase c = random_case(random, 4, 70);
    if (c.bitmaps.empty()) c.bitmaps.push_back(MaskCase::random_bits(random, c.n_q, c.n_kv, c.n_head, 1));
    MaskCase other = c;
    switch (random.below(12)) {
      case 0: ++other.q_pos; break;
      case 1: other.left = other.left == kUnbounded ? 3 : other.left + 1; break;
      case 2: other.right = other.right == kUnbounded ? 3 : other.right + 1; break;
      case 3: ++other.chunk; break;
      case 4: ++other.keep_first; break;
      case 5:
        other.has_prefix = true;
        ++other.prefix;
        break;
      case 6:
        if (!other.segments.empty()) ++other.segments[0].k.back();
        break;
      case 7:
        if (!other.segments.empty()) ++other.segments[0].q.back();
        break;
      case 8:
        if (other.has_tree) other.parents.back() = other.parents.back() == -1 && other.n_q > 1 ? 0 : -1;
        break;
      case 9:
        if (!other.positions.empty()) ++other.positions.back();
        break;
      case 10: other.valid.push_back({0, c.n_kv}); break;
      case 11: ++other.n_head; break;
    }
    const CaseSpec one(c), two(other);
    ASSERT_TRUE(cache.get(one.spec, one.geometry()).ok());
    const std::int64_t misses = cache.n_misses();
    const Result<const MaskPlan*> plan = cache.get(two.spec, two.geometry());
    ASSERT_TRUE(plan.ok());
    EXPECT_EQ(cache.n_misses(), misses + 1);  // were it only for the bitmaps, which lie elsewhere
    ++n_changes;
    for (std::int64_t i = 0; i < other.n_q; ++i) {
      for (std::int64_t j = 0; j < other.n_kv; ++j) ASSERT_EQ((*plan)->visible(0, 0, i, j), other.visible(0, i, j));
    }
  }
  EXPECT_GT(n_changes, 300);
}

TEST(MaskPlanCache, EveryNumberCounts) {
  const std::int64_t positions[] = {4, 5}, others[] = {4, 6};
  const Sequence base{0, 2, 1, 9, nullptr, 0};
  const KeySpan valid{1, 9}, narrow{1, 8};
  const std::int64_t prefix = 2, longer = 3;
  const std::int32_t ids[] = {0, 0, 1, 1, 1, 1, 1, 1, 1}, changed[] = {0, 0, 1, 1, 1, 1, 1, 1, 2};
  const SegmentIds segments{ids, ids}, k_changed{ids, changed}, q_changed{changed + 7, ids};
  const std::int32_t parents[] = {-1, 0}, roots[] = {-1, -1};
  const TreeView tree{parents, -1}, forest{roots, -1}, earlier{parents, 3};
  const std::uint64_t words[2] = {1, 1};
  const BitmapView bitmap{words, 0, 0}, moved{words + 1, 0, 0}, strided{words, 1, 0}, headed{words, 0, 1};
  const BlockMaskView blocks{words, 0, 0, 4, 4}, wide{words, 0, 0, 4, 8}, high{words, 0, 0, 8, 4};
  const MaskSpec specs[] = {MaskSpec(),
                            MaskSpec().causal(),
                            MaskSpec().window(2, 0),
                            MaskSpec().window(kUnbounded, 1),
                            MaskSpec().chunk(2),
                            MaskSpec().chunk(3),
                            MaskSpec().keep_first(0),
                            MaskSpec().keep_first(1),
                            MaskSpec().valid({&valid, 1}),
                            MaskSpec().valid({&narrow, 1}),
                            MaskSpec().valid({&valid, 1}).valid({&valid, 1}),
                            MaskSpec().prefix({&prefix, 1}),
                            MaskSpec().prefix({&longer, 1}),
                            MaskSpec().segments({&segments, 1}),
                            MaskSpec().segments({&k_changed, 1}),
                            MaskSpec().segments({&q_changed, 1}),
                            MaskSpec().tree({&tree, 1}),
                            MaskSpec().tree({&forest, 1}),
                            MaskSpec().tree({&earlier, 1}),
                            MaskSpec().bitmap({&bitmap, 1}),
                            MaskSpec().bitmap({&moved, 1}),
                            MaskSpec().bitmap({&strided, 1}),
                            MaskSpec().bitmap({&headed, 1}),
                            MaskSpec().blocks({&blocks, 1}),
                            MaskSpec().blocks({&wide, 1}),
                            MaskSpec().blocks({&high, 1})};
  std::vector<Sequence> sequences(9, base);
  sequences[1].q_begin = 1;
  sequences[2].n_q = 1;
  sequences[3].q_pos = 2;
  sequences[4].n_kv = 10;
  sequences[5].anchor = -1;
  sequences[6].positions = positions;
  sequences[7].positions = others;
  MaskPlanCache cache(1000);
  std::int64_t n = 0;
  for (int pass = 0; pass < 2; ++pass) {
    for (const MaskSpec& spec : specs) {
      const Result<const MaskPlan*> plan = cache.get(spec, {{&base, 1}, 2, 1});
      ASSERT_TRUE(plan.ok()) << plan.error().message;
      n += pass == 0;
      EXPECT_EQ(cache.n_misses(), n);
    }
    for (std::size_t s = 1; s < 8; ++s) {
      ASSERT_TRUE(cache.get(MaskSpec().causal(), {{&sequences[s], 1}, 2, 1}).ok());
      n += pass == 0;
      EXPECT_EQ(cache.n_misses(), n) << "sequence " << s;
    }
    ASSERT_TRUE(cache.get(MaskSpec().causal(), {{&base, 1}, 4, 1}).ok());
    ASSERT_TRUE(cache.get(MaskSpec().causal(), {{&base, 1}, 2, 2}).ok());
    ASSERT_TRUE(cache.get(MaskSpec().causal(), {{sequences.data() + 2, 2}, 2, 2}).ok());
    ASSERT_TRUE(cache.get(MaskSpec().causal(), {{sequences.data(), 0}, 2, 2}).ok());
    n += pass == 0 ? 4 : 0;
    EXPECT_EQ(cache.n_misses(), n);
  }
  EXPECT_EQ(cache.n_hits(), n);
}

TEST(MaskPlanCache, LeastRecentlyUsedGoesAndNothingGrows) {
  MaskPlanCache cache(2);
  const Sequence a{0, 1, 0, 4}, b{0, 1, 1, 4}, c{0, 1, 2, 4};
  const auto get = [&](const Sequence& sequence) { return *cache.get(MaskSpec().causal(), {{&sequence, 1}, 1, 1}); };
  const MaskPlan* plan_a = get(a);
  get(b);
  EXPECT_EQ(get(a), plan_a);  // b is now the oldest
  get(c);
  EXPECT_EQ(cache.n_misses(), 3);
  EXPECT_EQ(get(a), plan_a);
  EXPECT_EQ(cache.n_hits(), 2);
  get(b);
  EXPECT_EQ(cache.n_misses(), 4);
  EXPECT_TRUE(get(b)->visible(0, 0, 0, 1));
  EXPECT_FALSE(get(b)->visible(0, 0, 0, 2));
  cache.clear();
  EXPECT_EQ(cache.n_hits() + cache.n_misses(), 0);
  EXPECT_TRUE(get(a)->visible(0, 0, 0, 0));
  MaskPlanCache moved = std::move(cache);
  EXPECT_EQ(moved.n_misses(), 1);
}

TEST(MaskPlanCache, ErrorsLeaveItAsItWas) {
  MaskPlanCache cache(0);  // counts as one
  const Sequence good{0, 1, 0, 4}, bad{0, -1, 0, 4}, late{0, 1, 0, 4, nullptr, 2};
  const std::vector<KeySpan> two(2);
  const MaskPlan* plan = *cache.get(MaskSpec(), {{&good, 1}, 1, 1});
  EXPECT_EQ(cache.get(MaskSpec(), {{&bad, 1}, 1, 1}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(cache.get(MaskSpec().valid(two), {{&good, 1}, 1, 1}).error().message,
            "valid: expected one element for each of 1 sequences or a single one, found 2");
  EXPECT_EQ(cache.get(MaskSpec(), {{&late, 1}, 1, 1}).error().message,
            "sequence 0: anchor 2 lies after the first valid key 0");
  EXPECT_EQ(*cache.get(MaskSpec(), {{&good, 1}, 1, 1}), plan);
  EXPECT_EQ(cache.n_hits(), 1);
  EXPECT_EQ(cache.n_misses(), 1);
}

}  // namespace
}  // namespace rowmax::attention::test::cache_test
