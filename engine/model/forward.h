// The one forward pass: embedding, layers, head. What an architecture is, it reads from the ModelSpec; what a layer
// does stands in engine/model/blocks.
#pragma once

#include <memory>
#include <vector>

#include "engine/model/ops.h"

namespace rowmax::engine {

class Forward {
 public:
  // spec, weights and the backend's executor must outlive it.
  static Result<Forward> create(const ModelSpec& spec, const ModelWeights& weights, const OpsOptions& options,
                                const Backend& backend);

  // Of the buffers between operations, for each of max_rows.
  static std::int64_t row_bytes(const ModelSpec& spec);

  // logits: [logit_rows.size(), n_vocab]; states: [state_rows.size(), n_embd]. At most max_rows rows. kOutOfMemory, or an error of the attention library.
  Status run(const ForwardBatch& batch, const KvLayers& cache, float* logits, float* states = nullptr);
  void set_observer(TraceObserver* observer) noexcept { ops_->set_observer(observer); }

 private:
  Forward(const ModelSpec& spec, const ModelWeights& weights, std::unique_ptr<Ops> ops)
      : spec_(&spec), weights_(&weights), ops_(std::move(ops)) {}
  const ModelSpec* spec_;
  const ModelWeights* weights_;
  std::unique_ptr<Ops> ops_;
  std::vector<std::size_t> order_;  // of the layers
  // Index into order_ of the last layer whose mixer keeps something for tokens to come. Behind that mixer only rows count
  // whose logits or states are wanted: the rest of a prompt's is not computed.
  std::size_t last_that_remembers_ = 0;
};

}  // namespace rowmax::engine
