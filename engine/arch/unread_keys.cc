#include "engine/arch/unread_keys.h"

namespace rowmax::engine {
namespace {

constexpr std::string_view kNoExperts = "only experts use it, and there are none";
constexpr std::string_view kRmsNorm = "the norms here are RMSNorms";
constexpr std::string_view kNoYarn = "only YaRN scaling uses it";
constexpr std::string_view kImages = "only images use it, and a prompt here is text";

const KeyRule kRules[] = {
    {"vocab_size", {}, "the embedding has that many rows"},
    {"tensor_data_layout", {"Meta AI original pth", "reference"}, "rows of q and k are in another order"},
    // The mixer.
    {"attention.causal", {"true", "1"}, "keys after the query are visible"},
    {"attention.sliding_window", {"0"}, "keys before the window are masked"},
    {"attention.sliding_window_pattern", {"0", "false"}, "only some layers have a window"},
    {"attention.max_alibi_bias", {"0"}, "ALiBi is added to the scores"},
    {"attention.clamp_kqv", {"0"}, "q, k and v are clamped"},
    {"attention.layer_norm_epsilon", {}, kRmsNorm},
    {"attention.q_lora_rank", {"0"}, "q is a product of two matrices"},
    {"attention.kv_lora_rank", {"0"}, "k and v come from a latent"},
    {"attention.kv_lora_rank_swa", {"0"}, "k and v come from a latent"},
    {"attention.relative_buckets_count", {"0"}, "a bias by distance is added"},
    {"attention.output_scale", {"0", "1"}, "the attention's output is scaled"},
    {"attention.value_scale", {"0", "1"}, "the values are scaled"},
    {"attention.output_lora_rank", {"0"}, "the output product is two"},
    {"attention.output_group_count", {"0", "1"}, "the output product is grouped"},
    {"attention.temperature_length", {"0"}, "scores are scaled by position"},
    {"attention.temperature_scale", {"0", "1"}, "scores are scaled by position"},
    {"attention.shared_kv_layers", {"0"}, "layers share keys and values"},
    {"attention.recurrent_layers", {"0", "false"}, "some layers are recurrences"},
    {"attn_logit_softcapping", {"0"}, "the scores are capped"},
    {"full_attention_interval", {"0", "1"}, "only some layers have attention"},
    // Positions.
    {"rope.dimension_sections", {"0"}, "positions have several parts"},
    {"rope.scale_linear", {"0", "1"}, "positions are divided"},
    {"rope.scaling.factor", {"0", "1"}, "positions are divided"},
    {"rope.scaling.attn_factor", {"0", "1"}, "cos and sin are scaled"},
    {"rope.scaling.yarn_attn_factor", {"0", "1"}, "cos and sin are scaled"},
    {"rope.scaling.yarn_log_multiplier", {"0"}, "cos and sin are scaled"},
    {"rope.scaling.original_context_length", {}, kNoYarn},
    {"rope.scaling.yarn_beta_fast", {}, kNoYarn},
    {"rope.scaling.yarn_beta_slow", {}, kNoYarn},
    {"rope.scaling.yarn_ext_factor", {"0", "-1"}, "YaRN is mixed in"},
    {"rope.scaling.finetuned", {}, "says how the model was trained"},
    {"rope.scaling.alpha", {"0", "1"}, "the base is scaled"},
    // The rest of a layer, and what is around the layers.
    {"use_parallel_residual", {"false"}, "attention and FFN run side by side"},
    {"expert_count", {"0"}, "the FFN is a mixture of experts"},
    {"expert_used_count", {}, kNoExperts},
    {"expert_shared_count", {"0"}, "experts are added to the FFN"},
    {"expert_group_count", {}, kNoExperts},
    {"expert_group_used_count", {}, kNoExperts},
    {"expert_weights_scale", {}, kNoExperts},
    {"expert_weights_norm", {}, kNoExperts},
    {"expert_gating_func", {}, kNoExperts},
    {"norm_top_k_prob", {}, kNoExperts},
    {"expert_feed_forward_length", {}, kNoExperts},
    {"expert_shared_feed_forward_length", {"0"}, "experts are added to the FFN"},
    {"leading_dense_block_count", {}, kNoExperts},
    {"interleave_moe_layer_step", {}, kNoExperts},
    {"moe_every_n_layers", {"0"}, "some FFNs are mixtures of experts"},
    {"router_logit_softcapping", {}, kNoExperts},
    {"swiglu_clamp_exp", {"0"}, "the gated FFN is clamped"},
    {"swiglu_clamp_shexp", {"0"}, "the gated FFN is clamped"},
    {"activation_sparsity_scale", {"0"}, "small activations are dropped"},
    {"num_loops", {"0", "1"}, "the layers run several times"},
    {"nextn_predict_layers", {"0"}, "layers that predict later tokens follow"},
    {"n_deepstack_layers", {"0"}, "images are added to the first layers"},
    {"logit_scale", {"0", "1"}, "the logits are scaled"},
    {"residual_scale", {"0", "1"}, "what layers add is scaled"},
    {"embedding_scale", {"0", "1"}, "the embeddings are scaled"},
    {"final_logit_softcapping", {"0"}, "the logits are capped"},
    {"adapters.count", {"0"}, "adapters are added"},
    {"classifier.*", {}, "only a classifier's head uses it"},
    {"vision.*", {}, kImages},
    {"mm.tokens_per_image", {}, kImages},
};

}  // namespace

std::span<const KeyRule> unread_key_rules() noexcept { return kRules; }

}  // namespace rowmax::engine
