#include "engine/model/blocks/delta_net/delta_net.h"

namespace rowmax::engine::delta_net {
namespace {

struct Buffers {
  Rows normed, qkv, gate, alpha, beta, mixed, output;
};

Buffers buffers_of(const ModelShape& shape, const DeltaNetSpec& d) {
  return {.normed = {Slot::kNormed, shape.n_embd},
          .qkv = {Slot::kQ, d.conv_channels()},
          .gate = {Slot::kGate, d.value_width()},
          .alpha = {Slot::kAlpha, d.n_value_head},
          .beta = {Slot::kBeta, d.n_value_head},
          .mixed = {Slot::kMixed, d.value_width()},
          .output = {Slot::kOutput, shape.n_embd}};
}

}  // namespace

void plan(const ModelShape& shape, const LayerSpec& spec, BufferPlan& buffers) {
  const Buffers b = buffers_of(shape, spec.delta);
  for (const Rows rows : {b.qkv, b.gate, b.alpha, b.beta, b.mixed}) buffers.need(rows);
  buffers.need_product(b.mixed.width);
}

Status run(Ops& ops, const ModelSpec& spec, std::size_t layer, const LayerWeights& weights) {
  const DeltaNetSpec& delta = spec.layers[layer].delta;
  const Buffers b = buffers_of(spec.shape, delta);
  const LinearTerm terms[] = {{&weights.matrix(W::kDeltaQkv), b.qkv},
                              {&weights.matrix(W::kDeltaGate), b.gate},
                              {&weights.matrix(W::kDeltaAlpha), b.alpha},
                              {&weights.matrix(W::kDeltaBeta), b.beta}};
  ops.project(terms, b.normed);
  const auto show = [&](Stage q, Stage k) {
    ops.tap(q, layer, b.qkv, 0, delta.n_key_head, delta.key_dim);
    ops.tap(k, layer, b.qkv, delta.key_width(), delta.n_key_head, delta.key_dim);
  };
  show(Stage::kQRaw, Stage::kKRaw);
  ops.convolve(layer, delta, weights.vector(W::kDeltaConv), b.qkv);
  show(Stage::kQ, Stage::kK);
  ops.tap(Stage::kV, layer, b.qkv, 2 * delta.key_width(), delta.n_value_head, delta.value_dim);
  ops.delta_rule(layer, delta, weights, b.qkv, b.alpha, b.beta, b.mixed);
  ops.norm_gate(delta, weights.vector(W::kDeltaNorm), b.gate, b.mixed);
  ops.tap(Stage::kAttnOut, layer, b.mixed, 0, delta.n_value_head, delta.value_dim);
  const LinearTerm term{&weights.matrix(W::kDeltaOutput), b.output};
  ops.project({&term, 1}, b.mixed);
  return {};
}

}  // namespace rowmax::engine::delta_net
