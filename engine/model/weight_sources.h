// Where each weight of a model lies in its file: what engine/arch found and checked, what engine/model packs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "engine/quant/format.h"

namespace rowmax::engine {

// A matrix may be stored turned: W' = W diag(s) H, with H the normalised Hadamard matrix on runs of `block` columns and
// s signs. The product with x is then that of W' with H (s * x), and a row z that is looked up stands for s * (H z).
struct Rotation {
  std::int64_t block = 0;    // power of two
  std::vector<float> signs;  // +1 or -1 for each column; empty: +1 all
};

// A matrix [rows, cols] in the file's format, or a vector (rows 1); empty bytes mean that the model has none.
struct WeightSource {
  std::string_view name;
  const FormatInfo* format = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::span<const std::byte> bytes;
  const Rotation* rotation = nullptr;  // matrices: how it is stored turned

  bool present() const noexcept { return !bytes.empty(); }
};

struct LayerSources {
  WeightSource attn_norm, attn_q, attn_k, attn_v, attn_output;
  WeightSource q_bias, k_bias, v_bias, output_bias;
  WeightSource q_norm, k_norm;
  WeightSource attn_sub_norm, ffn_sub_norm;
  WeightSource q_scale, k_scale, v_scale, output_scale, gate_scale, up_scale, down_scale;
  WeightSource post_attn_norm, ffn_norm, ffn_gate, ffn_up, ffn_down, post_ffn_norm;
};

struct WeightSources {
  WeightSource token_embedding;  // [n_vocab, n_embd]
  WeightSource output_norm;
  WeightSource output;  // the same bytes as token_embedding for a tied head
  bool tied = false;
  std::vector<LayerSources> layers;
  // What the sources point to, one for each number of columns.
  std::vector<std::unique_ptr<const Rotation>> rotations;
};

}  // namespace rowmax::engine
