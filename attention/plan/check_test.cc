// What compile() refuses of blocks and trees (plan_test.cc has the rest), and extreme numbers.
#include "attention/plan/test_masks.h"

namespace rowmax::attention::test::check_test {
namespace {

TEST(MaskCheck, RefusesBlocksAndTreesThatMakeNoSense) {
  const Sequence sequence{0, 3, 0, 10};
  const auto message = [&](const MaskSpec& spec) {
    const Result<MaskPlan> plan = compile(spec, {{&sequence, 1}, 1, 1});
    return plan.ok() ? std::string() : plan.error().message;
  };
  const std::uint64_t word = 1;
  const auto blocks = [&](BlockMaskView view) { return message(MaskSpec().blocks({&view, 1})); };
  EXPECT_EQ(blocks({&word, 0, 0, 0, 64}), "sequence 0: blocks of 0 queries by 64 keys, expected 1 to 2^60");
  EXPECT_EQ(blocks({&word, 0, 0, 64, -1}), "sequence 0: blocks of 64 queries by -1 keys, expected 1 to 2^60");
  EXPECT_EQ(blocks({nullptr, 0, 0, 64, 64}), "sequence 0: blocks without words");
  EXPECT_EQ(blocks({&word, INT64_MIN, 0, 1, 64}),
            "sequence 0: blocks strides -9223372036854775808 (row) and 0 (head) reach beyond memory");
  EXPECT_EQ(blocks({&word, INT64_MAX / 2, 0, 64, 64}),
            "sequence 0: blocks strides 4611686018427387903 (row) and 0 (head) reach beyond memory");
  EXPECT_EQ(blocks({&word, 0, 0, std::int64_t{1} << 60, std::int64_t{1} << 60}), "");
  const BitmapView far{&word, std::int64_t{1} << 60, 0};
  EXPECT_NE(message(MaskSpec().bitmap({&far, 1})), "");
  const auto tree = [&](const std::int32_t* parents, std::int64_t first_key) {
    const TreeView view{parents, first_key};
    return message(MaskSpec().tree({&view, 1}));
  };
  const std::int32_t good[] = {-1, 0, -1}, own[] = {-1, 1, 0}, low[] = {-1, -2, 0};
  EXPECT_EQ(tree(good, -1), "");
  EXPECT_EQ(tree(good, 7), "");
  EXPECT_EQ(tree(good, 8), "sequence 0: tree: first_key 8, expected -1 or 0 to 7 (n_kv - n_q)");
  EXPECT_EQ(tree(good, -2), "sequence 0: tree: first_key -2, expected -1 or 0 to 7 (n_kv - n_q)");
  EXPECT_EQ(tree(own, -1), "sequence 0: tree: parent 1 of node 1, expected -1 to 0");
  EXPECT_EQ(tree(low, -1), "sequence 0: tree: parent -2 of node 1, expected -1 to 0");
  EXPECT_EQ(tree(nullptr, -1), "sequence 0: tree without parents");
  const TreeView view{good, -1};
  EXPECT_EQ(message(MaskSpec().tree({&view, 1}).tree({&view, 1})),
            "mask: tree given 2 times, at most 1 can be combined");
  const Sequence few{0, 3, 0, 2};
  EXPECT_EQ(compile(MaskSpec().tree({&view, 1}), {{&few, 1}, 1, 1}).error().message,
            "sequence 0: tree of 3 nodes, but only 2 keys");
}

// Extreme numbers: accepted or refused, never an overflow (this runs under the sanitizers too), and right where
// accepted.
TEST(MaskCheck, HostileNumbers) {
  Random random(23);
  const std::int64_t big = std::int64_t{1} << 60;
  const std::int64_t extremes[] = {INT64_MIN,
                                   INT64_MIN + 1,
                                   -big - 1,
                                   -big,
                                   -big + 1,
                                   -1,
                                   0,
                                   1,
                                   big - 1,
                                   big,
                                   big + 1,
                                   INT64_MAX - 1,
                                   INT64_MAX,
                                   std::int64_t{1} << 62,
                                   -(std::int64_t{1} << 62),
                                   std::int64_t{1} << 31};
  int n_accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    MaskCase c = random_case(random, 3, 12);
    const auto hostile = [&](std::int64_t* value) {
      if (random.below(5) == 0) *value = extremes[random.below(16)];
    };
    hostile(&c.q_pos);
    hostile(&c.left);
    hostile(&c.right);
    hostile(&c.keep_first);
    if (c.chunk != 0) hostile(&c.chunk);
    hostile(&c.prefix);
    hostile(&c.anchor);
    for (std::int64_t& p : c.positions) hostile(&p);
    for (KeySpan& span : c.valid) hostile(&span.begin), hostile(&span.end);
    for (auto& bits : c.blocks) {
      bits.head_stride = bits.row_stride = 0;
      hostile(&bits.q_block);
      hostile(&bits.k_block);
    }
    if (c.has_tree) hostile(&c.first_key);
    const CaseSpec x(c);
    const Result<MaskPlan> plan = compile(x.spec, x.geometry());
    if (!plan.ok()) {
      ASSERT_EQ(plan.error().code, ErrorCode::kInvalidArgument);
      ASSERT_NE(plan.error().message, "");
      continue;
    }
    ++n_accepted;
    if (c.n_q > 0) (void)plan->kind(0);
    for (std::int64_t i = 0; i < c.n_q; ++i) {
      for (std::int64_t j = 0; j < c.n_kv; ++j) {
        const std::uint32_t hidden = c.hidden_by(0, i, j);
        ASSERT_EQ(plan->visible(0, 0, i, j), hidden == 0) << "round " << round;
        ASSERT_EQ(plan->explain(0, 0, i, j)->hidden_by, hidden) << "round " << round;
      }
    }
  }
  EXPECT_GT(n_accepted, 3000);
  for (const std::int64_t a : extremes) {
    for (const std::int64_t b : extremes) {
      const Sequence sequence{0, 0, a, b, nullptr, a};
      const KeySpan span{a, b};
      (void)compile(MaskSpec().window(a, b).valid({&span, 1}), {{&sequence, 1}, 1, 1}).ok();
      const std::uint64_t words[4] = {};
      const BitmapView bitmap{words, a, b};
      const Sequence small{0, 2, 0, 2};
      (void)compile(MaskSpec().bitmap({&bitmap, 1}), {{&small, 1}, 2, 1}).ok();
    }
  }
}

}  // namespace
}  // namespace rowmax::attention::test::check_test
