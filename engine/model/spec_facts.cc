#include "engine/model/spec_facts.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/model/fact_values.h"

namespace rowmax::engine {
namespace {

// ---- words

constexpr Words<NormKind, 2> kNormKinds{{{"rms", NormKind::kRms}, {"layer", NormKind::kLayer}}};
constexpr Words<NormPlace, 2> kNormPlaces{{{"input", NormPlace::kInput}, {"output", NormPlace::kOutput}}};
constexpr Words<FfnActivation, 8> kActivations{{{"silu", FfnActivation::kSilu},
                                                {"gelu_tanh", FfnActivation::kGeluTanh},
                                                {"gelu_erf", FfnActivation::kGeluErf},
                                                {"gelu_quick", FfnActivation::kGeluQuick},
                                                {"relu", FfnActivation::kRelu},
                                                {"relu_squared", FfnActivation::kReluSquared},
                                                {"sigmoid", FfnActivation::kSigmoid},
                                                {"none", FfnActivation::kIdentity}}};
constexpr Words<StateType, 3> kStates{{{"f32", StateType::kF32}, {"f16", StateType::kF16}, {"bf16", StateType::kBf16}}};
constexpr Words<ExpertGate, 2> kExpertGates{{{"softmax", ExpertGate::kSoftmax}, {"sigmoid", ExpertGate::kSigmoid}}};
constexpr Words<bool, 2> kSwitch{{{"yes", true}, {"no", false}}};
constexpr Words<bool, 2> kHeadOrders{{{"tiled", false}, {"grouped", true}}};
constexpr Words<bool, 2> kHeadMappings{{{"grouped", false}, {"interleaved", true}}};
constexpr Words<bool, 2> kQkNormPlaces{{{"before_rope", false}, {"after_rope", true}}};
constexpr Words<bool, 2> kGateOrders{{{"gate_up", false}, {"up_gate", true}}};
constexpr Words<bool, 2> kGateLayouts{{{"per_head", false}, {"flat", true}}};
constexpr Words<bool, 2> kKvOrders{{{"k_v", false}, {"v_k", true}}};
constexpr Words<std::array<std::uint8_t, 3>, 6> kConvOrders{{{"q_k_v", {0, 1, 2}},
                                                             {"v_q_k", {2, 0, 1}},
                                                             {"k_v_q", {1, 2, 0}},
                                                             {"k_q_v", {1, 0, 2}},
                                                             {"q_v_k", {0, 2, 1}},
                                                             {"v_k_q", {2, 1, 0}}}};
constexpr Words<bool, 2> kConvActivations{{{"silu", true}, {"none", false}}};
constexpr Words<std::uint8_t, 3> kGateRuns{{{"b_c_x", 1}, {"c_b_x", 0}, {"b_x_c", 2}}};
constexpr Words<bool, 2> kDeltaGates{{{"silu", false}, {"sigmoid", true}}};

// ---- which layers

bool any(const LayerSpec&) { return true; }
bool has_qkv(const LayerSpec& layer) { return layer.mixer == MixerKind::kAttention; }
bool is_delta_net(const LayerSpec& layer) { return layer.mixer == MixerKind::kDeltaNet; }
bool is_short_conv(const LayerSpec& layer) { return layer.mixer == MixerKind::kShortConv; }
bool has_experts(const LayerSpec& layer) { return layer.ffn.kind == FfnKind::kExperts; }
bool has_shared_expert(const LayerSpec& layer) { return has_experts(layer) && layer.ffn.n_shared > 0; }
bool is_gated(const LayerSpec& layer) { return attends(layer) && layer.attention.output_gate; }
bool shares_kv_heads(const LayerSpec& layer) {
  return attends(layer) && layer.attention.n_kv_head > 1 && layer.attention.n_head > layer.attention.n_kv_head;
}
bool has_kv_heads(const LayerSpec& layer) {
  return attends(layer) && layer.attention.n_kv_head > 1 && layer.attention.has_kv();
}
bool norms_and_turns(const LayerSpec& layer) {
  return attends(layer) && layer.attention.qk_norm != QkNorm::kNone && layer.attention.rope >= 0;
}
bool has_v(const LayerSpec& layer) { return has_qkv(layer) && layer.attention.has_kv(); }
bool has_k_and_v(const LayerSpec& layer) { return has_v(layer) && !layer.attention.v_is_k; }

// ---- facts of the model

template <auto kField, Low kLow>
constexpr SpecFact model_number(std::string_view name, std::string_view values) {
  return {{name, values, EditScope::kSession},
          [](const ModelSpec& spec) { return Values{text_of(spec.*kField)}; },
          [](ModelSpec& spec, const std::string& text) {
            float value = 0;
            if (!parse_from(text, kLow, value)) return false;
            spec.*kField = value;
            return true;
          }};
}
template <const auto& kWords, auto kField>
constexpr SpecFact model_words(std::string_view name, std::string_view values) {
  return {{name, values, EditScope::kSession},
          [](const ModelSpec& spec) { return Values{kWords.name(spec.*kField)}; },
          [](ModelSpec& spec, const std::string& text) {
            const auto* value = kWords.find(text);
            if (value != nullptr) spec.*kField = *value;
            return value != nullptr;
          }};
}

// ---- facts of layers that have them: a field of a part of their spec

template <LayerTest kHas, auto kPart, auto kField, Low kLow = Low::kAboveZero>
constexpr SpecFact layer_number(std::string_view name, std::string_view values) {
  return {{name, values, EditScope::kSession},
          [](const ModelSpec& spec) {
            return of_layers(spec, kHas, [](const LayerSpec& layer) { return text_of(layer.*kPart.*kField); });
          },
          [](ModelSpec& spec, const std::string& text) {
            float value = 0;
            if (!parse_from(text, kLow, value)) return false;
            return in_layers(spec, kHas, [&](LayerSpec& layer) { layer.*kPart.*kField = value; });
          }};
}
template <const auto& kWords, LayerTest kHas, auto kPart, auto kField>
constexpr SpecFact layer_words(std::string_view name, std::string_view values) {
  return {{name, values, EditScope::kSession},
          [](const ModelSpec& spec) {
            return of_layers(spec, kHas, [](const LayerSpec& layer) { return kWords.name(layer.*kPart.*kField); });
          },
          [](ModelSpec& spec, const std::string& text) {
            const auto* value = kWords.find(text);
            if (value == nullptr) return false;
            return in_layers(spec, kHas, [&](LayerSpec& layer) { layer.*kPart.*kField = *value; });
          }};
}
// What can be left out, where it is there.
template <LayerTest kHas, auto kIsOn, auto kLeaveOut>
constexpr SpecFact switch_off(std::string_view name) {
  return {{name, "no", EditScope::kSession},
          [](const ModelSpec& spec) {
            return of_layers(spec, kHas, [](const LayerSpec& layer) { return kSwitch.name(kIsOn(layer)); });
          },
          [](ModelSpec& spec, const std::string& text) { return text == "no" && in_layers(spec, kHas, kLeaveOut); }};
}

constexpr auto kAttention = &LayerSpec::attention;
constexpr auto kDelta = &LayerSpec::delta;
constexpr auto kShortConv = &LayerSpec::short_conv;
constexpr auto kFfn = &LayerSpec::ffn;

bool gates_output(const LayerSpec& l) { return l.attention.output_gate && !l.attention.gate_unused; }
void leave_gate(LayerSpec& l) { l.attention.gate_unused = true; }
bool norms_qk(const LayerSpec& l) { return l.attention.qk_norm != QkNorm::kNone; }
void leave_qk_norm(LayerSpec& l) { l.attention.qk_norm = QkNorm::kNone; }
bool norms_sub(const LayerSpec& l) { return l.ffn.sub_norm; }
void leave_sub_norms(LayerSpec& l) { l.attention.sub_norm = l.ffn.sub_norm = false; }
bool norms_post(const LayerSpec& l) { return l.post_norms; }
void leave_post_norms(LayerSpec& l) { l.post_norms = false; }
bool norms_products(const LayerSpec& l) { return l.product_norms; }
void leave_product_norms(LayerSpec& l) { l.product_norms = false; }
bool adds_biases(const LayerSpec& l) { return l.attention.biases; }
void leave_biases(LayerSpec& l) { l.attention.biases = false; }
bool adds_expert_biases(const LayerSpec& l) { return l.ffn.biases; }
void leave_expert_biases(LayerSpec& l) { l.ffn.biases = false; }
bool norms_v(const LayerSpec& l) { return l.attention.v_norm; }
void leave_v_norm(LayerSpec& l) { l.attention.v_norm = false; }
bool has_layer_embedding(const LayerSpec& l) { return l.n_layer_embd > 0; }
void leave_layer_embedding(LayerSpec& l) { l.n_layer_embd = 0; }
bool scales_output(const LayerSpec& l) { return l.output_scale; }
void leave_output_scale(LayerSpec& l) { l.output_scale = false; }
bool has_sinks(const LayerSpec& l) { return l.attention.sinks; }
void leave_sinks(LayerSpec& l) { l.attention.sinks = false; }
bool has_choice_bias(const LayerSpec& l) { return l.ffn.choice_bias; }
void leave_choice_bias(LayerSpec& l) { l.ffn.choice_bias = false; }
void leave_shared_expert(LayerSpec& l) { l.ffn.n_shared = 0; }
bool gates_shared_expert(const LayerSpec& l) { return l.ffn.shared_gate; }
void leave_shared_gate(LayerSpec& l) { l.ffn.shared_gate = false; }
bool multiplies_experts(const LayerSpec& l) { return l.ffn.expert_factors; }
void leave_expert_factors(LayerSpec& l) { l.ffn.expert_factors = false; }
bool norms_router(const LayerSpec& l) { return l.ffn.router_norm; }
void leave_router_norm(LayerSpec& l) { l.ffn.router_norm = false; }
bool norms_branches(const LayerSpec& l) { return l.ffn.branch_norms; }
void leave_branch_norms(LayerSpec& l) { l.ffn.branch_norms = false; }

// ---- layers by their numbers

// Each at most once.
std::optional<std::vector<std::size_t>> parse_layers(const ModelSpec& spec, const std::string& text) {
  std::vector<std::size_t> layers;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    std::int64_t layer = 0;
    const auto most = static_cast<double>(spec.layers.size()) - 1;
    if (!parse_count(text.substr(at, end - at), 0, most, layer)) return std::nullopt;
    if (std::ranges::find(layers, static_cast<std::size_t>(layer)) != layers.end()) return std::nullopt;
    layers.push_back(static_cast<std::size_t>(layer));
    at = end + 1;
  }
  return layers;
}
template <class Layers>
std::string list_of(const Layers& layers) {
  std::string text;
  for (const std::size_t layer : layers) text += (text.empty() ? "" : ",") + std::to_string(layer);
  return text;
}

// What lists of layers may hold, and one of them.
std::string values_of_layers(const ModelSpec& spec) {
  const std::string last = std::to_string(spec.layers.size() - 1);
  return "none, or layers from 0 to " + last + ", with commas: " + (spec.layers.size() > 1 ? "0," + last : last);
}

template <auto kField>
constexpr SpecFact layer_list(std::string_view name, std::string_view values) {
  return {{name, values, EditScope::kSession},
          [](const ModelSpec& spec) {
            std::vector<std::size_t> layers;
            for (std::size_t i = 0; i < spec.layers.size(); ++i) {
              if (spec.layers[i].*kField) layers.push_back(i);
            }
            return Values{layers.empty() ? "none" : list_of(layers)};
          },
          [](ModelSpec& spec, const std::string& text) {
            const auto layers = text == "none" ? std::vector<std::size_t>() : parse_layers(spec, text);
            if (!layers) return false;
            for (LayerSpec& layer : spec.layers) layer.*kField = false;
            for (const std::size_t layer : *layers) spec.layers[layer].*kField = true;
            return true;
          },
          values_of_layers};
}

Values get_temperature(const ModelSpec& spec) {
  return of_layers(spec, attends, [](const LayerSpec& layer) {
    return text_of(static_cast<float>(layer.attention.temperature.scale));
  });
}
bool set_temperature(ModelSpec& spec, const std::string& text) {
  float value = 0;
  if (!parse_from(text, Low::kZero, value)) return false;
  return in_layers(spec, attends,
                   [&](LayerSpec& layer) { layer.attention.temperature.scale = static_cast<double>(value); });
}

// Those that attend and turn neither q nor k (NoPE). One that turns again does so by the first RoPE.
Values get_nope_layers(const ModelSpec& spec) {
  std::vector<std::size_t> layers;
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    if (attends(spec.layers[i]) && spec.layers[i].attention.rope < 0) layers.push_back(i);
  }
  if (!layers.empty()) return {list_of(layers)};
  return std::ranges::any_of(spec.layers, attends) ? Values{"none"} : Values{};
}
std::string values_of_nope_layers(const ModelSpec& spec) {
  std::vector<std::size_t> can;
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    if (attends(spec.layers[i])) can.push_back(i);
  }
  return "none, or layers that attend, with commas: " + list_of(can);
}
bool set_nope_layers(ModelSpec& spec, const std::string& text) {
  const auto layers = text == "none" ? std::vector<std::size_t>() : parse_layers(spec, text);
  if (!layers) return false;
  for (const std::size_t layer : *layers) {
    if (!attends(spec.layers[layer])) return false;
  }
  in_layers(spec, attends, [](LayerSpec& layer) { layer.attention.rope = std::max(layer.attention.rope, 0); });
  for (const std::size_t layer : *layers) spec.layers[layer].attention.rope = -1;
  return true;
}

Values get_norm_place(const ModelSpec& spec) {
  const bool any = std::ranges::any_of(spec.layers, &LayerSpec::input_norms);
  return any ? Values{kNormPlaces.name(spec.norm_place)} : Values{};
}
bool set_norm_place(ModelSpec& spec, const std::string& text) {
  const NormPlace* value = kNormPlaces.find(text);
  if (value != nullptr) spec.norm_place = *value;
  return value != nullptr;
}

Values get_layer_order(const ModelSpec& spec) {
  return {spec.layer_order.empty() ? "ascending" : list_of(spec.layer_order)};
}
std::string values_of_layer_order(const ModelSpec& spec) {
  std::vector<std::size_t> all(spec.layers.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
  return "ascending, or all layers in the order in which they run: " + list_of(all);
}
bool set_layer_order(ModelSpec& spec, const std::string& text) {
  if (text == "ascending") {
    spec.layer_order.clear();
    return true;
  }
  auto order = parse_layers(spec, text);
  if (!order || order->size() != spec.layers.size()) return false;
  const auto place = [&](std::size_t layer) { return std::ranges::find(*order, layer); };
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const AttentionSpec& a = spec.layers[i].attention;
    if (attends(spec.layers[i]) && !a.has_kv() && place(static_cast<std::size_t>(a.kv_layer)) > place(i)) return false;
  }
  spec.layer_order = std::ranges::is_sorted(*order) ? std::vector<std::size_t>() : std::move(*order);
  return true;
}

// ---- counts

Values get_window(const ModelSpec& spec) {
  return of_layers(spec, attends, [](const LayerSpec& layer) { return text_of(layer.attention.window); });
}
bool set_window(ModelSpec& spec, const std::string& text) {
  std::int64_t value = 0;
  if (!parse_count(text, 0, 2147483648.0, value)) return false;
  return in_layers(spec, attends, [&](LayerSpec& layer) { layer.attention.window = value; });
}

// Of all layers with experts: the fewest that can be chosen there, of the groups that are.
std::int64_t least_choosable(const ModelSpec& spec) {
  return least_of(spec, has_experts, [](const LayerSpec& layer) {
    return layer.ffn.n_expert / layer.ffn.n_group * layer.ffn.n_group_used;
  });
}
std::string values_of_used(const ModelSpec& spec) {
  const bool groups = std::ranges::any_of(
      spec.layers, [](const LayerSpec& layer) { return layer.ffn.n_group_used < layer.ffn.n_group; });
  return "a number from 1 to " + std::to_string(least_choosable(spec)) +
         (groups ? ", in the groups that are used" : "");
}
Values get_used(const ModelSpec& spec) {
  return of_layers(spec, has_experts, [](const LayerSpec& layer) { return text_of(layer.ffn.n_used); });
}
bool set_used(ModelSpec& spec, const std::string& text) {
  std::int64_t value = 0;
  if (!parse_count(text, 1, static_cast<double>(least_choosable(spec)), value)) return false;
  return in_layers(spec, has_experts, [&](LayerSpec& layer) { layer.ffn.n_used = value; });
}

std::int64_t least_kv_heads(const ModelSpec& spec) {
  return least_of(spec, has_kv_heads, [](const LayerSpec& layer) { return layer.attention.n_kv_head; });
}
std::string values_of_kv_heads(const ModelSpec& spec) {
  return "reversed, or a number n from 0 to " + std::to_string(least_kv_heads(spec) - 1) +
         ": K/V head h is that of the products' h + n";
}
Values get_kv_heads(const ModelSpec& spec) {
  return of_layers(spec, has_kv_heads, [](const LayerSpec& layer) {
    return layer.attention.kv_reversed ? std::string("reversed") : text_of(layer.attention.kv_shift);
  });
}
bool set_kv_heads(ModelSpec& spec, const std::string& text) {
  const bool reversed = text == "reversed";
  std::int64_t shift = 0;
  if (!reversed && !parse_count(text, 0, static_cast<double>(least_kv_heads(spec) - 1), shift)) return false;
  return in_layers(spec, has_kv_heads, [&](LayerSpec& layer) {
    layer.attention.kv_shift = shift;
    layer.attention.kv_reversed = reversed;
  });
}

// Of the same products. What has one number for a head, or for each number of one, says their size itself.
bool has_free_heads(const LayerSpec& layer) {
  return has_qkv(layer) && layer.attention.qk_norm != QkNorm::kHead && !layer.attention.sinks;
}
Values get_head_count(const ModelSpec& spec) {
  const bool all =
      std::ranges::all_of(spec.layers, [](const LayerSpec& layer) { return !attends(layer) || has_free_heads(layer); });
  return all ? of_layers(spec, attends, [](const LayerSpec& layer) { return text_of(layer.attention.n_head); })
             : Values{};
}
bool set_head_count(ModelSpec& whole, const std::string& text) {
  ModelSpec spec = whole;  // is left as it was where something does not fit
  std::int64_t n = 0, size = 0, was = 0;
  if (!parse_count(text, 1, 65536, n)) return false;
  for (LayerSpec& layer : spec.layers) {
    if (!attends(layer)) continue;
    AttentionSpec& a = layer.attention;
    was = a.head_dim;
    size = a.q_width() / n;
    if (size < 2 || size > 576 || size % 2 != 0 || n * size != a.q_width() || a.kv_width() % size != 0) return false;
    const std::int64_t n_kv = a.kv_width() / size;
    if (n % n_kv != 0 || a.kv_shift >= n_kv) return false;
    const bool usual = std::abs(static_cast<double>(a.scale) * std::sqrt(static_cast<double>(was)) - 1) < 1e-3;
    if (usual) a.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(size)));
    a.n_head = n;
    a.n_kv_head = n_kv;
    a.head_dim = size;
    spec.shape.n_head = n;
    spec.shape.n_kv_head = n_kv;
    spec.shape.head_dim = size;
  }
  for (RopeSpec& rope : spec.ropes) {
    if (rope.n_rot == was) rope.n_rot = size;
  }
  whole = std::move(spec);
  return true;
}

std::int64_t least_experts(const ModelSpec& spec) {
  return least_of(spec, has_experts, [](const LayerSpec& layer) { return layer.ffn.n_expert; });
}
std::string values_of_expert_shift(const ModelSpec& spec) {
  return "a number n from 0 to " + std::to_string(least_experts(spec) - 1) +
         ": the router's expert e is the tensors' e + n";
}
Values get_expert_shift(const ModelSpec& spec) {
  return of_layers(spec, has_experts, [](const LayerSpec& layer) { return text_of(layer.ffn.expert_shift); });
}
bool set_expert_shift(ModelSpec& spec, const std::string& text) {
  std::int64_t value = 0;
  if (!parse_count(text, 0, static_cast<double>(least_experts(spec) - 1), value)) return false;
  return in_layers(spec, has_experts, [&](LayerSpec& layer) { layer.ffn.expert_shift = value; });
}

// Those that the products can be cut into.
std::string values_of_head_count(const ModelSpec& spec) {
  std::vector<std::string> fitting;
  const std::int64_t width = least_of(spec, attends, [](const LayerSpec& layer) { return layer.attention.q_width(); });
  for (std::int64_t n = 1; n <= width / 2; ++n) {
    ModelSpec cut = width % n == 0 ? spec : ModelSpec();
    const bool fits = !cut.layers.empty() && set_head_count(cut, std::to_string(n)) && check_turns(cut).ok();
    if (fits) fitting.push_back(std::to_string(n));
  }
  std::string text;
  for (std::size_t i = 0; i < fitting.size(); ++i) {
    text += (i == 0 ? "" : i + 1 == fitting.size() ? " or " : ", ") + fitting[i];
  }
  return text + " heads, which the products can be cut into, K/V heads as wide";
}

// ---- the table

constexpr EditScope kSession = EditScope::kSession;
constexpr std::string_view kPositive = "a number above 0", kOrNone = "a number above 0, or 0 for none";

constexpr SpecFact kFactsBeforeRope[] = {
    model_words<kNormKinds, &ModelSpec::norm_kind>("norm_kind", "rms or layer (its mean removed, no bias)"),
    {{"norm_place", "input or output (of the mixer and of the FFN)", kSession}, get_norm_place, set_norm_place},
    model_number<&ModelSpec::rms_norm_eps, Low::kAboveZero>("rms_norm_eps", kPositive),
    model_number<&ModelSpec::embedding_scale, Low::kAboveZero>("embedding_scale", kPositive),
    model_number<&ModelSpec::residual_scale, Low::kAboveZero>("residual_scale", kPositive),
    model_number<&ModelSpec::logit_scale, Low::kAboveZero>("logit_scale", kPositive),
    {{"head_count", "a number of heads that the products can be cut into, K/V heads as wide", kSession},
     get_head_count,
     set_head_count,
     values_of_head_count},
    layer_number<attends, kAttention, &AttentionSpec::scale>("attention_scale", kPositive),
    {{"attention_temperature",
      "a number t, or 0 for none: q counts 1 + t ln(1 + n), n how many times the original context fits before it",
      kSession},
     get_temperature,
     set_temperature},
    model_number<&ModelSpec::attention_softcap, Low::kZero>("attention_softcap", kOrNone),
    model_number<&ModelSpec::final_softcap, Low::kZero>("final_softcap", kOrNone),
};
constexpr SpecFact kFactsBehindRope[] = {
    {{"nope_layers", "none, or layers that turn neither q nor k: 3,7", kSession},
     get_nope_layers,
     set_nope_layers,
     values_of_nope_layers},
    {{"sliding_window", "a number of tokens, or 0 for none", kSession}, get_window, set_window},
    layer_words<kHeadMappings, shares_kv_heads, kAttention, &AttentionSpec::heads_interleaved>(
        "head_mapping", "grouped (head h reads K/V head h / (heads / K/V heads)) or interleaved (h mod K/V heads)"),
    {{"kv_heads", "a number n: K/V head h is that of the products' h + n; or reversed", kSession},
     get_kv_heads,
     set_kv_heads,
     values_of_kv_heads},
    layer_words<kKvOrders, has_k_and_v, kAttention, &AttentionSpec::kv_exchanged>(
        "kv_order", "k_v or v_k (the products for k and v exchanged)"),
    switch_off<has_qkv, adds_biases, leave_biases>("biases"),
    switch_off<has_qkv, has_sinks, leave_sinks>("sinks"),
    switch_off<has_qkv, gates_output, leave_gate>("attention_output_gate"),
    layer_words<kGateLayouts, is_gated, kAttention, &AttentionSpec::gate_flat>(
        "attention_gate_layout", "per_head or flat (all of q, then all gates)"),
    switch_off<has_qkv, norms_qk, leave_qk_norm>("qk_norm"),
    layer_words<kQkNormPlaces, norms_and_turns, kAttention, &AttentionSpec::norm_after_rope>(
        "qk_norm_place", "before_rope or after_rope"),
    switch_off<has_v, norms_v, leave_v_norm>("v_norm"),
    switch_off<any, norms_sub, leave_sub_norms>("sub_norms"),
    switch_off<any, norms_post, leave_post_norms>("post_norms"),
    switch_off<any, norms_products, leave_product_norms>("product_norms"),
    layer_words<kActivations, any, kFfn, &FfnSpec::activation>(
        "ffn_activation", "silu, gelu_tanh, gelu_erf, gelu_quick, relu, relu_squared, sigmoid or none"),
    layer_number<any, kFfn, &FfnSpec::gate_limit, Low::kZero>("ffn_limit", kOrNone),
    layer_number<any, kFfn, &FfnSpec::up_offset, Low::kAny>("ffn_up_offset", "a number, which is added to up"),
    layer_words<kGateOrders, any, kFfn, &FfnSpec::up_gates>("gate_order",
                                                            "gate_up (act(gate) * up) or up_gate (act(up) * gate)"),
    layer_words<kHeadOrders, is_delta_net, kDelta, &DeltaNetSpec::grouped>("delta_head_order", "tiled or grouped"),
    layer_words<kConvActivations, is_delta_net, kDelta, &DeltaNetSpec::conv_silu>("delta_conv_activation",
                                                                                  "silu or none"),
    layer_words<kConvOrders, is_delta_net, kDelta, &DeltaNetSpec::conv_order>(
        "conv_channels", "q_k_v, v_q_k, k_v_q, k_q_v, q_v_k or v_k_q: the convolution's weights, as they are stored"),
    layer_words<kDeltaGates, is_delta_net, kDelta, &DeltaNetSpec::gate_sigmoid>("delta_gate_activation",
                                                                                "silu or sigmoid"),
    layer_words<kStates, is_delta_net, kDelta, &DeltaNetSpec::state>(
        "state_type", "f32, f16 or bf16: what delta nets' states are rounded to behind each token"),
    layer_words<kGateRuns, is_short_conv, kShortConv, &ShortConvSpec::gate_run>(
        "short_conv_runs", "b_c_x, c_b_x or b_x_c: which third of a short convolution's product is c, behind the taps"),
    {{"expert_used_count", "a number of experts, at most those of the groups that are used", kSession},
     get_used,
     set_used,
     values_of_used},
    layer_words<kSwitch, has_experts, kFfn, &FfnSpec::renormalise>("expert_renormalise", "yes or no"),
    switch_off<has_experts, adds_expert_biases, leave_expert_biases>("expert_biases"),
    switch_off<has_experts, has_choice_bias, leave_choice_bias>("expert_choice_bias"),
    layer_words<kExpertGates, has_experts, kFfn, &FfnSpec::expert_gate>("expert_gate", "softmax or sigmoid"),
    layer_number<has_experts, kFfn, &FfnSpec::expert_scale>("expert_scale", kPositive),
    {{"expert_shift", "a number n: the router's expert e is the tensors' e + n", kSession},
     get_expert_shift,
     set_expert_shift,
     values_of_expert_shift},
    switch_off<has_experts, has_shared_expert, leave_shared_expert>("shared_expert"),
    switch_off<has_shared_expert, gates_shared_expert, leave_shared_gate>("shared_expert_gate"),
    switch_off<has_experts, multiplies_experts, leave_expert_factors>("expert_factors"),
    switch_off<has_experts, norms_router, leave_router_norm>("router_norm"),
    switch_off<has_experts, norms_branches, leave_branch_norms>("branch_norms"),
    switch_off<any, has_layer_embedding, leave_layer_embedding>("layer_embeddings"),
    switch_off<any, scales_output, leave_output_scale>("layer_output_scale"),
    layer_list<&LayerSpec::skip_mixer>("skip_mixer", "none, or layers whose mixer adds nothing: 0,3"),
    layer_list<&LayerSpec::skip_ffn>("skip_ffn", "none, or layers whose FFN adds nothing: 0,3"),
    {{"layer_order", "ascending, or all layers in the order in which they run: 0,2,1", kSession},
     get_layer_order,
     set_layer_order,
     values_of_layer_order},
};

}  // namespace

std::span<const SpecFact> spec_facts() noexcept {
  static const std::vector<SpecFact> table = [] {
    std::vector<SpecFact> all(std::begin(kFactsBeforeRope), std::end(kFactsBeforeRope));
    all.insert(all.end(), rope_facts().begin(), rope_facts().end());
    all.insert(all.end(), std::begin(kFactsBehindRope), std::end(kFactsBehindRope));
    return all;
  }();
  return table;
}

}  // namespace rowmax::engine
