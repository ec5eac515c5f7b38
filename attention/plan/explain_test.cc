// The words of explanations; that they are true, compile_test.cc shows pair by pair.
#include "attention/plan/test_masks.h"

namespace rowmax::attention::test::explain_test {
namespace {

TEST(MaskExplain, ExplanationsReadWell) {
  const std::vector<KeySpan> valid{{2, 18}};
  const std::vector<std::int32_t> ids{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  const std::vector<std::int32_t> q_ids{0, 0, 0, 0};
  const std::vector<SegmentIds> segments{{q_ids.data(), ids.data()}};
  const std::vector<Sequence> sequences{{0, 4, 7, 20}};
  const Result<MaskPlan> plan =
      compile(MaskSpec().causal().window(4, 9).valid(valid).segments(segments).keep_first(1), {sequences, 4, 2});
  ASSERT_TRUE(plan.ok());
  const auto text = [&](std::int64_t j) { return plan->explain(0, 2, 3, j)->text; };
  EXPECT_EQ(text(7), "sequence 0, head 2, query 3 (position 10): key 7 is visible");
  EXPECT_EQ(text(12),
            "sequence 0, head 2, query 3 (position 10): key 12 is hidden by segments: key 12 is outside the document's "
            "keys [0, 10); right_bound: key 12 > position 10 + 0");
  EXPECT_EQ(
      text(5),
      "sequence 0, head 2, query 3 (position 10): key 5 is hidden by left_bound: key 5 < position 10 - 4, and not "
      "kept in front [2, 3)");
  EXPECT_EQ(text(0),
            "sequence 0, head 2, query 3 (position 10): key 0 is hidden by valid: key 0 is outside the valid keys "
            "[2, 18); left_bound: key 0 < position 10 - 4, and not kept in front [2, 3)");
  const Result<MaskExplanation> none = plan->explain(0, 4, 0, 0);
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().message, "explain: no such pair: sequence 0 of 1, head 4 of 4, query 0 of 4, key 0 of 20");
  EXPECT_FALSE(plan->explain(0, 0, 4, 0).ok());
  EXPECT_FALSE(plan->explain(0, 0, 0, 20).ok());
  EXPECT_FALSE(plan->explain(1, 0, 0, 0).ok());
  EXPECT_FALSE(MaskPlan().explain(0, 0, 0, 0).ok());
}

TEST(MaskExplain, ExplanationsOfBitsReadWell) {
  const std::vector<Sequence> sequences{{0, 3, 0, 10}};
  const std::uint64_t zero = 0;
  const std::vector<BitmapView> bitmaps{{&zero, 0, 0}};
  const std::vector<BlockMaskView> blocks{{&zero, 0, 0, 2, 4}};
  const std::vector<std::int32_t> parents{-1, 0, 0};
  const std::vector<TreeView> trees{{parents.data(), 5}};
  const std::vector<std::int32_t> ids{1, 0, 1, 0, 1, 0, 1, 0, 1, 0};
  const std::vector<SegmentIds> segments{{ids.data(), ids.data()}};
  const auto text = [&](const MaskSpec& spec, std::int64_t j) {
    const Result<MaskPlan> plan = compile(spec, {sequences, 1, 1});
    const std::string all = plan->explain(0, 0, 2, j)->text;
    return all.substr(all.find("hidden by ") + 10);
  };
  EXPECT_EQ(text(MaskSpec().bitmap(bitmaps), 9), "bitmap: bit 9 of row 2 is 0");
  EXPECT_EQ(text(MaskSpec().blocks(blocks), 9), "blocks: block (1, 2) of 2 queries by 4 keys is 0");
  EXPECT_EQ(text(MaskSpec().tree(trees), 6), "tree: key 6 is node 1, no ancestor of node 2");
  EXPECT_EQ(text(MaskSpec().tree(trees), 9), "tree: key 9 lies after the tree's keys [5, 8)");
  EXPECT_EQ(text(MaskSpec().segments(segments), 9), "segments: key 9 has another id than query 2");
  EXPECT_EQ(text(MaskSpec().chunk(4), 9), "chunk: key 9 is in chunk 2, position 2 in chunk 0 (of 4 from key 0)");
  const std::vector<std::int64_t> prefix{1};
  EXPECT_EQ(text(MaskSpec().window(0, 0).prefix(prefix), 1),
            "left_bound: key 1 < position 2 - 0, and not in the prefix [0, 1)");
}

TEST(MaskExplain, NamesAreDistinct) {
  for (const MaskRule a : kAllRules) {
    for (const MaskRule b : kAllRules) {
      EXPECT_EQ(std::string(mask_rule_name(a)) == mask_rule_name(b), a == b);
    }
  }
  EXPECT_STREQ(mask_rule_name(MaskRule::kRightBound), "right_bound");
  for (int a = 0; a <= static_cast<int>(MaskKind::kArbitrary); ++a) {
    for (int b = 0; b < a; ++b) {
      EXPECT_STRNE(mask_kind_name(static_cast<MaskKind>(a)), mask_kind_name(static_cast<MaskKind>(b)));
    }
  }
}

}  // namespace
}  // namespace rowmax::attention::test::explain_test
