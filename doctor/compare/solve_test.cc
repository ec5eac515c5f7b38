// Functions whose minimum is known, on and off the grid; and those that have none.
#include "doctor/compare/solve.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

namespace rowmax::doctor {
namespace {

NumberSearch search_for(double value, double noise = 0) {
  NumberSearch search;
  search.low = 1e-3;
  search.high = 1e3;
  search.n_grid = 25;
  search.baseline = 1;
  search.left = [=](const std::string& text) -> Result<double> {
    return std::min(2.0, std::abs(std::log(std::atof(text.c_str()) / value))) + noise;
  };
  return search;
}

TEST(Solve, FindsTheNumberAsItIsWritten) {
  for (const char* text : {"0.2", "1", "37", "0.0456", "123.456", "0.31622777", "999"}) {
    const auto found = solve_number(search_for(std::atof(text)));
    ASSERT_TRUE(found.ok());
    ASSERT_TRUE(found->has_value()) << text;
    EXPECT_NEAR(std::atof((*found)->c_str()), std::atof(text), 2e-7 * std::atof(text));
    if (std::string(text).size() < 8) {
      EXPECT_EQ(**found, text);
    }
  }
}

TEST(Solve, NoiseMakesItNoLonger) {
  const auto found = solve_number(search_for(0.2, 0.01));
  EXPECT_EQ(found->value_or(""), "0.2");
}

TEST(Solve, NothingIsFoundWhereNothingHelps) {
  EXPECT_FALSE(solve_number(search_for(0.2, 0.6))->has_value());  // most stays whatever the number is
  NumberSearch none = search_for(1);
  int n = 0;
  none.left = [&](const std::string&) -> Result<double> { return ++n, 1.0; };
  EXPECT_FALSE(solve_number(none)->has_value());
  EXPECT_LE(n, 4);  // that the number has no say is told at once
  none.left = [](const std::string&) -> Result<double> { return std::numeric_limits<double>::infinity(); };
  EXPECT_FALSE(solve_number(none)->has_value());
  none.left = [](const std::string&) -> Result<double> { return Error{ErrorCode::kCancelled, "cancelled"}; };
  EXPECT_EQ(solve_number(none).error().code, ErrorCode::kCancelled);
}

// A hint beyond the grid's resolution.
TEST(Solve, AHintIsTaken) {
  NumberSearch search = search_for(1);
  search.hint = 0.2;
  search.left = [](const std::string& text) -> Result<double> {
    return std::min(1.0, 1000 * std::abs(std::log(std::atof(text.c_str()) / 0.2))) + 1e-9 * text.size();
  };
  EXPECT_EQ(solve_number(search)->value_or(""), "0.2");
}

}  // namespace
}  // namespace rowmax::doctor
