#include "doctor/diagnosis.h"

#include <algorithm>
#include <string>

namespace rowmax::doctor {
namespace {

bool same_place(const Place& a, const Place& b) {
  return a.layer == b.layer && a.head == b.head && a.tensor == b.tensor && a.key == b.key;
}

bool layer_alone(const Place& place) {
  Place without = place;
  without.layer = -1;
  return place.layer >= 0 && without.empty();
}
// A layer, and a tensor of it.
bool is_inside(const Place& inner, const Place& outer) {
  return layer_alone(outer) && inner.layer == outer.layer && !inner.tensor.empty();
}

// One cause a kind and place: what several checks suggest is surer than each of them alone.
std::vector<Cause> merged(const std::vector<CheckResult>& checks, Verdict verdict) {
  std::vector<Cause> causes;
  for (const CheckResult& check : checks) {
    if (check.verdict != verdict) continue;
    for (const Cause& cause : check.causes) {
      const auto known = std::ranges::find_if(causes, [&](const Cause& other) {
        return other.id == cause.id && (same_place(other.place, cause.place) || is_inside(other.place, cause.place) ||
                                        is_inside(cause.place, other.place));
      });
      if (known == causes.end()) {
        causes.push_back(cause);
        continue;
      }
      Cause both = known->confidence >= cause.confidence ? *known : cause;
      both.confidence = 1 - (1 - known->confidence) * (1 - cause.confidence);
      const Cause& other = known->confidence >= cause.confidence ? cause : *known;
      if (is_inside(other.place, both.place)) both.place = other.place;
      for (const auto& evidence : other.evidence) both.evidence.push_back(evidence);
      *known = std::move(both);
    }
  }
  std::ranges::stable_sort(causes, [](const Cause& a, const Cause& b) { return a.confidence > b.confidence; });
  return causes;
}

std::string list_of(const Report& report, Verdict verdict) {
  std::string out;
  for (const CheckResult& check : report.checks) {
    if (check.verdict == verdict) out += (out.empty() ? "" : ", ") + check.id;
  }
  return out;
}

}  // namespace

void conclude(Report& report) {
  const auto any = [&](Verdict verdict) {
    return std::ranges::any_of(report.checks, [&](const CheckResult& check) { return check.verdict == verdict; });
  };
  report.verdict = any(Verdict::kFail)           ? Verdict::kFail
                   : any(Verdict::kInconclusive) ? Verdict::kInconclusive
                   : !report.load_error.empty()  ? Verdict::kInconclusive  // whatever was looked at
                   : any(Verdict::kPass)         ? Verdict::kPass
                                                 : Verdict::kInconclusive;
  report.causes = merged(report.checks, report.verdict);
  if (report.verdict == Verdict::kPass) {
    report.diagnosis = "Nothing is wrong with this model and the arithmetic that runs it, as far as these checks see.";
    return;
  }
  if (report.verdict == Verdict::kInconclusive) {
    const std::string left = list_of(report, Verdict::kInconclusive);
    report.diagnosis = "Nothing was found to be wrong, but not everything could be looked at: " +
                       (left.empty() ? "the engine refuses the model" : left) + ".";
    if (!report.causes.empty()) report.diagnosis += " If something is: " + report.causes.front().text;
    return;
  }
  if (report.causes.empty()) {
    report.diagnosis = "Something is wrong (" + list_of(report, Verdict::kFail) + "), and no known cause explains it.";
    return;
  }
  report.diagnosis = report.causes.front().text;
  if (report.causes.size() > 1) {
    report.diagnosis += " Less likely: ";
    for (std::size_t i = 1; i < std::min<std::size_t>(report.causes.size(), 4); ++i) {
      report.diagnosis += (i > 1 ? ", " : "") + report.causes[i].id;
    }
    report.diagnosis += ".";
  }
}

}  // namespace rowmax::doctor
