// What checks of a model that computes share: the fixed text as one run of tokens, sessions, stages that are kept, and
// what the file says: its keys and tensors, and what its architecture makes of them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "doctor/patient.h"
#include "rowmax/engine/trace.h"

namespace rowmax::doctor {

// The pieces of the fixed text one behind the other: n tokens, or as many as there are and the model takes.
Result<std::vector<engine::TokenId>> text_tokens(Patient& patient, std::int64_t n);
// With room for max_sequences sequences of n tokens.
Result<engine::Session> open_session(Patient& patient, std::int64_t n, int max_sequences = 1,
                                     const engine::Edits& edits = {});
// kCancelled and kOutOfMemory are the caller's errors; any other one is why a check says nothing.
Result<CheckResult> concluded(std::string_view id, Result<CheckResult> result);
// A piece of text as a word of a shell's command line; "rowmax trace -m FILE" and `more`.
std::string trace_command(Patient& patient, std::string_view more);

// Rows of logits, appended to `out`, of tokens that are appended to a sequence.
Status forward_logits(engine::Session& session, engine::SequenceId sequence, std::span<const engine::TokenId> tokens,
                      std::vector<std::vector<float>>& out);

struct KeptRow {
  engine::SequenceId sequence = 0;
  std::int64_t position = 0, n_group = 0, width = 0;
  std::vector<float> values;  // [n_group][width]
  std::span<const float> group(std::int64_t i) const {
    return std::span(values).subspan(static_cast<std::size_t>(i * width), static_cast<std::size_t>(width));
  }
};

// Keeps the stages that are asked for, row by row as they come.
class StageKeeper : public engine::TraceObserver {
 public:
  using Wanted = std::function<bool(engine::Stage stage, std::int64_t layer)>;
  explicit StageKeeper(Wanted wanted) : wanted_(std::move(wanted)) {}
  bool wants(engine::Stage stage, std::int64_t layer) override { return wanted_(stage, layer); }
  void see(const engine::TraceView& view) override;
  // Empty where it was not seen. In order of time.
  std::span<const KeptRow> rows(engine::Stage stage, std::int64_t layer) const;
  std::vector<std::int64_t> layers(engine::Stage stage) const;  // that were seen

 private:
  Wanted wanted_;
  std::map<std::pair<engine::Stage, std::int64_t>, std::vector<KeptRow>> kept_;
};

// A value of the file's metadata by its whole key; nullptr where it has none.
const engine::GgufValue* key_value(Patient& patient, const std::string& key);
// A number of the file's metadata under the architecture's prefix, the options' overrides first.
std::optional<double> key_number(Patient& patient, std::string_view key);
std::string architecture(Patient& patient);
// What the file's architecture has it that a layer does, by the names of rowmax/engine/edits.h, after the options' edits; ""
// (otherwise) where the layer has no such thing. No architecture is known here by its name.
std::string convention_of(Patient& patient, std::string_view name, std::int64_t layer);
double convention_number(Patient& patient, std::string_view name, std::int64_t layer, double otherwise);
// A tensor of one row as numbers; empty where the file has none of this name.
std::vector<float> vector_of(Patient& patient, const std::string& name);
std::string layer_tensor(std::int64_t layer, std::string_view name);  // "blk.3.attn_norm.weight"
// The sliding window of a layer; 0: none.
std::int64_t window_of_layer(Patient& patient, std::int64_t layer);

// sum of a_i b_i, largest magnitude.
double dot_of(std::span<const float> a, std::span<const float> b);
double largest_of(std::span<const float> values);

}  // namespace rowmax::doctor
