#include "engine/model/blocks/moe_ffn/moe_ffn.h"

#include <algorithm>
#include <array>
#include <cmath>
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

namespace {

// What every row passes: into `out`, by the matrices of a shared expert or of a dense FFN.
void run_shared(Ops& ops, const FfnSpec& ffn, std::size_t layer, const LayerWeights& weights, Rows normed, Rows out) {
  const Rows gate{Slot::kGate, ffn.n_shared}, up{Slot::kUp, ffn.n_shared}, weight{Slot::kBeta, 1};
  const auto matrix = [&](W dense, W shared) { return &weights.matrix(ffn.beside ? dense : shared); };
  std::array<LinearTerm, 3> terms{{{matrix(W::kFfnGate, W::kSharedGate), ffn.up_gates ? up : gate},
                                   {matrix(W::kFfnUp, W::kSharedUp), ffn.up_gates ? gate : up}}};
  std::size_t n = 2;
  if (ffn.shared_gate) terms[n++] = {&weights.matrix(W::kSharedRouter), weight};
  ops.project(std::span(terms).first(n), normed);
  ops.tap(Stage::kSharedGate, layer, gate);
  ops.tap(Stage::kSharedUp, layer, up);
  ops.gate(ffn, gate, up);
  ops.tap(Stage::kSharedAct, layer, gate);
  const LinearTerm down{matrix(W::kFfnDown, W::kSharedDown), out};
  ops.project({&down, 1}, gate);
}

}  // namespace

Status run(Ops& ops, const ModelSpec& spec, std::size_t layer, const LayerWeights& weights) {
  const FfnSpec& ffn = spec.layers[layer].ffn;
  const std::int64_t n_embd = spec.shape.n_embd;
  const Rows stream{Slot::kStream, n_embd}, normed{Slot::kNormed, n_embd}, output{Slot::kOutput, n_embd};
  const Rows mixed{Slot::kMixed, n_embd}, router{Slot::kRouter, ffn.n_expert}, weight{Slot::kBeta, 1};
  const Rows seen = ffn.beside ? mixed : normed;  // by experts
  const LinearTerm route{&weights.matrix(W::kRouter), router};
  if (ffn.router_norm) {
    ops.norm(stream, weights.vector(W::kRouterNorm), mixed);
    ops.scale(mixed, 1.0f / std::sqrt(static_cast<float>(n_embd)));
    ops.project({&route, 1}, mixed);
  }
  if (ffn.beside) ops.norm(stream, weights.vector(W::kExpertsNorm), seen);
  if (!ffn.router_norm) ops.project({&route, 1}, seen);
  ops.add_bias(router, weights.vector_if(ffn.biases, W::kRouterLogitBias));
  ops.run_experts(layer, ffn, weights, router, seen, output);
  if (ffn.branch_norms) ops.norm(output, weights.vector(W::kPostExpertsNorm), output);
  if (ffn.n_shared == 0) return {};
  run_shared(ops, ffn, layer, weights, normed, mixed);
  if (ffn.shared_gate) {
    ops.add_gated(output, mixed, weight);
  } else {
    ops.add(output, mixed, weights.vector_if(ffn.branch_norms, W::kPostDenseNorm), 1.0f);
  }
  return {};
}

}  // namespace rowmax::engine::moe_ffn
