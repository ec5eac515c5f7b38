// Gated short convolution: the place of attention in most layers of LFM2.
// Reads Slot::kNormed, writes Slot::kOutput.
#pragma once

#include <cstddef>

#include "engine/model/ops.h"

namespace rowmax::engine::short_conv {

// The buffers it needs.
void plan(const ModelShape& shape, const LayerSpec& spec, BufferPlan& buffers);
Status run(Ops& ops, const ModelSpec& spec, std::size_t layer, const LayerWeights& weights);

}  // namespace rowmax::engine::short_conv
