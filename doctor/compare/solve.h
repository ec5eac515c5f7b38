// The value of a number that is on no menu: where what is left of a difference is least.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "rowmax/result.h"

namespace rowmax::doctor {

struct NumberSearch {
  double low = 0, high = 0;  // above 0
  int n_grid = 2;            // looked at first, with equal ratios between neighbours
  double baseline = 0;       // what is left with the value in effect
  double hint = 0;           // a value that may be it; 0: none
  // What is left with a value, as it is written; infinite where it cannot be computed with.
  std::function<Result<double>(const std::string& value)> left;
};

// The shortest text of the number that leaves as little as the best one found; nothing where none leaves half the baseline, or
// where the number changes nothing. Errors of left.
Result<std::optional<std::string>> solve_number(const NumberSearch& search);

}  // namespace rowmax::doctor
