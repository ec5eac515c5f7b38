// rowmax trace --gates: the attention library's gates (rowmax/probe.h) for every row of a prompt.
#pragma once

#include <cstdint>

#include "apps/cli/exit_code.h"
#include "apps/cli/traced_run.h"

namespace rowmax::cli {

struct GatesOptions {
  std::int64_t token = -1;  // whose rows are printed, where it or layers or a head were named; negative: from the end
  bool token_named = false;
  std::int64_t head = -1;  // this one alone; -1: all
  bool json = false;
};
// Prints rows, those that fail first, and a summary. kFaulty where a gate has failed; errors as run_traced.
Result<ExitCode> print_gates(const Engine& engine, const TraceFlags& flags, const GatesOptions& options);

}  // namespace rowmax::cli
