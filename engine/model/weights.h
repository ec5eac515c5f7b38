// A model's weights, packed for the kernels.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/model/spec.h"
#include "engine/model/weight_sources.h"
#include "engine/ops/matmul/matmul.h"
#include "rowmax/executor.h"

namespace rowmax::engine {

// A matrix of a product, and what its input goes through first.
struct Linear {
  PackedMatrix matrix;
  const Rotation* rotation = nullptr;  // in ModelWeights::rotations
};

// Vectors are empty where the model has none.
struct LayerWeights {
  std::vector<float> attn_norm, q_bias, k_bias, v_bias, output_bias, q_norm, k_norm, post_attn_norm, ffn_norm,
      post_ffn_norm, attn_sub_norm, ffn_sub_norm;
  // Factors of the products, one number each.
  std::vector<float> q_scale, k_scale, v_scale, output_scale, gate_scale, up_scale, down_scale;
  Linear q, k, v, attn_output, gate, up, down;
};

struct ModelWeights {
  base::Buffer memory;  // of all matrices
  // Rows are looked up one at a time, in the file's bytes, which must stay mapped.
  WeightSource token_embedding;
  std::vector<float> output_norm;
  Linear output;
  std::vector<LayerWeights> layers;
  std::vector<std::unique_ptr<const Rotation>> rotations;

  std::int64_t packed_bytes() const noexcept;
};

// file_name stands in messages. kCorrupt for a norm, bias, scale or weight that is not finite or has no meaning,
// kUnsupported where the kernels of `isa` do not pass their self-test for one of the formats. done_with is called with
// the file's bytes of each matrix that is packed, so that file and copy need not both be in memory.
Result<ModelWeights> load_weights(WeightSources sources, std::string_view file_name, Isa isa, Executor& executor,
                                  const std::function<void(std::span<const std::byte>)>& done_with);

}  // namespace rowmax::engine
