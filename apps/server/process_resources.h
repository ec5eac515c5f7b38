// What the process asks of its system.
#pragma once

#include <cstddef>

namespace rowmax::server {

// The process's limit of open files, raised to what it is allowed.
std::size_t raise_file_limit();
// Memory that the allocator keeps and nobody holds (with glibc; a no-op elsewhere).
void give_memory_back();

}  // namespace rowmax::server
