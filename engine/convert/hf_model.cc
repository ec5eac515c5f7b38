#include "engine/convert/hf_model.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "base/math/f64.h"
#include "engine/convert/hf_latent.h"
#include "engine/convert/hf_lfm2.h"
#include "engine/convert/hf_quantization.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr std::int64_t kMaxContext = std::int64_t{1} << 31;
constexpr std::int64_t kMaxDeltaHeads = 4096, kMaxDeltaDim = 1024;

class ConfigConverter {
 public:
  ConfigConverter(const Json& config, const std::string& path, const HfFound& found, bool master_weights,
                  GgufWriter& keys)
      : whole_(config),
        config_(config, path),
        n_draft_found_(found.n_draft_layer),
        master_weights_(master_weights),
        keys_(keys) {
    model_.product_norms = found.product_norms;
  }

  Result<HfModel> run() {
    find_architecture();
    if (!config_.failed()) read_shape();
    if (!config_.failed()) read_experts();
    if (!config_.failed()) model_.architecture->gemma4 ? read_gemma4() : read_rope();
    if (!config_.failed()) read_attention();
    if (!config_.failed()) read_hf_quantization(config_, model_, master_weights_);
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
    const Json text_type = config_.find("text_config").find("model_type");
    const std::span<const HfArchitecture> rows = hf_architectures();
    const auto row = std::ranges::find_if(rows, [&](const HfArchitecture& each) {
      return each.class_name == name && (each.text_type.empty() || text_type.is(each.text_type));
    });
    if (row != rows.end()) {
      model_.architecture = &*row;
      keys_.set_string("general.architecture", row->name);
      if (row->nested) config_ = JsonReader(config_.find("text_config"), concat(config_.where(), ": text_config"));
      model_.text = config_.object();
      model_.text_path = config_.where();
      return;
    }
    std::string known, texts;
    for (const HfArchitecture& each : rows) {
      if (each.class_name == name) texts += concat(texts.empty() ? "" : " or ", each.text_type);
      if (!known.ends_with(each.class_name)) known += concat(known.empty() ? "" : ", ", each.class_name);
    }
    if (!texts.empty()) {
      return config_.fail(ErrorCode::kUnsupported, "text_config",
                          concat("model_type: expected ", texts, ", found ", text_type ? text_type.text() : "none"));
    }
    config_.fail(ErrorCode::kUnsupported, "architectures", concat("expected one of ", known, ", found ", quote(name)));
  }

  void read_shape() {
    const HfArchitecture& arch = *model_.architecture;
    context_ = config_.require_int("max_position_embeddings", 1, kMaxContext);
    model_.n_embd = config_.require_int("hidden_size", 1, kMaxWidth);
    model_.n_layer = config_.require_int("num_hidden_layers", 1, 4096);
    const bool dense = arch.experts != HfExperts::kShared;
    const std::int64_t n_ff = arch.lfm2 ? lfm2_ffn_width(config_, arch)
                              : dense   ? config_.require_int("intermediate_size", 1, kMaxWidth)
                                        : 0;
    model_.n_head = config_.require_int("num_attention_heads", 1, 65536);
    const std::int64_t kv_heads = arch.default_kv_heads != 0 ? arch.default_kv_heads : model_.n_head;
    model_.n_kv_head = config_.int_or("num_key_value_heads", kv_heads, 1, 65536);
    const double eps = config_.require_number(arch.lfm2 ? "norm_eps" : "rms_norm_eps", 1e-20, 1.0);
    model_.vocab_size = config_.require_int("vocab_size", 1, 1 << 24);
    model_.tied = config_.bool_or("tie_word_embeddings", arch.gemma || arch.ternary || arch.tied);
    if (const Json tied = whole_.find("tie_word_embeddings"); arch.nested && tied.is_bool()) {
      model_.tied = tied.as_bool();  // transformers asks the outer model
    }
    if (arch.lfm2) model_.tied = config_.bool_or("tie_embedding", model_.tied);  // its older name, which counts
    if (arch.trunk) model_.tied = true;  // there is no head, and rowmax's files need one
    read_activation();
    if (arch.hybrid) read_draft_layers();
    if (config_.failed()) return;
    if (model_.n_head % model_.n_kv_head != 0) {
      config_.fail(ErrorCode::kCorrupt, "num_key_value_heads",
                   concat("expected a divisor of num_attention_heads ", model_.n_head, ", found ", model_.n_kv_head));
    }
    if (arch.latent) read_hf_latent(config_, model_, keys_);
    if (config_.failed()) return;
    if (!arch.latent && !config_.has("head_dim") && arch.default_head_dim == 0 && model_.n_embd % model_.n_head != 0) {
      config_.fail(ErrorCode::kCorrupt, "head_dim",
                   "is missing, and hidden_size is no multiple of num_attention_heads");
    }
    const std::int64_t head_dim = arch.default_head_dim != 0 ? arch.default_head_dim : model_.n_embd / model_.n_head;
    if (!arch.latent) model_.head_dim = config_.int_or("head_dim", head_dim, 2, 576);
    if (model_.head_dim % 2 != 0) config_.fail(ErrorCode::kUnsupported, "head_dim", "expected an even number");
    set("context_length", context_);
    set("embedding_length", model_.n_embd);
    set("block_count", model_.n_layer + model_.n_draft_layer);
    if (dense) set("feed_forward_length", n_ff);
    set("attention.head_count", model_.n_head);
    set("attention.head_count_kv", model_.n_kv_head);
    set("attention.layer_norm_rms_epsilon", eps);
    set("vocab_size", model_.vocab_size);
    if (!arch.gemma4 && !arch.latent && (arch.head_length_keys || model_.head_dim * model_.n_head != model_.n_embd)) {
      set("attention.key_length", model_.head_dim);
      set("attention.value_length", model_.head_dim);
    }
    if (arch.rope_dimension_key) set("rope.dimension_count", model_.head_dim);
  }

  // The tensors decide: fine-tuned models often have lost theirs. One layer is all that is published.
  void read_draft_layers() {
    const std::int64_t said = config_.int_or("mtp_num_hidden_layers", n_draft_found_, 0, 4096);
    const bool embeddings = config_.bool_or("mtp_use_dedicated_embeddings", false);
    if (n_draft_found_ == 0) {
      if (said == 0) return;
      model_.notices.push_back(
          concat(config_.where(), ": mtp_num_hidden_layers: ", said,
                 ", but there are no tensors mtp.*: no layer for guessing tokens ahead is written"));
    } else if (n_draft_found_ == 1 && said == 1 && !embeddings) {
      model_.n_draft_layer = 1;
      model_.notices.push_back(concat("mtp.* (a layer for guessing tokens ahead) is written as blk.", model_.n_layer,
                                      ", as other engines expect it; rowmax does not use it"));
    } else {
      model_.notices.push_back(concat("mtp.* is left out: expected one layer without embeddings of its own, found ",
                                      n_draft_found_, " layers, mtp_num_hidden_layers ", said,
                                      embeddings ? ", mtp_use_dedicated_embeddings true" : ""));
    }
  }

  void read_experts() {
    const HfExperts experts = model_.architecture->experts;
    if (experts == HfExperts::kNone) return;
    if (experts == HfExperts::kBySoftmax || experts == HfExperts::kBySigmoid) {
      return read_hf_grouped_experts(config_, model_, keys_);
    }
    const char* name = config_.has("num_experts") ? "num_experts" : "num_local_experts";
    const std::int64_t n = config_.require_int(name, 1, kMaxExperts);
    if (config_.int_or("num_local_experts", n, 1, kMaxExperts) != n) {
      config_.fail(ErrorCode::kCorrupt, "num_local_experts",
                   concat("expected num_experts ", n, ", found ", config_.find("num_local_experts").text()));
    }
    set("expert_count", n);
    set("expert_used_count", config_.require_int("num_experts_per_tok", 1, n));
    if (experts == HfExperts::kLimited) return read_limited_experts();
    if (experts == HfExperts::kBiased) return read_lfm2_experts(config_, model_, keys_);
    set("expert_feed_forward_length", config_.require_int("moe_intermediate_size", 1, kMaxWidth));
    if (experts == HfExperts::kShared) {  // whose class always divides by the sum, and has experts in every layer
      return set("expert_shared_feed_forward_length",
                 config_.require_int("shared_expert_intermediate_size", 1, kMaxWidth));
    }
    if (!config_.bool_or("norm_topk_prob", false)) {
      keys_.set_bool(key("expert_weights_norm"), false);
      model_.notices.push_back(concat(config_.where(), ": norm_topk_prob: false is written as ",
                                      key("expert_weights_norm"), ", which other engines may not read"));
    }
    if (config_.int_or("decoder_sparse_step", 1, 0, 1 << 20) != 1) {
      config_.fail(ErrorCode::kUnsupported, "decoder_sparse_step",
                   concat("expected 1 (experts in every layer), found ", config_.find("decoder_sparse_step").text()));
    }
    if (const Json dense = config_.find("mlp_only_layers"); dense && (!dense.is_array() || dense.size() > 0)) {
      config_.fail(ErrorCode::kUnsupported, "mlp_only_layers",
                   concat("expected none (experts in every layer), found ", dense.text()));
    }
  }

  // Whose class has experts in every layer, and softmax over the chosen ones.
  void read_limited_experts() {
    set("expert_feed_forward_length", config_.require_int("intermediate_size", 1, kMaxWidth));
    for (const auto& [name, usual] : {std::pair{"swiglu_alpha", 1.702}, std::pair{"swiglu_limit", 7.0}}) {
      if (config_.number_or(name, usual, 0, 1e6) == usual) continue;
      config_.fail(ErrorCode::kUnsupported, name,
                   concat("expected ", number_text(usual), ", found ", config_.find(name).text()));
    }
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
    if (!found && model_.architecture->exact_yarn) {
      return config_.fail(ErrorCode::kUnsupported, "rope_parameters",
                          "expected YaRN's numbers, which the class would imply");
    }
    JsonReader rope = found ? JsonReader(found, where) : JsonReader::empty(where);
    if (model_.architecture->tempered && !found) {
      return config_.fail(ErrorCode::kCorrupt, "rope_parameters", "is missing, expected an object");
    }
    const double outer = config_.number_or("rope_theta", model_.architecture->rope_base, 1, 1e12);
    const double base = rope.number_or("rope_theta", outer, 1, 1e12);
    const std::string type = rope.string_or("rope_type", rope.string_or("type", "default"));
    if (config_.number_or("theta", base, 1, 1e12) != base) {  // LFM2's older name, which transformers read once
      config_.fail(ErrorCode::kUnsupported, "theta", concat("expected rope_theta ", number_text(base)));
    }
    if (model_.architecture->alpha && type == "dynamic") return set_alpha(rope, base);
    if (!model_.architecture->implied_base || base != model_.architecture->rope_base) set("rope.freq_base", base);
    const double usual = model_.architecture->hybrid ? 0.25 : 1;
    const double part =
        rope.number_or("partial_rotary_factor", config_.number_or("partial_rotary_factor", usual, 0, 1), 0, 1);
    n_rot_ = model_.head_dim;
    if (model_.architecture->hybrid || model_.architecture->partial_rotary) {
      n_rot_ = static_cast<std::int64_t>(static_cast<double>(model_.head_dim) * part);
      set_turned(rope);
    } else if (part != 1) {
      rope.fail(ErrorCode::kUnsupported, "partial_rotary_factor", "expected 1");
    } else if (rope.has("mrope_section")) {
      rope.fail(ErrorCode::kUnsupported, "mrope_section", "positions have three parts");
    }
    if (!rope.failed()) read_scaling(rope, type, base);
    if (!rope.status().ok()) config_.fail(rope.status().error());
  }

  // Hunyuan's "dynamic" is none: base * alpha^(d / (d - 2)), whatever the length, and the rest of it is not read.
  void set_alpha(JsonReader& rope, double base) {
    const double alpha = rope.require_number("alpha", 1e-3, 1e9), d = static_cast<double>(model_.head_dim);
    if (model_.head_dim <= 2) config_.fail(ErrorCode::kUnsupported, "head_dim", "expected more than 2");
    if (!rope.status().ok()) return config_.fail(rope.status().error());
    if (!config_.failed()) set("rope.freq_base", base * base::pow_f64(alpha, d / (d - 2)));
  }

  // The dimensions of a head that turn, and how images share their pairs: text turns all of them by one position, as
  // transformers does whatever mrope_interleaved says, but files must name the sections.
  void set_turned(JsonReader& rope) {
    if (n_rot_ < 2 || n_rot_ % 2 != 0) {
      rope.fail(ErrorCode::kUnsupported, "partial_rotary_factor",
                concat("expected an even number of head_dim ", model_.head_dim, "'s dimensions, found ", n_rot_));
    }
    set("rope.dimension_count", n_rot_);
    if (!model_.architecture->hybrid) return;
    const std::int64_t n_pair = n_rot_ / 2;
    std::vector<std::int32_t> sections;
    for (std::int64_t i = 0; i < 3; ++i) sections.push_back(static_cast<std::int32_t>((n_pair + 2 - i) / 3));
    if (const Json found = rope.find("mrope_section")) {
      sections.clear();
      for (const Json& section : found.elements()) {
        const std::optional<std::int64_t> n = section.as_int();
        if (n && *n >= 0 && *n <= n_pair) sections.push_back(static_cast<std::int32_t>(*n));
      }
      if (!found.is_array() || found.size() != 3 || sections.size() != 3) {
        rope.fail(ErrorCode::kCorrupt, "mrope_section",
                  concat("expected three numbers from 0 to ", n_pair, ", found ", found.text()));
      }
    }
    sections.push_back(0);
    keys_.set_int32s(key("rope.dimension_sections"), sections);
  }

  void read_scaling(JsonReader& rope, const std::string& type, double base) {
    if (model_.architecture->tempered && type != "yarn") {
      return rope.fail(ErrorCode::kUnsupported, "rope_type", concat("expected yarn, found ", quote(type)));
    }
    if (model_.architecture->long_rope) return read_long_rope(rope, type);
    if (model_.architecture->scales == HfScales::kMiniCpm && type == "longrope") {
      rope.require_int("original_max_position_embeddings", 1, kMaxContext);
      keys_.set_string(key("rope.scaling.type"), "longrope");
      return read_long_rope(rope, type);
    }
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
    const bool tempered = model_.architecture->tempered, latent = model_.architecture->latent;
    for (const char* unknown : {"mscale", "mscale_all_dim"}) {
      if (rope.has(unknown) && !tempered && !latent) rope.fail(ErrorCode::kUnsupported, unknown, "is not supported");
    }
    const bool truncated = !model_.architecture->exact_yarn;
    if (rope.bool_or("truncate", true) != truncated) {
      rope.fail(ErrorCode::kUnsupported, "truncate", truncated ? "expected true" : "expected false");
    }
    keys_.set_string(key("rope.scaling.type"), "yarn");
    set("rope.scaling.factor", factor);
    set("rope.scaling.original_context_length", rope.require_int("original_max_position_embeddings", 1, kMaxContext));
    if (rope.has("beta_fast")) set("rope.scaling.yarn_beta_fast", rope.number_or("beta_fast", 32, 1e-3, 1e6));
    if (rope.has("beta_slow")) set("rope.scaling.yarn_beta_slow", rope.number_or("beta_slow", 1, 1e-3, 1e6));
    if (latent) return read_mscale(rope);
    // transformers' factor replaces the paper's magnitude, GGUF's multiplies it.
    const auto magnitude_of = [&](double scale) { return 0.1 * scale * base::log_f64(factor) + 1.0; };
    const double scale = rope.number_or("mscale", 0, 0, 1e3), of_all = rope.number_or("mscale_all_dim", 0, 0, 1e3);
    if (of_all > 0) set("rope.scaling.yarn_log_multiplier", of_all);
    const double usual = magnitude_of(1) / magnitude_of(of_all);
    const double meant = scale > 0 && of_all > 0 ? magnitude_of(scale) / magnitude_of(of_all) : magnitude_of(1);
    const double magnitude = rope.number_or("attention_factor", meant, 1e-3, 1e3);
    if (rope.has("attention_factor") || magnitude != usual) set("rope.scaling.attn_factor", magnitude / usual);
    if (!tempered) return;
    const double temperature = rope.require_number("llama_4_scaling_beta", 0, 1e3);
    if (temperature > 0) set("attention.temperature_scale", temperature);
  }

  // Files have a tenth of mscale_all_dim, and mscale is taken to be the same: cos and sin then have no magnitude, the
  // scores its square.
  void read_mscale(JsonReader& rope) {
    const double scale = rope.number_or("mscale", 0, 0, 1e3), all = rope.number_or("mscale_all_dim", 0, 0, 1e3);
    if (scale != all) {
      rope.fail(ErrorCode::kUnsupported, "mscale",
                concat("expected mscale_all_dim ", number_text(all), ", found ", number_text(scale)));
    }
    if (rope.has("attention_factor")) rope.fail(ErrorCode::kUnsupported, "attention_factor", "expected none");
    if (all > 0) set("rope.scaling.yarn_log_multiplier", 0.1 * all);
  }

  // Files of such models say what the context was before, whether the frequencies are divided or not.
  void read_long_rope(JsonReader& rope, const std::string& type) {
    const std::int64_t inner = rope.int_or("original_max_position_embeddings", 0, 1, kMaxContext);
    const std::int64_t original =
        config_.int_or("original_max_position_embeddings", inner != 0 ? inner : 4096, 1, kMaxContext);
    if (inner != 0 && inner != original) {
      rope.fail(ErrorCode::kCorrupt, "original_max_position_embeddings",
                concat("expected ", original, " as beside it, found ", inner));
    }
    set("rope.scaling.original_context_length", original);
    if (type == "default") return;
    if (type != "longrope" && type != "su" && type != "yarn") {  // the older names of the same
      return rope.fail(ErrorCode::kUnsupported, "rope_type",
                       concat("expected default or longrope, found ", quote(type)));
    }
    const double factor =
        rope.number_or("factor", static_cast<double>(context_) / static_cast<double>(original), 1e-3, 1e6);
    const double usual = factor <= 1 || original == 1
                             ? 1
                             : std::sqrt(1 + base::log_f64(factor) / base::log_f64(static_cast<double>(original)));
    set("rope.scaling.attn_factor", rope.number_or("attention_factor", usual, 1e-3, 1e3));
    for (const char* name : {"short_factor", "long_factor"}) {
      std::vector<float> factors;
      for (const Json& each : rope.find(name).elements()) {
        factors.push_back(static_cast<float>(each.as_double()));
        if (factors.back() > 0 && std::isfinite(factors.back())) continue;
        return rope.fail(ErrorCode::kCorrupt, name, concat("expected numbers above 0, found ", each.text()));
      }
      if (std::ssize(factors) != n_rot_ / 2) {
        return rope.fail(ErrorCode::kCorrupt, name,
                         concat("expected ", n_rot_ / 2, " numbers, found ", std::ssize(factors)));
      }
      model_.rope_factors.emplace_back(*name == 's' ? "rope_factors_short.weight" : "rope_factors_long.weight",
                                       std::move(factors));
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
    std::vector<float> factors;
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
      factors.push_back(static_cast<float>(divisor));
    }
    model_.rope_factors.emplace_back("rope_freqs.weight", std::move(factors));
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
    read_scales();
    if (model_.architecture->gemma4) return;
    if (model_.architecture->gemma) return read_gemma();
    if (model_.architecture->hybrid) return read_hybrid();
    if (model_.architecture->lfm2) return read_lfm2_layers(config_, model_, keys_);
    if (model_.architecture->window_pattern > 0) {
      set("attention.sliding_window", config_.require_int("sliding_window", 1, kMaxContext));
      return read_pattern(model_.architecture->window_pattern);
    }
    if (model_.architecture->window_used) read_window();
    if (model_.architecture->nope) read_nope();
    if (model_.architecture->window_key) {
      set("attention.sliding_window", config_.int_or("sliding_window", 0, 1, kMaxContext));
    }
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
    const Json both_ways = config_.find("use_bidirectional_attention");
    const bool of_images = model_.architecture->gemma4 && both_ways.is("vision");
    if (both_ways && !of_images && !(both_ways.is_bool() && !both_ways.as_bool())) {
      config_.fail(
          ErrorCode::kUnsupported, "use_bidirectional_attention",
          concat("expected ", model_.architecture->gemma4 ? "null or vision" : "false", ", found ", both_ways.text()));
    }
    const bool all = config_.bool_or("attention_bias", false) && model_.architecture->biases == Biases::kConfig;
    if (model_.architecture->biases == Biases::kAll && !config_.bool_or("attention_bias", true)) {
      config_.fail(ErrorCode::kUnsupported, "attention_bias", "expected true");
    }
    model_.input_biases = all || model_.architecture->biases == Biases::kInputs;
    model_.output_bias = all;
    if (config_.bool_or("mlp_bias", false) && model_.architecture->mlp_bias) {
      config_.fail(ErrorCode::kUnsupported, "mlp_bias", "expected false");
    }
  }

  // Which layers turn q and k. Every fourth does not, or it is said in a key that other engines have for other models.
  void read_nope() {
    const std::int64_t interval = config_.int_or("no_rope_layer_interval", 4, 1, 4096);
    std::vector<bool> turns, usual;
    for (std::int64_t layer = 1; layer <= model_.n_layer; ++layer) {
      turns.push_back(layer % interval != 0);
      usual.push_back(layer % 4 != 0);
    }
    if (const Json listed = config_.find("no_rope_layers")) {
      if (!listed.is_array() || static_cast<std::int64_t>(listed.size()) < model_.n_layer) {
        return config_.fail(ErrorCode::kCorrupt, "no_rope_layers",
                            concat("expected ", model_.n_layer, " entries or more, found ", listed.text()));
      }
      for (std::size_t i = 0; i < turns.size(); ++i) {
        const std::optional<std::int64_t> entry = listed.at(i).as_int();
        if (!entry) {
          return config_.fail(ErrorCode::kCorrupt, "no_rope_layers",
                              concat("expected numbers, found ", listed.at(i).text()));
        }
        turns[i] = *entry != 0;
      }
    }
    if (turns == usual) return;
    keys_.set_bools(key("attention.rope_pattern"), turns);
    model_.notices.push_back(concat(config_.where(),
                                    ": layers other than every fourth do not turn q and k: written as ",
                                    key("attention.rope_pattern"), ", which other engines may not read"));
  }

  void read_scales() {
    const HfScales scales = model_.architecture->scales;
    const auto scale = [&](const char* field) { return config_.number_or(field, 1, 1e-6, 1e6); };
    if (scales == HfScales::kMiniCpm) {
      set("embedding_scale", scale("scale_emb"));
      set("residual_scale", scale("scale_depth") / std::sqrt(static_cast<double>(model_.n_layer)));
      set("logit_scale", static_cast<double>(model_.n_embd) / scale("dim_model_base"));
    }
    if (scales != HfScales::kGranite) return;
    set("attention.scale", scale("attention_multiplier"));
    set("embedding_scale", scale("embedding_multiplier"));
    set("residual_scale", scale("residual_multiplier"));
    set("logit_scale", scale("logits_scaling"));
  }

  void read_hybrid() {
    if (!config_.bool_or("attn_output_gate", true)) {
      config_.fail(ErrorCode::kUnsupported, "attn_output_gate", "expected true");
    }
    const std::int64_t key_dim = config_.int_or("linear_key_head_dim", 128, 1, kMaxDeltaDim);
    const std::int64_t value_dim = config_.int_or("linear_value_head_dim", 128, 1, kMaxDeltaDim);
    const std::int64_t n_key = config_.int_or("linear_num_key_heads", 16, 1, kMaxDeltaHeads);
    const std::int64_t n_value = config_.int_or("linear_num_value_heads", 32, 1, kMaxDeltaHeads);
    if (n_value % n_key != 0) {
      config_.fail(ErrorCode::kCorrupt, "linear_num_value_heads",
                   concat("expected a multiple of linear_num_key_heads ", n_key, ", found ", n_value));
    }
    set("ssm.conv_kernel", config_.int_or("linear_conv_kernel_dim", 4, 2, 8));
    set("ssm.state_size", key_dim);
    set("ssm.group_count", n_key);
    set("ssm.time_step_rank", n_value);
    set("ssm.inner_size", n_value * value_dim);
    const std::int64_t interval = config_.int_or("full_attention_interval", 4, 1, 4096);
    set("full_attention_interval", interval);
    std::vector<bool> recurrent;
    for (std::int64_t layer = 1; layer <= model_.n_layer; ++layer) recurrent.push_back(layer % interval != 0);
    if (const Json types = config_.find("layer_types")) {
      if (!types.is_array() || static_cast<std::int64_t>(types.size()) != model_.n_layer) {
        return config_.fail(ErrorCode::kCorrupt, "layer_types",
                            concat("expected ", model_.n_layer, " entries, found ", types.size()));
      }
      recurrent.clear();
      for (const Json& type : types.elements()) {
        recurrent.push_back(type.is("linear_attention"));
        if (recurrent.back() || type.is("full_attention")) continue;
        return config_.fail(ErrorCode::kUnsupported, "layer_types",
                            concat("expected linear_attention or full_attention, found ", type.text()));
      }
    }
    recurrent.resize(static_cast<std::size_t>(model_.n_layer + model_.n_draft_layer), false);
    keys_.set_bools(key("attention.recurrent_layers"), recurrent);
    if (model_.n_draft_layer > 0) set("nextn_predict_layers", model_.n_draft_layer);
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
    read_pattern(model_.architecture->window_pattern);
  }

  // Of layers without a window: what stands beside the fields of all layers, or in per_layer_config for each.
  std::int64_t global_or(std::string_view name, std::string_view field, std::int64_t usual,
                         const std::vector<bool>& local) {
    const Json layers = config_.find("per_layer_config");
    if (!layers) return config_.int_or(name, usual, 1, 65536);
    std::int64_t value = 0;
    for (std::size_t i = 0; i < local.size(); ++i) {
      const Json layer = layers.find(std::to_string(i));
      const std::int64_t own = layer.find(field).as_int().value_or(0);
      if (local[i] ? !layer.is_null() : value != 0 && own != value) {
        config_.fail(
            ErrorCode::kUnsupported, "per_layer_config",
            concat("expected the same ", field, " in all layers without a window alone, found ", layers.text()));
      }
      if (!local[i]) value = own;
    }
    return value != 0 ? value : usual;
  }

  std::vector<bool> read_gemma4_layers() {
    std::vector<bool> local;
    for (std::int64_t layer = 1; layer <= model_.n_layer; ++layer) local.push_back(layer % 6 != 0);
    if (const Json types = config_.find("layer_types")) {
      local.clear();
      for (const Json& type : types.elements()) {
        local.push_back(type.is("sliding_attention"));
        if (local.back() || type.is("full_attention")) continue;
        config_.fail(ErrorCode::kUnsupported, "layer_types",
                     concat("expected sliding_attention or full_attention, found ", type.text()));
      }
    }
    if (std::ssize(local) != model_.n_layer) {
      config_.fail(ErrorCode::kCorrupt, "layer_types", concat("expected ", model_.n_layer, " entries"));
      local.resize(static_cast<std::size_t>(model_.n_layer));
    }
    local.back() = false;  // as transformers has it
    keys_.set_bools(key("attention.sliding_window_pattern"), local);
    return local;
  }

  void read_gemma4() {
    const std::vector<bool> local = read_gemma4_layers();
    const std::int64_t head_dim = global_or("global_head_dim", "head_dim", 512, local);
    set("attention.sliding_window", config_.require_int("sliding_window", 1, kMaxContext));
    set("attention.key_length", head_dim);
    set("attention.value_length", head_dim);
    set("attention.key_length_swa", model_.head_dim);
    set("attention.value_length_swa", model_.head_dim);
    model_.global_v_is_k = config_.bool_or("attention_k_eq_v", false);
    const std::int64_t n_kv_head = model_.n_kv_head;
    const std::int64_t n_global = model_.global_v_is_k || config_.has("per_layer_config")
                                      ? global_or("num_global_key_value_heads", "num_key_value_heads", n_kv_head, local)
                                      : n_kv_head;
    if (n_global != n_kv_head)
      set_layers("attention.head_count_kv", [&](std::size_t i) { return local[i] ? n_kv_head : n_global; });
    model_.n_shared_kv = config_.int_or("num_kv_shared_layers", 0, 0, model_.n_layer - 1);
    set("attention.shared_kv_layers", model_.n_shared_kv);
    const std::int64_t n_ff = config_.require_int("intermediate_size", 1, kMaxWidth / 2);
    if (config_.bool_or("use_double_wide_mlp", false) && model_.n_shared_kv > 0) {
      const auto first = static_cast<std::size_t>(model_.n_layer - model_.n_shared_kv);
      set_layers("feed_forward_length", [&](std::size_t i) { return i < first ? n_ff : 2 * n_ff; });
    }
    set("embedding_length_per_layer_input", config_.int_or("hidden_size_per_layer_input", 256, 0, 1 << 16));
    if (config_.int_or("vocab_size_per_layer_input", 262144, 1, 1 << 24) != model_.vocab_size &&
        config_.int_or("hidden_size_per_layer_input", 256, 0, 1 << 16) > 0) {
      config_.fail(ErrorCode::kUnsupported, "vocab_size_per_layer_input",
                   concat("expected vocab_size ", model_.vocab_size));
    }
    if (config_.bool_or("enable_moe_block", false)) {  // in every layer, beside the FFN
      const std::int64_t n = config_.require_int("num_experts", 1, kMaxExperts);
      set("expert_count", n);
      set("expert_used_count", config_.require_int("top_k_experts", 1, n));
      set("expert_feed_forward_length", config_.require_int("moe_intermediate_size", 1, kMaxWidth));
    }
    const double cap = config_.number_or("final_logit_softcapping", 0, 0, 1e6);
    if (cap != 0) set("final_logit_softcapping", cap);
    read_gemma4_rope(head_dim);
  }

  template <class Value>
  void set_layers(std::string_view name, Value value) {
    std::vector<std::int32_t> values;
    keys_.remove(key(name));  // of all layers
    for (std::size_t i = 0; i < static_cast<std::size_t>(model_.n_layer); ++i) {
      values.push_back(static_cast<std::int32_t>(value(i)));
    }
    keys_.set_int32s(key(name), values);
  }

  // Layers without a window turn a part of each head, by the frequencies of the whole: the others' divisors are so large
  // that nothing turns, as llama.cpp's converter has it.
  void read_gemma4_rope(std::int64_t head_dim) {
    const std::string where = concat(config_.where(), ": rope_parameters");
    const Json all = config_.find("rope_parameters").find("full_attention");
    const Json window = config_.find("rope_parameters").find("sliding_attention");
    JsonReader global = all ? JsonReader(all, where + ".full_attention") : JsonReader::empty(where);
    JsonReader local = window ? JsonReader(window, where + ".sliding_attention") : JsonReader::empty(where);
    if (global.string_or("rope_type", "proportional") != "proportional" ||
        global.number_or("factor", 1, 1e-3, 1e6) != 1) {
      global.fail(ErrorCode::kUnsupported, "rope_type", "expected 'proportional' without a factor");
    }
    if (local.string_or("rope_type", "default") != "default" ||
        local.number_or("partial_rotary_factor", 1, 0, 1) != 1) {
      local.fail(ErrorCode::kUnsupported, "rope_type", "expected 'default' of whole heads");
    }
    set("rope.freq_base", global.number_or("rope_theta", 1e6, 1, 1e12));
    set("rope.freq_base_swa", local.number_or("rope_theta", 10000, 1, 1e12));
    set("rope.dimension_count", head_dim);
    set("rope.dimension_count_swa", model_.head_dim);
    const double part = global.number_or("partial_rotary_factor", all ? 1 : 0.25, 0, 1);
    const auto n_turned = static_cast<std::size_t>(part * static_cast<double>(head_dim) / 2);
    std::vector<float> factors(static_cast<std::size_t>(head_dim / 2), 1e30f);
    std::fill_n(factors.begin(), n_turned, 1.0f);
    model_.rope_factors.emplace_back("rope_freqs.weight", std::move(factors));
    for (JsonReader* rope : {&global, &local}) {
      if (!rope->status().ok()) config_.fail(rope->status().error());
    }
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

  Json whole_;         // config.json
  JsonReader config_;  // the text model's object
  std::int64_t n_draft_found_;
  bool master_weights_;
  GgufWriter& keys_;
  HfModel model_;
  std::int64_t context_ = 0;
  std::int64_t n_rot_ = 0;  // dimensions of a head that turn
};

}  // namespace

Result<HfModel> read_hf_config(const Json& config, const std::string& path, const HfFound& found, bool master_weights,
                               GgufWriter& keys) {
  return ConfigConverter(config, path, found, master_weights, keys).run();
}

}  // namespace rowmax::engine
