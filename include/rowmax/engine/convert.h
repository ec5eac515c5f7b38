// Making GGUF files: from another one in other types (quantize_gguf), from a Hugging Face folder (convert_folder).
//
// Both go tensor by tensor, so that memory holds a few pieces of one tensor and not the model, and write atomically:
// the output appears whole or not at all. The same input and options give the same bytes, whatever the threads.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rowmax/engine/gguf.h"
#include "rowmax/executor.h"
#include "rowmax/result.h"

namespace rowmax::engine {

// The types that tensors can be written in, by name.
std::vector<std::string_view> writable_types();
// Those that files are read in and that are not written: their encoding would need to know what each weight matters.
std::vector<std::string_view> types_read_alone();

// Which type each matrix gets. Norms, biases and other tensors of one dimension are always F32. In order of precedence:
// overrides (the last whose expression is found in the name), output_type and embedding_type, type. Without an
// output_type the head (output.weight, or token_embd.weight where the model has no other) gets at least Q6_K. Where
// rows are no whole blocks of a type, a type with shorter blocks and at least as many bits takes its place, F16 at
// last; a notice counts them. A ternary type for weights that are not ternary is refused unless `lossy` is set, except
// for embedding and head, which then stay F16.
struct TypeRules {
  std::string type;  // empty (convert_folder only): as the folder's weights, ternary ones as I2_S
  std::string output_type;
  std::string embedding_type;
  std::vector<std::pair<std::string, std::string>> overrides;  // ECMAScript expression -> type
  bool lossy = false;
};

struct ConvertProgress {
  std::string_view tensor;
  std::uint64_t done = 0, total = 0;  // weights
};

struct ConvertOptions {
  TypeRules types;
  bool overwrite = false;  // replace a file at the output's place
  std::string pre;         // convert_folder: pre-tokenizer where the folder's is unknown
  // convert_folder: fields of the folder's JSON files that would be refused, "FILE:FIELD" (fields of fields with dots
  // between), and are to be taken as if they were not there.
  std::vector<std::string> ignored_fields;
  // convert_folder: the float matrices are master weights, which a ternary model (BitNet b1.58) rounds as it computes,
  // though the configuration does not say so.
  bool master_weights = false;
  GgufOptions input;  // quantize_gguf: layouts of the input
  // Not 0: matrices are stored turned by Hadamard matrices of this size (a power of two that divides their columns) and
  // random signs, which makes them easier to quantise; metadata prism.hadamard.* say so. Only readers that know these
  // keys run the file.
  std::int64_t hadamard_block = 0;
  // Not 0: the output is split, as llama.cpp's gguf-split does it, over PREFIX-00001-of-0000N.gguf and so on (PREFIX is
  // the output without ".gguf"), none larger than this unless one tensor alone is; all of them appear or none.
  std::uint64_t split_max_bytes = 0;
  // Called between pieces, on the calling thread; false ends the work with kCancelled.
  std::function<bool(const ConvertProgress&)> progress;
};

struct ConvertedTensor {
  std::string name;
  std::string from, to;  // names of types
  std::vector<std::int64_t> shape;
  std::uint64_t bytes = 0;
  // Of what was written against what was read: root mean square of the difference over that of the weights, and the
  // largest difference over the largest weight. 0 where every weight is kept.
  double rms_error = 0, max_error = 0;
};

struct ConvertReport {
  std::vector<ConvertedTensor> tensors;
  std::vector<std::string> notices;
  std::vector<std::string> files;  // written: the output, or its parts
  std::uint64_t bytes_in = 0, bytes_out = 0;
};

// kInvalidArgument: unknown types, expressions that match nothing, output = input, an output that exists; kUnsupported:
// a ternary type for other weights, a type that no encoder exists for; kCorrupt and kNumericFault name the tensor.
Result<ConvertReport> quantize_gguf(const std::string& input, const std::string& output, const ConvertOptions& options,
                                    Executor& executor);

// folder: config.json, model.safetensors (or shards with model.safetensors.index.json), tokenizer.json and, where they
// exist, tokenizer_config.json, generation_config.json, chat_template.jinja. Errors name file, key or tensor, expected
// and found.
Result<ConvertReport> convert_folder(const std::string& folder, const std::string& output,
                                     const ConvertOptions& options, Executor& executor);

}  // namespace rowmax::engine
