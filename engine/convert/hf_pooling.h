// What a Hugging Face folder of an embedding model says of its pooling, as sentence-transformers writes it.
#pragma once

#include <string>
#include <vector>

#include "engine/convert/hf_model.h"
#include "rowmax/engine/gguf.h"
#include "rowmax/result.h"

namespace rowmax::engine {

// modules.json names the folder of its Pooling, whose config.json says which: <architecture>.pooling_type is set. Without
// modules.json nothing is, which is told of a model that only makes embeddings. kUnsupported for a pooling that no GGUF file
// can say.
Status write_pooling(const std::string& folder, HfModel& model, GgufWriter& keys);

}  // namespace rowmax::engine
