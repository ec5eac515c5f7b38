#include "engine/model/spec_edits.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <iterator>
#include <set>

#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

// The shortest text that gives the number again.
template <class Number>
std::string text_of(Number value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return {text, end};
}

bool parse(const std::string& text, double& value) {
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  return result.ec == std::errc() && result.ptr == text.data() + text.size() && std::isfinite(value);
}

// As f32, which it is computed with.
bool parse_single(const std::string& text, float& single) {
  double value = 0;
  if (!parse(text, value)) return false;
  single = static_cast<float>(value);
  return std::isfinite(single) && (value == 0 || single != 0);
}

// A fact of the model or of a layer: as numbers, or as one of some words. set() says false to a value that is none.
struct Fact {
  EditInfo info;
  std::set<std::string> (*get)(const ModelSpec& spec);
  bool (*set)(ModelSpec& spec, const std::string& value);
};

template <auto Field, int kLow, bool kOpen = false>
constexpr auto set_number = [](ModelSpec& spec, const std::string& text) {
  float value = 0;
  if (!parse_single(text, value) || value < kLow || (kOpen && value == kLow)) return false;
  spec.*Field = value;
  return true;
};
template <auto Field>
constexpr auto get_number = [](const ModelSpec& spec) { return std::set{text_of(spec.*Field)}; };

// Those of RoPE: every one of the model's.
template <auto Field>
constexpr auto get_rope = [](const ModelSpec& spec) {
  std::set<std::string> out;
  for (const RopeSpec& rope : spec.ropes) out.insert(text_of(rope.*Field));
  return out;
};
template <auto Field>
constexpr auto set_rope = [](ModelSpec& spec, const std::string& text) {
  double value = 0;
  if (!parse(text, value) || value <= 0) return false;
  for (RopeSpec& rope : spec.ropes) rope.*Field = value;
  return true;
};

template <class Enum, std::size_t kN>
struct Words {
  std::pair<const char*, Enum> words[kN];
  std::string name(Enum value) const {
    for (const auto& [word, meaning] : words) {
      if (meaning == value) return word;
    }
    return "?";
  }
  const Enum* find(const std::string& text) const {
    for (const auto& [word, meaning] : words) {
      if (text == word) return &meaning;
    }
    return nullptr;
  }
};
constexpr Words<RopePairing, 2> kPairings{{{"halves", RopePairing::kHalves}, {"adjacent", RopePairing::kAdjacent}}};
constexpr Words<FfnActivation, 3> kActivations{{{"silu", FfnActivation::kSilu},
                                                {"gelu_tanh", FfnActivation::kGeluTanh},
                                                {"relu_squared", FfnActivation::kReluSquared}}};
constexpr Words<bool, 2> kSwitch{{{"yes", true}, {"no", false}}};
constexpr Words<bool, 2> kHeadOrder{{{"tiled", false}, {"grouped", true}}};

template <class Get>
std::set<std::string> of_layers(const ModelSpec& spec, Get get) {
  std::set<std::string> out;
  for (const LayerSpec& layer : spec.layers) {
    if (std::string text = get(layer); !text.empty()) out.insert(std::move(text));
  }
  return out;
}
bool attends(const LayerSpec& layer) { return layer.mixer == MixerKind::kAttention; }

constexpr EditScope kSession = EditScope::kSession;

const Fact kFacts[] = {
    {{"rms_norm_eps", "a number above 0", kSession},
     get_number<&ModelSpec::rms_norm_eps>,
     set_number<&ModelSpec::rms_norm_eps, 0, true>},
    {{"embedding_scale", "a number above 0", kSession},
     get_number<&ModelSpec::embedding_scale>,
     set_number<&ModelSpec::embedding_scale, 0, true>},
    {{"attention_scale", "a number above 0", kSession},
     [](const ModelSpec& spec) {
       return of_layers(spec, [](const LayerSpec& layer) {
         return attends(layer) ? text_of(layer.attention.scale) : std::string();
       });
     },
     [](ModelSpec& spec, const std::string& text) {
       float value = 0;
       if (!parse_single(text, value) || value <= 0) return false;
       spec.for_layers([&](LayerSpec& layer) { layer.attention.scale = value; });
       return true;
     }},
    {{"attention_softcap", "a number above 0, or 0 for none", kSession},
     get_number<&ModelSpec::attention_softcap>,
     set_number<&ModelSpec::attention_softcap, 0>},
    {{"final_softcap", "a number above 0, or 0 for none", kSession},
     get_number<&ModelSpec::final_softcap>,
     set_number<&ModelSpec::final_softcap, 0>},
    {{"rope_pairing", "halves or adjacent", kSession},
     [](const ModelSpec& spec) {
       std::set<std::string> out;
       for (const RopeSpec& rope : spec.ropes) out.insert(kPairings.name(rope.pairing));
       return out;
     },
     [](ModelSpec& spec, const std::string& text) {
       const RopePairing* value = kPairings.find(text);
       if (value == nullptr) return false;
       for (RopeSpec& rope : spec.ropes) rope.pairing = *value;
       return true;
     }},
    {{"rope_base", "a number above 0", kSession}, get_rope<&RopeSpec::base>, set_rope<&RopeSpec::base>},
    {{"rope_scale", "a number above 0, which positions are multiplied by", kSession},
     get_rope<&RopeSpec::scale>,
     set_rope<&RopeSpec::scale>},
    {{"rope_dimensions", "an even number, at most the size of a head", kSession},
     get_rope<&RopeSpec::n_rot>,
     [](ModelSpec& spec, const std::string& text) {
       double value = 0;
       if (!parse(text, value) || value < 2 || value != std::floor(value) || std::fmod(value, 2) != 0) return false;
       for (const LayerSpec& layer : spec.layers) {
         if (attends(layer) && value > static_cast<double>(layer.attention.head_dim)) return false;
       }
       for (RopeSpec& rope : spec.ropes) {
         if (!rope.divisors.empty() && value != static_cast<double>(rope.n_rot)) return false;
         rope.n_rot = static_cast<std::int64_t>(value);
       }
       return true;
     }},
    {{"sliding_window", "tokens, 0 for none", kSession},
     [](const ModelSpec& spec) {
       return of_layers(spec, [](const LayerSpec& layer) {
         return attends(layer) ? std::to_string(layer.attention.window) : std::string();
       });
     },
     [](ModelSpec& spec, const std::string& text) {
       double value = 0;
       if (!parse(text, value) || value < 0 || value != std::floor(value) || value > 2147483648.0) return false;
       spec.for_layers([&](LayerSpec& layer) { layer.attention.window = static_cast<std::int64_t>(value); });
       return true;
     }},
    {{"attention_output_gate", "no", kSession},
     [](const ModelSpec& spec) {
       return of_layers(spec, [](const LayerSpec& layer) {
         return attends(layer) ? kSwitch.name(layer.attention.output_gate && !layer.attention.gate_unused)
                               : std::string();
       });
     },
     [](ModelSpec& spec, const std::string& text) {
       if (text != "no") return false;
       spec.for_layers([](LayerSpec& layer) { layer.attention.gate_unused = true; });
       return true;
     }},
    {{"qk_norm", "no", kSession},
     [](const ModelSpec& spec) {
       return of_layers(spec, [](const LayerSpec& layer) {
         return attends(layer) ? kSwitch.name(layer.attention.qk_norm != QkNorm::kNone) : std::string();
       });
     },
     [](ModelSpec& spec, const std::string& text) {
       if (text != "no") return false;
       spec.for_layers([](LayerSpec& layer) { layer.attention.qk_norm = QkNorm::kNone; });
       return true;
     }},
    {{"sub_norms", "no", kSession},
     [](const ModelSpec& spec) {
       return of_layers(spec, [](const LayerSpec& layer) { return kSwitch.name(layer.ffn.sub_norm); });
     },
     [](ModelSpec& spec, const std::string& text) {
       if (text != "no") return false;
       spec.for_layers([](LayerSpec& layer) { layer.attention.sub_norm = layer.ffn.sub_norm = false; });
       return true;
     }},
    {{"ffn_activation", "silu, gelu_tanh or relu_squared", kSession},
     [](const ModelSpec& spec) {
       return of_layers(spec, [](const LayerSpec& layer) { return kActivations.name(layer.ffn.activation); });
     },
     [](ModelSpec& spec, const std::string& text) {
       const FfnActivation* value = kActivations.find(text);
       if (value != nullptr) spec.for_layers([&](LayerSpec& layer) { layer.ffn.activation = *value; });
       return value != nullptr;
     }},
    {{"delta_head_order", "tiled or grouped", kSession},
     [](const ModelSpec& spec) {
       return of_layers(spec, [](const LayerSpec& layer) {
         return attends(layer) ? std::string() : kHeadOrder.name(layer.delta.grouped);
       });
     },
     [](ModelSpec& spec, const std::string& text) {
       const bool* value = kHeadOrder.find(text);
       if (value != nullptr) spec.for_layers([&](LayerSpec& layer) { layer.delta.grouped = *value; });
       return value != nullptr;
     }},
    {{"expert_used_count", "a number of experts, at most all", kSession},
     [](const ModelSpec& spec) {
       return of_layers(spec, [](const LayerSpec& layer) {
         return layer.ffn.kind == FfnKind::kExperts ? std::to_string(layer.ffn.n_used) : std::string();
       });
     },
     [](ModelSpec& spec, const std::string& text) {
       double value = 0;
       if (!parse(text, value) || value < 1 || value != std::floor(value)) return false;
       for (LayerSpec& layer : spec.layers) {
         if (layer.ffn.kind != FfnKind::kExperts) continue;
         const std::int64_t most = layer.ffn.n_expert / layer.ffn.n_group * layer.ffn.n_group_used;
         if (value > static_cast<double>(most)) return false;
         layer.ffn.n_used = static_cast<std::int64_t>(value);
       }
       return true;
     }},
    {{"expert_renormalise", "yes or no", kSession},
     [](const ModelSpec& spec) {
       return of_layers(spec, [](const LayerSpec& layer) {
         return layer.ffn.kind == FfnKind::kExperts ? kSwitch.name(layer.ffn.renormalise) : std::string();
       });
     },
     [](ModelSpec& spec, const std::string& text) {
       const bool* value = kSwitch.find(text);
       if (value != nullptr) spec.for_layers([&](LayerSpec& layer) { layer.ffn.renormalise = *value; });
       return value != nullptr;
     }},
};

// Of the file and the tokenizer (engine/runtime/edits.cc).
constexpr EditInfo kOutside[] = {
    {"tensor_layout", "a layout that a type id of the file may stand for", EditScope::kTensor},
    {"pre_tokenizer", "the name of a pre-tokenizer", EditScope::kTokens},
    {"add_bos", "true or false", EditScope::kTokens},
};

Result<const Fact*> fact_named(std::string_view name) {
  const auto* found = std::ranges::find(kFacts, name, [](const Fact& fact) { return fact.info.name; });
  if (found != std::end(kFacts)) return found;
  ROWMAX_RETURN_IF_ERROR(find_edit(name));
  return Error{ErrorCode::kInvalidArgument,
               "convention '" + std::string(name) + "' is no session's: it belongs to the model (Model::with_edits)"};
}

}  // namespace

const char* edit_scope_name(EditScope scope) noexcept {
  return scope == EditScope::kSession ? "session" : scope == EditScope::kTensor ? "tensor" : "tokens";
}

std::span<const EditInfo> edit_table() noexcept {
  static const std::vector<EditInfo> table = [] {
    std::vector<EditInfo> out;
    for (const Fact& fact : kFacts) out.push_back(fact.info);
    for (const EditInfo& info : source_edit_table()) out.push_back(info);
    for (const EditInfo& info : kOutside) out.push_back(info);
    return out;
  }();
  return table;
}

Result<const EditInfo*> find_edit(std::string_view name) {
  const std::span<const EditInfo> table = edit_table();
  const auto found = std::ranges::find(table, name, &EditInfo::name);
  if (found != table.end()) return &*found;
  std::string known;
  for (const EditInfo& info : table) known += (known.empty() ? "" : ", ") + std::string(info.name);
  return Error{ErrorCode::kInvalidArgument,
               "convention: expected one of " + known + ", found '" + std::string(name) + "'"};
}

Error wrong_edit(std::string_view name, std::string_view expected, std::string_view found) {
  return {ErrorCode::kInvalidArgument, "convention '" + std::string(name) + "': expected " + std::string(expected) +
                                           ", found '" + std::string(found) + "'"};
}

Status apply_edit(ModelSpec& spec, std::string_view name, const std::string& value) {
  ROWMAX_TRY(fact, fact_named(name));
  if (fact->get(spec) == std::set{value}) return {};
  if (fact->get(spec).empty()) {
    return Error{ErrorCode::kInvalidArgument, "convention '" + std::string(name) + "': no layer of this model has it"};
  }
  return fact->set(spec, value) ? Status() : Status(wrong_edit(name, fact->info.values, value));
}

Result<std::string> edit_value(const ModelSpec& spec, std::string_view name) {
  ROWMAX_TRY(fact, fact_named(name));
  std::string text;
  for (const std::string& value : fact->get(spec)) text += (text.empty() ? "" : ",") + value;
  return text;
}

}  // namespace rowmax::engine
