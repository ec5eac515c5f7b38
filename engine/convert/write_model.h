// The common second half of quantize_gguf and convert_folder.
#pragma once

#include <string>
#include <vector>

#include "engine/convert/tensor_rows.h"
#include "rowmax/engine/convert.h"
#include "rowmax/executor.h"
#include "rowmax/result.h"

namespace rowmax::engine {

// kInvalidArgument when the output exists and may not be replaced, or is one of the inputs.
Status check_output(const std::string& output, const std::vector<std::string>& inputs, bool overwrite);

// Folds the matrices where that was asked for, chooses types, sets general.file_type and general.quantization_version,
// writes. rules.type must be set. Errors and notices about tensors have `source` in front of them.
Result<ConvertReport> write_model(const std::string& source, const std::string& output, GgufWriter keys,
                                  std::vector<TensorRows> tensors, const TypeRules& rules,
                                  const ConvertOptions& options, Executor& executor);

}  // namespace rowmax::engine
