// What statistics of a model's tensors say is wrong with them. A healthy model must pass: rules say nothing where they
// are not sure, as the loss under other conventions says more.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "doctor/checks/tensor_stats.h"
#include "rowmax/doctor/report.h"

namespace rowmax::doctor {

struct WeightFindings {
  std::vector<Cause> causes;
  std::int64_t n_compared = 0;  // statistics that a rule looked at
};

// Of each tensor by itself: NaN, infinity, illegal codes and scales; zeros and constants; damaged rows and runs of bytes.
void judge_alone(const TensorStats& stats, WeightFindings& findings);
// Of tensors among those of the same kind in other layers: their size.
void judge_sizes(std::span<const TensorStats> all, WeightFindings& findings);
// Of matrices that read or write the same stream: transposed ones, and ones that stand in each other's place.
void judge_profiles(std::span<const TensorStats> all, WeightFindings& findings);
// Ternary matrices without a zero: quantised from weights that were not ternary.
void judge_ternary(std::span<const TensorStats> all, WeightFindings& findings);

}  // namespace rowmax::doctor
