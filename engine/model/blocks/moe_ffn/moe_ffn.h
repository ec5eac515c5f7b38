// A mixture of experts: the rows of a batch are sorted by expert for the products, and every row adds up its experts in
// their own order.
// Reads Slot::kNormed, and Slot::kStream where the spec says so; writes Slot::kOutput.
#pragma once

#include <cstddef>

#include "engine/model/ops.h"

namespace rowmax::engine::moe_ffn {

// The buffers it needs.
void plan(const ModelShape& shape, const LayerSpec& spec, BufferPlan& buffers);
Status run(Ops& ops, const ModelSpec& spec, std::size_t layer, const LayerWeights& weights);

}  // namespace rowmax::engine::moe_ffn
