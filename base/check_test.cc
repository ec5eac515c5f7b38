#include "base/check.h"

#include <gtest/gtest.h>

namespace rowmax::base {
namespace {

TEST(Check, SaysWhatTheCallerDidWrongAndAborts) {
  ROWMAX_CHECK(1 + 1 == 2, "never said");
  EXPECT_DEATH(ROWMAX_CHECK(1 + 1 == 3, "sums must be right"), "sums must be right");
}

}  // namespace
}  // namespace rowmax::base
