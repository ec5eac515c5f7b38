// Source: transformers 5.24, models/lfm2 and models/lfm2_moe; older names from the folders as they are published.
#include "engine/convert/hf_lfm2.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "engine/io/text.h"

namespace rowmax::engine {
namespace {

std::string key_of(const HfModel& model, std::string_view name) { return concat(model.architecture->name, ".", name); }

// Which layers attend; the others are short convolutions. Empty: it failed.
std::vector<bool> attending(JsonReader& config, std::int64_t n_layer) {
  std::vector<bool> out(static_cast<std::size_t>(n_layer), true);
  if (const Json types = config.find("layer_types")) {
    out.clear();
    for (const Json& type : types.elements()) {
      out.push_back(type.is("full_attention"));
      if (out.back() || type.is("conv")) continue;
      config.fail(ErrorCode::kUnsupported, "layer_types",
                  concat("expected full_attention or conv, found ", type.text()));
      return {};
    }
    if (std::ssize(out) != n_layer) {
      config.fail(ErrorCode::kCorrupt, "layer_types",
                  concat("expected ", n_layer, " entries, found ", std::ssize(out)));
      return {};
    }
  } else if (const Json listed = config.find("full_attn_idxs")) {
    out.assign(out.size(), false);
    for (const Json& layer : listed.elements()) {
      const std::int64_t at = layer.as_int().value_or(-1);
      if (at < 0 || at >= n_layer) {
        config.fail(ErrorCode::kCorrupt, "full_attn_idxs",
                    concat("expected numbers below ", n_layer, ", found ", layer.text()));
        return {};
      }
      out[static_cast<std::size_t>(at)] = true;
    }
  }
  if (std::ranges::find(out, true) != out.end()) return out;
  config.fail(ErrorCode::kUnsupported, "layer_types", "expected full_attention in one layer or more");
  return {};
}

}  // namespace

// Two thirds of what is said, times a multiplier, rounded up to a multiple; the class with experts takes it as it is.
std::int64_t lfm2_ffn_width(JsonReader& config, const HfArchitecture& architecture) {
  const char* const name = config.has("block_ff_dim") ? "block_ff_dim" : "intermediate_size";
  const std::int64_t said = config.require_int(name, 1, kMaxWidth);
  if (architecture.experts != HfExperts::kNone || !config.bool_or("block_auto_adjust_ff_dim", true)) return said;
  std::int64_t width = 2 * said / 3;
  const bool is_null = config.names("block_ffn_dim_multiplier") && !config.has("block_ffn_dim_multiplier");
  if (!is_null) {
    const double multiplier = config.number_or("block_ffn_dim_multiplier", 1, 1e-3, 16);
    const std::int64_t step = config.int_or("block_multiple_of", 256, 1, kMaxWidth);
    width = static_cast<std::int64_t>(multiplier * static_cast<double>(width));
    width = (width + step - 1) / step * step;
  }
  if (width < 1) config.fail(ErrorCode::kCorrupt, name, concat("expected 2 or more, found ", said));
  return width;
}

void read_lfm2_layers(JsonReader& config, const HfModel& model, GgufWriter& keys) {
  const std::vector<bool> attends = attending(config, model.n_layer);
  std::vector<std::int32_t> kv_heads;
  for (const bool each : attends) kv_heads.push_back(each ? static_cast<std::int32_t>(model.n_kv_head) : 0);
  const std::string name = key_of(model, "attention.head_count_kv");
  keys.remove(name);  // of all layers
  keys.set_int32s(name, kv_heads);
  keys.set_uint32(key_of(model, "shortconv.l_cache"),
                  static_cast<std::uint32_t>(config.int_or("conv_L_cache", 3, 2, 8)));
  if (config.bool_or("conv_bias", false)) config.fail(ErrorCode::kUnsupported, "conv_bias", "expected false");
  if (config.has("sliding_window")) config.fail(ErrorCode::kUnsupported, "sliding_window", "expected null");
  // What older configurations say once more.
  const std::pair<const char*, std::int64_t> sizes[] = {{"block_dim", model.n_embd},
                                                        {"conv_dim", model.n_embd},
                                                        {"conv_dim_out", model.n_embd},
                                                        {"num_heads", model.n_head}};
  for (const auto& [field, size] : sizes) {
    if (config.int_or(field, size, 1, kMaxWidth) == size) continue;
    config.fail(ErrorCode::kUnsupported, field, concat("expected ", size, ", found ", config.find(field).text()));
  }
}

void read_lfm2_experts(JsonReader& config, HfModel& model, GgufWriter& keys) {
  const auto set = [&](std::string_view name, std::int64_t value) {
    keys.set_uint32(key_of(model, name), static_cast<std::uint32_t>(value));
  };
  set("expert_feed_forward_length", config.require_int("moe_intermediate_size", 1, kMaxWidth));
  set("leading_dense_block_count", config.int_or("num_dense_layers", 2, 0, model.n_layer));
  set("expert_gating_func", 2);  // sigmoid
  if (!config.bool_or("use_expert_bias", true)) {
    config.fail(ErrorCode::kUnsupported, "use_expert_bias", "expected true");
  }
  const auto tell = [&](const char* field, const std::string& key) {
    model.notices.push_back(concat(config.where(), ": ", field, ": ", config.find(field).text(), " is written as ", key,
                                   ", which other engines may not read"));
  };
  if (!config.bool_or("norm_topk_prob", true)) {
    const std::string key = key_of(model, "expert_weights_norm");
    keys.set_bool(key, false);
    tell("norm_topk_prob", key);
  }
  const double scale = config.number_or("routed_scaling_factor", 1, 1e-6, 1e6);
  if (scale == 1) return;
  const std::string key = key_of(model, "expert_weights_scale");
  keys.set_float32(key, static_cast<float>(scale));
  tell("routed_scaling_factor", key);
}

}  // namespace rowmax::engine
