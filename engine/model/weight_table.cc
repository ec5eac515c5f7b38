#include "engine/model/weight_table.h"

#include <algorithm>
#include <iterator>

namespace rowmax::engine {
namespace {

using Shape = const ModelShape&;
using Layer = const LayerSpec&;
using enum WeightKind;
using enum Presence;

Presence required_if(bool condition) { return condition ? kRequired : kNever; }
bool attends(Layer layer) { return layer.mixer == MixerKind::kAttention; }
bool is_latent(Layer layer) { return layer.mixer == MixerKind::kLatent; }
bool has_q_rank(Layer layer) { return is_latent(layer) && layer.latent.q_rank > 0; }
bool is_dense(Layer layer) { return layer.ffn.kind == FfnKind::kDense; }
bool has_experts(Layer layer) { return !is_dense(layer); }
bool has_beside(Layer layer) { return has_experts(layer) && layer.ffn.beside; }

// When a weight is there.
Presence input_norms(Layer l) { return required_if(l.input_norms); }
Presence query(Layer l) { return required_if(l.attends() && !has_q_rank(l)); }
Presence heads_output(Layer l) { return required_if(l.attends()); }
Presence q_bias(Layer l) { return !attends(l) ? kNever : l.attention.qkv_bias_required ? kRequired : kOptional; }
bool has_k(Layer l) { return attends(l) && l.attention.has_kv(); }
bool has_v(Layer l) { return has_k(l) && !l.attention.v_is_k; }
Presence key(Layer l) { return required_if(has_k(l)); }
Presence value(Layer l) { return required_if(has_v(l)); }
Presence k_bias(Layer l) { return has_k(l) ? q_bias(l) : kNever; }
Presence v_bias(Layer l) { return has_v(l) ? q_bias(l) : kNever; }
Presence output_bias(Layer l) {
  return !attends(l) ? kNever : l.attention.output_bias_required ? kRequired : kOptional;
}
Presence attention_scale(Layer l) { return attends(l) && l.matrix_scales ? kOptional : kNever; }
Presence k_scale(Layer l) { return has_k(l) ? attention_scale(l) : kNever; }
Presence v_scale(Layer l) { return has_v(l) ? attention_scale(l) : kNever; }
Presence q_norm(Layer l) { return required_if(attends(l) && l.attention.qk_norm != QkNorm::kNone); }
Presence k_norm(Layer l) { return has_k(l) ? q_norm(l) : kNever; }
Presence sinks(Layer l) { return required_if(attends(l) && l.attention.sinks); }
Presence attention_sub_norm(Layer l) { return required_if(attends(l) && l.attention.sub_norm); }
Presence q_norm_in(Layer l) { return required_if(attends(l) && l.product_norms); }
Presence k_norm_in(Layer l) { return has_k(l) ? q_norm_in(l) : kNever; }
Presence v_norm_in(Layer l) { return has_v(l) ? q_norm_in(l) : kNever; }
Presence latent(Layer l) { return required_if(is_latent(l)); }
Presence latent_query(Layer l) { return required_if(has_q_rank(l)); }
Presence delta(Layer l) { return required_if(l.mixer == MixerKind::kDeltaNet); }
Presence short_conv(Layer l) { return required_if(l.mixer == MixerKind::kShortConv); }
Presence post_norms(Layer l) { return required_if(l.post_norms); }
Presence dense(Layer l) { return required_if(is_dense(l) || (has_beside(l) && l.ffn.n_shared > 0)); }
Presence dense_scale(Layer l) { return is_dense(l) && l.matrix_scales ? kOptional : kNever; }
Presence dense_sub_norm(Layer l) { return required_if(is_dense(l) && l.ffn.sub_norm); }
Presence layer_input(Layer l) { return required_if(l.n_layer_embd > 0); }
Presence output_scale(Layer l) { return required_if(l.output_scale); }
Presence dense_norm_in(Layer l) { return required_if(is_dense(l) && l.product_norms); }
Presence experts(Layer l) { return required_if(has_experts(l)); }
Presence expert_biases(Layer l) { return required_if(has_experts(l) && l.ffn.biases); }
Presence choice_bias(Layer l) { return required_if(has_experts(l) && l.ffn.choice_bias); }
Presence expert_factors(Layer l) { return required_if(has_experts(l) && l.ffn.expert_factors); }
Presence router_norm(Layer l) { return required_if(has_experts(l) && l.ffn.router_norm); }
Presence experts_norm(Layer l) { return required_if(has_beside(l)); }
Presence branch_norms(Layer l) { return required_if(has_beside(l) && l.ffn.branch_norms); }
Presence shared(Layer l) { return required_if(has_experts(l) && l.ffn.n_shared > 0 && !l.ffn.beside); }
Presence shared_gate(Layer l) { return l.ffn.shared_gate ? shared(l) : kNever; }

// How large it is: {cols, rows, experts or heads}.
WeightShape one(Shape, Layer) { return {1}; }
WeightShape embd(Shape s, Layer) { return {s.n_embd}; }
std::int64_t latent_q_width(Layer l) { return l.attention.n_head * l.latent.qk_dim(); }
WeightShape q_projection(Shape s, Layer l) {
  if (is_latent(l)) return {s.n_embd, latent_q_width(l)};
  return {s.n_embd, l.attention.q_width() * (l.attention.output_gate ? 2 : 1)};
}
WeightShape kv_projection(Shape s, Layer l) { return {s.n_embd, l.attention.kv_width()}; }
WeightShape q_vector(Shape, Layer l) { return {l.attention.q_width() * (l.attention.output_gate ? 2 : 1)}; }
WeightShape heads_vector(Shape, Layer l) { return {l.attention.q_width()}; }
WeightShape kv_vector(Shape, Layer l) { return {l.attention.kv_width()}; }
bool whole_width(Layer l) { return l.attention.qk_norm == QkNorm::kWidth; }
WeightShape q_norm_vector(Shape, Layer l) { return {whole_width(l) ? l.attention.q_width() : l.attention.head_dim}; }
WeightShape k_norm_vector(Shape, Layer l) { return {whole_width(l) ? l.attention.kv_width() : l.attention.head_dim}; }
WeightShape each_head(Shape, Layer l) { return {l.attention.n_head}; }
WeightShape attention_output(Shape s, Layer l) {
  return {is_latent(l) ? l.attention.n_head * l.latent.v_dim : l.attention.q_width(), s.n_embd};
}
WeightShape latent_q_a(Shape s, Layer l) { return {s.n_embd, l.latent.q_rank}; }
WeightShape latent_q_vector(Shape, Layer l) { return {l.latent.q_rank}; }
WeightShape latent_q_b(Shape, Layer l) { return {l.latent.q_rank, latent_q_width(l)}; }
WeightShape latent_kv(Shape s, Layer l) { return {s.n_embd, l.latent.rank + l.latent.rope_dim}; }
WeightShape latent_vector(Shape, Layer l) { return {l.latent.rank}; }
WeightShape latent_k(Shape, Layer l) { return {l.latent.nope_dim, l.latent.rank, l.attention.n_head}; }
WeightShape latent_v(Shape, Layer l) { return {l.latent.rank, l.latent.v_dim, l.attention.n_head}; }
WeightShape delta_qkv(Shape s, Layer l) { return {s.n_embd, l.delta.conv_channels()}; }
WeightShape delta_gate(Shape s, Layer l) { return {s.n_embd, l.delta.value_width()}; }
WeightShape delta_head(Shape s, Layer l) { return {s.n_embd, l.delta.n_value_head}; }
WeightShape delta_conv(Shape, Layer l) { return {l.delta.conv_width, l.delta.conv_channels()}; }
WeightShape delta_heads_vector(Shape, Layer l) { return {l.delta.n_value_head}; }
WeightShape delta_value_vector(Shape, Layer l) { return {l.delta.value_dim}; }
WeightShape delta_output(Shape s, Layer l) { return {l.delta.value_width(), s.n_embd}; }
WeightShape short_conv_in(Shape s, Layer l) { return {s.n_embd, l.short_conv.product_width()}; }
WeightShape short_conv_taps(Shape, Layer l) { return {l.short_conv.conv_width, l.short_conv.n_channel}; }
WeightShape short_conv_output(Shape s, Layer l) { return {l.short_conv.n_channel, s.n_embd}; }
std::int64_t dense_width(Layer l) { return is_dense(l) ? l.ffn.n_ff : l.ffn.n_shared; }
WeightShape ffn_in(Shape s, Layer l) { return {s.n_embd, dense_width(l)}; }
WeightShape ffn_out(Shape s, Layer l) { return {dense_width(l), s.n_embd}; }
WeightShape ffn_vector(Shape, Layer l) { return {l.ffn.n_ff}; }
WeightShape layer_input_in(Shape s, Layer l) { return {s.n_embd, l.n_layer_embd}; }
WeightShape layer_input_out(Shape s, Layer l) { return {l.n_layer_embd, s.n_embd}; }
WeightShape router(Shape s, Layer l) { return {s.n_embd, l.ffn.n_expert}; }
WeightShape each_expert(Shape, Layer l) { return {l.ffn.n_expert}; }
WeightShape expert_in(Shape s, Layer l) { return {s.n_embd, l.ffn.n_ff, l.ffn.n_expert}; }
WeightShape expert_out(Shape s, Layer l) { return {l.ffn.n_ff, s.n_embd, l.ffn.n_expert}; }
WeightShape expert_in_vectors(Shape, Layer l) { return {l.ffn.n_ff, l.ffn.n_expert}; }
WeightShape expert_out_vectors(Shape s, Layer l) { return {s.n_embd, l.ffn.n_expert}; }
WeightShape shared_in(Shape s, Layer l) { return {s.n_embd, l.ffn.n_shared}; }
WeightShape shared_out(Shape s, Layer l) { return {l.ffn.n_shared, s.n_embd}; }

constexpr bool kTurned = true, kPlain = false;

constexpr WeightInfo kTable[] = {
    {W::kAttnNorm, kVector, kPlain, "attn_norm.weight", embd, input_norms},
    {W::kAttnQ, kMatrix, kTurned, "attn_q.weight", q_projection, query},
    {W::kAttnK, kMatrix, kTurned, "attn_k.weight", kv_projection, key},
    {W::kAttnV, kMatrix, kTurned, "attn_v.weight", kv_projection, value},
    {W::kAttnOutput, kMatrix, kTurned, "attn_output.weight", attention_output, heads_output},
    {W::kAttnQBias, kVector, kPlain, "attn_q.bias", q_vector, q_bias},
    {W::kAttnKBias, kVector, kPlain, "attn_k.bias", kv_vector, k_bias},
    {W::kAttnVBias, kVector, kPlain, "attn_v.bias", kv_vector, v_bias},
    {W::kAttnOutputBias, kVector, kPlain, "attn_output.bias", embd, output_bias},
    {W::kAttnQScale, kVector, kPlain, "attn_q.scale", one, attention_scale},
    {W::kAttnKScale, kVector, kPlain, "attn_k.scale", one, k_scale},
    {W::kAttnVScale, kVector, kPlain, "attn_v.scale", one, v_scale},
    {W::kAttnOutputScale, kVector, kPlain, "attn_output.scale", one, attention_scale},
    {W::kAttnQNorm, kVector, kPlain, "attn_q_norm.weight", q_norm_vector, q_norm},
    {W::kAttnKNorm, kVector, kPlain, "attn_k_norm.weight", k_norm_vector, k_norm},
    {W::kAttnSubNorm, kVector, kPlain, "attn_sub_norm.weight", heads_vector, attention_sub_norm},
    {W::kAttnSinks, kVector, kPlain, "attn_sinks.weight", each_head, sinks},
    {W::kAttnQNormIn, kVector, kPlain, "attn_q_norm_in.weight", embd, q_norm_in},
    {W::kAttnKNormIn, kVector, kPlain, "attn_k_norm_in.weight", embd, k_norm_in},
    {W::kAttnVNormIn, kVector, kPlain, "attn_v_norm_in.weight", embd, v_norm_in},
    {W::kAttnOutputNormIn, kVector, kPlain, "attn_output_norm_in.weight", heads_vector, q_norm_in},
    {W::kLatentQA, kMatrix, kTurned, "attn_q_a.weight", latent_q_a, latent_query},
    {W::kLatentQNorm, kVector, kPlain, "attn_q_a_norm.weight", latent_q_vector, latent_query},
    {W::kLatentQB, kMatrix, kTurned, "attn_q_b.weight", latent_q_b, latent_query},
    {W::kLatentKv, kMatrix, kTurned, "attn_kv_a_mqa.weight", latent_kv, latent},
    {W::kLatentNorm, kVector, kPlain, "attn_kv_a_norm.weight", latent_vector, latent},
    {W::kLatentK, kHeads, kTurned, "attn_k_b.weight", latent_k, latent},
    {W::kLatentV, kHeads, kTurned, "attn_v_b.weight", latent_v, latent},
    {W::kDeltaQkv, kMatrix, kTurned, "attn_qkv.weight", delta_qkv, delta},
    {W::kDeltaGate, kMatrix, kTurned, "attn_gate.weight", delta_gate, delta},
    {W::kDeltaAlpha, kMatrix, kPlain, "ssm_alpha.weight", delta_head, delta},
    {W::kDeltaBeta, kMatrix, kPlain, "ssm_beta.weight", delta_head, delta},
    {W::kDeltaConv, kTransposed, kPlain, "ssm_conv1d.weight", delta_conv, delta},
    {W::kDeltaDecay, kVector, kPlain, "ssm_a", delta_heads_vector, delta},
    {W::kDeltaDecayBias, kVector, kPlain, "ssm_dt.bias", delta_heads_vector, delta},
    {W::kDeltaNorm, kVector, kPlain, "ssm_norm.weight", delta_value_vector, delta},
    {W::kDeltaOutput, kMatrix, kTurned, "ssm_out.weight", delta_output, delta},
    {W::kShortConvIn, kMatrix, kTurned, "shortconv.in_proj.weight", short_conv_in, short_conv},
    {W::kShortConv, kTransposed, kPlain, "shortconv.conv.weight", short_conv_taps, short_conv},
    {W::kShortConvOutput, kMatrix, kTurned, "shortconv.out_proj.weight", short_conv_output, short_conv},
    {W::kPostAttnNorm, kVector, kPlain, "post_attention_norm.weight", embd, post_norms},
    {W::kFfnNorm, kVector, kPlain, "ffn_norm.weight", embd, input_norms, "post_attention_norm.weight"},
    {W::kFfnGate, kMatrix, kTurned, "ffn_gate.weight", ffn_in, dense},
    {W::kFfnUp, kMatrix, kTurned, "ffn_up.weight", ffn_in, dense},
    {W::kFfnDown, kMatrix, kTurned, "ffn_down.weight", ffn_out, dense},
    {W::kFfnGateScale, kVector, kPlain, "ffn_gate.scale", one, dense_scale},
    {W::kFfnUpScale, kVector, kPlain, "ffn_up.scale", one, dense_scale},
    {W::kFfnDownScale, kVector, kPlain, "ffn_down.scale", one, dense_scale},
    {W::kFfnSubNorm, kVector, kPlain, "ffn_sub_norm.weight", ffn_vector, dense_sub_norm},
    {W::kFfnGateNormIn, kVector, kPlain, "ffn_gate_norm_in.weight", embd, dense_norm_in},
    {W::kFfnUpNormIn, kVector, kPlain, "ffn_up_norm_in.weight", embd, dense_norm_in},
    {W::kFfnDownNormIn, kVector, kPlain, "ffn_down_norm_in.weight", ffn_vector, dense_norm_in},
    {W::kRouterNorm, kVector, kPlain, "ffn_gate_inp.scale", embd, router_norm},
    {W::kRouter, kMatrix, kPlain, "ffn_gate_inp.weight", router, experts},
    {W::kRouterBias, kVector, kPlain, "exp_probs_b.bias", each_expert, choice_bias},
    {W::kRouterLogitBias, kVector, kPlain, "ffn_gate_inp.bias", each_expert, expert_biases},
    {W::kExpertsNorm, kVector, kPlain, "pre_ffw_norm_2.weight", embd, experts_norm},
    {W::kExpertGate, kExperts, kTurned, "ffn_gate_exps.weight", expert_in, experts},
    {W::kExpertUp, kExperts, kTurned, "ffn_up_exps.weight", expert_in, experts},
    {W::kExpertDown, kExperts, kTurned, "ffn_down_exps.weight", expert_out, experts},
    {W::kExpertGateBias, kVector, kPlain, "ffn_gate_exps.bias", expert_in_vectors, expert_biases},
    {W::kExpertUpBias, kVector, kPlain, "ffn_up_exps.bias", expert_in_vectors, expert_biases},
    {W::kExpertDownBias, kVector, kPlain, "ffn_down_exps.bias", expert_out_vectors, expert_biases},
    {W::kExpertFactors, kVector, kPlain, "ffn_down_exps.scale", each_expert, expert_factors},
    {W::kSharedRouter, kMatrix, kPlain, "ffn_gate_inp_shexp.weight", embd, shared_gate},
    {W::kSharedGate, kMatrix, kTurned, "ffn_gate_shexp.weight", shared_in, shared},
    {W::kSharedUp, kMatrix, kTurned, "ffn_up_shexp.weight", shared_in, shared},
    {W::kSharedDown, kMatrix, kTurned, "ffn_down_shexp.weight", shared_out, shared},
    {W::kPostDenseNorm, kVector, kPlain, "post_ffw_norm_1.weight", embd, branch_norms},
    {W::kPostExpertsNorm, kVector, kPlain, "post_ffw_norm_2.weight", embd, branch_norms},
    {W::kPostFfnNorm, kVector, kPlain, "post_ffw_norm.weight", embd, post_norms},
    {W::kLayerInputGate, kMatrix, kPlain, "inp_gate.weight", layer_input_in, layer_input},
    {W::kLayerInputOutput, kMatrix, kPlain, "proj.weight", layer_input_out, layer_input},
    {W::kLayerInputNorm, kVector, kPlain, "post_norm.weight", embd, layer_input},
    {W::kLayerOutputScale, kVector, kPlain, "layer_output_scale.weight", one, output_scale},
};

constexpr bool in_order() {
  for (std::size_t i = 0; i < std::size(kTable); ++i) {
    if (kTable[i].id != static_cast<W>(i)) return false;
  }
  return std::size(kTable) == kWeightCount;
}
static_assert(in_order());

bool fused(Layer l) { return l.fused; }
constexpr W kQkv[] = {W::kAttnQ, W::kAttnK, W::kAttnV}, kGateUp[] = {W::kFfnGate, W::kFfnUp},
            kExpertsGateUp[] = {W::kExpertGate, W::kExpertUp};
constexpr FusedWeights kFused[] = {{"attn_qkv.weight", kQkv, fused, fused},
                                   {"ffn_up.weight", kGateUp, fused, fused},
                                   {"ffn_gate_up_exps.weight", kExpertsGateUp, has_experts, has_beside}};

}  // namespace

std::span<const WeightInfo> weight_table() noexcept { return kTable; }
std::span<const FusedWeights> fused_weights() noexcept { return kFused; }
const FusedWeights* fused_with(W id, const LayerSpec& layer) noexcept {
  for (const FusedWeights& fused : kFused) {
    if (fused.written(layer) && std::ranges::find(fused.parts, id) != fused.parts.end()) return &fused;
  }
  return nullptr;
}
WeightShape fused_shape(const FusedWeights& fused, const ModelShape& model, const LayerSpec& layer) {
  WeightShape all;
  all.rows = 0;
  for (const W id : fused.parts) {
    const WeightShape part = weight_info(id).shape(model, layer);
    all.cols = part.cols;
    all.rows += part.rows;
    all.n = part.n;
  }
  return all;
}

WeightStorage WeightInfo::storage() const noexcept {
  if (hadamard) return WeightStorage::kAny;
  const bool router = id == W::kRouter || id == W::kSharedRouter;  // their products choose and weigh experts
  return kind == kMatrix && !router ? WeightStorage::kFloat : WeightStorage::kF32;
}

const WeightInfo* find_layer_weight(std::string_view tensor) noexcept {
  constexpr std::string_view kStart = "blk.";
  if (!tensor.starts_with(kStart)) return nullptr;
  tensor.remove_prefix(kStart.size());
  const std::size_t dot = tensor.find('.');
  if (dot == 0 || dot == std::string_view::npos) return nullptr;
  const bool number =
      std::ranges::all_of(tensor.substr(0, dot), [](char letter) { return letter >= '0' && letter <= '9'; });
  if (!number) return nullptr;
  const std::string_view name = tensor.substr(dot + 1);
  const auto* row = std::ranges::find(kTable, name, &WeightInfo::name);
  if (row != std::end(kTable)) return row;
  const auto* fused = std::ranges::find(kFused, name, &FusedWeights::name);
  return fused != std::end(kFused) ? &weight_info(fused->parts[0]) : nullptr;
}

}  // namespace rowmax::engine
