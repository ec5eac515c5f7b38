#include "engine/model/blocks/layer_embedding/layer_embedding.h"

#include <cmath>

namespace rowmax::engine::layer_embedding {
namespace {

float root(std::int64_t n) { return static_cast<float>(std::sqrt(static_cast<double>(n))); }

}  // namespace

Rows numbers_of(const ModelSpec& spec) {
  return {Slot::kLayerInputs, spec.layer_embd() * static_cast<std::int64_t>(spec.layers.size())};
}

void plan(const ModelSpec& spec, BufferPlan& buffers) {
  const std::int64_t n = spec.layer_embd();
  if (n == 0) return;
  buffers.need(numbers_of(spec));
  buffers.need({Slot::kMixed, numbers_of(spec).width});
  for (const Slot slot : {Slot::kGate, Slot::kUp}) buffers.need({slot, n});
  buffers.need_product(n);
}

void begin(Ops& ops, const ModelSpec& spec, const ModelWeights& weights, Rows stream) {
  const Rows numbers = numbers_of(spec);
  const LinearTerm term{&weights.layer_projection, numbers};
  ops.project({&term, 1}, stream);
  ops.scale(numbers, 1.0f / root(spec.shape.n_embd));
  ops.norm(numbers, weights.layer_projection_norm, numbers);
  const Rows rows{Slot::kMixed, numbers.width};
  ops.embed_layers(root(spec.layer_embd()), rows);
  ops.add(numbers, rows, {}, 1.0f);
  ops.scale(numbers, 1.0f / root(2));
}

void run(Ops& ops, const ModelSpec& spec, std::size_t layer, const LayerWeights& weights, Rows stream) {
  const std::int64_t n = spec.layers[layer].n_layer_embd;
  const Rows gate{Slot::kGate, n}, own{Slot::kUp, n}, output{Slot::kOutput, spec.shape.n_embd};
  const LinearTerm in{&weights.matrix(W::kLayerInputGate), gate}, out{&weights.matrix(W::kLayerInputOutput), output};
  ops.project({&in, 1}, stream);
  ops.take_columns(numbers_of(spec), static_cast<std::int64_t>(layer) * spec.layer_embd(), own);
  ops.gate({.activation = spec.layers[layer].ffn.activation}, gate, own);
  ops.project({&out, 1}, gate);
  ops.add(stream, output, weights.vector(W::kLayerInputNorm), 1.0f);
}

}  // namespace rowmax::engine::layer_embedding
