// Masks through the C interface: every field of rowmax_mask reaches the plan.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "rowmax/rowmax.h"

namespace {

constexpr std::int64_t kQueries = 6, kKeys = 8, kHeads = 2;

class CApiPlan : public testing::Test {
 protected:
  CApiPlan() {
    EXPECT_EQ(rowmax_plan_create(&plan_, nullptr), ROWMAX_OK);
    for (rowmax_sequence& sequence : sequences_) {
      sequence = rowmax_sequence_default();
      sequence.n_q = kQueries;
      sequence.n_kv = kKeys;
      sequence.q_pos = kKeys - kQueries;
    }
    sequences_[1].q_begin = kQueries;
    geometry_.sequences = sequences_;
    geometry_.n_sequences = 2;
    geometry_.n_head = kHeads;
    error_.message = text_;
    error_.message_capacity = sizeof text_;
  }
  ~CApiPlan() override { rowmax_plan_destroy(plan_); }

  void compile() { ASSERT_EQ(rowmax_plan_compile(plan_, &mask_, &geometry_, &error_), ROWMAX_OK) << text_; }
  // The mask must be keep(s, h, i, j), pair by pair and materialised.
  template <class Keep>
  void expect(Keep keep) {
    compile();
    for (std::int64_t s = 0; s < 2; ++s) {
      for (std::int64_t h = 0; h < kHeads; ++h) {
        std::uint64_t words[kQueries] = {};
        ASSERT_EQ(rowmax_plan_materialise(plan_, s, h, words, kQueries, 1, &error_), ROWMAX_OK) << text_;
        for (std::int64_t i = 0; i < kQueries; ++i) {
          for (std::int64_t j = 0; j < kKeys; ++j) {
            const bool want = keep(s, h, i, j);
            EXPECT_EQ(rowmax_plan_visible(plan_, s, h, i, j), want) << s << " " << h << " " << i << " " << j;
            EXPECT_EQ(words[i] >> j & 1, want) << s << " " << h << " " << i << " " << j;
          }
        }
      }
    }
  }

  rowmax_plan* plan_ = nullptr;
  rowmax_mask mask_ = rowmax_mask_default();
  rowmax_sequence sequences_[2];
  rowmax_geometry geometry_ = rowmax_geometry_default();
  char text_[256] = "";
  rowmax_error error_ = rowmax_error_default();
};

using I = std::int64_t;

TEST_F(CApiPlan, DefaultIsNoMask) {
  expect([](I, I, I, I) { return true; });
  EXPECT_STREQ(rowmax_plan_kind(plan_, 0), "full");
  EXPECT_EQ(rowmax_plan_n_sequences(plan_), 2);
}

TEST_F(CApiPlan, WindowKeepFirstAndPrefix) {
  const std::int64_t ends[2] = {0, 5};
  mask_.left = 1;
  mask_.right = 0;
  mask_.keep_first = 1;
  mask_.prefix_ends = ends;
  mask_.n_prefix_ends = 2;
  expect([&](I s, I, I i, I j) { return j < ends[s] || (j <= i + 2 && (j >= i + 1 || j < 1)); });
}

TEST_F(CApiPlan, ChunkAndPositions) {
  const std::int64_t positions[kQueries] = {7, 0, 3, 3, 4, 1};
  mask_.chunk = 4;
  mask_.right = 0;
  sequences_[1].positions = positions;
  expect([&](I s, I, I i, I j) {
    const I p = s == 1 ? positions[i] : i + 2;
    return j <= p && j / 4 == p / 4;
  });
}

TEST_F(CApiPlan, ValidSpansInTwoLists) {
  const std::int64_t spans[] = {0, 7, 2, 8, 1, 8, 1, 8};  // two lists of one span a sequence
  mask_.valid = spans;
  mask_.n_valid = 4;
  mask_.n_valid_terms = 2;
  expect([](I s, I, I, I j) { return s == 0 ? j >= 1 && j < 7 : j >= 2; });
}

TEST_F(CApiPlan, SegmentsBitmapsAndBlocks) {
  const std::int32_t q_ids[kQueries] = {0, 0, 1, 1, 2, 2}, k_ids[kKeys] = {0, 0, 0, 1, 1, 2, 2, 2};
  const std::uint64_t rows[2] = {0b11110111, 0b10111111};  // by head, for all queries
  const std::uint64_t tiles[2] = {0b01, 0b11};
  rowmax_segment_ids ids = rowmax_segment_ids_default();
  ids.q_ids = q_ids;
  ids.k_ids = k_ids;
  rowmax_bitmap bitmap = rowmax_bitmap_default();
  bitmap.words = rows;
  bitmap.head_stride = 1;
  rowmax_block_mask blocks[2] = {rowmax_block_mask_default(), rowmax_block_mask_default()};
  for (rowmax_block_mask& block : blocks) {
    block.words = tiles;
    block.row_stride = 1;
    block.q_block = 4;
    block.k_block = 4;
  }
  mask_.segments = &ids;
  mask_.n_segments = 1;
  mask_.bitmaps = &bitmap;
  mask_.n_bitmaps = 1;
  mask_.blocks = blocks;
  mask_.n_blocks = 2;
  expect([&](I, I h, I i, I j) {
    return q_ids[i] == k_ids[j] && (rows[h] >> j & 1) != 0 && (tiles[i / 4] >> (j / 4) & 1) != 0;
  });
}

TEST_F(CApiPlan, Trees) {
  const std::int32_t parents[kQueries] = {-1, 0, 0, 1, -1, 4};
  rowmax_tree tree = rowmax_tree_default();
  tree.parents = parents;
  mask_.trees = &tree;
  mask_.n_trees = 1;
  expect([&](I, I, I i, I j) {
    if (j < 2) return true;
    for (I node = i; node >= 0; node = parents[node]) {
      if (node == j - 2) return true;
    }
    return false;
  });
}

TEST_F(CApiPlan, ExplainStatsAndAdvance) {
  mask_.right = 0;
  compile();
  std::uint32_t hidden_by = 99;
  char why[128] = "";
  EXPECT_EQ(rowmax_plan_explain(plan_, 0, 1, 3, 5, &hidden_by, nullptr, 0, &error_), ROWMAX_OK);
  EXPECT_EQ(hidden_by, 0u);
  EXPECT_EQ(rowmax_plan_explain(plan_, 0, 1, 3, 6, &hidden_by, why, sizeof why, &error_), ROWMAX_OK);
  EXPECT_NE(hidden_by, 0u);
  EXPECT_NE(std::string(why).find("right_bound"), std::string::npos) << why;
  EXPECT_EQ(rowmax_plan_explain(plan_, 0, 1, 3, 99, &hidden_by, why, sizeof why, &error_), ROWMAX_INVALID_ARGUMENT);
  EXPECT_EQ(rowmax_plan_explain(plan_, 2, 0, 0, 0, &hidden_by, why, sizeof why, &error_), ROWMAX_INVALID_ARGUMENT);
  rowmax_mask_stats stats = rowmax_mask_stats_default();
  ASSERT_EQ(rowmax_plan_stats(plan_, &stats, &error_), ROWMAX_OK);
  EXPECT_EQ(stats.visible_pairs, 2 * kHeads * (3 + 4 + 5 + 6 + 7 + 8));
  EXPECT_EQ(rowmax_plan_visible(plan_, 0, 0, 0, 3), 0);
  ASSERT_EQ(rowmax_plan_advance(plan_, 1, &error_), ROWMAX_OK) << text_;
  EXPECT_EQ(rowmax_plan_visible(plan_, 0, 0, 0, 3), 1);
  EXPECT_EQ(rowmax_plan_advance(plan_, -1, &error_), ROWMAX_INVALID_ARGUMENT);
}

TEST_F(CApiPlan, NothingIsThereAfterAnError) {
  compile();
  mask_.chunk = -3;
  EXPECT_EQ(rowmax_plan_compile(plan_, &mask_, &geometry_, &error_), ROWMAX_INVALID_ARGUMENT);
  EXPECT_EQ(rowmax_plan_n_sequences(plan_), 0);
  EXPECT_EQ(rowmax_plan_kind(plan_, 0), nullptr);
  EXPECT_EQ(rowmax_plan_visible(plan_, 0, 0, 0, 0), 0);
  EXPECT_EQ(rowmax_plan_visible(nullptr, 0, 0, 0, 0), 0);
  EXPECT_EQ(rowmax_plan_compile(plan_, nullptr, &geometry_, &error_), ROWMAX_INVALID_ARGUMENT);
  EXPECT_EQ(rowmax_plan_compile(nullptr, &mask_, &geometry_, &error_), ROWMAX_INVALID_ARGUMENT);
}

}  // namespace
