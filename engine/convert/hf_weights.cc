#include "engine/convert/hf_weights.h"

namespace rowmax::engine {
namespace {

using enum HfForm;
constexpr auto kNoHeads = HfValueHeads::kNone;

bool sandwich(const LayerSpec& layer) { return layer.post_norms; }
bool biased_experts(const LayerSpec& layer) { return layer.ffn.biases; }
bool beside(const LayerSpec& layer) { return layer.ffn.beside; }
bool not_beside(const LayerSpec& layer) { return !layer.ffn.beside; }
bool plain_experts(const LayerSpec& layer) { return !layer.ffn.biases && !layer.ffn.beside; }
bool no_sandwich(const LayerSpec& layer) { return !layer.post_norms; }

// Source: transformers 5.24, models/*/modeling_*.py; the 1bitLLM models' own code for inner_attn_ln and ffn_layernorm;
// transformers' integrations/bitnet.py (use_rms_norm) and BitNet's converter of embedding models for norms of products,
// which count as they are, whatever the model's other norms do.
constexpr HfWeight kTable[] = {
    {W::kAttnNorm, "input_layernorm.weight", kNorm},
    {W::kAttnQ, "self_attn.q_proj.weight", kQuery},
    {W::kAttnQBias, "self_attn.q_proj.bias", kQuery},
    {W::kAttnK, "self_attn.k_proj.weight", kKey},
    {W::kAttnKBias, "self_attn.k_proj.bias", kKey},
    {W::kAttnV, "self_attn.v_proj.weight"},
    {W::kAttnVBias, "self_attn.v_proj.bias"},
    {W::kAttnQNorm, "self_attn.q_norm.weight", kNorm},
    {W::kAttnKNorm, "self_attn.k_norm.weight", kNorm},
    {W::kAttnQNorm, "self_attn.query_layernorm.weight", kNorm},
    {W::kAttnKNorm, "self_attn.key_layernorm.weight", kNorm},
    {W::kAttnSubNorm, "self_attn.attn_sub_norm.weight", kNorm},
    {W::kAttnSubNorm, "self_attn.inner_attn_ln.weight", kNorm},
    {W::kAttnSinks, "self_attn.sinks"},
    {W::kAttnQNormIn, "self_attn.q_proj.norm.weight"},
    {W::kAttnQNormIn, "self_attn.q_proj.rms_norm.weight"},
    {W::kAttnKNormIn, "self_attn.k_proj.norm.weight"},
    {W::kAttnKNormIn, "self_attn.k_proj.rms_norm.weight"},
    {W::kAttnVNormIn, "self_attn.v_proj.norm.weight"},
    {W::kAttnVNormIn, "self_attn.v_proj.rms_norm.weight"},
    {W::kAttnOutputNormIn, "self_attn.o_proj.norm.weight"},
    {W::kAttnOutputNormIn, "self_attn.o_proj.rms_norm.weight"},
    {W::kLatentQA, "self_attn.q_a_proj.weight"},
    {W::kLatentQNorm, "self_attn.q_a_layernorm.weight", kNorm},
    {W::kLatentQB, "self_attn.q_b_proj.weight"},
    {W::kLatentKv, "self_attn.kv_a_proj_with_mqa.weight"},
    {W::kLatentNorm, "self_attn.kv_a_layernorm.weight", kNorm},
    {W::kLatentK, "self_attn.kv_b_proj.weight", kHeadColumns},
    {W::kLatentV, "self_attn.kv_b_proj.weight", kHeadRows},
    {W::kAttnOutput, "self_attn.o_proj.weight"},
    {W::kAttnOutputBias, "self_attn.o_proj.bias"},
    {W::kDeltaQkv, "linear_attn.in_proj_qkv.weight", kPlain, HfValueHeads::kChannels},
    {W::kDeltaGate, "linear_attn.in_proj_z.weight", kPlain, HfValueHeads::kRows},
    {W::kDeltaAlpha, "linear_attn.in_proj_a.weight", kPlain, HfValueHeads::kNumbers},
    {W::kDeltaBeta, "linear_attn.in_proj_b.weight", kPlain, HfValueHeads::kNumbers},
    {W::kDeltaConv, "linear_attn.conv1d.weight", kConv, HfValueHeads::kChannels},
    {W::kDeltaDecay, "linear_attn.A_log", kDecay, HfValueHeads::kNumbers},
    {W::kDeltaDecayBias, "linear_attn.dt_bias", kPlain, HfValueHeads::kNumbers},
    {W::kDeltaNorm, "linear_attn.norm.weight"},  // the one norm that multiplies by the weight itself
    {W::kDeltaOutput, "linear_attn.out_proj.weight", kPlain, HfValueHeads::kColumns},
    {W::kPostAttnNorm, "post_attention_layernorm.weight", kNorm, kNoHeads, {}, 0, 1, sandwich},
    {W::kFfnNorm, "post_attention_layernorm.weight", kNorm, kNoHeads, {}, 0, 1, no_sandwich},
    {W::kFfnNorm, "pre_feedforward_layernorm.weight", kNorm, kNoHeads, {}, 0, 1, sandwich},
    {W::kPostFfnNorm, "post_feedforward_layernorm.weight", kNorm},
    {W::kLayerInputGate, "per_layer_input_gate.weight"},
    {W::kLayerInputOutput, "per_layer_projection.weight"},
    {W::kLayerInputNorm, "post_per_layer_input_norm.weight", kNorm},
    {W::kLayerOutputScale, "layer_scalar"},
    {W::kFfnGate, "mlp.gate_proj.weight"},
    {W::kFfnUp, "mlp.up_proj.weight"},
    {W::kFfnSubNorm, "mlp.ffn_sub_norm.weight", kNorm},
    {W::kFfnSubNorm, "mlp.ffn_layernorm.weight", kNorm},
    {W::kFfnGateNormIn, "mlp.gate_proj.norm.weight"},
    {W::kFfnGateNormIn, "mlp.gate_proj.rms_norm.weight"},
    {W::kFfnUpNormIn, "mlp.up_proj.norm.weight"},
    {W::kFfnUpNormIn, "mlp.up_proj.rms_norm.weight"},
    {W::kFfnDownNormIn, "mlp.down_proj.norm.weight"},
    {W::kFfnDownNormIn, "mlp.down_proj.rms_norm.weight"},
    {W::kFfnDown, "mlp.down_proj.weight"},
    {W::kExpertsNorm, "pre_feedforward_layernorm_2.weight", kNorm},
    {W::kPostDenseNorm, "post_feedforward_layernorm_1.weight", kNorm},
    {W::kPostExpertsNorm, "post_feedforward_layernorm_2.weight", kNorm},
    {W::kRouterNorm, "router.scale"},
    {W::kRouter, "router.proj.weight", kPlain, kNoHeads, {}, 0, 1, beside},
    {W::kRouter, "mlp.gate.weight", kPlain, kNoHeads, {}, 0, 1, not_beside},
    {W::kRouter, "mlp.router.weight", kPlain, kNoHeads, {}, 0, 1, not_beside},
    {W::kRouterBias, "mlp.gate.e_score_correction_bias"},
    {W::kRouterLogitBias, "mlp.router.bias"},
    {W::kExpertGate, "mlp.experts.*.gate_proj.weight", kPlain, kNoHeads, "mlp.experts.gate_up_proj", 0, 2,
     plain_experts},
    {W::kExpertUp, "mlp.experts.*.up_proj.weight", kPlain, kNoHeads, "mlp.experts.gate_up_proj", 1, 2, plain_experts},
    {W::kExpertDown, "mlp.experts.*.down_proj.weight", kPlain, kNoHeads, "mlp.experts.down_proj", 0, 1, plain_experts},
    {W::kExpertDown, "experts.*.down_proj.weight", kPlain, kNoHeads, "experts.down_proj", 0, 1, beside},
    {W::kExpertFactors, "router.per_expert_scale"},
    {W::kExpertGate, "mlp.experts.gate_up_proj", kColumns, kNoHeads, {}, 0, 2, biased_experts},
    {W::kExpertUp, "mlp.experts.gate_up_proj", kColumns, kNoHeads, {}, 1, 2, biased_experts},
    {W::kExpertDown, "mlp.experts.down_proj", kColumns, kNoHeads, {}, 0, 1, biased_experts},
    {W::kExpertGateBias, "mlp.experts.gate_up_proj_bias", kColumns, kNoHeads, {}, 0, 2},
    {W::kExpertUpBias, "mlp.experts.gate_up_proj_bias", kColumns, kNoHeads, {}, 1, 2},
    {W::kExpertDownBias, "mlp.experts.down_proj_bias", kColumns},
    {W::kSharedRouter, "mlp.shared_expert_gate.weight"},
    {W::kSharedGate, "mlp.shared_expert.gate_proj.weight"},
    {W::kSharedUp, "mlp.shared_expert.up_proj.weight"},
    {W::kSharedDown, "mlp.shared_expert.down_proj.weight"},
    {W::kSharedGate, "mlp.shared_experts.gate_proj.weight"},
    {W::kSharedUp, "mlp.shared_experts.up_proj.weight"},
    {W::kSharedDown, "mlp.shared_experts.down_proj.weight"},
};

// Source: transformers 5.24, models/lfm2/modeling_lfm2.py and models/lfm2_moe/modeling_lfm2_moe.py; checkpoints have an
// expert's three matrices by themselves.
constexpr HfWeight kLfm2Table[] = {
    {W::kAttnNorm, "operator_norm.weight", kNorm},
    {W::kAttnQ, "self_attn.q_proj.weight", kQuery},
    {W::kAttnK, "self_attn.k_proj.weight", kKey},
    {W::kAttnV, "self_attn.v_proj.weight"},
    {W::kAttnQNorm, "self_attn.q_layernorm.weight", kNorm},
    {W::kAttnKNorm, "self_attn.k_layernorm.weight", kNorm},
    {W::kAttnOutput, "self_attn.out_proj.weight"},
    {W::kShortConvIn, "conv.in_proj.weight"},
    {W::kShortConv, "conv.conv.weight", kConv},
    {W::kShortConvOutput, "conv.out_proj.weight"},
    {W::kFfnNorm, "ffn_norm.weight", kNorm},
    {W::kFfnGate, "feed_forward.w1.weight"},
    {W::kFfnUp, "feed_forward.w3.weight"},
    {W::kFfnDown, "feed_forward.w2.weight"},
    {W::kRouter, "feed_forward.gate.weight"},
    {W::kRouterBias, "feed_forward.expert_bias"},
    {W::kExpertGate, "feed_forward.experts.*.w1.weight", kPlain, kNoHeads, "feed_forward.experts.gate_up_proj", 0, 2},
    {W::kExpertUp, "feed_forward.experts.*.w3.weight", kPlain, kNoHeads, "feed_forward.experts.gate_up_proj", 1, 2},
    {W::kExpertDown, "feed_forward.experts.*.w2.weight", kPlain, kNoHeads, "feed_forward.experts.down_proj"},
};

// Source: llama.cpp's converter (Qwen3.5).
constexpr HfDraftWeight kDraftTable[] = {
    {"fc.weight", "eh_proj.weight", false},
    {"pre_fc_norm_embedding.weight", "enorm.weight", true},
    {"pre_fc_norm_hidden.weight", "hnorm.weight", true},
    {"norm.weight", "shared_head_norm.weight", true},
};

}  // namespace

std::span<const HfWeight> hf_weights(bool lfm2) noexcept {
  return lfm2 ? std::span<const HfWeight>(kLfm2Table) : kTable;
}
std::string_view hf_fused_name(W id) noexcept {
  if (id == W::kExpertGate) return "experts.gate_up_proj";
  return id == W::kAttnQ ? "self_attn.qkv_proj.weight" : "mlp.gate_up_proj.weight";
}
std::span<const HfDraftWeight> hf_draft_weights() noexcept { return kDraftTable; }

}  // namespace rowmax::engine
