// DeepSeek V2 and V3 (arXiv 2405.04434, 2412.19437) and what is built like them (GLM-4.7-Flash): attention over a latent
// (LatentSpec), adjacent RoPE with YaRN whose magnitude goes to the scores, the first layers' FFNs dense, the others'
// mixtures of experts by softmax or sigmoid, in groups, beside shared ones without a gate.
#include <cmath>
#include <string>
#include <vector>

#include "base/math/f64.h"
#include "engine/arch/architecture.h"

namespace rowmax::engine {
namespace {

constexpr std::int64_t kMaxHeadDim = 576;

void expect_derived(KeyReader& keys, const char* key, std::int64_t expected, const char* meaning) {
  const std::int64_t found = keys.int_or(key, expected, 0, kMaxWidth, nullptr, "follows from the others");
  if (keys.failed() || found == expected) return;
  keys.fail(ErrorCode::kCorrupt, "key '" + keys.full_key(key) + "': expected " + std::to_string(expected) + " (" +
                                     meaning + "), found " + std::to_string(found));
}

// Newer files describe the one K/V head that is remembered, and the heads themselves by keys of their own (_mla); older
// ones the heads alone.
LatentSpec read_latent(KeyReader& keys) {
  LatentSpec latent;
  latent.rank = keys.require_int("attention.kv_lora_rank", 1, kMaxHeadDim - 2, "kv_lora_rank");
  latent.rope_dim =
      keys.require_int("rope.dimension_count", 2, kMaxHeadDim - latent.rank, nullptr, "attention.kv_lora_rank");
  const bool newer = keys.has("attention.key_length_mla") || keys.has("attention.value_length_mla");
  const char* const qk = newer ? "attention.key_length_mla" : "attention.key_length";
  latent.nope_dim =
      keys.require_int(qk, latent.rope_dim + 1, 4096, "head_dim", "rope.dimension_count") - latent.rope_dim;
  latent.v_dim =
      keys.require_int(newer ? "attention.value_length_mla" : "attention.value_length", 1, 4096, "value_head_dim");
  latent.q_rank =
      keys.int_or("attention.q_lora_rank", 0, 0, kMaxWidth, "q_lora_rank", keys.no_key("attention.q_lora_rank"));
  if (keys.failed()) return latent;
  if (newer) {
    expect_derived(keys, "attention.key_length", latent.rank + latent.rope_dim,
                   "attention.kv_lora_rank + rope.dimension_count");
    expect_derived(keys, "attention.value_length", latent.rank, "attention.kv_lora_rank");
    expect_derived(keys, "attention.head_count_kv", 1, "one latent for all heads");
  } else {
    const std::int64_t n_head = keys.require_int("attention.head_count", 1, 65536, nullptr);
    expect_derived(keys, "attention.head_count_kv", n_head, "attention.head_count, in files without key_length_mla");
  }
  return latent;
}

// mscale_all_dim of the configurations: files have a tenth of it. 0: none.
double read_mscale(KeyReader& keys) {
  return 10 * keys.float_or("rope.scaling.yarn_log_multiplier", 0.0, 0.0, 1e3, nullptr, "default: none");
}

// How the chosen ones are chosen: files without the key are those of DeepSeek V2 or, with a bias of the choice, of
// GLM-4.7-Flash. No key says whether there is a bias; in DeepSeek's own code (modeling_deepseek.py: "noaux_tc") and in
// transformers' (modeling_deepseek_v3.py) a router by sigmoid has one, and a converter may have lost it.
void read_gate(KeyReader& keys, FfnSpec& ffn, std::string_view bias_source) {
  constexpr const char* kKey = "expert_gating_func";
  const std::int64_t usual = ffn.choice_bias ? 2 : 1;
  const std::int64_t gate = keys.int_or(kKey, usual, 0, 1 << 16, nullptr, "follows from the bias");
  if (gate != 1 && gate != 2) {
    return keys.fail(
        ErrorCode::kUnsupported,
        "key '" + keys.full_key(kKey) + "': expected 1 (softmax) or 2 (sigmoid), found " + std::to_string(gate));
  }
  ffn.expert_gate = gate == 1 ? ExpertGate::kSoftmax : ExpertGate::kSigmoid;
  keys.fact("expert_gate", gate == 1 ? "softmax" : "sigmoid",
            keys.has(kKey)    ? "key " + keys.full_key(kKey)
            : ffn.choice_bias ? "tensors exp_probs_b.bias"
                              : "default: softmax");
  if (gate == 2 && !ffn.choice_bias) {
    keys.notice(
        keys.file().name() + ": " + std::string(bias_source) +
        ": experts are chosen without a bias, which published models with a sigmoid router have; if it was lost, "
        "wrong experts compute");
  }
}

void read_groups(KeyReader& keys, FfnSpec& ffn) {
  constexpr const char *kCount = "expert_group_count", *kUsed = "expert_group_used_count";
  const std::int64_t n = keys.int_or(kCount, 1, 0, ffn.n_expert, nullptr, "default: none", "expert_count");
  ffn.n_group = n == 0 ? 1 : n;
  const std::string count = kCount + (" = " + std::to_string(n));
  if (ffn.n_group > 1) {
    ffn.n_group_used = keys.require_int(kUsed, 1, ffn.n_group, "expert_groups_used", count);
  } else {  // all of one
    keys.int_or(kUsed, 1, 0, 1, nullptr, "default: all", keys.has(kCount) ? count : keys.no_key(kCount));
    ffn.n_group_used = 1;
  }
  ffn.n_group_best = ffn.expert_gate == ExpertGate::kSoftmax ? 1 : 2;
  if (keys.failed()) return;
  if (ffn.n_expert % ffn.n_group != 0 || ffn.n_used > ffn.n_expert / ffn.n_group * ffn.n_group_used) {
    return keys.fail(ErrorCode::kCorrupt,
                     "key '" + keys.full_key(kCount) + "': expected groups that divide expert_count " +
                         std::to_string(ffn.n_expert) + " and hold expert_used_count " + std::to_string(ffn.n_used) +
                         " in those used, found " + std::to_string(ffn.n_group) + ", " +
                         std::to_string(ffn.n_group_used) + " used (expert_group_used_count)");
  }
  if (ffn.n_group == 1) return;
  if (ffn.n_expert / ffn.n_group < ffn.n_group_best) {
    return keys.fail(ErrorCode::kCorrupt,
                     "key '" + keys.full_key(kCount) +
                         "': expected groups of two experts or more, which count by their two best, "
                         "found " +
                         std::to_string(ffn.n_group) + " groups of one");
  }
  keys.fact("expert_groups",
            std::to_string(ffn.n_group_used) + " of " + std::to_string(ffn.n_group) +
                (ffn.n_group_best == 1 ? ", by their best expert" : ", by their two best experts"),
            "key " + keys.full_key(kCount));
}

FfnSpec read_mixture(KeyReader& keys, std::int64_t first_layer) {
  FfnSpec ffn;
  ffn.kind = FfnKind::kExperts;
  ffn.shared_gate = false;
  ffn.n_expert = keys.require_int("expert_count", 1, kMaxExperts, "expert_count");
  ffn.n_used = keys.require_int("expert_used_count", 1, ffn.n_expert, "expert_used_count", "expert_count");
  ffn.n_ff = keys.require_int("expert_feed_forward_length", 1, kMaxWidth, "expert_feed_forward_length");
  const std::int64_t n_shared =
      keys.int_or("expert_shared_count", 0, 0, 4096, "expert_shared_count", keys.no_key("expert_shared_count"));
  ffn.n_shared = n_shared * ffn.n_ff;
  if (ffn.n_shared > kMaxWidth) {
    keys.fail(ErrorCode::kCorrupt, "key '" + keys.full_key("expert_shared_count") + "': expected at most " +
                                       std::to_string(kMaxWidth / ffn.n_ff) + ", found " + std::to_string(n_shared));
  }
  ffn.renormalise = keys.bool_or("expert_weights_norm", false);
  const double scale = keys.float_or("expert_weights_scale", 0.0, 0.0, 1e6, nullptr, "default: none");
  if (scale != 0) ffn.expert_scale = static_cast<float>(scale);
  const std::string bias = "blk." + std::to_string(first_layer) + ".exp_probs_b.bias";
  ffn.choice_bias = keys.file().find_tensor(bias) != nullptr;
  const std::string source = (ffn.choice_bias ? "tensor " : "no tensor ") + bias;
  keys.fact("expert_choice_bias", ffn.choice_bias ? "yes" : "no", source);
  read_gate(keys, ffn, source);
  keys.fact("expert_weights",
            std::string(ffn.renormalise ? "of the chosen ones renormalised" : "as they are") + ", times " +
                number_text(static_cast<double>(ffn.expert_scale)),
            "keys expert_weights_norm, expert_weights_scale");
  read_groups(keys, ffn);
  return ffn;
}

void read_ffns(KeyReader& keys, ModelSpec& spec) {
  const std::int64_t n_layer = spec.shape.n_layer;
  constexpr const char *kDense = "leading_dense_block_count", *kExperts = "expert_count";
  const std::int64_t n_dense =
      keys.int_or(kDense, 0, 0, n_layer, "leading_dense_layers", keys.no_key(kDense), "block_count");
  if (keys.failed()) return;
  if (n_dense > 0 && spec.shape.n_ff == 0) keys.require_int("feed_forward_length", 1, kMaxWidth, nullptr, kDense);
  if (n_dense == n_layer) {  // of a model without experts: the keys that its converter writes all the same
    if (const std::int64_t n = keys.int_or(kExperts, 0, 0, kMaxExperts, nullptr, "default: none"); n > 0) {
      return keys.fail(ErrorCode::kCorrupt, "key '" + keys.full_key(kDense) + "': expected fewer than the " +
                                                std::to_string(n_layer) + " layers beside key '" +
                                                keys.full_key(kExperts) + "' = " + std::to_string(n) + ", found " +
                                                std::to_string(n_dense));
    }
    for (const char* key : {"expert_feed_forward_length", "expert_shared_count"}) {
      keys.int_or(key, 0, 0, kMaxWidth, nullptr, "no layer has experts");
    }
    return;
  }
  const FfnSpec ffn = read_mixture(keys, n_dense);
  for (std::int64_t i = n_dense; i < n_layer; ++i) spec.layers[static_cast<std::size_t>(i)].ffn = ffn;
}

}  // namespace

void read_deepseek2(KeyReader& keys, ModelSpec& spec) {
  const LatentSpec latent = read_latent(keys);
  if (keys.failed()) return;
  // YaRN (transformers, modeling_deepseek_v3.py): cos and sin are multiplied by m(mscale) / m(mscale_all_dim), m(x) = 0.1
  // x ln(factor) + 1, and the scores by m(mscale_all_dim)^2. Files have the second alone; in the models that have both
  // they are the same.
  const double all = keys.string_or("rope.scaling.type", "none") == "yarn" ? read_mscale(keys) : 0;
  const double factor = all > 0 ? keys.require_float("rope.scaling.factor", 1.0, 1e6, nullptr) : 1;
  if (keys.failed()) return;
  const double m = 0.1 * all * base::log_f64(factor) + 1;
  read_common(keys, spec, RopePairing::kAdjacent, m * m / std::sqrt(static_cast<double>(latent.qk_dim())), &latent);
  if (keys.failed()) return;
  if (all > 0) {
    YarnSpec& yarn = *spec.ropes[0].yarn;
    yarn.magnitude /= 0.1 * base::log_f64(yarn.factor) + 1;
    std::erase_if(keys.facts(), [](const ModelFact& fact) { return fact.name == "rope_magnitude"; });
    keys.fact("rope_magnitude", number_text(yarn.magnitude), "the scores have it, squared");
    keys.fact("yarn_magnitude_of_scores", number_text(m * m),
              "key " + keys.full_key("rope.scaling.yarn_log_multiplier"));
  }
  // Layers for guessing tokens ahead lie behind the others and count as blocks.
  spec.n_draft_layer =
      keys.int_or("nextn_predict_layers", 0, 0, spec.shape.n_layer - 1, nullptr, "default: none", "block_count");
  spec.shape.n_layer -= spec.n_draft_layer;
  spec.layers.resize(static_cast<std::size_t>(spec.shape.n_layer));
  read_ffns(keys, spec);
}

}  // namespace rowmax::engine
