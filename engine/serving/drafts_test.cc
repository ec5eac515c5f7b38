#include "rowmax/engine/drafts.h"

#include <gtest/gtest.h>

namespace rowmax::engine {
namespace {

using Tokens = std::vector<TokenId>;

Tokens guesses(const Tokens& tokens, int n_min = 2, int n_max = 3, std::int64_t at_most = 4) {
  return (*ngram_drafts(n_min, n_max, 8))(tokens, at_most);
}

TEST(NgramDrafts, AreWhatFollowedTheSameTokens) {
  EXPECT_EQ(guesses({1, 2, 3, 4, 5, 6, 9, 1, 2}), (Tokens{3, 4, 5, 6}));
  EXPECT_EQ(guesses({1, 2, 3, 4, 5, 6, 9, 1, 2}, 2, 3, 2), (Tokens{3, 4}));
  EXPECT_EQ(guesses({1, 2, 3, 4, 5, 6, 9, 2}), Tokens{});  // one token alone
  EXPECT_EQ(guesses({1, 2, 3, 4, 5, 6, 9, 2}, 1), (Tokens{3, 4, 5, 6}));
  EXPECT_EQ(guesses({}), Tokens{});
  EXPECT_EQ(guesses({1}), Tokens{});
}
TEST(NgramDrafts, TheLongestMatchComesFirstThenTheLast) {
  EXPECT_EQ(guesses({7, 1, 2, 50, 50, 50, 1, 2, 60, 60, 60, 60, 7, 1, 2}), (Tokens{50, 50, 50, 1}));
  EXPECT_EQ(guesses({1, 2, 50, 50, 50, 50, 1, 2, 60, 60, 61, 62, 1, 2}), (Tokens{60, 60, 61, 62}));
}
TEST(NgramDrafts, WhatRepeatsItselfGoesOn) {
  EXPECT_EQ(guesses({9, 5, 6, 7, 5, 6, 7, 5, 6}), (Tokens{7, 5, 6, 7}));
  EXPECT_EQ(guesses({8, 8, 8}), (Tokens{8, 8, 8, 8}));
}
TEST(NgramDrafts, RefusesWhatMakesNoSense) {
  for (const auto& [n_min, n_max, max_draft] : {std::tuple{0, 3, 8}, {3, 2, 8}, {1, 2, 0}, {1, 2, 65}}) {
    const auto made = ngram_drafts(n_min, n_max, max_draft);
    ASSERT_FALSE(made.ok());
    EXPECT_EQ(made.error().code, ErrorCode::kInvalidArgument);
  }
}

TEST(DraftLength, GrowsWhileAllGuessesAreRight) {
  DraftLength length;
  EXPECT_EQ(length.next(100), 4);
  EXPECT_EQ(length.next(3), 3);
  length.settle(4, 4);
  EXPECT_EQ(length.next(100), 8);
  for (int i = 0; i < 9; ++i) length.settle(length.next(100), length.next(100));
  EXPECT_EQ(length.next(100), 64);
  length.settle(64, 20);
  EXPECT_EQ(length.next(100), 21);
}
TEST(DraftLength, PausesWhereFewAreRightAndLongerEachTime) {
  DraftLength length;
  std::int64_t offered = 0;
  for (int step = 0; step < 10000; ++step) {
    const std::int64_t n = length.next(100);
    offered += n;
    length.settle(n, 0);
  }
  EXPECT_LT(offered, 10000 / 256 * 17 + 200);
  EXPECT_GT(offered, 10000 / 300 * 16);  // it tries again
}
TEST(DraftLength, ComesBackWhereGuessesAreRightAgain) {
  DraftLength length;
  while (length.next(100) > 0) length.settle(length.next(100), 0);
  int steps = 0;
  for (; length.next(100) == 0; ++steps) length.settle(0, 0);
  EXPECT_EQ(steps, DraftLength::kFirstPause);
  for (int i = 0; i < 8; ++i) length.settle(length.next(100), length.next(100));
  EXPECT_EQ(length.next(100), 64);
}

}  // namespace
}  // namespace rowmax::engine
