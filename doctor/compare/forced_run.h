// A forward pass beside a reference: each stage is computed from the reference's numbers of the stages before, compared with
// the reference's, and then replaced by them. So every stage is judged by itself, whatever came before.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "rowmax/doctor/compare.h"

namespace rowmax::doctor {

// Changes rows of a stage before the pass goes on, behind the reference's numbers where it has them.
struct StageChange {
  engine::Stage stage = engine::Stage::kCount;
  std::function<void(std::int64_t layer, std::span<float> row)> apply;
};

// A known-wrong variant of the computation, to be tried.
struct Trial {
  std::string name;      // "rope_pairing=adjacent"
  engine::Edits edits;   // of any scope but the tokens'
  bool repacks = false;  // some of them belong to the model
  std::vector<StageChange> changes;
};

struct ForcedOptions {
  const Trial* variant = nullptr;
  bool force = true;  // false: only compared, a pass with its own numbers
  // Stages whose rows are to be kept.
  std::optional<std::pair<engine::Stage, std::int64_t>> keep;
  engine::Activations activations = engine::Activations::kF32;
  engine::KvType kv_type = engine::KvType::kF32;
  std::function<bool()> going;  // asked some times a second; false: kCancelled
};

struct StageMeasure {
  std::vector<std::int64_t> positions;
  std::vector<double> relative_l2, cosine;  // of the rows at these positions
  double max_abs = 0;
  std::int64_t n_compared = 0;
  std::int64_t width = 0;  // of ours, where it is another and nothing was compared
  double worst() const;    // of relative_l2; infinite where nothing was compared
};

struct ForcedResult {
  std::vector<StageMeasure> stages;  // one for each of the reference's
  StageValues kept;
  LogitsDifference logits;
};

// Measures b beside a: |a - b| / |b|, b's length being at least floor.
void measure_row(std::int64_t position, std::span<const float> a, std::span<const float> b, double floor,
                 StageMeasure& measure);
// What rows shorter than that are measured by: a hundredth of their root mean square length.
double length_floor(const StageValues& stage);

// Errors: kCancelled, and those of Session::create and forward (kInvalidArgument for a variant that the model has not).
Result<ForcedResult> run_forced(const engine::Model& model, const Reference& reference, const ForcedOptions& options,
                                Executor& executor);

}  // namespace rowmax::doctor
