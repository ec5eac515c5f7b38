// The matrices that a file says are stored turned (engine/io/hadamard_keys.h).
#pragma once

#include <vector>

#include "engine/model/spec.h"
#include "engine/model/weight_sources.h"
#include "rowmax/engine/gguf.h"
#include "rowmax/engine/types.h"

namespace rowmax::engine {

// Marks the sources whose matrices the file lists; nothing happens where it has none of the keys. The contract is
// checked whole, and anything that is not exactly as version 1 has it is refused: a turned matrix taken for a plain one
// gives nonsense without an error. kUnsupported for a value of another version, kCorrupt for keys that disagree with
// each other or with the tensors; errors name file, key, expected and found.
Status apply_hadamard(const GgufFile& file, ModelSpec& spec, WeightSources& sources, std::vector<ModelFact>& facts);

}  // namespace rowmax::engine
