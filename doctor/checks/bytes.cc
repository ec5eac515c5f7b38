// Whether every byte of the file belongs to a tensor, and whether every number in it is possible. Where tensors lie the
// reader of files has checked; here their numbers are decoded and compared with one another.
#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "doctor/check.h"
#include "doctor/checks/sentences.h"
#include "doctor/checks/weight_findings.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

using engine::GgufFile;
using engine::GgufTensor;

constexpr std::string_view kId = "bytes";
// Numbers that are decoded, at most: some seconds on two threads. Larger models are looked at by every so many rows;
// illegal codes and NaN are looked for in all of them.
constexpr std::int64_t kMostNumbers = 200'000'000;

// The reader's own sentence, and what it means.
CheckResult refused(const Error& error) {
  CheckResult result = refusal(kId, 1, error.message, error.message);
  const std::string_view message = error.message;
  const auto says = [&](std::string_view words) { return message.find(words) != std::string_view::npos; };
  Cause cause;
  cause.id = "truncation";
  cause.place = result.place;
  cause.command = "rowmax inspect MODEL";
  cause.text = "The file's sizes do not fit: " + error.message + ".";
  cause.confidence = 0.7;
  if (says("bytes short")) {
    cause.text =
        "The file ends too early: " + error.message + " Get it again, and compare its size with the publisher's.";
    cause.confidence = 0.98;
  } else if (says("stands for several layouts") || says("no layout of type")) {
    cause.id = "ternary_layout";
    cause.text = "It is not known which layout the type of its tensors stands for: " + error.message + ".";
  } else if (error.code == ErrorCode::kUnsupported) {
    cause.text = "The file is of a kind that cannot be read: " + error.message + ".";
    cause.confidence = 0.5;
  } else if (says("expected 'GGUF'") || says("magic")) {
    cause.text = "This is no GGUF file, or its beginning is damaged: " + error.message + ".";
    cause.confidence = 0.9;
  }
  result.causes.push_back(std::move(cause));
  return result;
}

// GGUF allows nothing behind the last tensor's padding. Zeros are what a download leaves that took its room beforehand, and are
// told; anything else is of another file, or of this one a second time, and then what lies before it is in doubt, too.
struct Rest {
  std::string told;  // "; 12 bytes of zeros behind the last tensor, from byte 3456 on"
  std::optional<Cause> cause;
};
Rest judge_rests(const GgufFile& file) {
  Rest out;
  for (const engine::GgufRest& rest : file.rests()) {
    const bool zero = std::ranges::all_of(rest.bytes, [](std::byte byte) { return byte == std::byte{0}; });
    const std::string what = std::to_string(rest.bytes.size()) + (zero ? " bytes of zeros" : " bytes") +
                             " behind the last tensor" + (file.paths().size() > 1 ? " of " + rest.file : "") +
                             ", from byte " + std::to_string(rest.offset) + " on";
    file.drop_pages(rest.bytes);
    out.told += "; " + what;
    if (zero || out.cause) continue;
    out.cause = Cause{
        .id = "truncation",
        .text = "There are " + what +
                ", which belong to nothing: files that were joined, or a download that was gone on with at the wrong "
                "place. Get it again, and compare its size with the publisher's.",
        .evidence = {{"bytes", std::to_string(rest.bytes.size())}, {"offset", std::to_string(rest.offset)}},
        .command = "rowmax inspect MODEL",
        .confidence = 0.5};
  }
  return out;
}

std::int64_t stride_of(const GgufFile& file) {
  std::int64_t n = 0;
  for (const GgufTensor& tensor : file.tensors()) n += tensor.n_elements();
  return std::max<std::int64_t>(1, (n + kMostNumbers - 1) / kMostNumbers);
}

// Zeros from somewhere to the file's end, over several whole tensors: space was set aside for them and never filled.
void judge_tail(const GgufFile& file, WeightFindings& findings) {
  std::vector<const GgufTensor*> by_place;
  for (const GgufTensor& tensor : file.tensors()) by_place.push_back(&tensor);
  std::ranges::sort(by_place, std::greater<>(), [](const GgufTensor* tensor) { return tensor->data.data(); });
  const auto is_zero = [](std::byte byte) { return byte == std::byte{0}; };
  std::int64_t n_whole = 0, n_matrices = 0;
  const GgufTensor* first = nullptr;  // that is zero from somewhere on
  for (const GgufTensor* tensor : by_place) {
    const auto zeros = std::ranges::find_if_not(tensor->data.rbegin(), tensor->data.rend(), is_zero);
    if (zeros != tensor->data.rbegin()) first = tensor;
    file.drop_pages(tensor->data);
    if (zeros != tensor->data.rend()) break;
    ++n_whole;
    n_matrices += tensor->n_elements() > tensor->shape[0] ? 1 : 0;
  }
  ++findings.n_compared;
  if (n_whole < 2 || n_matrices == 0) return;
  Cause cause;
  cause.id = "truncation";
  cause.place.tensor = first->name;
  cause.text = "The last " + std::to_string(n_whole) + " tensors of the file are zero to its last byte, from " +
               std::string(first->name) + " on: it was not downloaded or copied to its end.";
  cause.evidence = {{"tensors", std::to_string(n_whole)}, {"first", std::string(first->name)}};
  cause.command = "rowmax inspect MODEL --all";
  cause.confidence = 0.99;
  findings.causes.push_back(std::move(cause));
}

// Where the layouts that options name do not fit the file, and those that its sizes suggest do.
Status judge_chosen_layouts(const Patient& patient, CheckResult& result) {
  if (patient.options().model.gguf.formats.empty()) return {};
  const auto file = patient.file_as_sizes_suggest();
  if (!file.ok()) return file.error().code == ErrorCode::kOutOfMemory ? Status(file.error()) : Status();
  std::string named, fitting;
  for (const std::string& format : patient.options().model.gguf.formats) named += (named.empty() ? "" : ", ") + format;
  for (const GgufTensor& tensor : file->tensors()) {
    const std::string name(engine::gguf_tensor_format_name(tensor));
    if (fitting.find(name) == std::string::npos) fitting += (fitting.empty() ? "" : ", ") + name;
  }
  Cause cause;
  cause.id = "ternary_layout";
  cause.text =
      "Read as " + named + ", as it is asked for, sizes do not fit; by its sizes the file holds " + fitting + ".";
  cause.evidence = {{"asked", named}, {"fits", fitting}};
  cause.command = "rowmax inspect MODEL --all";
  cause.confidence = 0.95;
  result.causes.insert(result.causes.begin(), std::move(cause));
  return {};
}

void sort_causes(std::vector<Cause>& causes) {
  std::ranges::stable_sort(causes, [](const Cause& a, const Cause& b) { return a.confidence > b.confidence; });
}

}  // namespace

Result<CheckResult> check_bytes(Patient& patient) {
  const auto opened = patient.file();
  if (!opened.ok()) {
    if (opened.error().code == ErrorCode::kOutOfMemory) return Error(opened.error());
    CheckResult result = refused(opened.error());
    ROWMAX_RETURN_IF_ERROR(judge_chosen_layouts(patient, result));
    return result;
  }
  const GgufFile& file = **opened;
  ROWMAX_RETURN_IF_ERROR(file.check_intact());
  const std::int64_t stride = stride_of(file);
  WeightFindings findings;
  std::vector<TensorStats> all;
  std::int64_t n_numbers = 0;
  std::uint64_t n_bytes = 0;
  for (const GgufTensor& tensor : file.tensors()) {
    // Small tensors whole.
    all.push_back(look_at(tensor, tensor.n_elements() > (1 << 20) ? stride : 1, patient.executor()));
    file.drop_pages(tensor.data);
    n_numbers += all.back().n();
    n_bytes += tensor.data.size();
    judge_alone(all.back(), findings);
    ROWMAX_RETURN_IF_ERROR(patient.step(0.95 * static_cast<double>(n_bytes) / static_cast<double>(file.file_bytes())));
  }
  judge_tail(file, findings);
  // Damage explains what is odd in a comparison; without any the comparisons speak.
  const bool damaged = !findings.causes.empty();
  judge_ternary(all, findings);
  judge_sizes(all, findings);
  if (!damaged) judge_profiles(all, findings);
  Rest rest = judge_rests(file);
  if (rest.cause) findings.causes.push_back(std::move(*rest.cause));
  const std::string looked_at = std::to_string(n_numbers) + " numbers of " + std::to_string(all.size()) + " tensors" +
                                (stride > 1 ? " (every " + std::to_string(stride) + "th row of large ones)" : "");
  CheckResult result = CheckResult::pass(
      kId, n_numbers, "sizes and offsets fit, and " + looked_at + " are finite and of usual sizes" + rest.told);
  if (!findings.causes.empty()) {
    sort_causes(findings.causes);
    result = CheckResult::fail(kId, n_numbers, findings.causes.front().text + " (" + looked_at + " were looked at.)");
    result.place = findings.causes.front().place;
  }
  result.measured = static_cast<double>(findings.causes.size());
  result.threshold = 0;
  result.unit = "findings";
  result.causes = std::move(findings.causes);
  return result;
}

}  // namespace rowmax::doctor
