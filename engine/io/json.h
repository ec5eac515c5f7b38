// JSON text from a file that nobody vouches for.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "rowmax/result.h"

namespace rowmax::engine {

using Json = nlohmann::json;

inline constexpr int kMaxJsonDepth = 64;

// The value that is all of the text. kCorrupt, with `name` in front: malformed text, values nested deeper than
// max_depth, a key given twice in one object (readers differ in which one they take). May throw std::bad_alloc.
Result<Json> parse_json(std::string_view text, const std::string& name, int max_depth = kMaxJsonDepth);

// The whole file, at most max_bytes (kLimit); errors as MappedFile::open's.
Result<Json> read_json_file(const std::string& path, std::size_t max_bytes);

}  // namespace rowmax::engine
