#include "engine/model/blocks/moe_ffn/moe_ffn.h"

#include <algorithm>
#include <array>
#include <span>

namespace rowmax::engine::moe_ffn {

void plan(const ModelShape& shape, const LayerSpec& spec, BufferPlan& buffers) {
  const FfnSpec& ffn = spec.ffn;
  buffers.need({Slot::kRouter, ffn.n_expert});
  buffers.need({Slot::kExperts, ffn.n_used * shape.n_embd});  // inputs, then outputs, of each row's experts
  buffers.need({Slot::kGate, std::max(ffn.n_used * ffn.n_ff, ffn.n_shared)});
  buffers.need({Slot::kUp, std::max(ffn.n_used * ffn.n_ff, ffn.n_shared)});
  buffers.need({Slot::kMixed, shape.n_embd});
  buffers.need({Slot::kBeta, 1});
  buffers.need_product(std::max(ffn.n_ff, ffn.n_shared));
}

Status run(Ops& ops, const ModelSpec& spec, std::size_t layer, const LayerWeights& weights) {
  const FfnSpec& ffn = spec.layers[layer].ffn;
  const Rows normed{Slot::kNormed, spec.shape.n_embd}, output{Slot::kOutput, spec.shape.n_embd};
  const Rows router{Slot::kRouter, ffn.n_expert};
  const LinearTerm route{&weights.matrix(W::kRouter), router};
  ops.project({&route, 1}, normed);
  ops.add_bias(router, weights.vector_if(ffn.biases, W::kRouterLogitBias));
  ops.run_experts(layer, ffn, weights, router, normed, output);
  if (ffn.n_shared == 0) return {};
  const Rows gate{Slot::kGate, ffn.n_shared}, up{Slot::kUp, ffn.n_shared}, weight{Slot::kBeta, 1};
  const Rows shared{Slot::kMixed, spec.shape.n_embd};
  std::array<LinearTerm, 3> terms{{{&weights.matrix(W::kSharedGate), ffn.up_gates ? up : gate},
                                   {&weights.matrix(W::kSharedUp), ffn.up_gates ? gate : up}}};
  std::size_t n = 2;
  if (ffn.shared_gate) terms[n++] = {&weights.matrix(W::kSharedRouter), weight};
  ops.project(std::span(terms).first(n), normed);
  ops.tap(Stage::kSharedGate, layer, gate);
  ops.tap(Stage::kSharedUp, layer, up);
  ops.gate(ffn, gate, up);
  ops.tap(Stage::kSharedAct, layer, gate);
  const LinearTerm down{&weights.matrix(W::kSharedDown), shared};
  ops.project({&down, 1}, gate);
  if (ffn.shared_gate) {
    ops.add_gated(output, shared, weight);
  } else {
    ops.add(output, shared, {}, 1.0f);
  }
  return {};
}

}  // namespace rowmax::engine::moe_ffn
