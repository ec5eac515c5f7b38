// The one JSON object that --json puts on standard output.
#pragma once

#include <nlohmann/json.hpp>

#include "rowmax/result.h"

namespace rowmax::cli {

using Json = nlohmann::ordered_json;

// One line; bytes that are not UTF-8 become U+FFFD. kIo when standard output does not take it.
Status print_json(const Json& object);
// Flushes what was printed; kIo when standard output did not take it (a full disk, say).
Status flush_output();

}  // namespace rowmax::cli
