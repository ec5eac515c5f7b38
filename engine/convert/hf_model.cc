#include "engine/convert/hf_model.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "base/math/f64.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr std::int64_t kMaxWidth = 1 << 20;
constexpr std::int64_t kMaxContext = std::int64_t{1} << 31;

// Source of the defaults: transformers 5.24, models/*/configuration_*.py.
constexpr HfArchitecture kArchitectures[] = {
    {.class_name = "LlamaForCausalLM",
     .name = "llama",
     .activation = "silu",
     .adjacent_rope = true,
     .rope_dimension_key = true,
     .llama3_scaling = true},
    {.class_name = "MistralForCausalLM",
     .name = "llama",
     .activation = "silu",
     .adjacent_rope = true,
     .rope_dimension_key = true,
     .llama3_scaling = true,
     .window_used = true,
     .default_window = 4096,
     .default_kv_heads = 8,
     .biases = Biases::kNone},
    {.class_name = "Qwen2ForCausalLM",
     .name = "qwen2",
     .activation = "silu",
     .default_kv_heads = 32,
     .biases = Biases::kInputs},
    {.class_name = "Qwen3ForCausalLM",
     .name = "qwen3",
     .activation = "silu",
     .head_length_keys = true,
     .default_kv_heads = 32,
     .default_head_dim = 128},
    {.class_name = "Gemma2ForCausalLM",
     .name = "gemma2",
     .activation = "gelu_pytorch_tanh",
     .norms_plus_one = true,
     .head_length_keys = true,
     .gemma = true,
     .soft_caps = true,
     .window_pattern = 2,
     .implied_base = true,
     .default_kv_heads = 4,
     .default_head_dim = 256},
    {.class_name = "Gemma3ForCausalLM",
     .name = "gemma3",
     .activation = "gelu_pytorch_tanh",
     .rope_base = 1e6,
     .norms_plus_one = true,
     .head_length_keys = true,
     .gemma = true,
     .window_pattern = 6,
     .default_kv_heads = 4,
     .default_head_dim = 256},
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
    const Json list = config_.find("architectures");
    const std::string_view name = list.at(0).as_string();
    if (!list.is_array() || list.size() != 1 || name.empty()) {
      return config_.fail(ErrorCode::kCorrupt, "architectures",
                          concat("expected a list of one name, found ", list ? list.text() : "none"));
    }
    const auto* row = std::ranges::find(kArchitectures, name, &HfArchitecture::class_name);
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
    context_ = config_.require_int("max_position_embeddings", 1, kMaxContext);
    model_.n_embd = config_.require_int("hidden_size", 1, kMaxWidth);
    model_.n_layer = config_.require_int("num_hidden_layers", 1, 4096);
    const std::int64_t n_ff = config_.require_int("intermediate_size", 1, kMaxWidth);
    model_.n_head = config_.require_int("num_attention_heads", 1, 65536);
    const std::int64_t kv_heads = arch.default_kv_heads != 0 ? arch.default_kv_heads : model_.n_head;
    model_.n_kv_head = config_.int_or("num_key_value_heads", kv_heads, 1, 65536);
    const double eps = config_.require_number("rms_norm_eps", 1e-20, 1.0);
    model_.vocab_size = config_.require_int("vocab_size", 1, 1 << 24);
    model_.tied = config_.bool_or("tie_word_embeddings", arch.gemma || arch.ternary);
    read_activation();
    if (config_.failed()) return;
    if (model_.n_head % model_.n_kv_head != 0) {
      config_.fail(ErrorCode::kCorrupt, "num_key_value_heads",
                   concat("expected a divisor of num_attention_heads ", model_.n_head, ", found ", model_.n_kv_head));
    }
    if (!config_.has("head_dim") && arch.default_head_dim == 0 && model_.n_embd % model_.n_head != 0) {
      config_.fail(ErrorCode::kCorrupt, "head_dim",
                   "is missing, and hidden_size is no multiple of num_attention_heads");
    }
    const std::int64_t head_dim = arch.default_head_dim != 0 ? arch.default_head_dim : model_.n_embd / model_.n_head;
    model_.head_dim = config_.int_or("head_dim", head_dim, 2, 576);
    if (model_.head_dim % 2 != 0) config_.fail(ErrorCode::kUnsupported, "head_dim", "expected an even number");
    set("context_length", context_);
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

  // Gemma's classes read hidden_activation, the others hidden_act; the other name is never looked at.
  void read_activation() {
    const HfArchitecture& arch = *model_.architecture;
    const char* name = arch.gemma ? "hidden_activation" : "hidden_act";
    std::string activation = config_.string_or(name, arch.activation);
    if (activation == "swish") activation = "silu";  // the same function under its other name
    if (activation == arch.activation) return;
    config_.fail(ErrorCode::kUnsupported, name,
                 concat("expected ", quote(arch.activation), ", found ", quote(activation)));
  }

  // rope_parameters (new) or rope_theta beside rope_scaling (old); gemma3's has one object for each kind of layer.
  void read_rope() {
    const std::string_view name = config_.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
    Json found = config_.find(name);
    std::string where = concat(config_.where(), ": ", name);
    if (const Json all = found.find("full_attention")) {
      const Json local = found.find("sliding_attention");
      if (local) read_local_rope(local, concat(where, ".sliding_attention"));
      found = all;
      where += ".full_attention";
    } else if (model_.architecture->gemma && config_.has("rope_local_base_freq")) {
      set_local_base(config_.number_or("rope_local_base_freq", 10000, 1, 1e12));
    }
    JsonReader rope = found ? JsonReader(found, where) : JsonReader::empty(where);
    const double outer = config_.number_or("rope_theta", model_.architecture->rope_base, 1, 1e12);
    const double base = rope.number_or("rope_theta", outer, 1, 1e12);
    if (!model_.architecture->implied_base || base != model_.architecture->rope_base) set("rope.freq_base", base);
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
    } else if (type == "llama3" && model_.architecture->llama3_scaling) {
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
    read_biases();
    if (model_.architecture->gemma) return read_gemma();
    if (model_.architecture->window_used) read_window();
    for (const Json& type : config_.find("layer_types").elements()) {
      if (type.is("full_attention")) continue;
      config_.fail(ErrorCode::kUnsupported, "layer_types",
                   concat("expected full_attention everywhere, found ", type.text()));
    }
  }

  // A window that holds the whole context hides nothing. One that the file does not name is the class's own; null is
  // none.
  void read_window() {
    const bool said = config_.names("sliding_window");
    const std::int64_t fallback = said ? 0 : model_.architecture->default_window;
    const std::int64_t window = config_.int_or("sliding_window", fallback, 1, kMaxContext);
    if (window == 0 || window >= context_) return;
    config_.fail(ErrorCode::kUnsupported, "sliding_window",
                 concat("expected null or at least max_position_embeddings ", context_, ", found ", window,
                        said ? "" : " (what a configuration without the key means)"));
  }

  void read_biases() {
    if (!config_.bool_or("is_causal", true)) {  // embedding models: every query sees every key
      config_.fail(ErrorCode::kUnsupported, "is_causal", "expected true");
    }
    const bool all = config_.bool_or("attention_bias", false) && model_.architecture->biases == Biases::kConfig;
    model_.input_biases = all || model_.architecture->biases == Biases::kInputs;
    model_.output_bias = all;
    if (config_.bool_or("mlp_bias", false) && model_.architecture->class_name == std::string_view("LlamaForCausalLM")) {
      config_.fail(ErrorCode::kUnsupported, "mlp_bias", "expected false");
    }
  }

  void read_gemma() {
    const bool soft_caps = model_.architecture->soft_caps;
    set("attention.sliding_window", config_.require_int("sliding_window", 1, kMaxContext));
    const double attention_cap =
        config_.number_or("attn_logit_softcapping", cap_or("attn_logit_softcapping", 50), 0, 1e6);
    const double final_cap =
        config_.number_or("final_logit_softcapping", cap_or("final_logit_softcapping", 30), 0, 1e6);
    if (soft_caps && (attention_cap == 0 || final_cap == 0)) {
      config_.fail(ErrorCode::kUnsupported, "attn_logit_softcapping", "expected both soft caps above 0");
    }
    if (!soft_caps && attention_cap != 0) {
      config_.fail(ErrorCode::kUnsupported, "attn_logit_softcapping", "expected null");
    }
    if (attention_cap != 0) set("attn_logit_softcapping", attention_cap);
    if (final_cap != 0) set("final_logit_softcapping", final_cap);
    // What the head's size does not give.
    const double scalar = config_.number_or("query_pre_attn_scalar", 256, 1e-3, 1e6);
    if (scalar != static_cast<double>(model_.head_dim)) set("attention.scale", 1.0 / std::sqrt(scalar));
    if (config_.bool_or("use_bidirectional_attention", false)) {
      config_.fail(ErrorCode::kUnsupported, "use_bidirectional_attention", "expected false");
    }
    read_pattern(model_.architecture->window_pattern);
  }

  // null is no cap; a key that is not there is the class's own.
  double cap_or(std::string_view name, double usual) const {
    return model_.architecture->soft_caps && !config_.names(name) ? usual : 0;
  }

  // Every p-th layer sees everything, the others a window.
  void read_pattern(std::int64_t usual) {
    const std::int64_t named = config_.int_or("_sliding_window_pattern", usual, 1, 4096);
    std::int64_t pattern = config_.int_or("sliding_window_pattern", named, 1, 4096);
    if (const Json types = config_.find("layer_types")) {
      if (!types.is_array() || static_cast<std::int64_t>(types.size()) != model_.n_layer) {
        return config_.fail(ErrorCode::kCorrupt, "layer_types", concat("expected ", model_.n_layer, " entries"));
      }
      // With no layer that sees everything, any pattern beyond the last layer says so.
      pattern = std::max(usual, model_.n_layer + 1);
      std::int64_t layer = 0;
      for (const Json& type : types.elements()) {
        ++layer;
        if (type.is("full_attention") && pattern > model_.n_layer) pattern = layer;
        if (type.is(layer % pattern == 0 ? "full_attention" : "sliding_attention")) continue;
        return config_.fail(ErrorCode::kUnsupported, "layer_types",
                            concat("expected full_attention at every ", pattern, "th layer alone"));
      }
    }
    if (pattern == usual || (pattern > model_.n_layer && usual > model_.n_layer)) return;
    if (model_.architecture->soft_caps)  // gemma2's files have no key for it
      return config_.fail(ErrorCode::kUnsupported, "layer_types", "expected layers of both kinds in turn");
    set("attention.sliding_window_pattern", pattern);
  }

  void read_quantization() {
    model_.ternarise = model_.architecture->ternary;
    const Json found = config_.find("quantization_config");
    if (!found) return;
    JsonReader quantization(found, concat(config_.where(), ": quantization_config"));
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
    for (const Json& module : quantization.find("modules_to_not_convert").elements()) {
      if (module.is("lm_head")) continue;
      quantization.fail(ErrorCode::kUnsupported, "modules_to_not_convert",
                        concat("expected none but lm_head, found ", module.text()));
    }
    if (!quantization.status().ok()) return config_.fail(quantization.status().error());
    model_.divide_scales = linear == "bitlinear";
    model_.ternarise = model_.ternarise || mode == "online";
  }

  JsonReader config_;
  GgufWriter& keys_;
  HfModel model_;
  std::int64_t context_ = 0;
};

}  // namespace

Result<HfModel> read_hf_config(const Json& config, const std::string& path, GgufWriter& keys) {
  return ConfigConverter(config, path, keys).run();
}

}  // namespace rowmax::engine
