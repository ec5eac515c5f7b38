#include "engine/model/forward.h"

#include <utility>

#include "engine/model/blocks/attention.h"
#include "engine/model/blocks/delta_net.h"
#include "engine/model/blocks/dense_ffn.h"
#include "engine/model/blocks/moe_ffn.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr auto kNoLayer = static_cast<std::size_t>(-1);

struct Block {
  void (*plan)(const ModelShape& shape, const LayerSpec& spec, BufferPlan& buffers);
  Status (*run)(Ops& ops, const ModelSpec& spec, std::size_t layer, const LayerWeights& weights);
};

constexpr Block mixer_of(const LayerSpec& layer) {
  return layer.mixer == MixerKind::kAttention ? Block{attention::plan, attention::run}
                                              : Block{delta_net::plan, delta_net::run};
}
constexpr Block ffn_of(const LayerSpec& layer) {
  return layer.ffn.kind == FfnKind::kDense ? Block{dense_ffn::plan, dense_ffn::run}
                                           : Block{moe_ffn::plan, moe_ffn::run};
}

}  // namespace

Result<Forward> Forward::create(const ModelSpec& spec, const ModelWeights& weights, const OpsOptions& options,
                                const Backend& backend) {
  BufferPlan buffers;
  for (const Slot slot : {Slot::kStream, Slot::kNormed, Slot::kOutput}) buffers.need({slot, spec.shape.n_embd});
  buffers.need_product(spec.shape.n_embd);
  for (const LayerSpec& layer : spec.layers) {
    mixer_of(layer).plan(spec.shape, layer, buffers);
    ffn_of(layer).plan(spec.shape, layer, buffers);
  }
  ROWMAX_TRY(ops, make_ops(spec, weights, buffers, options, backend));
  return Forward(spec, weights, std::move(ops));
}

Status Forward::run(const ForwardBatch& batch, const KvLayers& cache, float* logits) {
  const std::int64_t n_embd = spec_->shape.n_embd;
  const Rows stream{Slot::kStream, n_embd}, normed{Slot::kNormed, n_embd}, output{Slot::kOutput, n_embd};
  ROWMAX_RETURN_IF_ERROR(ops_->begin(batch, cache));
  ops_->embed(spec_->embedding_scale, stream);
  ops_->tap(Stage::kEmbedding, kNoLayer, stream);
  for (std::size_t i = 0; i < spec_->layers.size(); ++i) {
    const LayerSpec& layer = spec_->layers[i];
    const LayerWeights& weights = weights_->layers[i];
    ops_->norm(stream, weights.vector(W::kAttnNorm), normed);
    ops_->tap(Stage::kAttnNorm, i, normed);
    ROWMAX_RETURN_IF_ERROR(mixer_of(layer).run(*ops_, *spec_, i, weights));
    ops_->tap(Stage::kMixerOut, i, output);
    ops_->add(stream, output, weights.vector(W::kPostAttnNorm));
    ops_->norm(stream, weights.vector(W::kFfnNorm), normed);
    ops_->tap(Stage::kFfnNorm, i, normed);
    ROWMAX_RETURN_IF_ERROR(ffn_of(layer).run(*ops_, *spec_, i, weights));
    ops_->tap(Stage::kBlockOut, i, output);
    ops_->add(stream, output, weights.vector(W::kPostFfnNorm));
    ops_->tap(Stage::kResidual, i, stream);
  }
  return ops_->head(spec_->final_softcap, logits);
}

}  // namespace rowmax::engine
