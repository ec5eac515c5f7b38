#include "engine/convert/hf_latent.h"

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>

#include "engine/io/text.h"

namespace rowmax::engine {
namespace {

constexpr std::int64_t kMaxHeadDim = 576, kMaxPart = 2048, kMaxDraftLayers = 64;

struct Keys {
  const HfModel& model;
  GgufWriter& keys;

  std::string name(std::string_view key) const { return concat(model.architecture->name, ".", key); }
  void set(std::string_view key, std::int64_t value) const {
    keys.set_uint32(name(key), static_cast<std::uint32_t>(value));
  }
};

// How many layers have a dense FFN in front of those with experts.
std::int64_t read_dense_layers(JsonReader& config, const HfModel& model) {
  if (config.int_or("moe_layer_freq", 1, 0, kMaxWidth) != 1) {
    config.fail(ErrorCode::kUnsupported, "moe_layer_freq",
                concat("expected 1, found ", config.find("moe_layer_freq").text()));
  }
  const std::int64_t n = config.int_or("first_k_dense_replace",
                                       std::min(model.architecture->default_dense, model.n_layer), 0, model.n_layer);
  const Json types = config.find("mlp_layer_types");
  if (!types) return n;
  std::int64_t n_dense = 0, n_type = 0;
  for (const Json& type : types.elements()) {
    const bool dense = type.is("dense");
    if ((!dense && !type.is("sparse")) || (dense && n_dense < n_type)) {
      config.fail(ErrorCode::kUnsupported, "mlp_layer_types",
                  concat("expected dense in the first layers and sparse behind them, found ", types.text()));
      return n;
    }
    ++n_type;
    n_dense += dense ? 1 : 0;
  }
  if (n_type != model.n_layer) {
    config.fail(ErrorCode::kCorrupt, "mlp_layer_types", concat("expected ", model.n_layer, " entries, found ", n_type));
  }
  return n_dense;
}

// Absent, or one of these.
void expect_text(JsonReader& config, const char* name, std::initializer_list<std::string_view> expected) {
  const std::string found = config.string_or(name, *expected.begin());
  if (std::ranges::find(expected, found) != expected.end()) return;
  std::string known;
  for (const std::string_view each : expected) known += concat(known.empty() ? "" : " or ", quote(each));
  config.fail(ErrorCode::kUnsupported, name, concat("expected ", known, ", found ", quote(found)));
}

}  // namespace

void read_hf_latent(JsonReader& config, HfModel& model, GgufWriter& keys) {
  const Keys out{model, keys};
  const std::int64_t rank = config.require_int("kv_lora_rank", 1, kMaxHeadDim - 2);
  const std::int64_t turned = config.require_int("qk_rope_head_dim", 2, kMaxHeadDim - rank);
  const std::int64_t nope = config.require_int("qk_nope_head_dim", 1, kMaxPart);
  if (!config.names("q_lora_rank")) config.fail(ErrorCode::kCorrupt, "q_lora_rank", "is missing");
  const std::int64_t q_rank = config.int_or("q_lora_rank", 0, 1, kMaxWidth);  // null: one product
  if (model.n_kv_head != model.n_head) {
    config.fail(ErrorCode::kUnsupported, "num_key_value_heads",
                concat("expected num_attention_heads ", model.n_head, ", found ", model.n_kv_head));
  }
  if (config.bool_or("attention_bias", false)) {
    config.fail(ErrorCode::kUnsupported, "attention_bias", "expected false");
  }
  if (!config.bool_or("rope_interleave", true)) {
    config.fail(ErrorCode::kUnsupported, "rope_interleave", "expected true");
  }
  model.n_kv_head = 1;
  model.head_dim = turned;
  if (q_rank > 0) out.set("attention.q_lora_rank", q_rank);
  out.set("attention.kv_lora_rank", rank);
  out.set("attention.key_length", rank + turned);
  out.set("attention.value_length", rank);
  out.set("attention.key_length_mla", nope + turned);
  out.set("attention.value_length_mla", config.require_int("v_head_dim", 1, kMaxPart));
  const std::int64_t other = config.int_or("num_mtp_layers", 0, 0, kMaxDraftLayers);  // transformers' name for it
  model.n_left_out = config.int_or("num_nextn_predict_layers", other, 0, kMaxDraftLayers);
}

void read_hf_grouped_experts(JsonReader& config, HfModel& model, GgufWriter& keys) {
  const Keys out{model, keys};
  const bool sigmoid = model.architecture->experts == HfExperts::kBySigmoid;
  const std::int64_t n_dense = read_dense_layers(config, model);
  const std::int64_t n = config.require_int("n_routed_experts", 1, kMaxExperts);
  const std::int64_t n_ff = config.require_int("moe_intermediate_size", 1, kMaxWidth);
  const std::int64_t n_shared = config.int_or("n_shared_experts", 0, 0, kMaxWidth / n_ff);
  if (sigmoid) {
    expect_text(config, "scoring_func", {"sigmoid"});
    expect_text(config, "topk_method", {"noaux_tc"});
  } else {
    expect_text(config, "scoring_func", {"softmax"});
    expect_text(config, "topk_method", {"greedy", "group_limited_greedy"});
  }
  const bool renormalise = config.bool_or("norm_topk_prob", sigmoid);
  if (renormalise && !sigmoid) {  // transformers' class does not, DeepSeek's own does in place of the scale
    config.fail(ErrorCode::kUnsupported, "norm_topk_prob", "expected false");
  }
  out.set("leading_dense_block_count", n_dense);
  out.set("expert_count", n);
  out.set("expert_used_count", config.require_int("num_experts_per_tok", 1, n));
  out.set("expert_feed_forward_length", n_ff);
  out.set("expert_shared_count", n_shared);
  out.set("expert_gating_func", sigmoid ? 2 : 1);
  keys.set_float32(out.name("expert_weights_scale"),
                   static_cast<float>(config.require_number("routed_scaling_factor", 1e-6, 1e6)));
  if (renormalise) keys.set_bool(out.name("expert_weights_norm"), true);
  if (!sigmoid && config.string_or("topk_method", "greedy") == "greedy") return;
  const std::int64_t n_group = config.require_int("n_group", 1, n);
  out.set("expert_group_count", n_group);
  out.set("expert_group_used_count", config.require_int("topk_group", 1, n_group));
  if (n_group == 1 || sigmoid) return;
  model.notices.push_back(
      concat(config.where(),
             ": groups of experts count as much as their best one: other engines may take the sum of "
             "two"));
}

}  // namespace rowmax::engine
