// The cache of Hugging Face's own tools, which rowmax shares: blobs named by checksum, snapshots of links to them.
//   CACHE/models--OWNER--REPO/blobs/DIGEST            the bytes
//   CACHE/models--OWNER--REPO/snapshots/COMMIT/FILE   a link to them
//   CACHE/models--OWNER--REPO/refs/REVISION           the commit that a branch or tag was last seen at
//   CACHE/.locks/models--OWNER--REPO/DIGEST.lock
#pragma once

#include <string>

#include "apps/store/hub_name.h"
#include "apps/store/listener.h"
#include "rowmax/result.h"

namespace rowmax::store {

// What the environment says: HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE.
struct HubSettings {
  std::string endpoint;  // no slash at its end
  std::string token;     // may be empty
  std::string cache;     // absolute
  bool offline = false;
  int retries = 4;
  int timeout_seconds = 30;
  Listener listener;
};
// kInvalidArgument for an endpoint that is no http(s) address or a token that cannot be one; else as hub_cache_folder.
Result<HubSettings> hub_settings();
// HubSettings::cache alone; kNotFound where nothing says where it is.
Result<std::string> hub_cache_folder();

// Where a repository's file lies; none of the folders need exist.
struct HubPaths {
  std::string folder;    // of the repository
  std::string blob;      // empty where no digest was given
  std::string snapshot;  // the file at that commit
  std::string lock;
};
HubPaths hub_paths(const std::string& cache, const std::string& repository, const std::string& commit,
                   const std::string& file, const std::string& digest);

// The commit that a revision stands for as far as the cache knows; kNotFound.
Result<std::string> cached_commit(const std::string& cache, const HubName& name);
// The path of a model that is in the cache. kNotFound says which command fetches it; kInvalidArgument lists the GGUF
// files where the name has none and several are there.
Result<std::string> cached_hub_file(const std::string& cache, const HubName& name);
// The digest in the name of the blob that a snapshot's file links to; kNotFound where it is no link.
Result<std::string> linked_digest(const std::string& snapshot);

// Makes the snapshot's link and remembers the revision's commit.
Status link_snapshot(const HubPaths& paths, const HubName& name, const std::string& commit);

// Held by one process at a time; waits for it, after saying so.
class FileLock {
 public:
  static Result<FileLock> take(const std::string& path, const Listener& listener);
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

}  // namespace rowmax::store
