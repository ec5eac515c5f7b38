// The one forward pass. It runs a batch of rows (tokens of any sequences, each at its own position) through the layers;
// what an architecture is, it reads from the ModelSpec.
//
// Every row's arithmetic is its own: the same bits come out whatever else is in the batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "engine/model/rope_table.h"
#include "engine/model/spec.h"
#include "engine/model/weights.h"
#include "engine/ops/rows/row_kernels.h"
#include "rowmax/attention.h"
#include "rowmax/engine/session.h"

namespace rowmax::engine {

// One layer's part of the K/V cache and how to address it.
struct KvLayers {
  KvView view;              // of every layer
  std::vector<void*> keys;  // [n_layer] pools
  std::vector<void*> values;
};

// Rows of one sequence in a batch: [begin, begin + n_row), at positions [position, position + n_row) of a cache whose
// pages are given; the pages for these positions exist.
struct ForwardSequence {
  std::int64_t begin = 0;
  std::int64_t n_row = 0;
  std::int64_t position = 0;
  const std::int32_t* pages = nullptr;
};

struct ForwardBatch {
  std::span<const TokenId> tokens;  // [n_row]
  std::span<const ForwardSequence> sequences;
  std::span<const std::int32_t> logit_rows;  // rows whose logits are wanted, ascending
};

// One product: y is [n_row][rows of the matrix].
struct LinearTerm {
  const Linear* linear;
  float* y;
};

class Forward {
 public:
  // spec and weights must outlive it.
  static Result<Forward> create(const ModelSpec& spec, const ModelWeights& weights, std::int64_t max_rows,
                                int max_sequences, std::int64_t max_context, Activations activations, Isa isa,
                                Executor& executor);

  // logits: [logit_rows.size(), n_vocab]. At most max_rows rows. kOutOfMemory, or an error of the attention library.
  Status run(const ForwardBatch& batch, const KvLayers& cache, float* logits);

 private:
  Forward() = default;
  const ModelSpec* spec_ = nullptr;
  const ModelWeights* weights_ = nullptr;
  const RowKernels* kernels_ = nullptr;
  Executor* executor_ = nullptr;
  Activations activations_ = Activations::kInt8;
  Isa isa_ = Isa::kScalar;
  std::vector<RopeTable> ropes_;
  std::vector<MaskPlan> plans_;  // one for each distinct window
  std::vector<std::int64_t> windows_;
  std::vector<Sequence> mask_sequences_;
  std::vector<KvSequence> kv_sequences_;
  std::vector<std::int64_t> positions_;
  std::vector<std::int32_t> page_of_row_;
  base::Buffer x_, normed_, q_, k_, v_, attended_, gate_, up_, rotated_, matmul_workspace_, attend_workspace_;

  Status prepare(const ForwardBatch& batch);
  void embed(const ForwardBatch& batch);
  Status attention_block(std::size_t layer, const ForwardBatch& batch, const KvLayers& cache);
  void ffn_block(std::size_t layer, std::int64_t n_row);
  void project(std::span<const LinearTerm> terms, const float* x, std::int64_t n_row);
  void rotate_rows(const Rotation& rotation, const float* x, std::int64_t n, std::int64_t n_row);
  void turn_and_store(std::size_t layer, std::int64_t row, const KvLayers& cache);
  void scale_rows(float* y, std::int64_t n, const std::vector<float>& factor, std::int64_t n_row);
  void norm_rows(const float* x, const std::vector<float>& weight, std::int64_t n_row, float* y);
  void add_rows(float* x, float* y, const std::vector<float>& post_norm, std::int64_t n_row);
  template <class Fn>
  void for_rows(std::int64_t n_row, Fn fn);
};

}  // namespace rowmax::engine
