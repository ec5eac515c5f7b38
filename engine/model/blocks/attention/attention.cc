#include "engine/model/blocks/attention/attention.h"

#include <array>
#include <span>

#include "rowmax/try.h"

namespace rowmax::engine::attention {
namespace {

struct Buffers {
  Rows normed, input, both, q, k, v, gate, mixed, output;
};

Buffers buffers_of(const ModelShape& shape, const AttentionSpec& a) {
  return {.normed = {Slot::kNormed, shape.n_embd},
          .input = {Slot::kOutput, shape.n_embd},  // of one product, where each has a norm of its own
          .both = {Slot::kUp, 2 * a.q_width()},
          .q = {Slot::kQ, a.q_width()},
          .k = {Slot::kK, a.kv_width()},
          .v = {Slot::kV, a.kv_width()},
          .gate = {Slot::kGate, a.q_width()},
          .mixed = {Slot::kMixed, a.q_width()},
          .output = {Slot::kOutput, shape.n_embd}};
}

struct Product {
  W matrix, scale, bias;
};
constexpr Product kKeys{W::kAttnK, W::kAttnKScale, W::kAttnKBias};
constexpr Product kValues{W::kAttnV, W::kAttnVScale, W::kAttnVBias};

// What the sequence will remember of the rows.
void make_kv(Ops& ops, const AttentionSpec& a, std::size_t layer, const LayerWeights& weights, const Buffers& b) {
  const Product &k = a.kv_exchanged ? kValues : kKeys, &v = a.kv_exchanged ? kKeys : kValues;
  ops.scale(b.k, weights.vector(k.scale));
  ops.tap(Stage::kKRaw, layer, b.k, 0, a.n_kv_head, a.head_dim);
  ops.add_bias(b.k, weights.vector_if(a.biases, k.bias));
  const bool reordered = a.kv_shift != 0 || a.kv_reversed;
  if (reordered) ops.order_heads(a, b.k);
  if (a.v_is_k) {
    ops.copy(b.k, b.v);
  } else {
    ops.scale(b.v, weights.vector(v.scale));
    ops.add_bias(b.v, weights.vector_if(a.biases, v.bias));
    if (reordered) ops.order_heads(a, b.v);
  }
  if (a.v_norm) ops.norm_plain(layer, b.v, a.head_dim);
  ops.finish_heads(a, b.k, weights.vector(W::kAttnKNorm));
  ops.tap(Stage::kK, layer, b.k, 0, a.n_kv_head, a.head_dim);
  ops.tap(Stage::kV, layer, b.v, 0, a.n_kv_head, a.head_dim);
  ops.store_kv(layer, a, b.k, b.v);
}

}  // namespace

void plan(const ModelShape& shape, const LayerSpec& spec, BufferPlan& buffers) {
  const Buffers b = buffers_of(shape, spec.attention);
  for (const Rows rows : {b.q, b.k, b.v, b.mixed}) buffers.need(rows);
  if (spec.attention.output_gate) {
    buffers.need(b.both);
    buffers.need(b.gate);
  }
  buffers.need_product(b.q.width);
}

Status run(Ops& ops, const ModelSpec& spec, std::size_t layer, const LayerWeights& weights) {
  const AttentionSpec& a = spec.layers[layer].attention;
  const Buffers b = buffers_of(spec.shape, a);
  const Rows q_out = a.output_gate ? b.both : b.q;
  std::array<LinearTerm, 3> terms{{{&weights.matrix(W::kAttnQ), q_out}}};
  std::size_t n = 1;
  if (a.has_kv()) terms[n++] = {&weights.matrix(W::kAttnK), a.kv_exchanged ? b.v : b.k};
  if (a.has_kv() && !a.v_is_k) terms[n++] = {&weights.matrix(W::kAttnV), a.kv_exchanged ? b.k : b.v};
  constexpr W kNorms[] = {W::kAttnQNormIn, W::kAttnKNormIn, W::kAttnVNormIn};
  const bool norms = spec.layers[layer].product_norms;
  if (!norms) ops.project(std::span(terms).first(n), b.normed);
  for (std::size_t i = 0; norms && i < n; ++i) {
    ops.norm(b.normed, weights.vector(kNorms[i]), b.input);
    ops.project({&terms[i], 1}, b.input);
  }
  ops.scale(q_out, weights.vector(W::kAttnQScale));
  // Where a gate lies behind each head, it is shown with it.
  ops.tap(Stage::kQRaw, layer, q_out, 0, a.n_head, q_out.width / a.n_head);
  ops.add_bias(q_out, weights.vector_if(a.biases, W::kAttnQBias));
  if (a.output_gate) ops.split_gate(b.both, a.gate_flat ? a.q_width() : a.head_dim, b.q, b.gate);
  ops.finish_heads(a, b.q, weights.vector(W::kAttnQNorm));
  if (a.temperature.scale != 0) ops.temper(a.temperature, b.q);
  ops.tap(Stage::kQ, layer, b.q, 0, a.n_head, a.head_dim);
  if (a.has_kv()) make_kv(ops, a, layer, weights, b);
  ROWMAX_RETURN_IF_ERROR(ops.attend(layer, a, weights.vector_if(a.sinks, W::kAttnSinks), b.q, b.mixed));
  if (a.output_gate && !a.gate_unused) ops.gate_sigmoid(b.gate, b.mixed);
  if (a.sub_norm) ops.norm(b.mixed, weights.vector(W::kAttnSubNorm), b.mixed);
  if (norms) ops.norm(b.mixed, weights.vector(W::kAttnOutputNormIn), b.mixed);
  ops.tap(Stage::kAttnOut, layer, b.mixed, 0, a.n_head, a.head_dim);
  const LinearTerm term{&weights.matrix(W::kAttnOutput), b.output};
  ops.project({&term, 1}, b.mixed);
  ops.scale(b.output, weights.vector(W::kAttnOutputScale));
  ops.add_bias(b.output, weights.vector_if(a.biases, W::kAttnOutputBias));
  return {};
}

}  // namespace rowmax::engine::attention
