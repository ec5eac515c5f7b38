// Keys of the tokenizer: those that are read, and those that may stand in a file without being read.
#pragma once

#include <span>
#include <string_view>

#include "engine/io/key_rules.h"

namespace rowmax::engine {

std::span<const std::string_view> read_tokenizer_keys() noexcept;
// The rest of what `gguf` knows and ollama's converter writes (testdata/gguf_keys.txt of engine/arch).
std::span<const KeyRule> unread_tokenizer_rules() noexcept;

}  // namespace rowmax::engine
