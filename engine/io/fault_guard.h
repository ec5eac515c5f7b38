// Reads of mapped files whose bytes are gone: a registry of ranges that the handler of SIGBUS
// (guard_mapped_files() in rowmax/engine/gguf.h) may look into at any moment, hence without locks.
#pragma once

#include <cstddef>

namespace rowmax::engine {

struct WatchedRange;

// nullptr when there is no memory. The range must be a whole mapping and stay one until unwatch_range.
WatchedRange* watch_range(const std::byte* data, std::size_t size) noexcept;
void unwatch_range(WatchedRange& range) noexcept;
// Whether a read of the range has met bytes that are gone, since it is watched.
bool was_damaged(const WatchedRange& range) noexcept;

}  // namespace rowmax::engine
