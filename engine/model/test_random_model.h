// Random models in memory beside their definition in f64 (test_reference.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "engine/model/forward.h"
#include "engine/model/test_reference.h"

namespace rowmax::engine {

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : generator_(seed) {}
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(generator_() % static_cast<std::uint64_t>(high - low + 1));
  }
  bool one_in(std::int64_t n) { return between(1, n) == 1; }
  float uniform(float low, float high) {
    return low + (high - low) * static_cast<float>(generator_() >> 40) * 0x1p-24f;
  }

 private:
  std::mt19937_64 generator_;
};

// Every fact that is false here is set by one test each, and by all of them together at random.
inline ModelSpec plain_spec(std::int64_t n_layer) {
  ModelSpec spec;
  spec.architecture = "random";
  spec.rms_norm_eps = 1e-5f;
  spec.shape.n_embd = 40;
  spec.shape.n_vocab = 64;
  spec.shape.n_layer = n_layer;
  RopeSpec halves, adjacent;
  halves.n_rot = 16;
  halves.base = 100;
  adjacent.pairing = RopePairing::kAdjacent;
  adjacent.n_rot = 8;
  adjacent.base = 1000;
  adjacent.scale = 0.25;
  adjacent.divisors = {1, 2, 1.5f, 4};
  spec.ropes = {halves, adjacent};
  LayerSpec layer;
  layer.attention.n_head = 4;
  layer.attention.n_kv_head = 2;
  layer.attention.head_dim = 16;
  layer.attention.scale = 0.5f;
  layer.ffn.n_ff = 48;
  spec.layers.assign(static_cast<std::size_t>(n_layer), layer);
  return spec;
}

inline void make_delta_net(LayerSpec& layer) {
  layer.mixer = MixerKind::kDeltaNet;
  layer.delta = {.n_key_head = 2, .n_value_head = 4, .key_dim = 16, .value_dim = 24, .conv_width = 4};
}

inline void make_short_conv(LayerSpec& layer) {
  layer.mixer = MixerKind::kShortConv;
  layer.short_conv = {.n_channel = 40, .conv_width = 3};
}
// What follows from the sizes of a latent.
inline void fit_latent(LayerSpec& layer) {
  AttentionSpec& a = layer.attention;
  a.n_kv_head = 1;
  a.head_dim = layer.latent.rank + layer.latent.rope_dim;
  a.rope_first = a.v_in_k = layer.latent.rank;
}
inline void make_latent(LayerSpec& layer) {
  const AttentionSpec& was = layer.attention;
  layer.mixer = MixerKind::kLatent;
  layer.latent = {.rank = 20, .nope_dim = 12, .rope_dim = 16, .v_dim = 10};
  layer.attention = {.n_head = was.n_head, .window = was.window, .scale = was.scale, .temperature = was.temperature};
  fit_latent(layer);
}

inline void make_experts(LayerSpec& layer) {
  layer.ffn.kind = FfnKind::kExperts;
  layer.ffn.n_ff = 20;
  layer.ffn.n_expert = 12;
  layer.ffn.n_used = 3;
}

// Beside a dense FFN, as in Gemma 4.
inline void make_experts_beside(LayerSpec& layer) {
  make_experts(layer);
  layer.ffn.n_shared = 28;
  layer.ffn.shared_gate = false;
  layer.ffn.beside = layer.ffn.branch_norms = layer.ffn.router_norm = layer.ffn.expert_factors = true;
}

// A model in memory: the spec, weights as files have them, and the same weights as the engine loads them.
class RandomModel {
 public:
  RandomModel(ModelSpec spec, Dice& dice);

  ModelSpec spec;
  reference::Weights raw;
  ModelWeights weights;

 private:
  SerialExecutor executor_;
  WeightSources sources_;
  std::vector<std::unique_ptr<std::vector<float>>> storage_;

  std::span<const std::byte> bytes_of(const reference::Vector& values);
  WeightSource matrix(const char* name, reference::Vector& raw_values, Dice& dice, std::int64_t rows, std::size_t n);
  void add_layer(std::size_t i, Dice& dice);
};

// Keys, values and states of a few sequences, outside of any cache.
class Memory {
 public:
  static constexpr std::int64_t kPages = 8;
  explicit Memory(const ModelSpec& spec);
  KvLayers layers;
  std::int64_t n_state() const noexcept { return n_state_; }
  struct OneSequence {
    std::vector<std::int32_t> pages;
    const std::int32_t* table;
    std::vector<float> state;
    std::int64_t position = 0;
  };
  OneSequence sequence(std::vector<std::int32_t> pages) const;

 private:
  std::int64_t n_state_;
  std::vector<std::unique_ptr<std::vector<float>>> pools_;
};

// Two sequences of different lengths, in batches of random cuts.
struct Outcome {
  double worst = 0;        // of the largest |logit| of its row
  double worst_block = 0;  // of the largest number that a block gives a row, from the engine's own inputs
  double margin = 0;
};
Outcome compare(const RandomModel& model, Dice& dice);

}  // namespace rowmax::engine
