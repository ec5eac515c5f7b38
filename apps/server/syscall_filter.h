// Which system calls a server that is up may still make, as a filter that the kernel runs.
#pragma once

#include <linux/filter.h>

#include <vector>

namespace rowmax::server {

struct SyscallFilterOptions {
  bool files = false;    // below a directory that Landlock guards: opened, made, removed
  bool removes = false;  // a path that Landlock guards is removed
  int process = 0;       // whose own threads may be signalled
};

// Empty where the processor's calls are not known here. Everything that is not named fails with EPERM; calls of another
// architecture's numbers end the process.
std::vector<sock_filter> syscall_filter(const SyscallFilterOptions& options);

}  // namespace rowmax::server
