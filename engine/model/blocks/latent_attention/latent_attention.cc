#include "engine/model/blocks/latent_attention/latent_attention.h"

#include <algorithm>
#include <array>
#include <span>

#include "rowmax/try.h"

namespace rowmax::engine::latent_attention {
namespace {

struct Buffers {
  Rows normed, q_a, q_heads, q, k, mixed, heads, output;
};

Buffers buffers_of(const ModelShape& shape, const LayerSpec& spec) {
  const AttentionSpec& a = spec.attention;
  const LatentSpec& l = spec.latent;
  return {.normed = {Slot::kNormed, shape.n_embd},
          .q_a = {Slot::kGate, l.q_rank},
          .q_heads = {Slot::kUp, a.n_head * l.qk_dim()},  // as the product gives them
          .q = {Slot::kQ, a.q_width()},                   // in the latent's space, with what turns behind it
          .k = {Slot::kK, a.head_dim},
          .mixed = {Slot::kMixed, a.n_head * l.rank},
          .heads = {Slot::kV, a.n_head * l.v_dim},
          .output = {Slot::kOutput, shape.n_embd}};
}

}  // namespace

void plan(const ModelShape& shape, const LayerSpec& spec, BufferPlan& buffers) {
  const Buffers b = buffers_of(shape, spec);
  for (const Rows rows : {b.q_a, b.q_heads, b.q, b.k, b.mixed, b.heads}) buffers.need(rows);
  buffers.need_product(std::max(b.heads.width, spec.latent.q_rank));
  buffers.need_head_products(spec.attention.n_head, std::max(spec.latent.nope_dim, spec.latent.rank));
}

Status run(Ops& ops, const ModelSpec& spec, std::size_t layer, const LayerWeights& weights) {
  const AttentionSpec& a = spec.layers[layer].attention;
  const LatentSpec& l = spec.layers[layer].latent;
  const Buffers b = buffers_of(spec.shape, spec.layers[layer]);
  const bool two = l.q_rank > 0;
  const std::array<LinearTerm, 2> terms{{{&weights.matrix(two ? W::kLatentQA : W::kAttnQ), two ? b.q_a : b.q_heads},
                                         {&weights.matrix(W::kLatentKv), b.k}}};
  ops.project(terms, b.normed);
  if (two) {
    ops.norm(b.q_a, weights.vector(W::kLatentQNorm), b.q_a);
    const LinearTerm term{&weights.matrix(W::kLatentQB), b.q_heads};
    ops.project({&term, 1}, b.q_a);
  }
  ops.tap(Stage::kQRaw, layer, b.q_heads, 0, a.n_head, l.qk_dim());
  ops.copy_heads(a.n_head, {b.q_heads, l.nope_dim, l.rope_dim}, {b.q, l.rank, l.rope_dim});
  ops.project_heads(weights.experts(W::kLatentK), {b.q_heads, 0, l.nope_dim}, {b.q, 0, l.rank});
  ops.finish_heads(a, b.q, {});
  if (a.temperature.scale != 0) ops.temper(a.temperature, b.q);
  ops.tap(Stage::kQ, layer, b.q, 0, a.n_head, a.head_dim);
  ops.tap(Stage::kKRaw, layer, b.k, 0, 1, a.head_dim);
  ops.norm_first(b.k, weights.vector(W::kLatentNorm));
  ops.finish_heads(a, b.k, {});
  ops.tap(Stage::kK, layer, b.k, 0, 1, a.head_dim);
  ops.tap(Stage::kV, layer, b.k, 0, 1, l.rank);
  ops.store_kv(layer, a, b.k, b.k);
  ROWMAX_RETURN_IF_ERROR(ops.attend(layer, a, {}, b.q, b.mixed));
  ops.project_heads(weights.experts(W::kLatentV), {b.mixed, 0, l.rank}, {b.heads, 0, l.v_dim});
  ops.tap(Stage::kAttnOut, layer, b.heads, 0, a.n_head, l.v_dim);
  const LinearTerm term{&weights.matrix(W::kAttnOutput), b.output};
  ops.project({&term, 1}, b.heads);
  return {};
}

}  // namespace rowmax::engine::latent_attention
