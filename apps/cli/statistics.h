// Median and spread of a handful of measurements.
#pragma once

#include <algorithm>
#include <vector>

namespace rowmax::cli {

struct Spread {
  double median = 0, low = 0, high = 0;
};

// The middle one (mean of the two middle ones), smallest and largest. All 0 for an empty list.
inline Spread spread_of(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  const double median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {median, values.front(), values.back()};
}

}  // namespace rowmax::cli
