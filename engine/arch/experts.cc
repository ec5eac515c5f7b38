#include <string>

#include "engine/arch/architecture.h"

namespace rowmax::engine {
namespace {

// Facts that files may state and that nothing here computes: another value than the usual one is refused.
void expect_usual(KeyReader& keys, const char* key, std::int64_t usual, const char* meaning) {
  const std::int64_t found = keys.int_or(key, usual, 0, std::int64_t{1} << 31, nullptr, "usual");
  if (found == usual || (found == 0 && usual < 2)) return;  // 0 is none, or what files of softmax may say
  keys.fail(ErrorCode::kUnsupported, "key '" + keys.full_key(key) + "': expected " + std::to_string(usual) + " (" +
                                         meaning + "), found " + std::to_string(found));
}

}  // namespace

void read_experts(KeyReader& keys, ModelSpec& spec, const ExpertsOf& experts) {
  if (keys.failed()) return;
  FfnSpec ffn;
  ffn.kind = FfnKind::kExperts;
  ffn.n_expert = keys.require_int("expert_count", 1, kMaxExperts, "expert_count");
  ffn.n_used = keys.require_int("expert_used_count", 1, kMaxExperts, "expert_used_count");
  if (keys.failed()) return;
  if (ffn.n_used > ffn.n_expert) {
    return keys.fail(ErrorCode::kCorrupt, "key '" + keys.full_key("expert_used_count") + "': expected at most " +
                                              std::to_string(ffn.n_expert) + " (expert_count), found " +
                                              std::to_string(ffn.n_used));
  }
  constexpr const char *kDense = "leading_dense_block_count", *kShared = "expert_shared_feed_forward_length";
  const std::int64_t n_dense =
      experts.dense_first
          ? keys.int_or(kDense, 0, 0, spec.shape.n_layer, "leading_dense_layers", keys.no_key(kDense), "block_count")
          : 0;
  if (n_dense > 0 && spec.shape.n_ff == 0) keys.require_int("feed_forward_length", 1, kMaxWidth, nullptr, kDense);
  // Files of older converters: the widths add up to the dense FFN's.
  const std::int64_t split = experts.dense_first ? 0 : spec.shape.n_ff / ffn.n_used;
  ffn.n_ff = split > 0 ? keys.int_or("expert_feed_forward_length", split, 1, kMaxWidth, "expert_feed_forward_length",
                                     "default: feed_forward_length / expert_used_count")
                       : keys.require_int("expert_feed_forward_length", 1, kMaxWidth, "expert_feed_forward_length");
  if (experts.shared) {
    ffn.n_shared = spec.shape.n_ff == 0 ? keys.require_int(kShared, 1, kMaxWidth, "expert_shared_length")
                                        : keys.int_or(kShared, spec.shape.n_ff, 1, kMaxWidth, "expert_shared_length",
                                                      "default: feed_forward_length");
  }
  ffn.renormalise = keys.bool_or("expert_weights_norm", true);
  ffn.sum_offset = experts.sum_offset;
  ffn.expert_gate = experts.gate;
  ffn.choice_bias = experts.choice_bias;
  const bool softmax = ffn.expert_gate == ExpertGate::kSoftmax;
  const char* const gate = softmax ? "softmax" : "sigmoid";
  keys.fact("expert_weights", std::string(gate) + (ffn.renormalise ? ", of the chosen ones renormalised" : ""),
            keys.has("expert_weights_norm") ? "key " + keys.full_key("expert_weights_norm")
                                            : "architecture " + spec.architecture);
  if (ffn.choice_bias) keys.fact("expert_choice_bias", "yes", "architecture " + spec.architecture);
  expect_usual(keys, "expert_gating_func", softmax ? 1 : 2, gate);
  expect_usual(keys, "expert_group_count", 1, "no groups");
  expect_usual(keys, "expert_group_used_count", 1, "no groups");
  if (!experts.dense_first) expect_usual(keys, "leading_dense_block_count", 0, "every FFN is a mixture of experts");
  expect_usual(keys, "interleave_moe_layer_step", 1, "every FFN is a mixture of experts");
  const double cap = keys.float_or("router_logit_softcapping", 0.0, 0.0, 1e6, nullptr, "default: none");
  if (cap > 0) {
    keys.fail(ErrorCode::kUnsupported, "key '" + keys.full_key("router_logit_softcapping") +
                                           "': expected 0 (logits of the router are not capped), found " +
                                           number_text(cap));
  }
  const double scale = keys.float_or("expert_weights_scale", 1.0, 0.0, 1e6,
                                     experts.scaled ? "expert_weights_scale" : nullptr, "default: none");
  if (experts.scaled && scale != 0.0) {
    ffn.expert_scale = static_cast<float>(scale);
  } else if (scale != 1.0 && scale != 0.0) {
    keys.fail(ErrorCode::kUnsupported,
              "key '" + keys.full_key("expert_weights_scale") + "': expected 1 (or 0), found " + number_text(scale));
  }
  if (n_dense == 0) spec.shape.n_ff = ffn.n_ff;
  for (std::size_t i = static_cast<std::size_t>(n_dense); i < spec.layers.size(); ++i) spec.layers[i].ffn = ffn;
}

}  // namespace rowmax::engine
