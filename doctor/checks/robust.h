// Statistics that a few wild numbers do not move.
#pragma once

#include <vector>

namespace rowmax::doctor {

// q in [0, 1]; 0 for no values.
double quantile(std::vector<double> values, double q);
double median(std::vector<double> values);
// The median distance from the median, as a standard deviation (1.4826 of it for bell-shaped values).
double median_deviation(const std::vector<double>& values);

// Mean 0, standard deviation 1; all zero for constants.
void standardise(std::vector<double>& values);
// Of vectors of the same size.
double correlation(std::vector<double> a, std::vector<double> b);

}  // namespace rowmax::doctor
