// Check 5: with a reference, the first stage that differs from it, and the known-wrong variant that gives its numbers.
#include <algorithm>

#include "doctor/check.h"
#include "doctor/numbers.h"
#include "doctor/search/menu.h"
#include "rowmax/doctor/compare.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

// The cause that an explanation stands for: that of the fact it changes.
std::string cause_of_edit(const std::string& edit) {
  const std::string_view cause = cause_of_fact(edit.substr(0, edit.find('=')));
  return std::string(cause.empty() ? "weight_corrupt" : cause);
}

}  // namespace

Result<CheckResult> check_first_divergence(Patient& patient) {
  constexpr std::string_view kId = "first_divergence";
  if (patient.options().reference.empty()) {
    return CheckResult::skipped(kId, "there is no --reference (docs/compare.md says how to make one)");
  }
  const auto model = patient.model();
  if (!model.ok()) return CheckResult::inconclusive(kId, "the model cannot be loaded");
  ROWMAX_TRY(reference, read_reference(patient.options().reference));
  CompareOptions options;
  options.budget_seconds = patient.options().budget_seconds;
  options.progress = [&](std::string_view) { return patient.step(0.5).ok(); };
  auto compared = compare(**model, reference, options, patient.executor());
  if (!compared.ok()) {
    const ErrorCode code = compared.error().code;
    if (code == ErrorCode::kCancelled || code == ErrorCode::kOutOfMemory) return std::move(compared).error();
    return CheckResult::inconclusive(kId, compared.error().message);
  }
  CheckResult result;
  result.id = kId;
  result.verdict = compared->n_compared == 0 ? Verdict::kInconclusive : compared->verdict;
  for (const std::string& each : compared->origin.differences) {
    result.reason += (result.reason.empty() ? "The reference is of another model (" : ", ") + each;
  }
  result.reason += (result.reason.empty() ? "" : "). ") + compared->summary;
  result.n_compared = compared->n_compared;
  result.unit = "relative L2";
  result.columns = {"stage", "relative L2", "bound", "cosine"};
  for (const StageDifference& stage : compared->stages) {
    result.rows.push_back({stage_text(stage.stage, stage.layer), single_text(stage.relative_l2),
                           single_text(stage.tolerance), single_text(stage.cosine)});
  }
  const StageDifference* first = compared->first();
  if (first == nullptr) {
    const auto worst = std::ranges::max_element(compared->stages, {}, &StageDifference::relative_l2);
    if (worst != compared->stages.end()) {
      result.measured = worst->relative_l2;
      result.threshold = worst->tolerance;
    }
    return result;
  }
  result.measured = first->relative_l2;
  result.threshold = first->tolerance;
  result.place = {.layer = first->layer, .position = first->token, .stage = std::string(stage_name(first->stage))};
  double confidence = 0.9;
  for (const Explanation& explanation : compared->explanations) {
    Cause cause;
    cause.id = cause_of_edit(explanation.edit);
    cause.place = result.place;
    cause.text = "The reference is not what this model computes: " + explanation.text + ".";
    cause.evidence = {{"edit", explanation.edit}, {"residual", single_text(explanation.residual)}};
    cause.command = "rowmax compare -m MODEL --reference " + patient.options().reference;
    cause.confidence = confidence;
    confidence *= 0.8;
    result.causes.push_back(std::move(cause));
  }
  return result;
}

}  // namespace rowmax::doctor
