#include <string>

#include "engine/arch/architecture.h"

namespace rowmax::engine {
namespace {

constexpr std::int64_t kMaxWidth = 1 << 20, kMaxExperts = 1 << 16;

// Facts that files may state and that nothing here computes: another value than the usual one is refused.
void expect(KeyReader& keys, const char* key, std::int64_t usual, const char* meaning) {
  const std::int64_t found = keys.int_or(key, usual, 0, std::int64_t{1} << 31, nullptr, "usual");
  if (found == usual || found == 0) return;
  keys.fail(ErrorCode::kUnsupported, "key '" + keys.full_key(key) + "': expected " + std::to_string(usual) + " (" +
                                         meaning + "), found " + std::to_string(found));
}

}  // namespace

void read_experts(KeyReader& keys, ModelSpec& spec, bool shared) {
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
  // Files of older converters: the widths add up to the dense FFN's.
  const std::int64_t split = spec.shape.n_ff / ffn.n_used;
  ffn.n_ff = split > 0 ? keys.int_or("expert_feed_forward_length", split, 1, kMaxWidth, "expert_feed_forward_length",
                                     "default: feed_forward_length / expert_used_count")
                       : keys.require_int("expert_feed_forward_length", 1, kMaxWidth, "expert_feed_forward_length");
  if (shared) {
    ffn.n_shared = keys.has("expert_shared_feed_forward_length") || spec.shape.n_ff == 0
                       ? keys.require_int("expert_shared_feed_forward_length", 1, kMaxWidth, "expert_shared_length")
                       : spec.shape.n_ff;
  }
  ffn.renormalise = keys.bool_or("expert_weights_norm", true);
  keys.fact("expert_weights", ffn.renormalise ? "softmax, of the chosen ones renormalised" : "softmax",
            keys.has("expert_weights_norm") ? "key " + keys.full_key("expert_weights_norm")
                                            : "architecture " + spec.architecture);
  expect(keys, "expert_gating_func", 1, "softmax");
  expect(keys, "expert_group_count", 1, "no groups");
  expect(keys, "expert_group_used_count", 1, "no groups");
  expect(keys, "leading_dense_block_count", 0, "every FFN is a mixture of experts");
  expect(keys, "interleave_moe_layer_step", 1, "every FFN is a mixture of experts");
  const double cap = keys.float_or("router_logit_softcapping", 0.0, 0.0, 1e6, nullptr, "default: none");
  if (cap > 0) {
    keys.fail(ErrorCode::kUnsupported, "key '" + keys.full_key("router_logit_softcapping") +
                                           "': expected 0 (logits of the router are not capped), found " +
                                           number_text(cap));
  }
  const double scale = keys.float_or("expert_weights_scale", 1.0, 0.0, 1e6, nullptr, "default: none");
  if (scale != 1.0 && scale != 0.0) {
    keys.fail(ErrorCode::kUnsupported,
              "key '" + keys.full_key("expert_weights_scale") + "': expected 1 (or 0), found " + number_text(scale));
  }
  spec.shape.n_ff = ffn.n_ff;
  spec.for_layers([&](LayerSpec& layer) { layer.ffn = ffn; });
}

}  // namespace rowmax::engine
