// What a model's sequences remember, for whoever counts bytes.
#pragma once

#include "engine/model/spec.h"

namespace rowmax::engine {

MemoryShape memory_shape(const ModelSpec& spec);

}  // namespace rowmax::engine
