#include "rowmax/doctor/doctor.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "base/guarded.h"
#include "doctor/check.h"
#include "doctor/diagnosis.h"
#include "doctor/patient.h"
#include "rowmax/doctor/compare.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

// In the order in which they run: the file, then what computes.
constexpr Check kChecks[] = {
    {{"bytes", 3, Depth::kFile, "Does every byte of the file belong to a tensor, and is every number in it possible?"},
     check_bytes},
    {{"closure", 2, Depth::kFile, "Do tensors and keys fit the architecture, each used once and none missing?"},
     check_closure},
    {{"tokenizer", 9, Depth::kFile,
      "Do vocabulary, pre-tokenizer, special tokens, template and stop ids fit one another?"},
     check_tokenizer},
    {{"conventions", 1, Depth::kEngine,
      "Is there a single convention under which the model finds plain text likelier?"},
     check_conventions},
    {{"masks", 7, Depth::kEngine,
      "Does a token see the tokens before it, within its window, and nothing else: no later ones, no other sequences?"},
     check_masks},
    {{"prefill_decode", 8, Depth::kEngine,
      "Are the logits of a text the same bits however it comes: at once, in pieces, token by token, from the cache?"},
     check_prefill_decode},
    {{"attention_rows", 11, Depth::kEngine,
      "Does every row of attention scale once, mask once and after it, add up to 1 and give what fp64 gives?"},
     check_attention_rows},
    {{"kernels", 4, Depth::kEngine, "Are products of the file's rows right, by every kernel of this machine?"},
     check_kernels},
    {{"rope", 10, Depth::kEngine, "Do queries and keys turn as the file says: which dimensions pair, and how fast?"},
     check_rope},
    {{"head_map", 12, Depth::kEngine, "Does every query head read its own K/V head, and what was stored there?"},
     check_head_map},
    {{"norms", 13, Depth::kEngine, "Is every norm the RMS norm of what goes in, with the file's weights and eps?"},
     check_norms},
    {{"head", 14, Depth::kEngine, "Are embeddings the file's rows, and logits products with the output matrix?"},
     check_head},
    {{"sampler", 15, Depth::kEngine,
      "Are tokens drawn from the logits with the right probabilities, and the same ones again?"},
     check_sampler},
    {{"first_divergence", 5, Depth::kEngine,
      "With what another engine computed: at which stage do the numbers part, and what gives theirs?"},
     check_first_divergence},
    {{"non_finite", 6, Depth::kEngine, "Is every number of every stage finite, and which is the first that is not?"},
     check_non_finite},
};

Status check_options(const DoctorOptions& options) {
  for (const std::string& id : options.only) {
    const auto info = std::ranges::find(check_table(), id, &CheckInfo::id);
    if (info != check_table().end() && (info->depth == Depth::kFile || options.depth == Depth::kEngine)) continue;
    if (info != check_table().end()) {
      return Error{ErrorCode::kInvalidArgument,
                   "check: " + id + " computes with the model, which looking at the file alone (--quick) leaves out"};
    }
    std::string known;
    for (const CheckInfo& info : check_table()) known += (known.empty() ? "" : ", ") + std::string(info.id);
    return Error{ErrorCode::kInvalidArgument, "check: expected one of " + known + ", found '" + id + "'"};
  }
  if (!options.reference.empty()) {
    const auto reference = read_reference(options.reference);
    if (!reference.ok()) return Error(reference.error());
  }
  if (!(options.budget_seconds > 0)) return Error{ErrorCode::kInvalidArgument, "budget: expected seconds above 0"};
  return {};
}

// Why a check does not run; "" where it does.
std::string left_out(const CheckInfo& info, const DoctorOptions& options) {
  if (!options.only.empty() && std::ranges::find(options.only, info.id) == options.only.end()) return "not asked for";
  if (options.depth == Depth::kFile && info.depth == Depth::kEngine) return "needs the model to compute";
  return "";
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

std::span<const Check> checks() noexcept { return kChecks; }

std::span<const CheckInfo> check_table() noexcept {
  static const std::vector<CheckInfo> table = [] {
    std::vector<CheckInfo> out;
    for (const Check& check : kChecks) out.push_back(check.info);
    return out;
  }();
  return table;
}

namespace {

// Or the file names none, which is its fault.
bool knows_architecture(const engine::GgufFile& file) {
  const auto name = file.find_string("general.architecture");
  if (!name) return true;
  const auto known = engine::supported_architectures();
  return std::ranges::find(known, *name) != known.end();
}

}  // namespace

Result<Report> diagnose(const OpenFile& open, const DoctorOptions& options, Executor& executor) {
  return base::guarded([&]() -> Result<Report> {
    ROWMAX_RETURN_IF_ERROR(check_options(options));
    Patient patient(open, options, executor);
    if (const auto file = patient.file(); !file.ok()) {
      const ErrorCode code = file.error().code;
      if (code != ErrorCode::kCorrupt && code != ErrorCode::kUnsupported && code != ErrorCode::kLimit) {
        return Error(file.error());
      }
    } else if (!knows_architecture(**file)) {  // no fault of the file's
      if (const auto description = patient.description(); !description.ok()) return Error(description.error());
    }
    Report report;
    for (const Check& check : kChecks) {
      if (const std::string why = left_out(check.info, options); !why.empty()) {
        report.checks.push_back(CheckResult::skipped(check.info.id, why));
        continue;
      }
      patient.check_ = check.info.id;
      ROWMAX_RETURN_IF_ERROR(patient.step(0));
      const auto start = std::chrono::steady_clock::now();
      ROWMAX_TRY(result, check.run(patient));
      ROWMAX_RETURN_IF_ERROR(patient.memory());
      result.seconds = seconds_since(start);
      report.checks.push_back(std::move(result));
    }
    if (options.depth == Depth::kEngine) {
      if (const auto model = patient.model(); !model.ok()) report.load_error = model.error().message;
    } else if (const auto description = patient.description(); !description.ok()) {
      report.load_error = description.error().message;
    }
    ROWMAX_RETURN_IF_ERROR(patient.memory());
    conclude(report);
    return report;
  });
}

}  // namespace rowmax::doctor
