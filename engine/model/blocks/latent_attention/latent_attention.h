// Softmax attention over a latent that all heads share (LatentSpec), in its absorbed form: the heads' queries are brought
// into the latent's space, and their outputs out of it, so that a sequence remembers one row a token, whatever the number
// of heads. docs/numerics.md says why this form is the only one.
// Reads Slot::kNormed, writes Slot::kOutput.
#pragma once

#include <cstddef>

#include "engine/model/ops.h"

namespace rowmax::engine::latent_attention {

// The buffers it needs.
void plan(const ModelShape& shape, const LayerSpec& spec, BufferPlan& buffers);
Status run(Ops& ops, const ModelSpec& spec, std::size_t layer, const LayerWeights& weights);

}  // namespace rowmax::engine::latent_attention
