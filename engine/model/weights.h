// A model's weights, packed for the kernels.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/model/spec.h"
#include "engine/model/weight_sources.h"
#include "engine/ops/matmul/kernel_tables.h"
#include "engine/ops/matmul/matmul.h"
#include "rowmax/executor.h"

namespace rowmax::engine {

// A matrix of a product, and what its input goes through first.
struct Linear {
  PackedMatrix matrix;
  const Hadamard* hadamard = nullptr;  // in ModelWeights::sources
  float factor = 1;                    // what its product is multiplied with
};

class LayerWeights {
 public:
  // Empty where the model has none.
  const std::vector<float>& vector(W id) const noexcept { return vectors_[static_cast<std::size_t>(id)]; }
  // Those of facts that are switched off stay in memory.
  const std::vector<float>& vector_if(bool used, W id) const noexcept { return used ? vector(id) : none_; }
  // Of a matrix that the layer has.
  const Linear& matrix(W id) const noexcept { return matrices_[static_cast<std::size_t>(id)][0]; }
  std::span<const Linear> experts(W id) const noexcept { return matrices_[static_cast<std::size_t>(id)]; }

 private:
  friend struct WeightLoader;
  std::array<std::vector<float>, kWeightCount> vectors_;
  std::vector<float> none_;
  std::array<std::vector<Linear>, kWeightCount> matrices_;  // one, or one for each expert
};

// What the products of one token take.
struct TokenCost {
  std::int64_t bytes = 0;    // read
  std::int64_t weights = 0;  // multiplied with
};

struct ModelWeights {
  // Of the matrices: what was packed for these weights, then what they share with others.
  std::vector<std::shared_ptr<const base::Buffer>> memory;
  std::int64_t own_bytes = 0;  // packed for these weights
  // What they were made of, in the file's bytes, which must stay mapped: rows of the embedding are looked up there, one
  // at a time.
  WeightSources sources;
  std::vector<float> output_norm;
  std::vector<float> labels;  // of sources.labels, where it is present
  Linear output;
  Linear layer_projection;  // where sources.layer_projection is present
  std::vector<float> layer_projection_norm;
  std::vector<LayerWeights> layers;

  std::int64_t packed_bytes() const noexcept;
  // Of the experts of a layer those that one row uses.
  TokenCost token_cost(const ModelSpec& spec) const noexcept;
};

// The self-tests of other kernels than those that the weights were loaded for.
Status check_kernels(const ModelWeights& weights, const panel::KernelTable& kernels);

// What load_weights will pack, in bytes; errors of shapes that cannot be.
Result<std::int64_t> bytes_to_pack(const WeightSources& sources, std::string_view file_name,
                                   const ModelWeights* packed = nullptr);

// file_name stands in messages. kCorrupt for a norm, bias, scale or weight that is not finite or has no meaning,
// kUnsupported where the kernels do not pass their self-test for one of the formats. done_with is called with
// the file's bytes of each matrix that is packed, so that file and copy need not both be in memory; its error ends the
// loading. packed: weights of
// the same model, whose matrices are shared where they would come out the same; nullptr: none.
Result<ModelWeights> load_weights(WeightSources sources, std::string_view file_name, const panel::KernelTable& kernels,
                                  Executor& executor,
                                  const std::function<Status(std::span<const std::byte>)>& done_with,
                                  const ModelWeights* packed = nullptr);

}  // namespace rowmax::engine
