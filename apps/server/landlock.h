// Landlock: which paths a process may still reach. The kernel restricts one thread at a time; here it is all of them.
#pragma once

#include <cstdint>
#include <string>

#include "rowmax/result.h"

namespace rowmax::server {

// The kernel's version of Landlock; 0: none.
int landlock_version() noexcept;

// Nothing may be opened, made or removed any more but below `directory` (read, written, made, removed; never executed), and
// removed but directly in or below `removes_in`; no TCP port may be connected to or listened on (where the kernel knows of
// that). Both may be empty. Of the process's threads: each runs a signal handler of this call. kIo naming what failed.
Status restrict_paths(const std::string& directory, const std::string& removes_in);

}  // namespace rowmax::server
