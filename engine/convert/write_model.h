// The common second half of quantize_gguf and convert_folder.
#pragma once

#include <string>
#include <vector>

#include "engine/convert/tensor_rows.h"
#include "engine/io/gguf_split_stream.h"
#include "rowmax/engine/convert.h"
#include "rowmax/executor.h"
#include "rowmax/result.h"

namespace rowmax::engine {

struct ModelSource {
  std::string name;                 // file or folder, for messages
  std::vector<std::string> inputs;  // files that the output must not be
  bool must_load = true;
};

// What Model::load checks without reading weights: the header, the architecture with its constants and tensors, the
// tokenizer.
Status check_loads(const GgufFile& file);

// Before any work: whether the output may be written, as far as its name tells (the names of the parts of a split one
// depend on how many they are).
Status check_target(const std::string& output, const ConvertOptions& options, std::vector<std::string> inputs);

// A whole output without its name yet: commit() is the last step, so that nothing fails behind it.
struct WrittenModel {
  ConvertReport report;
  GgufSplitStream file;

  // Gives it its name; the report says what older parts went or stayed.
  Result<ConvertReport> commit() &&;
};

// Folds the matrices where that was asked for, chooses types, sets general.file_type and general.quantization_version,
// writes. Where must_load is set, what was written has passed the loader's checks before it gets its name (kUnsupported
// or what they say otherwise; those that need no weights come first of all). rules.type must be set. Errors and notices
// about tensors have the source's name in front of them.
Result<WrittenModel> write_model(const ModelSource& source, const std::string& output, GgufWriter keys,
                                 std::vector<TensorRows> tensors, const TypeRules& rules, const ConvertOptions& options,
                                 Executor& executor);

}  // namespace rowmax::engine
