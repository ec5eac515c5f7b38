#include "doctor/checks/robust.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

namespace rowmax::doctor {

double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  const auto at = static_cast<std::ptrdiff_t>(q * static_cast<double>(values.size() - 1) + 0.5);
  std::ranges::nth_element(values, values.begin() + at);
  return values[static_cast<std::size_t>(at)];
}
double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const double high = quantile(values, 0.5);
  if (values.size() % 2 == 1) return high;
  std::ranges::sort(values);
  return (values[values.size() / 2 - 1] + values[values.size() / 2]) / 2;
}
double median_deviation(const std::vector<double>& values) {
  const double middle = median(values);
  std::vector<double> distances;
  for (const double value : values) distances.push_back(std::fabs(value - middle));
  return 1.4826 * median(std::move(distances));
}

void standardise(std::vector<double>& values) {
  double sum = 0, squares = 0;
  for (const double value : values) sum += value;
  const double mean = values.empty() ? 0 : sum / static_cast<double>(values.size());
  for (double& value : values) {
    value -= mean;
    squares += value * value;
  }
  const double deviation = values.empty() ? 0 : std::sqrt(squares / static_cast<double>(values.size()));
  for (double& value : values) value = deviation > 1e-9 ? value / deviation : 0;
}

double correlation(std::vector<double> a, std::vector<double> b) {
  standardise(a);
  standardise(b);
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return a.empty() ? 0 : sum / static_cast<double>(a.size());
}

}  // namespace rowmax::doctor
