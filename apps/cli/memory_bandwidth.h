// How fast this machine reads memory: the limit that text generation runs against.
#pragma once

#include <cstddef>

#include "rowmax/executor.h"
#include "rowmax/result.h"

namespace rowmax::cli {

// Bytes per second of reading `bytes` of memory once, front to back, on the executor's threads; the best of several
// passes. kOutOfMemory where there is not that much.
Result<double> read_bandwidth(Executor& executor, std::size_t bytes);

}  // namespace rowmax::cli
