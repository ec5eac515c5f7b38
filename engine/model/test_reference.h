// What a model computes, in f64, one token after the other: embedding, layers and head around the blocks' own definitions
// (blocks/*/reference.h).
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "engine/model/blocks/attention/reference.h"
#include "engine/model/blocks/delta_net/reference.h"
#include "engine/model/blocks/dense_ffn/reference.h"
#include "engine/model/blocks/latent_attention/reference.h"
#include "engine/model/blocks/layer_embedding/reference.h"
#include "engine/model/blocks/moe_ffn/reference.h"
#include "engine/model/blocks/short_conv/reference.h"

namespace rowmax::engine::reference {

// Weights as files have them, row-major.
struct Weights {
  Vector embedding, output_norm, output;
  LayerEmbeddings layer_embeddings;
  std::vector<LayerWeights> layers;
};

// The blocks of all layers with what they remember of one sequence; x is what the layer's norm gives of the stream.
class Blocks {
 public:
  Blocks(const ModelSpec& spec, const Weights& weights)
      : spec_(spec),
        weights_(weights),
        kv_(spec.layers.size()),
        delta_(spec.layers.size()),
        conv_(spec.layers.size()) {}

  Vector mixer(std::size_t layer, std::int64_t position, const Vector& x);
  Vector ffn(std::size_t layer, const Vector& x, const Vector& stream);
  // Of the choices of experts so far (moe_ffn).
  double margin() const { return margin_; }

 private:
  Layer at(std::size_t layer) const { return {spec_, spec_.layers[layer], weights_.layers[layer]}; }

  const ModelSpec& spec_;
  const Weights& weights_;
  std::vector<KvMemory> kv_;
  std::vector<DeltaMemory> delta_;
  std::vector<ConvMemory> conv_;
  double margin_ = std::numeric_limits<double>::infinity();
};

class Model {
 public:
  Model(const ModelSpec& spec, const Weights& weights) : spec_(spec), weights_(weights), blocks_(spec, weights) {}

  // Logits of the next token of the sequence.
  Vector next(TokenId token);

  double margin() const { return blocks_.margin(); }

 private:
  const ModelSpec& spec_;
  const Weights& weights_;
  Blocks blocks_;
  std::int64_t position_ = 0;
};

}  // namespace rowmax::engine::reference
