// What a file's metadata alone say of the model: for converters, which have the keys before the tensors.
#pragma once

#include "engine/model/spec.h"
#include "rowmax/engine/gguf.h"

namespace rowmax::engine {

// The architecture's reader applied to the keys; shape.n_vocab stays 0, which only a tensor tells. Errors are those of
// loading the file: kUnsupported, kCorrupt, with the key.
Result<ModelSpec> read_spec(const GgufFile& file);

}  // namespace rowmax::engine
