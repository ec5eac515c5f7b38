#include "doctor/checks/forward.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <variant>

#include "base/fp_env.h"
#include "engine/quant/format.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

const std::string* override_of(Patient& patient, const std::string& key) {
  const std::string* found = nullptr;
  for (const auto& [name, value] : patient.options().model.overrides) {
    if (name == key) found = &value;
  }
  return found;
}

std::optional<double> number_in(const std::string& text) {
  double value = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end.ec != std::errc()) return {};
  return value;
}

}  // namespace

const engine::GgufValue* key_value(Patient& patient, const std::string& key) {
  const auto file = patient.file();
  return file.ok() ? (*file)->find(key) : nullptr;
}

Result<std::vector<engine::TokenId>> text_tokens(Patient& patient, std::int64_t n) {
  ROWMAX_TRY(model, patient.model());
  ROWMAX_TRY(parts, patient.text());
  n = std::min(n, model->shape().context_length);
  std::vector<engine::TokenId> tokens;
  for (const TextPiece& part : *parts) {
    const std::size_t room = static_cast<std::size_t>(n) - tokens.size();
    tokens.insert(tokens.end(), part.tokens.begin(),
                  part.tokens.begin() + static_cast<std::ptrdiff_t>(std::min(room, part.tokens.size())));
  }
  if (tokens.size() < 4) return Error{ErrorCode::kUnsupported, "the fixed text has fewer than four tokens here"};
  return tokens;
}

Result<engine::Session> open_session(Patient& patient, std::int64_t n, int max_sequences, const engine::Edits& edits) {
  ROWMAX_TRY(model, patient.model());
  engine::SessionOptions options;
  options.context = n;
  options.max_sequences = max_sequences;
  options.edits = edits;
  return engine::Session::create(*model, options, patient.executor());
}

Result<CheckResult> concluded(std::string_view id, Result<CheckResult> result) {
  if (result.ok()) return result;
  const Error& error = result.error();
  if (error.code == ErrorCode::kCancelled || error.code == ErrorCode::kOutOfMemory) return Error(error);
  return CheckResult::inconclusive(id, error.message);
}

std::string trace_command(Patient& patient, std::string_view more) {
  const auto file = patient.file();
  std::string name = file.ok() ? (*file)->name() : "model.gguf";
  if (name.find_first_of(" '\"\\$`") != std::string::npos) {
    std::string quoted = "'";
    for (const char letter : name) quoted += letter == '\'' ? std::string("'\\''") : std::string(1, letter);
    name = quoted + "'";
  }
  return "rowmax trace -m " + name + " -p \"The river rises in the hills\" " + std::string(more);
}

Status forward_logits(engine::Session& session, engine::SequenceId sequence, std::span<const engine::TokenId> tokens,
                      std::vector<std::vector<float>>& out) {
  const engine::BatchItem item{sequence, tokens, engine::LogitsFor::kAll};
  ROWMAX_RETURN_IF_ERROR(session.forward({&item, 1}));
  for (std::int64_t row = 0; row < session.n_logit_rows(); ++row) {
    const auto logits = session.logits(row);
    out.emplace_back(logits.begin(), logits.end());
  }
  return {};
}

void StageKeeper::see(const engine::TraceView& view) {
  std::vector<KeptRow>& rows = kept_[{view.stage, view.layer}];
  for (std::size_t i = 0; i < view.rows.size(); ++i) {
    const float* row = view.data + static_cast<std::int64_t>(i) * view.row_stride;
    rows.push_back({view.rows[i].sequence, view.rows[i].position, view.n_group, view.width,
                    std::vector<float>(row, row + view.n_group * view.width)});
  }
}

std::span<const KeptRow> StageKeeper::rows(engine::Stage stage, std::int64_t layer) const {
  const auto found = kept_.find({stage, layer});
  return found == kept_.end() ? std::span<const KeptRow>() : std::span<const KeptRow>(found->second);
}

std::vector<std::int64_t> StageKeeper::layers(engine::Stage stage) const {
  std::vector<std::int64_t> out;
  for (const auto& [key, rows] : kept_) {
    if (key.first == stage) out.push_back(key.second);
  }
  return out;
}

std::string architecture(Patient& patient) {
  const auto file = patient.file();
  if (!file.ok()) return "";
  const auto name = (*file)->find_string("general.architecture");
  return std::string(name.value_or(""));
}

std::optional<double> key_number(Patient& patient, std::string_view key) {
  const std::string full = architecture(patient) + "." + std::string(key);
  if (const std::string* text = override_of(patient, full)) return number_in(*text);
  const engine::GgufValue* value = key_value(patient, full);
  if (value == nullptr) return {};
  if (const auto* unsigned_value = std::get_if<std::uint64_t>(&value->value))
    return static_cast<double>(*unsigned_value);
  if (const auto* signed_value = std::get_if<std::int64_t>(&value->value)) return static_cast<double>(*signed_value);
  if (const auto* real = std::get_if<double>(&value->value)) return *real;
  return {};
}

std::vector<float> vector_of(Patient& patient, const std::string& name) {
  const auto file = patient.file();
  const engine::GgufTensor* tensor = file.ok() ? (*file)->find_tensor(name) : nullptr;
  if (tensor == nullptr || tensor->format == nullptr || tensor->shape.size() != 1) return {};
  std::vector<float> values(static_cast<std::size_t>(tensor->shape[0]));
  engine::decode_row(*tensor->format, tensor->data, 0, tensor->shape[0], values.data());
  return values;
}

std::string layer_tensor(std::int64_t layer, std::string_view name) {
  return "blk." + std::to_string(layer) + "." + std::string(name);
}

std::string convention_of(Patient& patient, std::string_view name, std::int64_t layer) {
  const auto layers = patient.conventions();
  if (!layers.ok() || layer < 0 || layer >= std::ssize(**layers)) return "";
  const auto& facts = (**layers)[static_cast<std::size_t>(layer)];
  const auto found = std::ranges::find(facts, name, &engine::EditableFact::name);
  return found == facts.end() ? "" : found->value;
}

double convention_number(Patient& patient, std::string_view name, std::int64_t layer, double otherwise) {
  return number_in(convention_of(patient, name, layer)).value_or(otherwise);
}

std::int64_t window_of_layer(Patient& patient, std::int64_t layer) {
  return static_cast<std::int64_t>(convention_number(patient, "sliding_window", layer, 0));
}

double dot_of(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

double largest_of(std::span<const float> values) {
  double largest = 0;
  for (const float value : values) largest = std::max(largest, std::fabs(static_cast<double>(value)));
  return largest;
}

}  // namespace rowmax::doctor
