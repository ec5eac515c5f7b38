// GGUF metadata values for people and for JSON.
#pragma once

#include <cstddef>
#include <string>

#include "apps/cli/json_output.h"
#include "rowmax/engine/gguf.h"

namespace rowmax::cli {

// "u32", "array of string", ...
std::string metadata_type(const engine::GgufValue& value);
// At most max_items of a list and max_bytes of a string (cut on a character), then an ellipsis.
std::string metadata_text(const engine::GgufValue& value, std::size_t max_items, std::size_t max_bytes);
// {"type", "value"}; a list longer than max_items has "size" and "first" in place of "value".
Json metadata_json(const engine::GgufValue& value, std::size_t max_items);

}  // namespace rowmax::cli
