// Masks of other frameworks, and the plan cache, through the C interface.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "rowmax/rowmax.h"

namespace {

class CApiConvert : public testing::Test {
 protected:
  CApiConvert() {
    error_.message = text_;
    error_.message_capacity = sizeof text_;
    sequence_.n_q = 3;
    sequence_.n_kv = 4;
    sequence_.q_pos = 1;
    mask_.right = 0;
    geometry_.sequences = &sequence_;
    geometry_.n_sequences = 1;
  }
  ~CApiConvert() override { rowmax_dense_mask_destroy(dense_); }

  char text_[256] = "";
  rowmax_error error_ = rowmax_error_default();
  rowmax_sequence sequence_ = rowmax_sequence_default();
  rowmax_geometry geometry_ = rowmax_geometry_default();
  rowmax_mask mask_ = rowmax_mask_default();
  rowmax_dense_view view_ = rowmax_dense_view_default();
  rowmax_dense_info info_ = rowmax_dense_info_default();
  rowmax_dense_mask* dense_ = nullptr;
};

TEST_F(CApiConvert, OutAndIn) {
  rowmax_plan* plan = nullptr;
  ASSERT_EQ(rowmax_plan_create(&plan, nullptr), ROWMAX_OK);
  ASSERT_EQ(rowmax_plan_compile(plan, &mask_, &geometry_, &error_), ROWMAX_OK) << text_;
  std::vector<float> numbers(12, 7.0f);
  EXPECT_EQ(rowmax_to_additive(plan, 0, 0, ROWMAX_F32, 2, numbers.data(), 4, 1, &error_), ROWMAX_INVALID_ARGUMENT);
  EXPECT_EQ(rowmax_to_additive(plan, 0, 0, ROWMAX_Q8_0, 0, numbers.data(), 4, 1, &error_), ROWMAX_UNSUPPORTED);
  ASSERT_EQ(rowmax_to_additive(plan, 0, 0, ROWMAX_F32, ROWMAX_FILL_MINUS_INFINITY, numbers.data(), 4, 1, &error_),
            ROWMAX_OK);
  const float inf = INFINITY;
  EXPECT_EQ(numbers, (std::vector<float>{0, 0, -inf, -inf, 0, 0, 0, -inf, 0, 0, 0, 0}));
  rowmax_plan_destroy(plan);

  view_.data = numbers.data();
  view_.n_q = 3;
  view_.n_kv = 4;
  view_.row_stride = 4;
  ASSERT_EQ(rowmax_from_additive(&view_, ROWMAX_ADDITIVE_THRESHOLD, &dense_, &error_), ROWMAX_OK) << text_;
  char line[200] = "";
  ASSERT_EQ(rowmax_dense_mask_describe(dense_, &info_, line, sizeof line, &error_), ROWMAX_OK);
  EXPECT_STREQ(info_.kind, "causal");
  EXPECT_STREQ(info_.sentinel, "minus_infinity");
  EXPECT_EQ(info_.q_pos, 1);
  EXPECT_EQ(info_.right, 0);
  EXPECT_EQ(info_.n_hidden, 3);
  EXPECT_EQ(info_.has_bias, 0);
  EXPECT_NE(std::string(line).find("causal"), std::string::npos);
}

TEST_F(CApiConvert, KeepMasksAreBits) {
  const std::uint8_t keep[8] = {1, 0, 0, 2, 0, 1, 0, 0};
  view_.data = keep;
  view_.n_q = 2;
  view_.n_kv = 4;
  view_.row_stride = 4;
  ASSERT_EQ(rowmax_from_keep(&view_, &dense_, &error_), ROWMAX_OK) << text_;
  rowmax_bitmap bits = rowmax_bitmap_default();
  ASSERT_EQ(rowmax_dense_mask_bitmap(dense_, &bits, &error_), ROWMAX_OK);
  EXPECT_EQ(bits.words[0], 0b1001u);
  EXPECT_EQ(bits.words[bits.row_stride], 0b0010u);
  ASSERT_EQ(rowmax_dense_mask_describe(dense_, &info_, nullptr, 0, &error_), ROWMAX_OK);
  EXPECT_STREQ(info_.kind, "arbitrary");
  EXPECT_STREQ(info_.sentinel, "none");
}

TEST_F(CApiConvert, PaddingOfATokenizer) {
  const std::uint8_t tokens[16] = {0, 0, 1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 1, 0, 1, 1};
  std::int64_t spans[8];
  std::int32_t sides[4];
  ASSERT_EQ(rowmax_from_keep_mask(tokens, 4, 4, 4, spans, sides, &error_), ROWMAX_OK) << text_;
  EXPECT_EQ(std::vector<std::int64_t>(spans, spans + 8), (std::vector<std::int64_t>{2, 4, 0, 3, 1, 3, 0, 4}));
  EXPECT_EQ(std::vector<std::int32_t>(sides, sides + 4),
            (std::vector<std::int32_t>{ROWMAX_SIDE_LEFT, ROWMAX_SIDE_RIGHT, ROWMAX_SIDE_BOTH, ROWMAX_SIDE_HOLES}));
  EXPECT_EQ(rowmax_from_keep_mask(tokens, 4, 4, 4, nullptr, nullptr, &error_), ROWMAX_OK);
  EXPECT_EQ(rowmax_from_keep_mask(tokens, -4, 4, 4, spans, sides, &error_), ROWMAX_INVALID_ARGUMENT);
}

TEST_F(CApiConvert, WrongMasksAreErrors) {
  const float numbers[2] = {0, NAN};
  view_.data = numbers;
  view_.n_q = 1;
  view_.n_kv = 2;
  view_.row_stride = 2;
  EXPECT_EQ(rowmax_from_additive(&view_, ROWMAX_ADDITIVE_THRESHOLD, &dense_, &error_), ROWMAX_NUMERIC_FAULT);
  EXPECT_EQ(dense_, nullptr);
  EXPECT_EQ(rowmax_from_additive(&view_, 1.0, &dense_, &error_), ROWMAX_INVALID_ARGUMENT);
  EXPECT_EQ(rowmax_from_keep(nullptr, &dense_, &error_), ROWMAX_INVALID_ARGUMENT);
  EXPECT_EQ(rowmax_dense_mask_describe(nullptr, &info_, nullptr, 0, &error_), ROWMAX_INVALID_ARGUMENT);
}

TEST_F(CApiConvert, PlansAreKept) {
  rowmax_plan_cache* cache = nullptr;
  EXPECT_EQ(rowmax_plan_cache_create(0, &cache, &error_), ROWMAX_INVALID_ARGUMENT);
  ASSERT_EQ(rowmax_plan_cache_create(4, &cache, &error_), ROWMAX_OK);
  const rowmax_plan* plan = nullptr;
  for (int n = 0; n < 3; ++n) {
    ASSERT_EQ(rowmax_plan_cache_get(cache, &mask_, &geometry_, &plan, &error_), ROWMAX_OK) << text_;
    EXPECT_EQ(rowmax_plan_visible(plan, 0, 0, 0, 1), 1);
    EXPECT_EQ(rowmax_plan_visible(plan, 0, 0, 0, 2), 0);
  }
  EXPECT_EQ(rowmax_plan_cache_n_hits(cache), 2);
  mask_.right = 1;
  ASSERT_EQ(rowmax_plan_cache_get(cache, &mask_, &geometry_, &plan, &error_), ROWMAX_OK);
  EXPECT_EQ(rowmax_plan_visible(plan, 0, 0, 0, 2), 1);
  rowmax_plan_cache_clear(cache);
  EXPECT_EQ(rowmax_plan_cache_n_hits(cache), 0);
  mask_.chunk = -1;
  EXPECT_EQ(rowmax_plan_cache_get(cache, &mask_, &geometry_, &plan, &error_), ROWMAX_INVALID_ARGUMENT);
  EXPECT_EQ(plan, nullptr);
  rowmax_plan_cache_destroy(cache);
  rowmax_plan_cache_destroy(nullptr);
}

}  // namespace
