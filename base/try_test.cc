#include "rowmax/try.h"

#include <gtest/gtest.h>

#include <memory>
#include <utility>

namespace rowmax {
namespace {

struct Calls {
  int made = 0;

  Result<int> number(bool ok) {
    ++made;
    if (ok) return 20 + made;
    return Error{ErrorCode::kNotFound, "no number"};
  }
  Status step(bool ok) {
    ++made;
    if (ok) return {};
    return Error{ErrorCode::kIo, "no step"};
  }
  Result<int> sum(bool first, bool second) {
    ROWMAX_TRY(a, number(first));
    ROWMAX_TRY(b, number(second));
    return a + b;
  }
  Status steps(bool first, bool second) {
    if (first)
      ROWMAX_RETURN_IF_ERROR(step(true));
    else
      ROWMAX_RETURN_IF_ERROR(step(false));
    ROWMAX_RETURN_IF_ERROR(step(second));
    return {};
  }
};

TEST(Try, NamesTheValuesAndEvaluatesOnce) {
  Calls calls;
  const Result<int> sum = calls.sum(true, true);
  ASSERT_TRUE(sum.ok());
  EXPECT_EQ(*sum, 21 + 22);
  EXPECT_EQ(calls.made, 2);
}

TEST(Try, TheFirstErrorLeavesTheFunctionAsItIs) {
  for (const bool first : {false, true}) {
    Calls calls;
    const Result<int> sum = calls.sum(first, false);
    ASSERT_FALSE(sum.ok());
    EXPECT_EQ(sum.error().code, ErrorCode::kNotFound);
    EXPECT_EQ(sum.error().message, "no number");
    EXPECT_EQ(calls.made, first ? 2 : 1);
  }
}

TEST(Try, StatusesPassOrLeaveAndFitAnElse) {
  for (int errors = 0; errors < 4; ++errors) {
    const bool first = (errors & 1) == 0, second = (errors & 2) == 0;
    Calls calls;
    const Status status = calls.steps(first, second);
    EXPECT_EQ(status.ok(), first && second);
    if (!status.ok()) {
      EXPECT_EQ(status.error().code, ErrorCode::kIo);
    }
    EXPECT_EQ(calls.made, first ? 2 : 1);
  }
}

Result<std::unique_ptr<std::pair<int, int>>> boxed(int a, int b) { return std::make_unique<std::pair<int, int>>(a, b); }

Result<int> unboxed() {
  ROWMAX_TRY(box, boxed(3, 4));
  ROWMAX_TRY(pair, Result<std::pair<int, int>>(std::pair<int, int>(box->first, box->second)));
  return pair.first * 10 + pair.second;
}

TEST(Try, MovesValuesAndTakesExpressionsWithCommas) {
  const Result<int> number = unboxed();
  ASSERT_TRUE(number.ok());
  EXPECT_EQ(*number, 34);
}

}  // namespace
}  // namespace rowmax
