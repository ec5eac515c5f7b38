// Where each weight of a model lies in its file: what engine/arch found and checked, what engine/model packs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/quant/format.h"

namespace rowmax::engine {

// A matrix [rows, cols] in the file's format, or a vector (rows 1); empty bytes mean that the model has none.
struct WeightSource {
  std::string_view name;
  const FormatInfo* format = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::span<const std::byte> bytes;

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
};

}  // namespace rowmax::engine
