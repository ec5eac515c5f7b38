// Fetching a file from Hugging Face into the cache: resumed where it broke off, checked before anybody sees it.
#pragma once

#include <string>
#include <vector>

#include "apps/store/hub_cache.h"
#include "apps/store/hub_listing.h"
#include "apps/store/hub_name.h"
#include "rowmax/result.h"

namespace rowmax::store {

struct HubPull {
  std::string path;  // in the snapshot
  std::string commit;
  HubFile file;                // the first part of a split model
  std::vector<HubFile> parts;  // of a split model, in order; else empty
  bool fetched = false;        // false: it was there already, whole
};

// What is meant is asked of the hub, or of the cache where HF_HUB_OFFLINE is set. The file is there afterwards with the
// listed length and checksum; kCorrupt when what arrives has others, and nothing is kept of it. After other errors and
// after a stop what arrived is kept and a later call goes on from there.
Result<HubPull> pull_from_hub(const HubSettings& settings, const HubName& name);

// The same for a file whose commit, length and checksum are known beforehand; name.revision is the commit.
Result<HubPull> pull_known_file(const HubSettings& settings, const HubName& name, const HubFile& file);

}  // namespace rowmax::store
