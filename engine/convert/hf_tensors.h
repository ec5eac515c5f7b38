// The tensors of a checkpoint under GGUF's names, with what conversion does to their weights.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/convert/checkpoint.h"
#include "engine/convert/hf_model.h"
#include "engine/convert/tensor_rows.h"
#include "engine/model/spec.h"
#include "rowmax/executor.h"
#include "rowmax/result.h"

namespace rowmax::engine {

struct HfTensors {
  std::vector<TensorRows> tensors;
  bool packed = false;  // some matrices were stored as packed codes
  std::vector<std::string> notices;
};

// What its tensors' names say; layers for guessing tokens ahead: one more than the largest number in mtp.layers.*.
HfFound look_at(const Checkpoint& checkpoint);

// Every tensor of the checkpoint is used, left out with a notice or named in an error, and every weight that the spec's
// layers have must be there in its shape. The checkpoint must outlive the result. May throw std::bad_alloc.
Result<HfTensors> map_hf_tensors(const Checkpoint& checkpoint, const HfModel& model, const ModelSpec& spec,
                                 Executor& executor);

}  // namespace rowmax::engine
