#include "doctor/checks/robust.h"

#include <gtest/gtest.h>

namespace rowmax::doctor {
namespace {

TEST(Robust, QuantilesAndDeviations) {
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 2, 3}), 2.5);
  EXPECT_EQ(median({}), 0);
  EXPECT_NEAR(median_deviation({1, 2, 3, 4, 1000}), 1.4826, 1e-9);
  EXPECT_NEAR(correlation({1, 2, 3}, {2, 4, 6}), 1, 1e-12);
  EXPECT_NEAR(correlation({1, 2, 3}, {3, 2, 1}), -1, 1e-12);
  EXPECT_EQ(correlation({1, 1, 1}, {1, 2, 3}), 0);
}

}  // namespace
}  // namespace rowmax::doctor
