// rowmax trace --gates: the attention library's gates (rowmax/probe.h) for every row of a prompt.
#pragma once

#include <cstdint>

#include "apps/cli/exit_code.h"
#include "apps/cli/traced_run.h"

namespace rowmax::cli {

struct GatesOptions {
  std::int64_t token = -1;  // whose rows are printed, with --layers or a head; negative: from the end
  std::int64_t head = -1;   // this one alone; -1: all
  bool json = false;
};
// Prints rows, those that fail first, and a summary. kFaulty where a gate has failed; errors as run_traced.
Result<ExitCode> print_gates(const Engine& engine, const TraceFlags& flags, const GatesOptions& options);

}  // namespace rowmax::cli
