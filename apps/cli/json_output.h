// The one JSON object that --json puts on standard output.
#pragma once

#include "apps/text/json.h"
#include "rowmax/result.h"

namespace rowmax::cli {

using text::Json;
using text::JsonMember;

// One line. kIo when standard output does not take it.
Status print_json(const Json& object);
// Flushes what was printed; kIo when standard output did not take it (a full disk, say).
Status flush_output();

}  // namespace rowmax::cli
