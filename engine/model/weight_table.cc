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

// What decides which mixer and which FFN a layer has, where a file has a say in it.
constexpr FactNames kMixers = "delta_net_layers short_conv_layers", kFfns = "leading_dense_layers expert_count";

// When a weight is there.
constexpr PresenceRule input_norms{[](Layer l) { return required_if(l.input_norms); }};
constexpr PresenceRule query{[](Layer l) { return required_if(l.attends() && !has_q_rank(l)); },
                             "q_lora_rank delta_net_layers short_conv_layers"};
constexpr PresenceRule heads_output{[](Layer l) { return required_if(l.attends()); }, kMixers};
constexpr PresenceRule q_bias{[](Layer l) {
                                return !attends(l) ? kNever : l.attention.qkv_bias_required ? kRequired : kOptional;
                              },
                              kMixers};
bool has_k(Layer l) { return attends(l) && l.attention.has_kv(); }
bool has_v(Layer l) { return has_k(l) && !l.attention.v_is_k; }
constexpr FactNames kKeys = "shared_kv_layers delta_net_layers short_conv_layers",
                    kValues = "v_is_k shared_kv_layers delta_net_layers short_conv_layers";
constexpr PresenceRule key{[](Layer l) { return required_if(has_k(l)); }, kKeys};
constexpr PresenceRule value{[](Layer l) { return required_if(has_v(l)); }, kValues};
constexpr PresenceRule k_bias{[](Layer l) { return has_k(l) ? q_bias(l) : kNever; }, kKeys};
constexpr PresenceRule v_bias{[](Layer l) { return has_v(l) ? q_bias(l) : kNever; }, kValues};
constexpr PresenceRule output_bias{
    [](Layer l) { return !attends(l)                        ? kNever
                         : l.attention.output_bias_required ? kRequired
                                                            : kOptional; }, kMixers};
constexpr PresenceRule attention_scale{[](Layer l) { return attends(l) && l.matrix_scales ? kOptional : kNever; }};
constexpr PresenceRule k_scale{[](Layer l) { return has_k(l) ? attention_scale(l) : kNever; }};
constexpr PresenceRule v_scale{[](Layer l) { return has_v(l) ? attention_scale(l) : kNever; }};
constexpr PresenceRule q_norm{[](Layer l) { return required_if(attends(l) && l.attention.qk_norm != QkNorm::kNone); },
                              kMixers};
constexpr PresenceRule k_norm{[](Layer l) { return has_k(l) ? q_norm(l) : kNever; }, kKeys};
constexpr PresenceRule sinks{[](Layer l) { return required_if(attends(l) && l.attention.sinks); }};
constexpr PresenceRule attention_sub_norm{[](Layer l) { return required_if(attends(l) && l.attention.sub_norm); }};
constexpr PresenceRule q_norm_in{[](Layer l) { return required_if(attends(l) && l.product_norms); }, "product_norms"};
constexpr PresenceRule k_norm_in{[](Layer l) { return has_k(l) ? q_norm_in(l) : kNever; }, "product_norms"};
constexpr PresenceRule v_norm_in{[](Layer l) { return has_v(l) ? q_norm_in(l) : kNever; }, "product_norms"};
constexpr PresenceRule latent{[](Layer l) { return required_if(is_latent(l)); }};
constexpr PresenceRule latent_query{[](Layer l) { return required_if(has_q_rank(l)); }, "q_lora_rank"};
constexpr PresenceRule delta{[](Layer l) { return required_if(l.mixer == MixerKind::kDeltaNet); }, kMixers};
constexpr PresenceRule short_conv{[](Layer l) { return required_if(l.mixer == MixerKind::kShortConv); }, kMixers};
constexpr PresenceRule post_norms{[](Layer l) { return required_if(l.post_norms); }};
constexpr PresenceRule dense{[](Layer l) { return required_if(is_dense(l) || (has_beside(l) && l.ffn.n_shared > 0)); },
                             kFfns};
constexpr PresenceRule dense_scale{[](Layer l) { return is_dense(l) && l.matrix_scales ? kOptional : kNever; }};
constexpr PresenceRule dense_sub_norm{[](Layer l) { return required_if(is_dense(l) && l.ffn.sub_norm); }};
constexpr PresenceRule layer_input{[](Layer l) { return required_if(l.n_layer_embd > 0); }, "layer_embedding_length"};
constexpr PresenceRule output_scale{[](Layer l) { return required_if(l.output_scale); }};
constexpr PresenceRule dense_norm_in{[](Layer l) { return required_if(is_dense(l) && l.product_norms); },
                                     "product_norms"};
constexpr PresenceRule experts{[](Layer l) { return required_if(has_experts(l)); }, kFfns};
constexpr PresenceRule expert_biases{[](Layer l) { return required_if(has_experts(l) && l.ffn.biases); }, kFfns};
constexpr PresenceRule choice_bias{[](Layer l) { return required_if(has_experts(l) && l.ffn.choice_bias); },
                                   "expert_choice_bias"};
constexpr PresenceRule expert_factors{[](Layer l) { return required_if(has_experts(l) && l.ffn.expert_factors); },
                                      kFfns};
constexpr PresenceRule router_norm{[](Layer l) { return required_if(has_experts(l) && l.ffn.router_norm); }, kFfns};
constexpr PresenceRule experts_norm{[](Layer l) { return required_if(has_beside(l)); }, kFfns};
constexpr PresenceRule branch_norms{[](Layer l) { return required_if(has_beside(l) && l.ffn.branch_norms); }, kFfns};
constexpr PresenceRule shared{
    [](Layer l) { return required_if(has_experts(l) && l.ffn.n_shared > 0 && !l.ffn.beside); },
    "expert_shared_count expert_shared_length"};
constexpr PresenceRule shared_gate{[](Layer l) { return l.ffn.shared_gate ? shared(l) : kNever; },
                                   "expert_shared_count expert_shared_length"};

// One of a weight's lengths, and what decides it.
struct Length {
  std::int64_t n = 1;
  FactNames facts = {};
};
WeightShape of(Length cols, Length rows = {}, Length n = {}) {
  return {cols.n, rows.n, n.n, {cols.facts, rows.facts, n.facts}};
}
constexpr FactNames kHeadSizes = "head_dim head_dim_local", kQueries = "head_count head_dim head_dim_local",
                    kKvWidth = "head_count_kv head_dim head_dim_local", kDenseWidth = "feed_forward_length",
                    kSharedWidth = "expert_shared_count expert_shared_length",
                    kDeltaValues = "delta_value_heads delta_value_dim";
Length embd_of(Shape s) { return {s.n_embd, "embedding_length"}; }
Length q_rows(Layer l) { return {l.attention.q_width() * (l.attention.output_gate ? 2 : 1), kQueries}; }
Length q_width(Layer l) { return {l.attention.q_width(), kQueries}; }
Length kv_width(Layer l) { return {l.attention.kv_width(), kKvWidth}; }
Length q_rank(Layer l) { return {l.latent.q_rank, "q_lora_rank"}; }
Length latent_q_width(Layer l) { return {l.attention.n_head * l.latent.qk_dim(), "head_count head_dim"}; }
Length rank(Layer l) { return {l.latent.rank, "kv_lora_rank"}; }
Length heads(Layer l) { return {l.attention.n_head, "head_count"}; }
Length conv_channels(Layer l) {
  return {l.delta.conv_channels(), "delta_key_heads delta_key_dim delta_value_heads delta_value_dim"};
}
Length delta_values(Layer l) { return {l.delta.value_width(), kDeltaValues}; }
Length value_heads(Layer l) { return {l.delta.n_value_head, "delta_value_heads"}; }
Length channels(Layer l) { return {l.short_conv.n_channel, "embedding_length"}; }
// Of the dense FFN, or of the one that lies beside experts.
Length dense_width(Layer l) { return {is_dense(l) ? l.ffn.n_ff : l.ffn.n_shared, kDenseWidth}; }
Length layer_embd(Layer l) { return {l.n_layer_embd, "layer_embedding_length"}; }
Length n_expert(Layer l) { return {l.ffn.n_expert, "expert_count"}; }
Length expert_width(Layer l) { return {l.ffn.n_ff, "expert_feed_forward_length"}; }
Length shared_width(Layer l) { return {l.ffn.n_shared, kSharedWidth}; }

// How large it is: cols, rows, experts or heads.
WeightShape one(Shape, Layer) { return of({}); }
WeightShape embd(Shape s, Layer) { return of(embd_of(s)); }
WeightShape q_projection(Shape s, Layer l) { return of(embd_of(s), is_latent(l) ? latent_q_width(l) : q_rows(l)); }
WeightShape kv_projection(Shape s, Layer l) { return of(embd_of(s), kv_width(l)); }
WeightShape q_vector(Shape, Layer l) { return of(q_rows(l)); }
WeightShape heads_vector(Shape, Layer l) { return of(q_width(l)); }
WeightShape kv_vector(Shape, Layer l) { return of(kv_width(l)); }
Length norm_width(Layer l, Length whole) {
  return l.attention.qk_norm == QkNorm::kWidth ? whole : Length{l.attention.head_dim, kHeadSizes};
}
WeightShape q_norm_vector(Shape, Layer l) { return of(norm_width(l, q_width(l))); }
WeightShape k_norm_vector(Shape, Layer l) { return of(norm_width(l, kv_width(l))); }
WeightShape each_head(Shape, Layer l) { return of(heads(l)); }
WeightShape attention_output(Shape s, Layer l) {
  const Length latent_width{l.attention.n_head * l.latent.v_dim, "head_count value_head_dim"};
  return of(is_latent(l) ? latent_width : q_width(l), embd_of(s));
}
WeightShape latent_q_a(Shape s, Layer l) { return of(embd_of(s), q_rank(l)); }
WeightShape latent_q_vector(Shape, Layer l) { return of(q_rank(l)); }
WeightShape latent_q_b(Shape, Layer l) { return of(q_rank(l), latent_q_width(l)); }
WeightShape latent_kv(Shape s, Layer l) {
  return of(embd_of(s), {l.latent.rank + l.latent.rope_dim, "kv_lora_rank rope_dimensions"});
}
WeightShape latent_vector(Shape, Layer l) { return of(rank(l)); }
WeightShape latent_k(Shape, Layer l) { return of({l.latent.nope_dim, "head_dim rope_dimensions"}, rank(l), heads(l)); }
WeightShape latent_v(Shape, Layer l) { return of(rank(l), {l.latent.v_dim, "value_head_dim"}, heads(l)); }
WeightShape delta_qkv(Shape s, Layer l) { return of(embd_of(s), conv_channels(l)); }
WeightShape delta_gate(Shape s, Layer l) { return of(embd_of(s), delta_values(l)); }
WeightShape delta_head(Shape s, Layer l) { return of(embd_of(s), value_heads(l)); }
WeightShape delta_conv(Shape, Layer l) { return of({l.delta.conv_width, "delta_conv_width"}, conv_channels(l)); }
WeightShape delta_heads_vector(Shape, Layer l) { return of(value_heads(l)); }
WeightShape delta_value_vector(Shape, Layer l) { return of({l.delta.value_dim, "delta_value_dim"}); }
WeightShape delta_output(Shape s, Layer l) { return of(delta_values(l), embd_of(s)); }
WeightShape short_conv_in(Shape s, Layer l) {
  return of(embd_of(s), {l.short_conv.product_width(), "embedding_length"});
}
WeightShape short_conv_taps(Shape, Layer l) { return of({l.short_conv.conv_width, "short_conv_width"}, channels(l)); }
WeightShape short_conv_output(Shape s, Layer l) { return of(channels(l), embd_of(s)); }
WeightShape ffn_in(Shape s, Layer l) { return of(embd_of(s), dense_width(l)); }
WeightShape ffn_out(Shape s, Layer l) { return of(dense_width(l), embd_of(s)); }
WeightShape ffn_vector(Shape, Layer l) { return of({l.ffn.n_ff, kDenseWidth}); }
WeightShape layer_input_in(Shape s, Layer l) { return of(embd_of(s), layer_embd(l)); }
WeightShape layer_input_out(Shape s, Layer l) { return of(layer_embd(l), embd_of(s)); }
WeightShape router(Shape s, Layer l) { return of(embd_of(s), n_expert(l)); }
WeightShape each_expert(Shape, Layer l) { return of(n_expert(l)); }
WeightShape expert_in(Shape s, Layer l) { return of(embd_of(s), expert_width(l), n_expert(l)); }
WeightShape expert_out(Shape s, Layer l) { return of(expert_width(l), embd_of(s), n_expert(l)); }
WeightShape expert_in_vectors(Shape, Layer l) { return of(expert_width(l), n_expert(l)); }
WeightShape expert_out_vectors(Shape s, Layer l) { return of(embd_of(s), n_expert(l)); }
WeightShape shared_in(Shape s, Layer l) { return of(embd_of(s), shared_width(l)); }
WeightShape shared_out(Shape s, Layer l) { return of(shared_width(l), embd_of(s)); }

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
constexpr FusedWeights kFused[] = {
    {"attn_qkv.weight", kQkv, "head_count head_count_kv head_dim head_dim_local", fused, fused},
    {"ffn_up.weight", kGateUp, kDenseWidth, fused, fused},
    {"ffn_gate_up_exps.weight", kExpertsGateUp, "expert_feed_forward_length", has_experts, has_beside}};

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
    all.facts = {part.facts[0], fused.facts, part.facts[2]};
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
