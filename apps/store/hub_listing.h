// What is in a repository on Hugging Face, and which of its files is meant.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "apps/store/http.h"
#include "apps/store/hub_cache.h"
#include "apps/store/hub_name.h"
#include "rowmax/result.h"

namespace rowmax::store {

struct HubFile {
  std::string path;
  std::int64_t bytes = 0;
  std::string digest;  // SHA-256, or git's name for a file that is not in LFS
};

struct HubListing {
  std::string commit;
  std::vector<HubFile> files;
};

// Asks the API. kCorrupt for an answer that breaks its form (a file's name that leads out of its folder, no checksum),
// kLimit for one beyond kMaxListingBytes or with more than 2^21 JSON values, otherwise as hub_error.
constexpr std::size_t kMaxListingBytes = std::size_t{16} << 20;
Result<HubListing> list_repository(const HubSettings& settings, const HubName& name);
// The same from the API's text.
Result<HubListing> parse_listing(std::string_view json, const std::string& source);

// The file that the name has, or else the only GGUF file; all parts of a split model, in order, where that is one of
// them. kNotFound (also of a part), kInvalidArgument (several; the message lists them).
Result<std::vector<HubFile>> choose_files(const HubListing& listing, const HubName& name);

// A failed request in words about the repository: what to do where a licence must be accepted, what does not exist.
Error hub_error(const HttpOutcome& outcome, const HubSettings& settings, const HubName& name);

}  // namespace rowmax::store
