#include "engine/model/blocks/dense_ffn/dense_ffn.h"

#include <iterator>

namespace rowmax::engine::dense_ffn {

void plan(const ModelShape&, const LayerSpec& spec, BufferPlan& buffers) {
  buffers.need({Slot::kGate, spec.ffn.n_ff});
  buffers.need({Slot::kUp, spec.ffn.n_ff});
  buffers.need_product(spec.ffn.n_ff);
}

Status run(Ops& ops, const ModelSpec& spec, std::size_t layer, const LayerWeights& weights) {
  const FfnSpec& ffn = spec.layers[layer].ffn;
  const Rows normed{Slot::kNormed, spec.shape.n_embd}, output{Slot::kOutput, spec.shape.n_embd};
  const Rows gate{Slot::kGate, ffn.n_ff}, up{Slot::kUp, ffn.n_ff};
  const Rows gate_product = ffn.up_gates ? up : gate, up_product = ffn.up_gates ? gate : up;
  const LinearTerm terms[] = {{&weights.matrix(W::kFfnGate), gate_product}, {&weights.matrix(W::kFfnUp), up_product}};
  const bool norms = spec.layers[layer].product_norms;
  if (!norms) ops.project(terms, normed);
  for (std::size_t i = 0; norms && i < std::size(terms); ++i) {
    ops.norm(normed, weights.vector(i == 0 ? W::kFfnGateNormIn : W::kFfnUpNormIn), output);
    ops.project({&terms[i], 1}, output);
  }
  ops.scale(gate_product, weights.vector(W::kFfnGateScale));
  ops.scale(up_product, weights.vector(W::kFfnUpScale));
  ops.tap(Stage::kGate, layer, gate);
  ops.tap(Stage::kUp, layer, up);
  ops.gate(ffn, gate, up);
  if (ffn.sub_norm) ops.norm(gate, weights.vector(W::kFfnSubNorm), gate);
  if (norms) ops.norm(gate, weights.vector(W::kFfnDownNormIn), gate);
  ops.tap(Stage::kAct, layer, gate);
  const LinearTerm term{&weights.matrix(W::kFfnDown), output};
  ops.project({&term, 1}, gate);
  ops.scale(output, weights.vector(W::kFfnDownScale));
  return {};
}

}  // namespace rowmax::engine::dense_ffn
