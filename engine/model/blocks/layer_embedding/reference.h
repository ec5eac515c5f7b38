// Embeddings for each layer in f64.
#pragma once

#include <cmath>
#include <cstddef>

#include "engine/model/blocks/reference.h"

namespace rowmax::engine::reference {

// Of the whole model, as files have them.
struct LayerEmbeddings {
  Vector table, projection, norm;
};

// What a token brings: its numbers for all layers, one behind the other. stream: its embedding, scaled.
inline Vector layer_numbers(const ModelSpec& spec, const LayerEmbeddings& weights, std::size_t token,
                            const Vector& stream) {
  const auto n = static_cast<std::size_t>(spec.layer_embd()), all = n * spec.layers.size();
  Vector y = times(weights.projection, stream);
  for (double& value : y) value /= std::sqrt(static_cast<double>(stream.size()));
  y = normed(y, weights.norm, n, spec.norm_kind, static_cast<double>(spec.rms_norm_eps));
  for (std::size_t i = 0; i < all; ++i) {
    y[i] = (y[i] + std::sqrt(static_cast<double>(n)) * weights.table[token * all + i]) / std::sqrt(2.0);
  }
  return y;
}

// What the end of a layer adds to the stream.
inline Vector layer_embedding(const Layer& l, std::size_t layer, const Vector& stream, const Vector& numbers) {
  const auto n = static_cast<std::size_t>(l.layer.n_layer_embd);
  Vector gate = times(l.weight(W::kLayerInputGate), stream);
  for (std::size_t i = 0; i < n; ++i) gate[i] = activate(l.layer.ffn.activation, gate[i]) * numbers[layer * n + i];
  return l.normed(times(l.weight(W::kLayerInputOutput), gate), l.weight(W::kLayerInputNorm), stream.size());
}

}  // namespace rowmax::engine::reference
