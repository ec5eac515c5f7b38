// Check 6: where the first number that is not finite comes from, and how large numbers get.
#include <algorithm>
#include <cmath>
#include <optional>

#include "base/fp_env.h"
#include "doctor/check.h"
#include "doctor/checks/forward.h"
#include "engine/io/text.h"
#include "engine/quant/format.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

using engine::Stage;

constexpr std::string_view kId = "non_finite";
constexpr std::int64_t kTokens = 96;
constexpr double kMostF16 = 65504;

struct Origin {
  std::string stage;  // with its layer
  std::int64_t layer = -1, position = -1, group = -1, column = -1;
  float value = 0;
  std::string stage_before;
  double largest_before = 0;  // of it, for this token
};

class Scanner final : public engine::TraceObserver {
 public:
  bool wants(Stage, std::int64_t) override { return !origin; }
  void see(const engine::TraceView& view) override {
    if (origin) return;
    std::string name(engine::stage_name(view.stage));
    if (view.layer >= 0) name = "blk." + std::to_string(view.layer) + "." + name;
    std::vector<double> largest_of_row;
    for (std::size_t i = 0; i < view.rows.size() && !origin; ++i) {
      const float* row = view.data + static_cast<std::int64_t>(i) * view.row_stride;
      double largest_here = 0;
      for (std::int64_t at = 0; at < view.n_group * view.width; ++at) {
        const double size = std::fabs(static_cast<double>(row[at]));
        if (!std::isfinite(size)) {
          found(view, i, at, name, row[at]);
          break;
        }
        largest_here = std::max(largest_here, size);
      }
      n_seen += view.n_group * view.width;
      largest_of_row.push_back(largest_here);
      if (view.stage == Stage::kExperts || view.stage == Stage::kLogits || largest_here <= largest) continue;
      largest = largest_here;
      largest_at = name;
      largest_position = view.rows[i].position;
    }
    before_ = std::move(name);
    largest_before_ = std::move(largest_of_row);
    positions_before_.assign(view.rows.size(), 0);
    for (std::size_t i = 0; i < view.rows.size(); ++i) positions_before_[i] = view.rows[i].position;
  }

  std::int64_t n_seen = 0, largest_position = -1;
  double largest = 0;
  std::string largest_at;
  std::optional<Origin> origin;

 private:
  void found(const engine::TraceView& view, std::size_t i, std::int64_t at, const std::string& name, float value) {
    origin = Origin{name, view.layer, view.rows[i].position, at / view.width, at % view.width, value, before_, NAN};
    const auto same = std::ranges::find(positions_before_, view.rows[i].position);
    if (same != positions_before_.end()) {
      origin->largest_before = largest_before_[static_cast<std::size_t>(same - positions_before_.begin())];
    }
  }

  std::string before_;
  std::vector<double> largest_before_;
  std::vector<std::int64_t> positions_before_;
};

// No NaN, no infinity, no code without a meaning.
bool finite_tensor(const engine::GgufTensor& tensor, std::int64_t rows, std::int64_t columns) {
  const base::ScopedFpEnv environment;
  return tensor.format->find_invalid({tensor.data.data(), rows, columns}, 0, rows).row < 0;
}

// The first tensor of a layer (-1: of none) that holds a number which is not finite, or a scale that is none.
std::string spoilt_tensor(const engine::GgufFile& file, std::int64_t layer) {
  const std::string prefix = layer < 0 ? "" : "blk." + std::to_string(layer) + ".";
  for (const engine::GgufTensor& tensor : file.tensors()) {
    if (layer < 0 ? tensor.name.starts_with("blk.") : !tensor.name.starts_with(prefix)) continue;
    if (tensor.format == nullptr) continue;
    const std::int64_t columns = tensor.shape[0], rows = tensor.n_elements() / std::max<std::int64_t>(columns, 1);
    if (!finite_tensor(tensor, rows, columns)) return std::string(tensor.name);
  }
  return "";
}

CheckResult failed(Patient& patient, const engine::GgufFile& file, const Scanner& scanner) {
  const Origin& origin = *scanner.origin;
  const std::string tensor = spoilt_tensor(file, origin.layer);
  const std::string where = origin.stage + ", token " + std::to_string(origin.position) + ", row " +
                            std::to_string(origin.group) + ", column " + std::to_string(origin.column);
  const std::string before = origin.stage_before.empty()
                                 ? std::string("nothing comes before it")
                                 : "before it, " + origin.stage_before + " is finite (largest " +
                                       engine::number_text(origin.largest_before) + ")";
  CheckResult result =
      CheckResult::fail(kId, scanner.n_seen, "the first number that is not finite: " + where + "; " + before);
  result.measured = static_cast<double>(origin.value);
  result.place = {origin.layer, origin.group, origin.position, tensor, "", origin.stage};
  Cause cause;
  const bool scores = origin.stage.ends_with(".scores") || origin.stage.ends_with(".attn_out");
  cause.id = !tensor.empty() ? "weight_nonfinite" : scores ? "mask" : "weight_scaled";
  cause.place.layer = origin.layer;
  cause.place.tensor = tensor;
  cause.text = !tensor.empty() ? "The tensor " + tensor + " holds numbers that are not finite; " + where +
                                     " is the first to show it."
               : scores ? "Attention gives numbers that are not finite from finite ones (" + where + ", which sees " +
                              std::to_string(origin.position + 1) +
                              " keys at most): a row without keys, or scores that "
                              "leave the range."
                        : "Numbers leave the range of f32 in " + where +
                              ": weights, or a factor on the way, are much too "
                              "large.";
  cause.evidence = {{"stage", origin.stage},
                    {"token", std::to_string(origin.position)},
                    {"stage_before", origin.stage_before},
                    {"largest_before", engine::number_text(origin.largest_before)}};
  cause.command = trace_command(
      patient,
      "--stages all" + (origin.layer < 0 ? std::string() : " --layers " + std::to_string(origin.layer)) + " --token 0");
  cause.confidence = tensor.empty() ? 0.6 : 0.95;
  result.causes.push_back(std::move(cause));
  return result;
}

Result<CheckResult> run(Patient& patient) {
  ROWMAX_TRY(file, patient.file());
  ROWMAX_TRY(tokens, text_tokens(patient, kTokens));
  ROWMAX_TRY(session, open_session(patient, std::ssize(tokens)));
  Scanner scanner;
  session.set_observer(&scanner);
  ROWMAX_TRY(sequence, session.open());
  const engine::BatchItem item{sequence, tokens, engine::LogitsFor::kAll};
  if (const Status status = session.forward({&item, 1}); !status.ok() && !scanner.origin) return status.error();
  if (scanner.origin) return failed(patient, *file, scanner);
  std::string reason = std::to_string(scanner.n_seen) + " numbers of all stages are finite; the largest is " +
                       engine::number_text(scanner.largest) + " (" + scanner.largest_at + ", token " +
                       std::to_string(scanner.largest_position) + ")";
  if (scanner.largest > kMostF16) reason += ": engines that compute in f16 end at 65504";
  CheckResult result = CheckResult::pass(kId, scanner.n_seen, std::move(reason));
  result.measured = result.threshold = 0;
  result.unit = "numbers that are not finite";
  return result;
}

}  // namespace

Result<CheckResult> check_non_finite(Patient& patient) { return concluded(kId, run(patient)); }

}  // namespace rowmax::doctor
