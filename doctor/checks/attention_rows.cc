// Check 11: every row of attention against fp64, by the attention library's own gates (rowmax/probe.h), and its scale
// against the file.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <optional>

#include "base/math/f64.h"
#include "doctor/check.h"
#include "doctor/checks/forward.h"
#include "engine/io/text.h"
#include "rowmax/probe.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

constexpr std::string_view kId = "attention_rows";
constexpr std::int64_t kShort = 70;   // every row is looked at; more than one tile of keys
constexpr std::int64_t kLong = 320;   // every 41st
constexpr double kLongSeconds = 8;    // what the long text may take
constexpr std::int64_t kFewKeys = 8;  // rows with fewer say nothing of a profile
constexpr double kUniform = 0.995, kOneHot = 0.999;

struct Failure {
  std::int64_t layer = -1;
  ProbeRow row;
};

class Judge final : public engine::TraceObserver {
 public:
  bool wants(engine::Stage stage, std::int64_t) override { return profile && stage == engine::Stage::kScores; }
  void see(const engine::TraceView& view) override {
    for (std::size_t i = 0; i < view.rows.size(); ++i) {
      if (view.rows[i].position < kFewKeys) continue;
      for (std::int64_t head = 0; head < view.n_group; ++head) {
        add_profile(view.layer * 4096 + head,
                    std::span(view.data + static_cast<std::int64_t>(i) * view.row_stride + head * view.width,
                              static_cast<std::size_t>(view.width)));
      }
    }
  }
  bool probes(std::int64_t) override { return true; }
  bool probes_row(std::int64_t, const engine::TraceRow& token, std::int64_t) noexcept override {
    return every == 1 || token.position % every == every - 1;
  }
  void see_row(std::int64_t layer, const ProbeRow& row) noexcept override {
    const ProbeVerdict verdict = judge(row);
    ++n_rows;
    for (std::size_t i = 0; i < first.size(); ++i) {
      const Gate gate = verdict.*gate_table()[i].gate;
      n_passed[i] += gate == Gate::kPass;
      if (gate == Gate::kFail && n_failed[i]++ == 0) first[i] = {layer, row};
    }
    if (row.n_compared != 0 && row.out_bound > 0 && row.out_error / row.out_bound > worst) {
      worst = row.out_error / row.out_bound;
      worst_layer = layer;
      worst_row = row;
    }
    low_scale = std::min(low_scale, row.scale);
    high_scale = std::max(high_scale, row.scale);
  }

  // What is suspicious without being wrong; "" where nothing is.
  std::string hint() const {
    std::size_t n_uniform = 0, n_one_hot = 0;
    for (const auto& [head, seen] : profiles_) {
      n_uniform += seen.entropy > kUniform * seen.most_entropy;
      n_one_hot += seen.all_one_hot;
    }
    if (profiles_.empty()) return "";
    if (n_one_hot == profiles_.size()) return "; every head looks at one key alone, which is suspicious";
    if (static_cast<double>(n_uniform) < 0.9 * static_cast<double>(profiles_.size())) return "";
    return "; " + std::to_string(n_uniform) + " of " + std::to_string(profiles_.size()) +
           " heads look at all keys alike, as a model without training does";
  }

  bool profile = true;
  std::int64_t every = 1, n_rows = 0;
  std::array<std::int64_t, 5> n_passed{}, n_failed{};
  std::array<Failure, 5> first;
  double worst = 0, low_scale = INFINITY, high_scale = 0;
  std::int64_t worst_layer = -1;
  ProbeRow worst_row;

 private:
  struct Profile {
    double entropy = 0, most_entropy = 0;
    bool all_one_hot = true;
  };
  void add_profile(std::int64_t head, std::span<const float> weights) {
    Profile& seen = profiles_[head];
    double entropy = 0, largest = 0;
    int n = 0;
    for (const float weight : weights) {
      const auto p = static_cast<double>(weight);
      if (!(p > 0)) continue;
      entropy -= p * base::log_f64(p);
      largest = std::max(largest, p);
      ++n;
    }
    seen.entropy += entropy;
    seen.most_entropy += n > 1 ? base::log_f64(n) : 0;
    seen.all_one_hot = seen.all_one_hot && largest > kOneHot;
  }
  std::map<std::int64_t, Profile> profiles_;  // by layer and head
};

Status forward(engine::Session& session, engine::SequenceId sequence, std::span<const engine::TokenId> tokens) {
  const engine::BatchItem item{sequence, tokens, engine::LogitsFor::kLast};
  // A logit that is not finite is another check's business; rows were seen all the same.
  Status status = session.forward({&item, 1});
  if (!status.ok() && status.error().code == ErrorCode::kNumericFault) return {};
  return status;
}

// The tokens at once, the last n_decode one by one.
Status look(Patient& patient, std::span<const engine::TokenId> tokens, std::size_t n_decode, Judge& judge) {
  ROWMAX_TRY(session, open_session(patient, std::ssize(tokens)));
  session.set_observer(&judge);
  ROWMAX_TRY(sequence, session.open());
  const std::size_t n = tokens.size() - n_decode;
  ROWMAX_RETURN_IF_ERROR(forward(session, sequence, tokens.first(n)));
  judge.every = 1;  // of single tokens each
  for (std::size_t i = n; i < tokens.size(); ++i) {
    ROWMAX_RETURN_IF_ERROR(forward(session, sequence, tokens.subspan(i, 1)));
  }
  return {};
}

// The scales that layers have.
std::vector<double> scales_of_file(Patient& patient, std::int64_t n_layer) {
  std::vector<double> scales;
  for (std::int64_t layer = 0; layer < n_layer; ++layer) {
    const double scale = convention_number(patient, "attention_scale", layer, 0);
    if (scale > 0 && std::ranges::find(scales, scale) == scales.end()) scales.push_back(scale);
  }
  return scales;
}

Place place_of(std::int64_t layer, const ProbeRow& row) {
  Place place;
  place.layer = layer;
  place.head = row.head;
  place.position = row.position;
  place.stage = "scores";
  return place;
}

Cause cause_of_gate(Patient& patient, std::size_t gate, const Failure& failure) {
  static constexpr const char* kCauses[] = {"attention_scale", "mask", "format_kernel", "format_kernel",
                                            "format_kernel"};
  Cause cause;
  const bool other_keys = failure.row.n_hidden_weighted > 0 || failure.row.n_visible_lost > 0;
  cause.id = gate == 1 && other_keys && window_of_layer(patient, failure.layer) > 0 ? "window" : kCauses[gate];
  cause.place = place_of(failure.layer, failure.row);
  cause.text = std::string("Gate ") + gate_table()[gate].name + " of attention fails (" + gate_table()[gate].asks +
               "). " + gate_table()[gate].failing + ".";
  cause.evidence = {{"gate", gate_table()[gate].name},
                    {"measured_scale", engine::number_text(failure.row.measured_scale)},
                    {"scale", engine::number_text(failure.row.scale)},
                    {"largest_exp", engine::number_text(failure.row.largest_exp)},
                    {"weights_sum", engine::number_text(failure.row.weights_sum)},
                    {"out_error", engine::number_text(failure.row.out_error)},
                    {"out_bound", engine::number_text(failure.row.out_bound)}};
  cause.command = trace_command(
      patient, "--gates --layers " + std::to_string(failure.layer) + " --head " + std::to_string(failure.row.head));
  cause.confidence = 0.8;
  return cause;
}

// A fail of the first gate that fails: those behind it follow from it.
std::optional<CheckResult> failed_gate(Patient& patient, const Judge& judge) {
  for (std::size_t i = 0; i < judge.first.size(); ++i) {
    if (judge.n_failed[i] == 0) continue;
    const Failure& failure = judge.first[i];
    CheckResult result =
        CheckResult::fail(kId, judge.n_rows,
                          std::to_string(judge.n_failed[i]) + " of " + std::to_string(judge.n_rows) +
                              " rows fail the gate " + gate_table()[i].name + ": " + gate_table()[i].failing);
    result.measured = static_cast<double>(judge.n_failed[i]);
    result.threshold = 0;
    result.unit = "rows";
    result.place = place_of(failure.layer, failure.row);
    // Numbers that are not finite come from elsewhere.
    if (failure.row.status != RowStatus::kNonFinite) result.causes.push_back(cause_of_gate(patient, i, failure));
    return result;
  }
  return {};
}

std::optional<CheckResult> wrong_scale(Patient& patient, const Judge& judge) {
  const auto layers = patient.conventions();
  if (!layers.ok()) return {};
  const std::vector<double> allowed = scales_of_file(patient, std::ssize(**layers));
  if (allowed.empty()) return {};
  const auto fits = [&](double scale) {
    return std::ranges::any_of(allowed, [&](double want) { return std::fabs(scale - want) <= 1e-6 * want; });
  };
  if (fits(judge.low_scale) && fits(judge.high_scale)) return {};
  CheckResult result = CheckResult::fail(kId, judge.n_rows, "scores are not multiplied by what the file asks for");
  result.measured = fits(judge.low_scale) ? judge.high_scale : judge.low_scale;
  result.threshold = allowed.front();
  Cause cause;
  cause.id = "attention_scale";
  cause.text = "Scores are multiplied by " + engine::number_text(result.measured) + "; the file asks for " +
               engine::number_text(allowed.front()) + ".";
  cause.command = trace_command(patient, "--gates --layers 0 --head 0");
  cause.confidence = 0.8;
  result.causes.push_back(std::move(cause));
  return result;
}

Result<CheckResult> run(Patient& patient) {
  ROWMAX_TRY(tokens, text_tokens(patient, kLong));
  const std::span<const engine::TokenId> all(tokens);
  const auto n_short = std::min(all.size(), static_cast<std::size_t>(kShort));
  Judge judge;
  const auto start = std::chrono::steady_clock::now();
  ROWMAX_RETURN_IF_ERROR(look(patient, all.first(n_short), std::min<std::size_t>(6, n_short / 2), judge));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  ROWMAX_RETURN_IF_ERROR(patient.step(0.4));
  const bool too_long = seconds / static_cast<double>(n_short) * static_cast<double>(all.size()) > kLongSeconds;
  if (all.size() > n_short && !too_long) {
    judge.profile = false;
    judge.every = 41;
    ROWMAX_RETURN_IF_ERROR(look(patient, all, 2, judge));
  }
  if (judge.n_rows == 0) return CheckResult::inconclusive(kId, "no layer of this model attends");
  if (auto failed = failed_gate(patient, judge)) return std::move(*failed);
  if (auto failed = wrong_scale(patient, judge)) return std::move(*failed);
  std::string said = std::to_string(judge.n_rows) + " rows, up to " + std::to_string(too_long ? n_short : all.size()) +
                     " tokens, at once and one by one: ";
  for (std::size_t i = 0; i < judge.first.size(); ++i) {
    if (judge.n_passed[i] == 0) {
      return CheckResult::inconclusive(kId,
                                       std::string("nothing could be compared for the gate ") + gate_table()[i].name);
    }
    said += std::string(i == 0 ? "" : ", ") + gate_table()[i].name + " " + std::to_string(judge.n_passed[i]);
  }
  CheckResult result = CheckResult::pass(kId, judge.n_rows, said + " pass" + judge.hint());
  result.measured = judge.worst;
  result.threshold = 1;
  result.unit = "of its bound";
  result.place = place_of(judge.worst_layer, judge.worst_row);
  return result;
}

}  // namespace

Result<CheckResult> check_attention_rows(Patient& patient) { return concluded(kId, run(patient)); }

}  // namespace rowmax::doctor
