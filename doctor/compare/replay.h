// The replay: variants are tried until one gives the reference's numbers.
#pragma once

#include <span>
#include <vector>

#include "doctor/compare/forced_run.h"

namespace rowmax::doctor {

// Explains the stages that diverge, the first one first, then what is left, three times at most. base: how the baseline was
// computed (activations, cache). differences: one for each stage of the reference. pattern_scale: as pass_trials.
Result<std::vector<Explanation>> replay(const engine::Model& model, const Reference& reference,
                                        const ForcedOptions& base, std::span<const StageDifference> differences,
                                        const StageValues& ours_at_first, double pattern_scale,
                                        const CompareOptions& options, Executor& executor);

// "0-27", "0, 3, 5-7".
std::string ranges_of(std::span<const std::int64_t> layers);

}  // namespace rowmax::doctor
