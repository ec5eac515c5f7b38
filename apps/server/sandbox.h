// A process that gives up what serving does not need: opening files, starting programs and threads, asking other
// machines, code in memory that can be written. What parses a stranger's bytes can then do little else, even where it has a
// hole. Linux alone: seccomp for what may be called, Landlock for what paths may be reached.
#pragma once

#include <string>
#include <vector>

#include "rowmax/result.h"

namespace rowmax::server {

struct SandboxOptions {
  // Files below it may still be read, written, made and removed, and no others; needs Landlock. Empty: none.
  std::string directory = {};
  // Of a Unix socket that this process removes when it ends. Without Landlock it stays there. Empty: none.
  std::string socket_path = {};
};

struct SandboxReport {
  int landlock = 0;  // the kernel's version of it; 0: none
  // What is enforced, in words for the log.
  std::vector<std::string> enforced;
};

// For all threads of the process, for good. Threads that block all signals must not be there, and none may be made
// meanwhile. kUnsupported where the kernel, or the processor, has no seccomp filters, or no Landlock for a directory; kIo for
// a directory that cannot be opened, and where a thread could not be reached. After an error some of it may be in force: the
// process had better end.
Result<SandboxReport> enter_sandbox(const SandboxOptions& options);

}  // namespace rowmax::server
