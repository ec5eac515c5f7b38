// The tensors of a checkpoint under GGUF's names, with what conversion does to their weights.
#pragma once

#include <vector>

#include "engine/convert/checkpoint.h"
#include "engine/convert/hf_model.h"
#include "engine/convert/tensor_rows.h"
#include "rowmax/executor.h"
#include "rowmax/result.h"

namespace rowmax::engine {

struct HfTensors {
  std::vector<TensorRows> tensors;
  bool packed = false;  // some matrices were stored as packed codes
  std::vector<std::string> notices;
};

// Every tensor of the checkpoint is used or named in an error, and every tensor that the architecture needs must be
// there. The checkpoint must outlive the result. May throw std::bad_alloc.
Result<HfTensors> map_hf_tensors(const Checkpoint& checkpoint, const HfModel& model, Executor& executor);

}  // namespace rowmax::engine
