// How much memory there is for what is to come.
#pragma once

#include <cstdint>
#include <optional>

#include "base/control_groups.h"

namespace rowmax::base {

// Bytes that this process can still take without swapping: the least of what the machine has (MemAvailable) and what the
// limits of its control groups leave (version 2: memory.max; version 1: memory.limit_in_bytes), where pages of files
// count as free, as they do in MemAvailable. nullopt where the system says nothing of either.
std::optional<std::int64_t> memory_room(const SystemFiles& files = {});

}  // namespace rowmax::base
