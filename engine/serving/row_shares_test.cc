#include "engine/serving/row_shares.h"

#include <gtest/gtest.h>

#include <numeric>

namespace rowmax::engine {
namespace {

using Rows = std::vector<std::int64_t>;

RowWish steady(std::int64_t missing = 1) { return {true, missing, 1}; }
RowWish prompt(std::int64_t missing, std::int64_t at_most = 1000) { return {false, missing, at_most}; }

TEST(RowShares, WhatIsSteadyGetsAllThatItMisses) {
  EXPECT_EQ(share_rows(std::vector<RowWish>{steady(), steady(5), steady()}, 2), (Rows{1, 5, 1}));
}
TEST(RowShares, OnePromptGetsTheRest) {
  EXPECT_EQ(share_rows(std::vector<RowWish>{steady(), prompt(500), steady()}, 240), (Rows{1, 238, 1}));
  EXPECT_EQ(share_rows(std::vector<RowWish>{steady(), prompt(500, 64)}, 240), (Rows{1, 64}));
  EXPECT_EQ(share_rows(std::vector<RowWish>{prompt(3)}, 240), (Rows{3}));
}
TEST(RowShares, TheOldestGetsOneHalfAndTheOthersTheOther) {
  EXPECT_EQ(share_rows(std::vector<RowWish>{prompt(500), prompt(500), prompt(500)}, 240), (Rows{120, 60, 60}));
  EXPECT_EQ(share_rows(std::vector<RowWish>{prompt(500), prompt(10), prompt(500)}, 240), (Rows{170, 10, 60}));
  EXPECT_EQ(share_rows(std::vector<RowWish>{prompt(50), prompt(500), prompt(500)}, 240), (Rows{50, 130, 60}));
}
TEST(RowShares, PromptsKeepAnEighthAndEachARow) {
  std::vector<RowWish> wishes(300, steady());
  wishes.push_back(prompt(500));
  wishes.push_back(prompt(500));
  const Rows rows = share_rows(wishes, 240);
  EXPECT_EQ(rows[300], 15);
  EXPECT_EQ(rows[301], 15);
  EXPECT_EQ(share_rows(std::vector<RowWish>(9, prompt(500)), 1), Rows(9, 1));
}
// The bound that scheduler.h states: a step gives a prompt among p others room / (2 p) rows, or what it misses.
TEST(RowShares, NoPromptGetsLessThanIsPromised) {
  for (std::int64_t step_rows : {1, 2, 7, 16, 240}) {
    for (std::int64_t n = 2; n < 20; ++n) {
      std::vector<RowWish> wishes;
      for (std::int64_t i = 0; i < n; ++i) wishes.push_back(prompt(1 + (i * 977) % 301));
      const Rows rows = share_rows(wishes, step_rows);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        EXPECT_GE(rows[i], std::min(wishes[i].missing, std::max<std::int64_t>(1, step_rows / (2 * (n - 1)))));
        EXPECT_LE(rows[i], wishes[i].missing);
      }
      EXPECT_LE(std::accumulate(rows.begin(), rows.end(), std::int64_t{0}), std::max(step_rows, n + 1));
    }
  }
}

}  // namespace
}  // namespace rowmax::engine
