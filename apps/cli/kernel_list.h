// `--kernels list`: the variants of kernels, in place of what the command does.
#pragma once

#include "apps/cli/command.h"
#include "apps/cli/json_output.h"
#include "apps/cli/options.h"

namespace rowmax::cli {

bool lists_kernels(const EngineFlags& flags);
// Prints a table, or one JSON object.
Result<ExitCode> list_kernels(bool json);

}  // namespace rowmax::cli
