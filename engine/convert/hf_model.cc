#include "engine/convert/hf_model.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "base/math/f64.h"
#include "base/try.h"
#include "engine/io/text.h"

namespace rowmax::engine {
namespace {

constexpr std::int64_t kMaxWidth = 1 << 20;
constexpr std::int64_t kMaxContext = std::int64_t{1} << 31;

constexpr HfArchitecture kArchitectures[] = {
    {.class_name = "LlamaForCausalLM",
     .name = "llama",
     .activation = "silu",
     .adjacent_rope = true,
     .rope_dimension_key = true},
    {.class_name = "MistralForCausalLM",
     .name = "llama",
     .activation = "silu",
     .adjacent_rope = true,
     .rope_dimension_key = true},
    {.class_name = "Qwen2ForCausalLM", .name = "qwen2", .activation = "silu"},
    {.class_name = "Qwen3ForCausalLM", .name = "qwen3", .activation = "silu", .head_length_keys = true},
    {.class_name = "Gemma2ForCausalLM",
     .name = "gemma2",
     .activation = "gelu_pytorch_tanh",
     .norms_plus_one = true,
     .head_length_keys = true,
     .gemma = true},
    {.class_name = "Gemma3ForCausalLM",
     .name = "gemma3",
     .activation = "gelu_pytorch_tanh",
     .rope_base = 1e6,
     .norms_plus_one = true,
     .head_length_keys = true,
     .gemma = true},
    {.class_name = "BitNetForCausalLM",
     .name = "bitnet-b1.58",
     .activation = "relu2",
     .rope_base = 500000,
     .rope_dimension_key = true,
     .ternary = true},
    {.class_name = "BitnetForCausalLM",
     .name = "bitnet",
     .activation = "silu",
     .rope_dimension_key = true,
     .ternary = true},
};

class ConfigConverter {
 public:
  ConfigConverter(const Json& config, const std::string& path, GgufWriter& keys) : config_(config, path), keys_(keys) {}

  Result<HfModel> run() {
    find_architecture();
    if (!config_.failed()) read_shape();
    if (!config_.failed()) read_rope();
    if (!config_.failed()) read_attention();
    if (!config_.failed()) read_quantization();
    ROWMAX_RETURN_IF_ERROR(config_.status());
    return std::move(model_);
  }

 private:
  std::string key(std::string_view name) const { return concat(model_.architecture->name, ".", name); }
  void set(std::string_view name, std::int64_t value) {
    keys_.set_uint32(key(name), static_cast<std::uint32_t>(value));
  }
  void set(std::string_view name, double value) { keys_.set_float32(key(name), static_cast<float>(value)); }

  void find_architecture() {
    const Json* list = config_.find("architectures");
    if (list == nullptr || !list->is_array() || list->size() != 1 || !(*list)[0].is_string()) {
      return config_.fail(ErrorCode::kCorrupt, "architectures",
                          concat("expected a list of one name, found ", list == nullptr ? "none" : json_text(*list)));
    }
    const auto name = (*list)[0].get<std::string>();
    const auto* row = std::ranges::find(kArchitectures, std::string_view(name), &HfArchitecture::class_name);
    if (row != std::end(kArchitectures)) {
      model_.architecture = row;
      keys_.set_string("general.architecture", row->name);
      return;
    }
    std::string known;
    for (const HfArchitecture& each : kArchitectures) known += concat(known.empty() ? "" : ", ", each.class_name);
    config_.fail(ErrorCode::kUnsupported, "architectures", concat("expected one of ", known, ", found ", quote(name)));
  }

  void read_shape() {
    const HfArchitecture& arch = *model_.architecture;
    const std::int64_t context = config_.require_int("max_position_embeddings", 1, kMaxContext);
    model_.n_embd = config_.require_int("hidden_size", 1, kMaxWidth);
    model_.n_layer = config_.require_int("num_hidden_layers", 1, 4096);
    const std::int64_t n_ff = config_.require_int("intermediate_size", 1, kMaxWidth);
    model_.n_head = config_.require_int("num_attention_heads", 1, 65536);
    model_.n_kv_head = config_.int_or("num_key_value_heads", model_.n_head, 1, 65536);
    const double eps = config_.require_number("rms_norm_eps", 1e-20, 1.0);
    model_.vocab_size = config_.require_int("vocab_size", 1, 1 << 24);
    model_.tied = config_.bool_or("tie_word_embeddings", arch.gemma || arch.ternary);
    const std::string activation =
        config_.string_or("hidden_act", config_.string_or("hidden_activation", arch.activation));
    if (config_.failed()) return;
    if (activation != arch.activation && !(arch.gemma && activation == "gelu")) {
      config_.fail(ErrorCode::kUnsupported, "hidden_act",
                   concat("expected ", quote(arch.activation), ", found ", quote(activation)));
    }
    if (model_.n_head % model_.n_kv_head != 0) {
      config_.fail(ErrorCode::kCorrupt, "num_key_value_heads",
                   concat("expected a divisor of num_attention_heads ", model_.n_head, ", found ", model_.n_kv_head));
    }
    if (!config_.has("head_dim") && model_.n_embd % model_.n_head != 0) {
      config_.fail(ErrorCode::kCorrupt, "head_dim",
                   "is missing, and hidden_size is no multiple of num_attention_heads");
    }
    model_.head_dim = config_.int_or("head_dim", model_.n_embd / model_.n_head, 2, 576);
    if (model_.head_dim % 2 != 0) config_.fail(ErrorCode::kUnsupported, "head_dim", "expected an even number");
    set("context_length", context);
    set("embedding_length", model_.n_embd);
    set("block_count", model_.n_layer);
    set("feed_forward_length", n_ff);
    set("attention.head_count", model_.n_head);
    set("attention.head_count_kv", model_.n_kv_head);
    set("attention.layer_norm_rms_epsilon", eps);
    set("vocab_size", model_.vocab_size);
    if (arch.head_length_keys || model_.head_dim * model_.n_head != model_.n_embd) {
      set("attention.key_length", model_.head_dim);
      set("attention.value_length", model_.head_dim);
    }
    if (arch.rope_dimension_key) set("rope.dimension_count", model_.head_dim);
  }

  // rope_parameters (new) or rope_theta beside rope_scaling (old); gemma3's has one object for each kind of layer.
  void read_rope() {
    static const Json kNone = Json::object();
    const std::string_view name = config_.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
    const Json* found = config_.find(name);
    std::string where = concat(config_.where(), ": ", name);
    if (found != nullptr && found->is_object() && found->contains("full_attention")) {
      const auto local = found->find("sliding_attention");
      if (local != found->end()) read_local_rope(*local, concat(where, ".sliding_attention"));
      found = &(*found)["full_attention"];
      where += ".full_attention";
    } else if (model_.architecture->gemma && config_.has("rope_local_base_freq")) {
      set_local_base(config_.number_or("rope_local_base_freq", 10000, 1, 1e12));
    }
    JsonReader rope(found != nullptr ? *found : kNone, where);
    const double outer = config_.number_or("rope_theta", model_.architecture->rope_base, 1, 1e12);
    const double base = rope.number_or("rope_theta", outer, 1, 1e12);
    // gemma2 files carry no base: 10000 is part of the architecture.
    if (std::string_view(model_.architecture->name) != "gemma2" || base != 10000) set("rope.freq_base", base);
    if (rope.number_or("partial_rotary_factor", config_.number_or("partial_rotary_factor", 1, 0, 1), 0, 1) != 1) {
      rope.fail(ErrorCode::kUnsupported, "partial_rotary_factor", "expected 1");
    }
    const std::string type = rope.string_or("rope_type", rope.string_or("type", "default"));
    if (!rope.failed()) read_scaling(rope, type, base);
    if (!rope.status().ok()) config_.fail(rope.status().error());
  }

  void read_scaling(JsonReader& rope, const std::string& type, double base) {
    if (type == "default") return;
    if (type == "linear") {
      keys_.set_string(key("rope.scaling.type"), "linear");
      set("rope.scaling.factor", rope.require_number("factor", 1e-3, 1e6));
    } else if (type == "yarn") {
      read_yarn(rope);
    } else if (type == "llama3" && model_.architecture->rope_dimension_key) {
      read_llama3(rope, base);
    } else {
      rope.fail(ErrorCode::kUnsupported, "rope_type",
                concat("expected default, linear, yarn or (for Llama) llama3, found ", quote(type)));
    }
  }

  void read_yarn(JsonReader& rope) {
    const double factor = rope.require_number("factor", 1.0, 1e6);
    for (const char* unknown : {"mscale", "mscale_all_dim"}) {
      if (rope.has(unknown)) rope.fail(ErrorCode::kUnsupported, unknown, "is not supported");
    }
    if (!rope.bool_or("truncate", true)) rope.fail(ErrorCode::kUnsupported, "truncate", "expected true");
    keys_.set_string(key("rope.scaling.type"), "yarn");
    set("rope.scaling.factor", factor);
    set("rope.scaling.original_context_length", rope.require_int("original_max_position_embeddings", 1, kMaxContext));
    if (rope.has("beta_fast")) set("rope.scaling.yarn_beta_fast", rope.number_or("beta_fast", 32, 1e-3, 1e6));
    if (rope.has("beta_slow")) set("rope.scaling.yarn_beta_slow", rope.number_or("beta_slow", 1, 1e-3, 1e6));
    if (rope.has("attention_factor")) {
      // transformers' replaces the paper's magnitude, GGUF's multiplies it.
      const double magnitude = rope.number_or("attention_factor", 1, 1e-3, 1e3);
      set("rope.scaling.attn_factor", magnitude / (0.1 * base::log_f64(factor) + 1.0));
    }
  }

  // Llama 3.1: long wavelengths are stretched by the factor, short ones not, those between in part.
  void read_llama3(JsonReader& rope, double base) {
    const double factor = rope.require_number("factor", 1.0, 1e6);
    const double low = rope.number_or("low_freq_factor", 1, 1e-3, 1e3);
    const double high = rope.number_or("high_freq_factor", 4, 1e-3, 1e3);
    const auto original = static_cast<double>(rope.require_int("original_max_position_embeddings", 1, kMaxContext));
    if (!(low < high)) rope.fail(ErrorCode::kCorrupt, "high_freq_factor", "expected more than low_freq_factor");
    if (rope.failed()) return;
    constexpr double kPi = 3.14159265358979323846;
    for (std::int64_t i = 0; i < model_.head_dim; i += 2) {
      const double exponent = static_cast<double>(i) / static_cast<double>(model_.head_dim);
      const double wavelength = 2 * kPi * base::pow_f64(base, exponent);
      double divisor = factor;
      if (wavelength < original / high) {
        divisor = 1;
      } else if (wavelength <= original / low) {
        const double smooth = (original / wavelength - low) / (high - low);
        divisor = 1 / ((1 - smooth) / factor + smooth);
      }
      model_.rope_factors.push_back(static_cast<float>(divisor));
    }
  }

  void read_local_rope(const Json& object, const std::string& where) {
    JsonReader rope(object, where);
    const double base = rope.number_or("rope_theta", 10000, 1, 1e12);
    if (rope.string_or("rope_type", "default") != "default") {
      rope.fail(ErrorCode::kUnsupported, "rope_type", "expected 'default'");
    }
    if (!rope.status().ok()) return config_.fail(rope.status().error());
    set_local_base(base);
  }
  void set_local_base(double base) {
    if (base != 10000) set("rope.local.freq_base", base);
  }

  void read_attention() {
    if (config_.bool_or("use_sliding_window", false)) {
      config_.fail(ErrorCode::kUnsupported, "use_sliding_window", "expected false");
    }
    if (model_.architecture->gemma) return read_gemma();
    const bool window_used = model_.architecture->class_name == "MistralForCausalLM";
    if (window_used && config_.has("sliding_window")) {
      config_.fail(ErrorCode::kUnsupported, "sliding_window", "expected null");
    }
    if (const Json* types = config_.find("layer_types")) {
      for (const Json& type : *types) {
        if (type == "full_attention") continue;
        config_.fail(ErrorCode::kUnsupported, "layer_types",
                     concat("expected full_attention everywhere, found ", json_text(type)));
      }
    }
  }

  void read_gemma() {
    const bool second = std::string_view(model_.architecture->name) == "gemma2";
    set("attention.sliding_window", config_.require_int("sliding_window", 1, kMaxContext));
    const double attention_cap = config_.number_or("attn_logit_softcapping", 0, 0, 1e6);
    const double final_cap = config_.number_or("final_logit_softcapping", 0, 0, 1e6);
    if (second && (attention_cap == 0 || final_cap == 0)) {
      config_.fail(ErrorCode::kUnsupported, "attn_logit_softcapping", "expected both soft caps above 0");
    }
    if (!second && attention_cap != 0) {
      config_.fail(ErrorCode::kUnsupported, "attn_logit_softcapping", "expected null");
    }
    if (attention_cap != 0) set("attn_logit_softcapping", attention_cap);
    if (final_cap != 0) set("final_logit_softcapping", final_cap);
    // What the head's size does not give.
    const double scalar = config_.number_or("query_pre_attn_scalar", static_cast<double>(model_.head_dim), 1e-3, 1e6);
    if (scalar != static_cast<double>(model_.head_dim)) set("attention.scale", 1.0 / std::sqrt(scalar));
    if (config_.bool_or("use_bidirectional_attention", false)) {
      config_.fail(ErrorCode::kUnsupported, "use_bidirectional_attention", "expected false");
    }
    read_pattern(second ? 2 : 6);
  }

  // Every p-th layer sees everything, the others a window.
  void read_pattern(std::int64_t usual) {
    const std::int64_t named = config_.int_or("_sliding_window_pattern", usual, 1, 4096);
    std::int64_t pattern = config_.int_or("sliding_window_pattern", named, 1, 4096);
    if (const Json* types = config_.find("layer_types")) {
      if (!types->is_array() || std::ssize(*types) != model_.n_layer) {
        return config_.fail(ErrorCode::kCorrupt, "layer_types", concat("expected ", model_.n_layer, " entries"));
      }
      const auto full = std::find(types->begin(), types->end(), "full_attention");
      // With no layer that sees everything, any pattern beyond the last layer says so.
      pattern = full == types->end() ? std::max(usual, model_.n_layer + 1) : full - types->begin() + 1;
      for (std::int64_t i = 0; i < model_.n_layer; ++i) {
        const char* expected = i % pattern == pattern - 1 ? "full_attention" : "sliding_attention";
        if ((*types)[static_cast<std::size_t>(i)] == expected) continue;
        return config_.fail(ErrorCode::kUnsupported, "layer_types",
                            concat("expected full_attention at every ", pattern, "th layer alone"));
      }
    }
    if (pattern == usual || (pattern > model_.n_layer && usual > model_.n_layer)) return;
    if (usual == 2)
      return config_.fail(ErrorCode::kUnsupported, "layer_types", "expected layers of both kinds in turn");
    set("attention.sliding_window_pattern", pattern);
  }

  void read_quantization() {
    model_.ternarise = model_.architecture->ternary;
    const Json* found = config_.find("quantization_config");
    if (found == nullptr) return;
    JsonReader quantization(*found, concat(config_.where(), ": quantization_config"));
    const std::string method = quantization.string_or("quant_method", "");
    if (method != "bitnet") {
      quantization.fail(ErrorCode::kUnsupported, "quant_method", concat("expected 'bitnet', found ", quote(method)));
    }
    const std::string linear = quantization.string_or("linear_class", "bitlinear");
    const std::string mode = quantization.string_or("quantization_mode", "offline");
    if (linear != "bitlinear" && linear != "autobitlinear") {
      quantization.fail(ErrorCode::kUnsupported, "linear_class",
                        concat("expected bitlinear or autobitlinear, found ", quote(linear)));
    }
    if (mode != "offline" && mode != "online") {
      quantization.fail(ErrorCode::kUnsupported, "quantization_mode",
                        concat("expected offline or online, found ", quote(mode)));
    }
    if (quantization.bool_or("use_rms_norm", false)) {
      quantization.fail(ErrorCode::kUnsupported, "use_rms_norm", "expected false");
    }
    if (const Json* kept = quantization.find("modules_to_not_convert")) {
      for (const Json& module : *kept) {
        if (module != "lm_head") {
          quantization.fail(ErrorCode::kUnsupported, "modules_to_not_convert",
                            concat("expected none but lm_head, found ", json_text(module)));
        }
      }
    }
    if (!quantization.status().ok()) return config_.fail(quantization.status().error());
    model_.divide_scales = linear == "bitlinear";
    model_.ternarise = model_.ternarise || mode == "online";
  }

  JsonReader config_;
  GgufWriter& keys_;
  HfModel model_;
};

}  // namespace

Result<HfModel> read_hf_config(const Json& config, const std::string& path, GgufWriter& keys) {
  return ConfigConverter(config, path, keys).run();
}

}  // namespace rowmax::engine
