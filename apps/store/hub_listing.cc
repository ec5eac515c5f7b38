#include "apps/store/hub_listing.h"

#include <algorithm>
#include <map>
#include <utility>

#include "apps/store/amounts.h"
#include "apps/store/digest.h"
#include "base/guarded.h"
#include "engine/io/json.h"
#include "rowmax/try.h"

namespace rowmax::store {
namespace {

using engine::Json;

// A file of a listing is some fifteen values of some 300 bytes: room for all that kMaxListingBytes can list.
constexpr engine::JsonLimits kListingLimits{.depth = 64, .values = std::size_t{1} << 21};
constexpr std::int64_t kMaxFileBytes = std::int64_t{1} << 46;  // of a part, in a sum that is shown: no overflow
constexpr std::size_t kMaxShown = 30;
constexpr int kListingSecondsPerTimeout = 4;

std::string file_list(const std::vector<const HubFile*>& files, const HubName& name) {
  std::string list;
  for (std::size_t i = 0; i < files.size() && i < kMaxShown; ++i) {
    list += "\n  " + to_string({name.repository, name.revision, files[i]->path}) + "  " +
            human_bytes(static_cast<double>(files[i]->bytes));
  }
  if (files.size() > kMaxShown) list += "\n  and " + std::to_string(files.size() - kMaxShown) + " more";
  return list;
}

std::string string_at(const Json& object, std::string_view key) { return std::string(object.find(key).as_string()); }

std::int64_t size_at(const Json& object) { return object.find("size").as_int().value_or(-1); }

Result<HubFile> parse_file(const Json& entry, const std::string& source) {
  if (!entry.is_object()) return Error{ErrorCode::kCorrupt, source + ": a file of the listing is no object"};
  HubFile file;
  file.path = string_at(entry, "rfilename");
  if (!is_safe_path(file.path)) {
    return Error{ErrorCode::kCorrupt, source + ": \"" + file.path + "\" is not the path of a file in a repository"};
  }
  const Json lfs = entry.find("lfs");
  file.digest = lfs.is_object() ? string_at(lfs, "sha256") : string_at(entry, "blobId");
  file.bytes = size_at(lfs.is_object() ? lfs : entry);
  return file;
}

// The file, or all parts of the split model that it is one of.
Result<std::vector<HubFile>> all_parts(const HubListing& listing, const HubFile& chosen, const HubName& name) {
  const int count = shard_count(chosen.path);
  std::map<std::string_view, const HubFile*> by_path;
  for (const HubFile& file : listing.files) by_path.emplace(file.path, &file);
  std::vector<HubFile> files;
  for (int i = 1; i <= count; ++i) {
    const std::string path = shard_name(chosen.path, i);
    const auto found = by_path.find(path);
    if (found == by_path.end()) {
      return Error{ErrorCode::kNotFound, name.repository + " (" + name.revision + ") has no file " + path +
                                             ", one of the " + std::to_string(count) + " parts of " +
                                             shard_name(chosen.path, 1)};
    }
    const HubFile& file = *found->second;
    if (!digest_kind(file.digest).ok() || file.bytes < 0) {
      return Error{ErrorCode::kCorrupt,
                   "the listing of " + name.repository + " gives no length or no checksum for " + path};
    }
    files.push_back(file);
  }
  if (!files.empty()) return files;
  return Error{ErrorCode::kCorrupt, chosen.path + " of " + name.repository + " is one of no parts"};
}

}  // namespace

Result<HubListing> parse_listing(std::string_view json, const std::string& source) {
  return base::guarded([&]() -> Result<HubListing> {
    const auto document = engine::parse_json(json, source, kListingLimits);
    if (!document.ok()) {
      return Error{document.error().code, "the answer is not the JSON of a repository: " + document.error().message};
    }
    const Json answer = document->root();
    if (!answer.is_object()) {
      return Error{ErrorCode::kCorrupt, source + ": the answer is not the JSON of a repository"};
    }
    HubListing listing;
    listing.commit = string_at(answer, "sha");
    if (!is_commit(listing.commit)) {
      return Error{ErrorCode::kCorrupt, source + ": the answer names no commit (\"sha\")"};
    }
    const Json siblings = answer.find("siblings");
    if (!siblings.is_array()) {
      return Error{ErrorCode::kCorrupt, source + ": the answer lists no files (\"siblings\")"};
    }
    for (const Json& entry : siblings.elements()) {
      ROWMAX_TRY(file, parse_file(entry, source));
      listing.files.push_back(std::move(file));
    }
    return listing;
  });
}

Result<HubListing> list_repository(const HubSettings& settings, const HubName& name) {
  return base::guarded([&]() -> Result<HubListing> {
    HttpRequest request;
    request.url = settings.endpoint + "/api/models/" + name.repository + "/revision/" +
                  url_encoded(name.revision, false) + "?blobs=true";
    request.token = settings.token;
    request.stall_seconds = settings.timeout_seconds;
    request.total_seconds = kListingSecondsPerTimeout * settings.timeout_seconds;
    std::string json;
    HttpHandlers handlers;
    handlers.head = [&](const HttpHead&) {
      json.clear();
      return Status();
    };
    handlers.body = [&](std::string_view bytes) -> Status {
      if (json.size() + bytes.size() > kMaxListingBytes) {
        return Error{ErrorCode::kLimit, request.url + ": the listing of " + name.repository + " is longer than " +
                                            human_bytes(static_cast<double>(kMaxListingBytes))};
      }
      json += bytes;
      return {};
    };
    handlers.tick = [&] { return !settings.listener.stopped(); };
    const HttpOutcome outcome = with_retries(settings.retries, settings.listener, [&] {
      return HttpAttempt{http_get(request, handlers), false};
    });
    if (!outcome.status.ok()) return hub_error(outcome, settings, name);
    return parse_listing(json, outcome.head.url);
  });
}

Result<std::vector<HubFile>> choose_files(const HubListing& listing, const HubName& name) {
  return base::guarded([&]() -> Result<std::vector<HubFile>> {
    // A split model counts as one, with the name of its first part and the length of all.
    std::vector<HubFile> whole;
    std::map<std::string, std::size_t> places;  // ordered: the hub cannot choose keys that collide
    const HubFile* chosen = nullptr;
    for (const HubFile& file : listing.files) {
      if (file.path == name.file) chosen = &file;
      if (!is_gguf(file.path)) continue;
      const auto [place, added] = places.emplace(shard_name(file.path, 1), whole.size());
      if (added) {
        whole.push_back(file);
      } else {
        whole[place->second].bytes += std::clamp<std::int64_t>(file.bytes, 0, kMaxFileBytes);
      }
      whole[place->second].path = place->first;
    }
    std::vector<const HubFile*> models;
    for (const HubFile& file : whole) models.push_back(&file);
    if (name.file.empty() && models.size() == 1) chosen = models.front();
    if (chosen == nullptr && models.empty()) {
      return Error{ErrorCode::kNotFound,
                   name.repository + " (" + name.revision + ") has " +
                       (name.file.empty() ? "no GGUF file" : "no file " + name.file + ", and no GGUF file")};
    }
    if (chosen == nullptr && name.file.empty()) {
      return Error{ErrorCode::kInvalidArgument,
                   name.repository + " has several GGUF files; name one:" + file_list(models, name)};
    }
    if (chosen == nullptr) {
      return Error{ErrorCode::kNotFound, name.repository + " (" + name.revision + ") has no file " + name.file +
                                             "; its GGUF files:" + file_list(models, name)};
    }
    return all_parts(listing, *chosen, name);
  });
}

Error hub_error(const HttpOutcome& outcome, const HubSettings& settings, const HubName& name) {
  const HttpHead& head = outcome.head;
  const Error& error = outcome.status.error();
  const std::string what = to_string(name) + ": ";
  const std::string page = settings.endpoint + "/" + name.repository;
  if (head.error_code == "GatedRepo" || head.status == 403) {
    return Error{error.code, what + error.message +
                                 "\nThe model's owner wants a licence to be accepted first: do so at " + page +
                                 " while logged in, then set HF_TOKEN to a token of that account" +
                                 (settings.token.empty() ? "" : " (the one in use has no access)")};
  }
  if (head.status == 401) {
    return Error{error.code,
                 what + error.message + "\n" +
                     (settings.token.empty()
                          ? "There is no such repository, or it is private or gated: check the name, and set HF_TOKEN "
                            "if " +
                                page + " is open to you"
                          : "The token in use (HF_TOKEN, or the file of hf auth login) is not accepted, or there is no "
                            "such repository")};
  }
  if (head.error_code == "RevisionNotFound") {
    return Error{ErrorCode::kNotFound, what + "there is no revision " + name.revision + " (" + error.message + ")"};
  }
  return Error{error.code, what + error.message};
}

}  // namespace rowmax::store
