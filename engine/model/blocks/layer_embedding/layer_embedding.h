// Embeddings for each layer (Gemma 3n and 4): every token brings, beside its own embedding, n numbers for each layer,
// added to a projection of that embedding; a layer ends with
//   stream += norm(P (act(G stream) * numbers))
#pragma once

#include "engine/model/ops.h"
#include "rowmax/result.h"

namespace rowmax::engine::layer_embedding {

void plan(const ModelSpec& spec, BufferPlan& buffers);
// Where the numbers are from begin() to the last run().
Rows numbers_of(const ModelSpec& spec);
// numbers = (norm(P stream / sqrt(n_embd)) + sqrt(n) * row) / sqrt(2) for all layers, from the embedded tokens.
void begin(Ops& ops, const ModelSpec& spec, const ModelWeights& weights, Rows stream);
// The end of a layer that has them.
void run(Ops& ops, const ModelSpec& spec, std::size_t layer, const LayerWeights& weights, Rows stream);

}  // namespace rowmax::engine::layer_embedding
