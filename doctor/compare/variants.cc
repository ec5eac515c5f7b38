#include "doctor/compare/variants.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <optional>
#include <string>

#include "engine/io/text.h"
#include "engine/quant/format.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

using engine::EditableFact;
using engine::ModelShape;
using engine::Stage;

// Values that engines are known to take, beside the model's own.
struct Menu {
  std::string_view fact;
  std::vector<Stage> stages;  // that it changes first
  std::vector<double> (*values)(const ModelShape& shape, double own);
};

const Menu kMenus[] = {
    {"rms_norm_eps",
     {Stage::kAttnNorm, Stage::kFfnNorm, Stage::kOutputNorm, Stage::kQ, Stage::kK},
     [](const ModelShape&, double) -> std::vector<double> {
       return {1e-5, 1e-6, 1e-7, 1e-8, 1e-12, 1e-4, 1e-3, 1e-20};
     }},
    {"embedding_scale",
     {Stage::kEmbedding},
     [](const ModelShape& s, double) -> std::vector<double> {
       return {1, std::sqrt(static_cast<double>(s.n_embd)), 12};
     }},
    {"attention_scale",
     {Stage::kScores, Stage::kAttnOut},
     [](const ModelShape& s, double own) -> std::vector<double> {
       const auto d = static_cast<double>(s.head_dim), width = static_cast<double>(s.n_embd);
       return {1,
               1 / std::sqrt(d),
               1 / d,
               1 / std::sqrt(width),
               1 / std::sqrt(width / static_cast<double>(s.n_head)),
               own * own,
               std::sqrt(d),
               0.0883883476};
     }},
    {"attention_softcap",
     {Stage::kScores, Stage::kAttnOut},
     [](const ModelShape&, double) -> std::vector<double> {
       return {0, 50, 30, 20};
     }},
    {"final_softcap",
     {Stage::kLogits},
     [](const ModelShape&, double) -> std::vector<double> {
       return {0, 30, 50, 15};
     }},
    {"rope_base",
     {Stage::kQ, Stage::kK},
     [](const ModelShape&, double) -> std::vector<double> {
       return {10000, 100000, 150000, 250000, 500000, 1000000, 5000000, 10000000, 100000000, 1000};
     }},
    {"rope_scale",
     {Stage::kQ, Stage::kK},
     [](const ModelShape&, double own) -> std::vector<double> {
       return {1, 0.5, 0.25, 0.125, 0.0625, 0.03125, 2, 4, 8, 1 / own};
     }},
    {"rope_dimensions",
     {Stage::kQ, Stage::kK},
     [](const ModelShape& s, double own) -> std::vector<double> {
       const auto d = static_cast<double>(s.head_dim);
       return {d, d / 2, d / 4, own / 2, own * 2};
     }},
    {"sliding_window",
     {Stage::kScores, Stage::kAttnOut},
     [](const ModelShape&, double own) -> std::vector<double> {
       return {0, own - 1, own + 1, own / 2, own * 2, 128, 512, 1024, 2048, 4096};
     }},
    {"expert_used_count",
     {Stage::kRouter, Stage::kExperts},
     [](const ModelShape&, double own) -> std::vector<double> { return {1, own - 1, own + 1, 2, 4, 8}; }},
};

// Facts that are words, by the stages that they change.
struct Place {
  std::string_view part;  // of the fact's name
  std::vector<Stage> stages;
};
const Place kPlaces[] = {
    {"rope", {Stage::kQ, Stage::kK}},
    {"qk_", {Stage::kQRaw, Stage::kKRaw, Stage::kQ, Stage::kK}},
    {"bias", {Stage::kQ, Stage::kK, Stage::kV, Stage::kMixerOut}},
    {"activation", {Stage::kAct}},
    {"sub_norm", {Stage::kAttnOut, Stage::kAct}},
    {"norm", {Stage::kAttnNorm, Stage::kFfnNorm, Stage::kOutputNorm, Stage::kQ, Stage::kK}},
    {"gate", {Stage::kAttnOut}},
    {"delta", {Stage::kAttnOut, Stage::kQ, Stage::kK}},
    {"expert", {Stage::kRouter, Stage::kExperts, Stage::kBlockOut}},
    {"head", {Stage::kLogits, Stage::kScores, Stage::kAttnOut}},
    {"layout", {Stage::kQRaw, Stage::kKRaw, Stage::kGate, Stage::kUp}},
};

// As a person would write it.
std::string text_of(double value) {
  const bool whole = value == std::floor(value) && std::abs(value) < 1e9;
  return whole ? std::to_string(static_cast<std::int64_t>(value)) : engine::number_text(static_cast<float>(value));
}

std::optional<double> number_of(std::string_view text) {
  double value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc()) return std::nullopt;
  static_cast<void>(end);  // of several, with commas, the first
  return value;
}

// "halves or adjacent" -> both; "no", "none or llama: what ..." -> what stands before the colon. "a number above 0" gives
// none: it has words that are no values.
std::vector<std::string> words_of(std::string_view values) {
  values = values.substr(0, values.find(':'));
  std::vector<std::string> out;
  std::string word;
  const auto end_word = [&] {
    if (!word.empty() && word != "or") out.push_back(word);
    word.clear();
  };
  for (const char c : values) {
    if (c == ' ' || c == ',') {
      end_word();
    } else {
      word += c;
    }
  }
  end_word();
  static constexpr std::string_view kProse[] = {"a",    "an", "the", "number", "tokens",
                                                "name", "of", "for", "where",  "at"};
  std::erase_if(out, [](const std::string& w) { return std::ranges::find(kProse, w) != std::end(kProse); });
  const bool prose = values.find("number") != std::string_view::npos ||
                     values.find("tokens") != std::string_view::npos || values.find(" name ") != std::string_view::npos;
  if (prose) out.clear();
  return out;
}

bool changes(std::span<const Stage> stages, Stage stage) { return std::ranges::find(stages, stage) != stages.end(); }

struct Ranked {
  Variant variant;
  int rank;
};

void add_facts(std::vector<Ranked>& out, const EditableFact& fact, const ModelShape& shape, Stage stage,
               double pattern_scale) {
  std::vector<std::string> values;
  bool near = false;
  const auto* menu = std::ranges::find(kMenus, fact.name, &Menu::fact);
  const auto own = number_of(fact.value);
  if (menu != std::end(kMenus)) {
    near = changes(menu->stages, stage);
    std::vector<double> numbers = menu->values(shape, own.value_or(1));
    if (pattern_scale != 0 && near) numbers.push_back(own.value_or(1) * pattern_scale);
    for (const double number : numbers) {
      if (std::isfinite(number)) values.push_back(text_of(number));
    }
  } else {
    for (const Place& place : kPlaces) {
      near |= fact.name.find(place.part) != std::string_view::npos && changes(place.stages, stage);
    }
    values = words_of(fact.values);
    if (values.empty() && own) {
      for (const double factor : {0.0, 0.5, 2.0}) values.push_back(text_of(*own * factor));
      values.push_back(text_of(1));
    }
  }
  const bool repacks = fact.scope != engine::EditScope::kSession;
  std::vector<std::string> done;
  for (const std::string& value : values) {
    if (value == fact.value || std::ranges::find(done, value) != done.end()) continue;
    done.push_back(value);
    Variant variant;
    variant.name = std::string(fact.name) + "=" + value;
    variant.edits = {{std::string(fact.name), value}};
    variant.repacks = repacks;
    out.push_back({std::move(variant), (near ? 0 : 2) + (repacks ? 1 : 0)});
  }
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
void add_bias_variants(std::vector<Ranked>& out, const engine::Model& model, Stage stage) {
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
    Variant variant;
    variant.name = std::string("without ") + part.tensor;
    variant.changes.push_back({part.raw, [biases = std::move(biases)](std::int64_t layer, std::span<float> row) {
                                 const std::vector<float>& bias = biases[static_cast<std::size_t>(layer)];
                                 for (std::size_t i = 0; i < std::min(bias.size(), row.size()); ++i) row[i] -= bias[i];
                               }});
    out.push_back({std::move(variant), stage == part.used ? 0 : 3});
  }
}

}  // namespace

Result<std::vector<Variant>> pass_variants(const engine::Model& model, Stage stage, double pattern_scale) {
  ROWMAX_TRY(facts, engine::editable_facts(model.file(), model.options(), nullptr));
  std::vector<Ranked> ranked;
  for (const EditableFact& fact : facts) {
    if (fact.scope != engine::EditScope::kTokens) add_facts(ranked, fact, model.shape(), stage, pattern_scale);
  }
  add_bias_variants(ranked, model, stage);
  std::ranges::stable_sort(ranked, {}, &Ranked::rank);
  std::vector<Variant> out;
  for (Ranked& each : ranked) out.push_back(std::move(each.variant));
  return out;
}

}  // namespace rowmax::doctor
