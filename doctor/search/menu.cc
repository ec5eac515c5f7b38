#include "doctor/search/menu.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "doctor/numbers.h"

namespace rowmax::doctor {
namespace {

using engine::EditableFact;
using engine::Edits;

std::optional<double> number_of(std::string_view text) {
  double value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size()) return {};
  return value;
}

struct Context {
  const engine::ModelShape& shape;
  std::int64_t n_expert = 0;
  std::vector<std::string_view> expert_tensors;  // kinds that the file has
  std::optional<double> now;                     // the value in effect, where it is one number
};

using Values = std::vector<std::string>;

Values numbers(std::initializer_list<double> values) {
  Values out;
  for (const double value : values) out.push_back(single_text(value));
  return out;
}
// The value in effect times each factor.
Values around(const Context& context, std::initializer_list<double> factors) {
  Values out;
  for (const double factor : factors) {
    if (context.now) out.push_back(single_text(*context.now * factor));
  }
  return out;
}
Values joined(Values a, const Values& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Of n experts: all shifts of a few; of many those nearby, in both directions.
Values shifts(std::int64_t n) {
  Values out;
  for (std::int64_t shift = 1; shift < n; ++shift) {
    if (shift <= 8 || n - shift <= 8) out.push_back(std::to_string(shift));
  }
  return out;
}
constexpr std::string_view kExpertTensors[] = {"ffn_gate_exps.weight", "ffn_up_exps.weight", "ffn_gate_up_exps.weight",
                                               "ffn_down_exps.weight"};
// All tensors against the router, and each against the others (all of them moved alike: expert_shift).
Values expert_orders(const Context& context) {
  std::string all;
  for (const std::string_view kind : context.expert_tensors) {
    all += (all.empty() ? "" : ",") + std::string(kind) + ":reversed";
  }
  Values out = {all};
  for (const std::string_view kind : context.expert_tensors) {
    for (const std::string& order : joined({"reversed", "pairs"}, shifts(context.n_expert))) {
      out.push_back(std::string(kind) + ":" + order);
    }
  }
  return out;
}

// 0, where it is something else.
Values left_out(const Context& context) { return context.now && *context.now != 0 ? Values{"0"} : Values{}; }

// In the order of how often such a thing was the cause, in reports of other engines.
struct MenuRow {
  std::string_view fact, cause;
  Values (*values)(const Context& context);
};
const MenuRow kMenu[] = {
    {"rope_pairing", "rope_pairing",
     [](const Context&) {
       return Values{"halves", "adjacent"};
     }},
    {"qk_permutation", "rope_pairing",
     [](const Context&) {
       return Values{"none", "llama"};
     }},
    {"tensor_layout", "ternary_layout", nullptr},  // all that the type may stand for
    {"ternary_bits", "ternary_layout",
     [](const Context&) {
       return Values{"high_first", "low_first"};
     }},
    {"biases", "missing_bias", [](const Context&) { return Values{"no"}; }},
    {"hadamard", "rotation", [](const Context&) { return Values{"no", "1024", "512", "256", "128", "64", "32"}; }},
    {"norm_weights", "norm_weight",
     [](const Context&) {
       return Values{"plain", "plus_one", "minus_one"};
     }},
    {"ffn_activation", "activation",
     [](const Context&) {
       return Values{"silu", "gelu_tanh", "gelu_erf", "relu_squared", "relu", "gelu_quick", "sigmoid"};
     }},
    {"ffn_limit", "activation", left_out},
    {"ffn_up_offset", "activation", left_out},
    {"v_norm", "qk_norm", [](const Context&) { return Values{"no"}; }},
    {"layer_embeddings", "residual_scale", [](const Context&) { return Values{"no"}; }},
    {"layer_output_scale", "residual_scale", [](const Context&) { return Values{"no"}; }},
    {"expert_biases", "missing_bias", [](const Context&) { return Values{"no"}; }},
    {"sub_norms", "sub_norm", [](const Context&) { return Values{"no"}; }},
    {"product_norms", "sub_norm", [](const Context&) { return Values{"no"}; }},
    {"qk_norm", "qk_norm", [](const Context&) { return Values{"no"}; }},
    {"qk_norm_place", "qk_norm",
     [](const Context&) {
       return Values{"before_rope", "after_rope"};
     }},
    {"attention_scale", "attention_scale",
     [](const Context& c) {
       const auto d = static_cast<double>(c.shape.head_dim);
       const auto per_head =
           static_cast<double>(c.shape.n_embd) / static_cast<double>(std::max<std::int64_t>(c.shape.n_head, 1));
       return joined(numbers({1 / std::sqrt(d), 1 / d, 1, 1 / std::sqrt(per_head), 1 / std::sqrt(256.0)}),
                     around(c, {0.0625, 0.125, 0.25, 0.5, 0.70710678, 1.41421356, 2, 4, 8, 16}));
     }},
    {"attention_temperature", "attention_scale",
     [](const Context& c) { return c.now && *c.now > 0 ? numbers({0}) : Values{}; }},
    {"rope_base", "rope_base",
     [](const Context&) {
       return numbers({1e4, 1e6, 5e5, 1e5, 1e7, 5e6, 1e3, 3e3, 3e4, 1e2, 1e8});
     }},
    {"rope_layers", "rope_base",
     [](const Context&) {
       return Values{"exchanged", "as_configured"};
     }},
    {"rope_scaling", "rope_scaling", [](const Context&) { return Values{"none"}; }},
    // 0.1 ln(factor) + 1 of factors from 1 to 16, and LongRoPE's of 4096 positions made 131072.
    {"rope_magnitude", "rope_scaling",
     [](const Context&) {
       return numbers({1, 1.0693147, 1.1386294, 1.2079442, 1.2772589, 1.1902381});
     }},
    {"yarn_ramp", "rope_scaling",
     [](const Context&) {
       return Values{"whole_pairs", "exact"};
     }},
    {"rope_scale", "rope_scaling",
     [](const Context&) {
       return numbers({1, 0.5, 0.25, 0.125, 2, 4, 8});
     }},
    {"rope_scale_global", "rope_scaling",
     [](const Context&) {
       return numbers({1, 0.5, 0.25, 0.125, 0.0625});
     }},
    // Llama 3.1 and 3.2; of other contexts two from which finer_variants reaches all.
    {"rope_factors", "rope_scaling",
     [](const Context&) {
       return Values{"8,1,4,8192", "32,1,4,8192",  "8,1,4,1024", "8,1,4,128",
                     "inverse",    "first_is_one", "short",      "long"};
     }},
    {"rope_denominator", "rope_dimension",
     [](const Context&) {
       return Values{"rotary", "head"};
     }},
    {"rope_dimensions", "rope_dimension",
     [](const Context& c) {
       const auto d = static_cast<double>(c.shape.head_dim);
       return numbers({d, d / 2, d / 4, d * 3 / 4});
     }},
    // Every fourth (SmolLM3), none, all.
    {"nope_layers", "rope_dimension",
     [](const Context& c) {
       std::string every_fourth, all;
       for (std::int64_t layer = 0; layer < c.shape.n_layer; ++layer) {
         all += (layer == 0 ? "" : ",") + std::to_string(layer);
         if (layer % 4 == 3) every_fourth += (layer == 3 ? "" : ",") + std::to_string(layer);
       }
       return every_fourth.empty() ? Values{"none", all} : Values{every_fourth, "none", all};
     }},
    {"delta_head_order", "value_head_order",
     [](const Context&) {
       return Values{"tiled", "grouped"};
     }},
    {"conv_channels", "conv",
     [](const Context&) { return Values{"q_k_v", "v_q_k", "k_v_q", "k_q_v", "q_v_k", "v_k_q"}; }},
    {"delta_conv_activation", "conv",
     [](const Context&) {
       return Values{"silu", "none"};
     }},
    {"conv_taps", "conv",
     [](const Context&) {
       return Values{"forward", "reversed"};
     }},
    {"short_conv_runs", "conv",
     [](const Context&) {
       return Values{"b_c_x", "c_b_x", "b_x_c"};
     }},
    {"delta_gate_activation", "activation",
     [](const Context&) {
       return Values{"silu", "sigmoid"};
     }},
    {"state_type", "state",
     [](const Context&) {
       return Values{"f32", "bf16", "f16"};
     }},
    {"gate_order", "gate_order",
     [](const Context&) {
       return Values{"gate_up", "up_gate"};
     }},
    {"attention_output_gate", "gate_order", [](const Context&) { return Values{"no"}; }},
    {"attention_gate_layout", "gate_order",
     [](const Context&) {
       return Values{"per_head", "flat"};
     }},
    {"head_mapping", "head_mapping",
     [](const Context&) {
       return Values{"grouped", "interleaved"};
     }},
    {"kv_heads", "head_mapping",
     [](const Context& c) {
       Values out{"reversed"};
       for (std::int64_t shift = 0; shift < c.shape.n_kv_head; ++shift) {
         if (shift <= 2 || shift + 1 == c.shape.n_kv_head) out.push_back(std::to_string(shift));
       }
       return out;
     }},
    {"head_count", "head_mapping",
     [](const Context& c) {
       return around(c, {0.5, 2, 0.25, 4});
     }},
    {"kv_order", "weight_swapped",
     [](const Context&) {
       return Values{"k_v", "v_k"};
     }},
    {"embedding_scale", "embedding_scale",
     [](const Context& c) {
       const auto width = static_cast<double>(c.shape.n_embd);
       return joined(numbers({1, std::sqrt(width), 1 / std::sqrt(width), 12}),
                     around(c, {0.0625, 0.25, 0.5, 2, 4, 16}));
     }},
    {"residual_scale", "residual_scale",
     [](const Context&) {
       return numbers({1, 0.5, 0.25, 0.125, 2, 4});
     }},
    // Where there is one: any model's text is likelier with some scale or other.
    {"logit_scale", "logit_scale",
     [](const Context& c) {
       return c.now && *c.now != 1 ? joined(numbers({1, 1 / *c.now}), around(c, {0.0625, 0.25, 0.5, 2, 4, 16}))
                                   : Values{};
     }},
    {"tied_head", "tied_head",
     [](const Context&) {
       return Values{"yes", "no"};
     }},
    {"rms_norm_eps", "norm_eps",
     [](const Context&) {
       return numbers({1e-6, 1e-5, 1e-12, 1e-8, 1e-4, 1e-3, 1e-2});
     }},
    {"norm_kind", "norm_kind",
     [](const Context&) {
       return Values{"rms", "layer"};
     }},
    {"norm_place", "norm_place",
     [](const Context&) {
       return Values{"input", "output"};
     }},
    {"post_norms", "norm_place", [](const Context&) { return Values{"no"}; }},
    {"attention_softcap", "softcap",
     [](const Context&) {
       return numbers({0, 50, 30, 15});
     }},
    {"final_softcap", "softcap",
     [](const Context&) {
       return numbers({0, 30, 15, 50});
     }},
    {"sliding_window", "window",
     [](const Context&) {
       return numbers({0, 512, 1024, 128, 64, 32, 16});
     }},
    {"sinks", "sinks", [](const Context&) { return Values{"no"}; }},
    {"expert_renormalise", "router",
     [](const Context&) {
       return Values{"yes", "no"};
     }},
    {"expert_gate", "router",
     [](const Context&) {
       return Values{"softmax", "sigmoid"};
     }},
    {"expert_used_count", "router",
     [](const Context&) {
       return numbers({1, 2, 4, 6, 8, 10});
     }},
    {"expert_scale", "router",
     [](const Context&) {
       return numbers({1, 2.5, 0.5, 2});
     }},
    {"expert_factors", "router", [](const Context&) { return Values{"no"}; }},
    {"router_norm", "router", [](const Context&) { return Values{"no"}; }},
    {"branch_norms", "norm_place", [](const Context&) { return Values{"no"}; }},
    {"shared_expert", "router", [](const Context&) { return Values{"no"}; }},
    {"shared_expert_gate", "router",
     [](const Context&) {
       return Values{"no", "yes"};
     }},
    {"expert_shift", "expert_order", [](const Context& c) { return shifts(c.n_expert); }},
    {"expert_order", "expert_order", expert_orders},
    {"ternary_scale", "ternary_scale",
     [](const Context&) {
       return joined({"file", "none", "reciprocal"}, numbers({0.01, 0.03, 0.1, 0.3, 3}));
     }},
    {"ternary_values", "ternary_layout",
     [](const Context&) { return Values{"-1,0,1", "0,1,-1", "1,0,-1", "0,-1,1", "1,-1,0", "-1,1,0"}; }},
    {"add_bos", "bos",
     [](const Context&) {
       return Values{"true", "false"};
     }},
    {"pre_tokenizer", "pre_tokenizer", nullptr},
};

// "a, b or c" -> {a, b, c}
Values words_of(std::string_view text) {
  Values out;
  std::string word;
  const auto end_word = [&] {
    if (!word.empty() && word != "or") out.push_back(word);
    word.clear();
  };
  for (const char c : text) {
    if (c == ' ' || c == ',') {
      end_word();
    } else {
      word += c;
    }
  }
  end_word();
  return out;
}

const EditableFact* find_fact(std::span<const EditableFact> facts, std::string_view name) {
  const auto found = std::ranges::find(facts, name, &EditableFact::name);
  return found == facts.end() ? nullptr : &*found;
}

bool same_value(const std::string& a, const std::string& b) {
  if (a == b) return true;
  const auto x = number_of(a), y = number_of(b);
  return x && y && std::abs(*x - *y) <= 1e-6 * std::abs(*x);
}

void add(std::vector<Variant>& out, std::string_view name, const std::string& value, std::string_view cause,
         Place place = {}) {
  const Edits edits{{std::string(name), value}};
  const bool there = std::ranges::any_of(out, [&](const Variant& other) {
    return other.edits.size() == 1 && other.edits[0].first == name && same_value(other.edits[0].second, value);
  });
  if (!there) out.push_back({edits, cause, std::move(place)});
}

struct Tensor {
  std::string name;
  std::vector<std::int64_t> shape;
};

std::vector<Tensor> tensors_of(const engine::GgufFile& file, const std::string& prefix) {
  std::vector<Tensor> out;
  for (const engine::GgufTensor& tensor : file.tensors()) {
    if (tensor.name.starts_with(prefix)) out.push_back({std::string(tensor.name), tensor.shape});
  }
  return out;
}

// Of one layer: what a tensor is; "" for others.
std::string_view kind_of(std::string_view name) {
  return name.starts_with("blk.") ? name.substr(name.find('.', 4) + 1) : std::string_view();
}
std::string in_layer(std::int64_t layer, std::string_view kind) {
  return "blk." + std::to_string(layer) + "." + std::string(kind);
}

// The same text for either order.
std::string pair_of(const std::string& a, const std::string& b) { return a < b ? a + ":" + b : b + ":" + a; }

// As f32; a large one takes more memory than a search may.
constexpr std::int64_t kMostNumbers = std::int64_t{1} << 25;
std::int64_t numbers_of_matrix(std::span<const std::int64_t> shape) {
  return shape.size() == 2 && shape[0] <= kMostNumbers / shape[1] ? shape[0] * shape[1] : kMostNumbers + 1;
}

// llama3's FACTOR,LOW,HIGH,CONTEXT with the factor or the context doubled or halved.
std::vector<Variant> finer_factors(const Variant& variant) {
  std::vector<Variant> out;
  const std::string& value = variant.edits[0].second;
  const std::size_t first = value.find(','), last = value.rfind(',');
  if (first == std::string::npos) return out;
  const auto factor = number_of(std::string_view(value).substr(0, first));
  const auto context = number_of(std::string_view(value).substr(last + 1));
  const std::string between = value.substr(first, last + 1 - first);
  for (const double times : {0.5, 2.0}) {
    if (!factor || !context) continue;
    add(out, "rope_factors", single_text(*factor) + between + single_text(*context * times), variant.cause);
    if (*factor * times >= 2) {
      add(out, "rope_factors", single_text(*factor * times) + between + single_text(*context), variant.cause);
    }
  }
  return out;
}

bool is_norm(std::string_view name) { return name.find("norm") != std::string_view::npos; }

}  // namespace

std::string_view cause_of_fact(std::string_view fact) noexcept {
  for (const MenuRow& row : kMenu) {
    if (row.fact == fact) return row.cause;
  }
  return "";
}

bool only_damps(const Variant& variant) {
  constexpr std::string_view kDamping[] = {"embedding_scale", "final_softcap", "attention_softcap",
                                           "residual_scale",  "rms_norm_eps",  "attention_scale",
                                           "skip_ffn",        "skip_mixer",    "logit_scale"};
  return std::ranges::all_of(
      variant.edits, [&](const auto& edit) { return std::ranges::find(kDamping, edit.first) != std::end(kDamping); });
}

std::string key_of_fact(std::string_view architecture, std::string_view fact) {
  constexpr std::pair<std::string_view, std::string_view> kKeys[] = {
      {"rope_base", ".rope.freq_base"},
      {"rope_dimensions", ".rope.dimension_count"},
      {"rope_scale", ".rope.scaling.factor"},
      {"rms_norm_eps", ".attention.layer_norm_rms_epsilon"},
      {"attention_scale", ".attention.scale"},
      {"attention_softcap", ".attn_logit_softcapping"},
      {"final_softcap", ".final_logit_softcapping"},
      {"sliding_window", ".attention.sliding_window"},
      {"expert_used_count", ".expert_used_count"},
      {"embedding_scale", ".embedding_scale"},
      {"residual_scale", ".residual_scale"},
  };
  constexpr std::pair<std::string_view, std::string_view> kOfTokens[] = {{"add_bos", "tokenizer.ggml.add_bos_token"},
                                                                         {"pre_tokenizer", "tokenizer.ggml.pre"}};
  for (const auto& [name, key] : kKeys) {
    if (name == fact) return std::string(architecture) + std::string(key);
  }
  for (const auto& [name, key] : kOfTokens) {
    if (name == fact) return std::string(key);
  }
  return "";
}

std::string edits_text(const Edits& edits) {
  std::string text;
  for (const auto& [name, value] : edits) text += (text.empty() ? "" : " ") + name + "=" + value;
  return text;
}

std::vector<Variant> convention_variants(std::span<const EditableFact> facts, std::span<const EditableFact> file_facts,
                                         const Edits& asked, const engine::Model& model) {
  const auto said = model.file().find_uint(model.description().architecture + ".expert_count");
  const std::int64_t n_expert = said && *said < 65536 ? static_cast<std::int64_t>(*said) : 0;
  std::vector<std::string_view> expert_tensors;
  for (const std::string_view kind : kExpertTensors) {
    const auto is_kind = [&](const engine::GgufTensor& tensor) { return kind_of(tensor.name) == kind; };
    if (std::ranges::any_of(model.file().tensors(), is_kind)) expert_tensors.push_back(kind);
  }
  std::vector<Variant> out;
  for (const auto& [name, value] : asked) {
    const EditableFact* fact = find_fact(file_facts, name);
    if (fact != nullptr && fact->value == value) continue;
    const std::string_view cause = cause_of_fact(name);
    out.push_back(
        {{{name, fact == nullptr ? "as_in_file" : fact->value}}, cause.empty() ? "weight_corrupt" : cause, {}, true});
  }
  for (const MenuRow& row : kMenu) {
    const EditableFact* fact = find_fact(facts, row.fact);
    if (fact == nullptr) continue;
    const Context context{model.shape(), n_expert, expert_tensors, number_of(fact->value)};
    for (const std::string& value : row.values == nullptr ? words_of(fact->values) : row.values(context)) {
      if (!same_value(value, fact->value)) add(out, row.fact, value, row.cause);
    }
  }
  return out;
}

std::vector<Variant> finer_variants(const Variant& variant, double step) {
  std::vector<Variant> out;
  if (variant.edits.size() != 1) return out;
  const auto& [name, value] = variant.edits[0];
  if (name == "rope_factors") return finer_factors(variant);
  constexpr std::string_view kContinuous[] = {
      "rope_base",     "attention_scale",   "embedding_scale", "residual_scale", "rope_scale", "rope_scale_global",
      "final_softcap", "attention_softcap", "expert_scale",    "ternary_scale",  "logit_scale"};
  const auto number = number_of(value);
  if (!number || *number <= 0 || std::ranges::find(kContinuous, name) == std::end(kContinuous)) return out;
  for (const double factor : {1 / step, step}) {
    out.push_back({{{name, single_text(*number * factor)}}, variant.cause, variant.place});
  }
  return out;
}

std::vector<Variant> layer_variants(std::span<const EditableFact> facts, std::int64_t n_layer) {
  std::vector<Variant> out;
  for (std::int64_t i = 0; i < n_layer; ++i) {
    const std::string layer = std::to_string(i);
    if (find_fact(facts, "skip_ffn") != nullptr) add(out, "skip_ffn", layer, "weight_corrupt", {.layer = i});
    if (find_fact(facts, "skip_mixer") != nullptr) add(out, "skip_mixer", layer, "weight_corrupt", {.layer = i});
  }
  if (find_fact(facts, "layer_order") == nullptr) return out;
  // Neighbours; of a model with few layers any two.
  for (std::int64_t distance = 1; distance < (n_layer <= 8 ? n_layer : 2); ++distance) {
    for (std::int64_t i = 0; i + distance < n_layer; ++i) {
      std::string order;
      for (std::int64_t j = 0; j < n_layer; ++j) {
        const std::int64_t other = j == i ? i + distance : j == i + distance ? i : j;
        order += (j == 0 ? "" : ",") + std::to_string(other);
      }
      add(out, "layer_order", order, "layer_order", {.layer = i});
    }
  }
  return out;
}

std::vector<Variant> tensor_variants(std::span<const EditableFact> facts, const engine::GgufFile& file,
                                     std::int64_t layer) {
  std::vector<Variant> out;
  const std::vector<Tensor> all = tensors_of(file, "blk." + std::to_string(layer) + ".");
  const auto at = [&](const std::string& tensor) { return Place{.layer = layer, .tensor = tensor}; };
  if (find_fact(facts, "exchange") != nullptr) {
    for (std::size_t i = 0; i < all.size(); ++i) {
      for (std::size_t j = i + 1; j < all.size(); ++j) {
        if (all[i].shape == all[j].shape) {
          add(out, "exchange", pair_of(all[i].name, all[j].name), "weight_swapped", at(all[i].name));
        }
      }
    }
    for (const Tensor& tensor : all) {
      for (const std::int64_t other : {layer - 1, layer + 1}) {
        const std::string name = "blk." + std::to_string(other) + tensor.name.substr(tensor.name.find('.', 4));
        const engine::GgufTensor* found = file.find_tensor(name);
        if (found != nullptr && found->shape == tensor.shape) {
          add(out, "exchange", pair_of(tensor.name, name), "weight_swapped", at(tensor.name));
        }
      }
    }
  }
  for (const Tensor& tensor : all) {
    if (numbers_of_matrix(tensor.shape) <= kMostNumbers && find_fact(facts, "transpose") != nullptr) {
      add(out, "transpose", tensor.name, "weight_transposed", at(tensor.name));
    }
    const bool of_experts = std::ranges::find(kExpertTensors, kind_of(tensor.name)) != std::end(kExpertTensors);
    if (of_experts && find_fact(facts, "expert_order") != nullptr) {
      for (const std::string& order :
           joined({"reversed", "pairs"}, shifts(std::min<std::int64_t>(tensor.shape[2], 8)))) {
        add(out, "expert_order", tensor.name + ":" + order, "expert_order", at(tensor.name));
      }
    }
    if (find_fact(facts, "tensor_factor") == nullptr) continue;
    for (const char* factor : {"-1", "0.5", "2", "0.1", "10"}) {
      add(out, "tensor_factor", tensor.name + ":" + factor, is_norm(tensor.name) ? "norm_weight" : "weight_scaled",
          at(tensor.name));
    }
  }
  return out;
}

std::vector<Variant> repair_variants(std::span<const EditableFact> facts, const engine::GgufFile& file,
                                     std::int64_t layer, std::int64_t n_layer) {
  std::vector<Variant> out;
  if (find_fact(facts, "exchange") == nullptr) return out;
  for (const Tensor& tensor : tensors_of(file, in_layer(layer, ""))) {
    for (std::int64_t other = 0; other < n_layer; ++other) {
      const std::string name = in_layer(other, kind_of(tensor.name));
      const engine::GgufTensor* found = file.find_tensor(name);
      if (std::abs(other - layer) < 2 || found == nullptr || found->shape != tensor.shape) continue;
      add(out, "exchange", pair_of(tensor.name, name), "weight_swapped", {.layer = layer, .tensor = tensor.name});
    }
  }
  return out;
}

namespace {

// Tensors of one name and shape in several layers.
struct Kind {
  std::string_view name;
  std::vector<std::int64_t> shape, layers;
};
std::vector<Kind> kinds_of(const engine::GgufFile& file, std::int64_t n_layer) {
  std::vector<Kind> out;
  for (std::int64_t layer = 0; layer < n_layer; ++layer) {
    for (const engine::GgufTensor& tensor : file.tensors()) {
      if (!tensor.name.starts_with(in_layer(layer, ""))) continue;
      const std::string_view name = kind_of(tensor.name);
      const auto known =
          std::ranges::find_if(out, [&](const Kind& kind) { return kind.name == name && kind.shape == tensor.shape; });
      if (known == out.end()) {
        out.push_back({name, tensor.shape, {layer}});
      } else {
        known->layers.push_back(layer);
      }
    }
  }
  return out;
}
// Exchanged everywhere they are a convention of the menu.
bool is_a_convention(std::string_view a, std::string_view b) {
  constexpr std::pair<std::string_view, std::string_view> kPairs[] = {{"ffn_gate.weight", "ffn_up.weight"},
                                                                      {"ffn_gate_exps.weight", "ffn_up_exps.weight"},
                                                                      {"attn_k.weight", "attn_v.weight"}};
  return std::ranges::any_of(kPairs, [&](const auto& pair) {
    return (pair.first == a && pair.second == b) || (pair.first == b && pair.second == a);
  });
}

}  // namespace

std::vector<Variant> stem_variants(std::span<const EditableFact> facts, const engine::GgufFile& file,
                                   std::int64_t n_layer) {
  std::vector<Variant> out;
  const bool transposes = find_fact(facts, "transpose") != nullptr, exchanges = find_fact(facts, "exchange") != nullptr;
  const auto* embedding = file.find_tensor("token_embd.weight");
  const auto* head = file.find_tensor("output.weight");
  for (const auto* tensor : {embedding, head}) {
    if (tensor == nullptr || !transposes) continue;
    if (tensor == embedding && numbers_of_matrix(tensor->shape) > kMostNumbers) continue;
    add(out, "transpose", std::string(tensor->name), "weight_transposed", {.tensor = std::string(tensor->name)});
  }
  if (embedding != nullptr && head != nullptr && exchanges && embedding->shape == head->shape) {
    add(out, "exchange", "token_embd.weight:output.weight", "weight_swapped", {.tensor = "token_embd.weight"});
  }
  const std::vector<Kind> kinds = kinds_of(file, n_layer);
  for (std::size_t i = 0; i < kinds.size() && exchanges; ++i) {
    for (std::size_t j = i + 1; j < kinds.size(); ++j) {
      if (kinds[i].shape != kinds[j].shape || is_a_convention(kinds[i].name, kinds[j].name)) continue;
      std::string pairs;
      for (const std::int64_t layer : kinds[i].layers) {
        if (std::ranges::find(kinds[j].layers, layer) == kinds[j].layers.end()) continue;
        pairs += (pairs.empty() ? "" : ",") + in_layer(layer, kinds[i].name) + ":" + in_layer(layer, kinds[j].name);
      }
      if (!pairs.empty()) add(out, "exchange", pairs, "weight_swapped");
    }
  }
  for (const Kind& kind : kinds) {
    if (!transposes || numbers_of_matrix(kind.shape) > kMostNumbers / std::ssize(kind.layers)) continue;
    std::string names;
    for (const std::int64_t layer : kind.layers) names += (names.empty() ? "" : ",") + in_layer(layer, kind.name);
    add(out, "transpose", names, "weight_transposed");
  }
  if (find_fact(facts, "tensor_factor") == nullptr) return out;
  for (const char* name : {"output_norm.weight", "token_embd_norm.weight", "output.weight", "token_embd.weight"}) {
    if (file.find_tensor(name) == nullptr) continue;
    for (const char* factor : {"-1", "0.5", "2", "0.25", "4", "0.1", "10"}) {
      add(out, "tensor_factor", std::string(name) + ":" + factor, is_norm(name) ? "norm_weight" : "weight_scaled",
          {.tensor = name});
    }
  }
  return out;
}

}  // namespace rowmax::doctor
