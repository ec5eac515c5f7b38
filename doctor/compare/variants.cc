#include "doctor/compare/variants.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <optional>
#include <string>

#include "doctor/search/menu.h"
#include "engine/io/text.h"
#include "engine/quant/format.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

using engine::EditableFact;
using engine::Stage;

// The stages that facts change, by a part of their name.
struct Changes {
  std::string_view part;
  std::vector<Stage> stages;
};
const Changes kChanges[] = {
    {"rope", {Stage::kQ, Stage::kK}},
    {"qk_", {Stage::kQRaw, Stage::kKRaw, Stage::kQ, Stage::kK}},
    {"bias", {Stage::kQ, Stage::kK, Stage::kV, Stage::kMixerOut}},
    {"activation", {Stage::kAct, Stage::kSharedAct}},
    {"sub_norm", {Stage::kAttnOut, Stage::kAct}},
    {"norm", {Stage::kAttnNorm, Stage::kFfnNorm, Stage::kOutputNorm, Stage::kQ, Stage::kK}},
    {"attention", {Stage::kScores, Stage::kAttnOut}},
    {"window", {Stage::kScores, Stage::kAttnOut}},
    {"sinks", {Stage::kScores, Stage::kAttnOut}},
    {"head_mapping", {Stage::kScores, Stage::kAttnOut}},
    {"gate", {Stage::kAttnOut, Stage::kAct, Stage::kSharedAct}},
    {"delta", {Stage::kAttnOut, Stage::kQ, Stage::kK}},
    {"conv", {Stage::kQ, Stage::kK, Stage::kV}},
    {"state", {Stage::kAttnOut, Stage::kState}},
    {"expert", {Stage::kRouter, Stage::kExperts, Stage::kBlockOut}},
    {"residual", {Stage::kResidual}},
    {"embedding", {Stage::kEmbedding}},
    {"temperature", {Stage::kQ}},
    {"final", {Stage::kLogits}},
    {"logit", {Stage::kLogits}},
    {"tied_head", {Stage::kLogits}},
    {"layout", {Stage::kQRaw, Stage::kKRaw, Stage::kGate, Stage::kUp, Stage::kSharedGate, Stage::kSharedUp}},
    {"ternary", {Stage::kQRaw, Stage::kKRaw, Stage::kGate, Stage::kUp, Stage::kSharedGate, Stage::kSharedUp}},
};

// As a person would write it.
std::string text_of(double value) {
  const bool whole = value == std::floor(value) && std::abs(value) < 1e9;
  return whole ? std::to_string(static_cast<std::int64_t>(value)) : engine::number_text(static_cast<float>(value));
}

std::optional<double> number_of(std::string_view text) {
  double value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool changes(std::span<const Stage> stages, Stage stage) { return std::ranges::find(stages, stage) != stages.end(); }

struct Ranked {
  Trial trial;
  int rank;
};

}  // namespace

bool changes_stage(std::string_view fact, Stage stage) {
  return std::ranges::any_of(kChanges, [&](const Changes& each) {
    return fact.find(each.part) != std::string_view::npos && changes(each.stages, stage);
  });
}

namespace {

// One value of one fact.
Ranked ranked_trial(const std::string& name, const std::string& value, engine::EditScope scope, Stage stage) {
  const bool near = changes_stage(name, stage);
  const auto number = number_of(value);
  const std::string text = number ? text_of(*number) : value;
  const bool repacks = scope != engine::EditScope::kSession;
  return {{name + "=" + text, {{name, text}}, repacks, {}}, (near ? 0 : 2) + (repacks ? 1 : 0)};
}

// A vector of the file; empty where it has none.
std::vector<float> vector_of(const engine::Model& model, const std::string& name) {
  const engine::GgufTensor* tensor = model.file().find_tensor(name);
  if (tensor == nullptr || tensor->format == nullptr || tensor->shape.size() != 1) return {};
  std::vector<float> out(static_cast<std::size_t>(tensor->shape[0]));
  engine::decode_row(*tensor->format, tensor->data, 0, tensor->shape[0], out.data());
  return out;
}

// q and k without the file's biases: taken off before they are added.
void add_bias_trials(std::vector<Ranked>& out, const engine::Model& model, Stage stage) {
  struct Part {
    const char* tensor;
    Stage raw, used;
  };
  static constexpr Part kParts[] = {{"attn_q.bias", Stage::kQRaw, Stage::kQ}, {"attn_k.bias", Stage::kKRaw, Stage::kK}};
  for (const Part& part : kParts) {
    std::vector<std::vector<float>> biases;
    bool any = false;
    for (std::int64_t i = 0; i < model.shape().n_layer; ++i) {
      biases.push_back(vector_of(model, "blk." + std::to_string(i) + "." + part.tensor));
      any |= !biases.back().empty();
    }
    if (!any) continue;
    Trial trial;
    trial.name = std::string("without ") + part.tensor;
    trial.changes.push_back({part.raw, [biases = std::move(biases)](std::int64_t layer, std::span<float> row) {
                               const std::vector<float>& bias = biases[static_cast<std::size_t>(layer)];
                               for (std::size_t i = 0; i < std::min(bias.size(), row.size()); ++i) row[i] -= bias[i];
                             }});
    out.push_back({std::move(trial), stage == part.used ? 0 : 3});
  }
}

}  // namespace

Result<std::vector<Trial>> pass_trials(const engine::Model& model, Stage stage, double pattern_scale) {
  ROWMAX_TRY(facts, engine::editable_facts(model.file(), model.options(), nullptr));
  std::vector<Ranked> all;
  const auto add = [&](const std::string& name, const std::string& value) {
    const auto fact = std::ranges::find(facts, name, &EditableFact::name);
    if (fact->scope != engine::EditScope::kTokens) all.push_back(ranked_trial(name, value, fact->scope, stage));
  };
  for (const Variant& variant : convention_variants(facts, facts, {}, model)) {
    add(variant.edits[0].first, variant.edits[0].second);
  }
  // Of a stage that is ours by a factor: its scale by that factor.
  for (const EditableFact& fact : facts) {
    const auto now = number_of(fact.value);
    const std::string_view scale = stage == Stage::kEmbedding ? "embedding_scale"
                                   : stage == Stage::kLogits  ? "logit_scale"
                                                              : "residual_scale";
    const bool scales = fact.name == scale;
    if (pattern_scale != 0 && now && scales) add(std::string(fact.name), text_of(*now * pattern_scale));
  }
  add_bias_trials(all, model, stage);
  std::ranges::stable_sort(all, {}, &Ranked::rank);
  std::vector<Trial> out;
  for (Ranked& each : all) out.push_back(std::move(each.trial));
  return out;
}

}  // namespace rowmax::doctor
