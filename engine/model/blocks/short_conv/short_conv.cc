#include "engine/model/blocks/short_conv/short_conv.h"

namespace rowmax::engine::short_conv {
namespace {

struct Buffers {
  Rows normed, bcx, mixed, output;
};

Buffers buffers_of(const ModelShape& shape, const ShortConvSpec& conv) {
  return {.normed = {Slot::kNormed, shape.n_embd},
          .bcx = {Slot::kQ, conv.product_width()},
          .mixed = {Slot::kMixed, conv.n_channel},
          .output = {Slot::kOutput, shape.n_embd}};
}

}  // namespace

void plan(const ModelShape& shape, const LayerSpec& spec, BufferPlan& buffers) {
  const Buffers b = buffers_of(shape, spec.short_conv);
  for (const Rows rows : {b.bcx, b.mixed}) buffers.need(rows);
  buffers.need_product(b.mixed.width);
}

Status run(Ops& ops, const ModelSpec& spec, std::size_t layer, const LayerWeights& weights) {
  const ShortConvSpec& conv = spec.layers[layer].short_conv;
  const Buffers b = buffers_of(spec.shape, conv);
  const LinearTerm in{&weights.matrix(W::kShortConvIn), b.bcx};
  ops.project({&in, 1}, b.normed);
  ops.tap(Stage::kQRaw, layer, b.bcx, 0, 3, conv.n_channel);
  ops.short_convolve(layer, conv, weights.vector(W::kShortConv), b.bcx, b.mixed);
  ops.tap(Stage::kAttnOut, layer, b.mixed);
  const LinearTerm out{&weights.matrix(W::kShortConvOutput), b.output};
  ops.project({&out, 1}, b.mixed);
  return {};
}

}  // namespace rowmax::engine::short_conv
