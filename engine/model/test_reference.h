// What a model computes, in f64, one token after the other: embedding, layers and head around the blocks' own definitions
// (blocks/*/reference.h).
#pragma once

#include <cmath>
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

  Vector mixer(std::size_t layer, std::int64_t position, const Vector& x) {
    const Layer l = at(layer);
    switch (l.layer.mixer) {
      case MixerKind::kAttention: return attention(l, layer, position, x, kv_);
      case MixerKind::kLatent: return latent_attention(l, position, x, kv_[layer]);
      case MixerKind::kShortConv: return short_conv(l, x, conv_[layer]);
      case MixerKind::kDeltaNet: break;
    }
    return delta_net(l, x, delta_[layer]);
  }
  Vector ffn(std::size_t layer, const Vector& x, const Vector& stream) {
    const Layer l = at(layer);
    return l.layer.ffn.kind == FfnKind::kDense ? dense_ffn(l, x) : moe_ffn(l, x, stream, margin_);
  }
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
  Vector next(TokenId token) {
    const auto n = static_cast<std::size_t>(spec_.shape.n_embd);
    Vector stream(weights_.embedding.begin() + token * spec_.shape.n_embd,
                  weights_.embedding.begin() + (token + 1) * spec_.shape.n_embd);
    for (double& x : stream) x *= static_cast<double>(spec_.embedding_scale);
    const Vector numbers = spec_.layer_embd() == 0 ? Vector()
                                                   : layer_numbers(spec_, weights_.layer_embeddings,
                                                                   static_cast<std::size_t>(token), stream);
    std::vector<std::size_t> order = spec_.layer_order;
    for (std::size_t layer = order.size(); layer < spec_.layers.size(); ++layer) order.push_back(layer);
    const bool norm_first = spec_.norm_place == NormPlace::kInput;
    for (const std::size_t layer : order) {
      const LayerSpec& l = spec_.layers[layer];
      const auto add_block = [&](W norm, W post_norm, bool skip, const auto& block) {
        const Layer at{spec_, l, weights_.layers[layer]};
        Vector y = block(l.input_norms && norm_first ? at.normed(stream, at.weight(norm), n) : stream);
        if (l.input_norms && !norm_first) y = at.normed(y, at.weight(norm), n);
        if (l.post_norms) y = at.normed(y, at.weight(post_norm), n);
        for (double& value : y) value *= skip ? 0 : static_cast<double>(spec_.residual_scale);
        add(stream, y);
      };
      add_block(W::kAttnNorm, W::kPostAttnNorm, l.skip_mixer,
                [&](const Vector& x) { return blocks_.mixer(layer, position_, x); });
      add_block(W::kFfnNorm, W::kPostFfnNorm, l.skip_ffn,
                [&](const Vector& x) { return blocks_.ffn(layer, x, stream); });
      const Layer at{spec_, l, weights_.layers[layer]};
      if (l.n_layer_embd > 0) add(stream, layer_embedding(at, layer, stream, numbers));
      for (double& x : stream) x *= l.output_scale ? at.weight(W::kLayerOutputScale)[0] : 1;
    }
    const Vector final_norm =
        normed(stream, weights_.output_norm, n, spec_.norm_kind, static_cast<double>(spec_.rms_norm_eps));
    Vector logits = times(weights_.output, final_norm);
    for (double& x : logits) x *= static_cast<double>(spec_.logit_scale);
    const double cap = static_cast<double>(spec_.final_softcap);
    if (cap > 0) {
      for (double& x : logits) x = cap * std::tanh(x / cap);
    }
    ++position_;
    return logits;
  }

  double margin() const { return blocks_.margin(); }

 private:
  const ModelSpec& spec_;
  const Weights& weights_;
  Blocks blocks_;
  std::int64_t position_ = 0;
};

}  // namespace rowmax::engine::reference
