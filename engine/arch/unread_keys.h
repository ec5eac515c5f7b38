// Keys under an architecture's prefix that its reader did not ask for.
#pragma once

#include <span>

#include "engine/io/key_rules.h"

namespace rowmax::engine {

// The keys that llama.cpp's and ollama's converters and `gguf` know (testdata/gguf_keys.txt) and that change nothing in a model
// whose reader does not ask for them, for all architectures here: dense transformers with RMSNorm. A key that is not
// listed is not known to be harmless.
std::span<const KeyRule> unread_key_rules() noexcept;

}  // namespace rowmax::engine
