#include "engine/model/forward.h"

#include <array>
#include <utility>

#include "engine/model/blocks/attention/attention.h"
#include "engine/model/blocks/delta_net/delta_net.h"
#include "engine/model/blocks/dense_ffn/dense_ffn.h"
#include "engine/model/blocks/latent_attention/latent_attention.h"
#include "engine/model/blocks/layer_embedding/layer_embedding.h"
#include "engine/model/blocks/moe_ffn/moe_ffn.h"
#include "engine/model/blocks/short_conv/short_conv.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr auto kNoLayer = static_cast<std::size_t>(-1);

struct Block {
  void (*plan)(const ModelShape& shape, const LayerSpec& spec, BufferPlan& buffers);
  Status (*run)(Ops& ops, const ModelSpec& spec, std::size_t layer, const LayerWeights& weights);
};

constexpr Block mixer_of(const LayerSpec& layer) {
  switch (layer.mixer) {
    case MixerKind::kAttention: return {attention::plan, attention::run};
    case MixerKind::kLatent: return {latent_attention::plan, latent_attention::run};
    case MixerKind::kShortConv: return {short_conv::plan, short_conv::run};
    case MixerKind::kDeltaNet: break;
  }
  return {delta_net::plan, delta_net::run};
}
constexpr Block ffn_of(const LayerSpec& layer) {
  return layer.ffn.kind == FfnKind::kDense ? Block{dense_ffn::plan, dense_ffn::run}
                                           : Block{moe_ffn::plan, moe_ffn::run};
}

// The two blocks of a layer: the weights of their norms, and what an observer is shown of them.
struct Place {
  W norm, post_norm;
  Stage input, output;
};
constexpr Place kMixer{W::kAttnNorm, W::kPostAttnNorm, Stage::kAttnNorm, Stage::kMixerOut};
constexpr Place kFfn{W::kFfnNorm, W::kPostFfnNorm, Stage::kFfnNorm, Stage::kBlockOut};

// stream += block(norm(stream)), or norm(block(stream))
Status run_block(const Block& block, const Place& place, bool skip, Ops& ops, const ModelSpec& spec, std::size_t i,
                 const LayerWeights& weights) {
  const std::int64_t n_embd = spec.shape.n_embd;
  const Rows stream{Slot::kStream, n_embd}, normed{Slot::kNormed, n_embd}, output{Slot::kOutput, n_embd};
  const std::vector<float>& norm = weights.vector(place.norm);
  const bool has_norm = spec.layers[i].input_norms, norm_first = has_norm && spec.norm_place == NormPlace::kInput;
  norm_first ? ops.norm(stream, norm, normed) : ops.copy(stream, normed);
  ops.tap(place.input, i, normed);
  ROWMAX_RETURN_IF_ERROR(block.run(ops, spec, i, weights));
  ops.tap(place.output, i, output);
  if (skip) return {};
  if (has_norm && !norm_first) ops.norm(output, norm, output);
  ops.add(stream, output, weights.vector_if(spec.layers[i].post_norms, place.post_norm), spec.residual_scale);
  return {};
}

// Whether sequences remember something of what the layer's mixer is given.
bool remembers(const LayerSpec& layer) { return layer.mixer != MixerKind::kAttention || layer.attention.has_kv(); }

// The place in `order` of the last layer that does.
std::size_t last_that_remembers(const ModelSpec& spec, const std::vector<std::size_t>& order) {
  std::size_t n = order.size();
  while (n > 1 && !remembers(spec.layers[order[n - 1]])) --n;
  return n - 1;
}

BufferPlan plan_buffers(const ModelSpec& spec) {
  BufferPlan buffers;
  for (const Slot slot : {Slot::kStream, Slot::kNormed, Slot::kOutput}) buffers.need({slot, spec.shape.n_embd});
  buffers.need_product(spec.shape.n_embd);
  for (const LayerSpec& layer : spec.layers) {
    mixer_of(layer).plan(spec.shape, layer, buffers);
    ffn_of(layer).plan(spec.shape, layer, buffers);
  }
  layer_embedding::plan(spec, buffers);
  return buffers;
}

}  // namespace

std::int64_t Forward::row_bytes(const ModelSpec& spec) {
  return plan_buffers(spec).row_floats() * static_cast<std::int64_t>(sizeof(float));
}

Result<Forward> Forward::create(const ModelSpec& spec, const ModelWeights& weights, const OpsOptions& options,
                                const Backend& backend) {
  ROWMAX_TRY(ops, make_ops(spec, weights, plan_buffers(spec), options, backend));
  Forward forward(spec, weights, std::move(ops));
  forward.order_ = spec.layer_order;
  for (std::size_t i = 0; spec.layer_order.empty() && i < spec.layers.size(); ++i) forward.order_.push_back(i);
  forward.last_that_remembers_ = last_that_remembers(spec, forward.order_);
  return forward;
}

Status Forward::run(const ForwardBatch& batch, const KvLayers& cache, float* logits, float* states) {
  const Rows stream{Slot::kStream, spec_->shape.n_embd};
  ROWMAX_RETURN_IF_ERROR(ops_->begin(batch, cache));
  ops_->embed(spec_->embedding_scale, stream);
  ops_->tap(Stage::kEmbedding, kNoLayer, stream);
  if (spec_->layer_embd() > 0) layer_embedding::begin(*ops_, *spec_, *weights_, stream);
  for (std::size_t n = 0; n < order_.size(); ++n) {
    const std::size_t i = order_[n];
    const LayerSpec& layer = spec_->layers[i];
    const LayerWeights& weights = weights_->layers[i];
    ROWMAX_RETURN_IF_ERROR(run_block(mixer_of(layer), kMixer, layer.skip_mixer, *ops_, *spec_, i, weights));
    if (n == last_that_remembers_) {
      const std::array<Rows, 2> alive{stream, layer_embedding::numbers_of(*spec_)};
      ROWMAX_TRY(n_left, ops_->drop_unwanted(std::span(alive).first(spec_->layer_embd() > 0 ? 2 : 1)));
      if (n_left == 0) return {};
    }
    ROWMAX_RETURN_IF_ERROR(run_block(ffn_of(layer), kFfn, layer.skip_ffn, *ops_, *spec_, i, weights));
    if (layer.n_layer_embd > 0) layer_embedding::run(*ops_, *spec_, i, weights, stream);
    ops_->scale(stream, weights.vector_if(layer.output_scale, W::kLayerOutputScale));
    ops_->tap(Stage::kResidual, i, stream);
  }
  ops_->final_states(states);
  return ops_->head(spec_->logit_scale, spec_->final_softcap, logits);
}

}  // namespace rowmax::engine
