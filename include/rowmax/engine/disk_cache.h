// Prefixes that outlive the process: pages of a session's cache in a folder, one file each, from which sequences that
// begin alike go on. What is read back has the bits of what was computed, or is not taken: a file is looked for under a
// digest of all tokens up to its page's end and of all that numbers depend on (the bytes of the model's tensors, what was
// said of it, the types of keys, values and activations, the version), and each byte of it is checked. A file that is
// damaged, cut, foreign or gone costs computing again, nothing else.
//
//   auto disk = DiskCache::open({.folder = "/var/cache/rowmax", .bytes = 8LL << 30, .version = "1.0"}, session, options);
//   auto scheduler = Scheduler::create(session, {.disk = &*disk});
//
// Files appear whole, under their names, or not at all. They can be read by their owner alone, as the folder, which must
// belong to this process's user and be closed to others. The least recently used ones go where `bytes` would be exceeded.
// Several processes may use one folder: each counts the files of all, and finds those of others some seconds later.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "rowmax/engine/session.h"
#include "rowmax/result.h"

namespace rowmax::engine {

struct DiskCacheEvent {
  enum class Kind : std::uint8_t {
    kDamaged,      // a file that was not what its name says; it was removed
    kWriteFailed,  // the disk is full, ...; told once, until a file could be written again
    kWritesAgain,
  };
  Kind kind = Kind::kDamaged;
  std::string file;  // its name in the folder
  std::string what;
};

struct DiskCacheOptions {
  std::string folder;                                // made where it is not there
  std::int64_t bytes = 0;                            // most, of all files together
  std::string version;                               // of the program
  std::int64_t queue_bytes = std::int64_t{1} << 28;  // of pages that wait to be written; more are not kept
  std::chrono::milliseconds retry_after = std::chrono::seconds(30);  // a write that failed
  // Hears what happens, from the engine's thread and the writer's, one at a time. Must not call back. Empty: nobody.
  std::function<void(const DiskCacheEvent&)> listener = {};
};

struct DiskCacheStatistics {
  std::int64_t files = 0, bytes = 0;  // in the folder
  std::int64_t foreign_files = 0;     // of them, of other models, versions or types
  // Since open():
  std::int64_t loaded_pages = 0, loaded_bytes = 0;
  std::int64_t saved_pages = 0, saved_bytes = 0;
  std::int64_t skipped_pages = 0;  // that found the queue full or the disk failing
  std::int64_t evicted_files = 0, damaged_files = 0, failed_writes = 0;
  std::int64_t waiting_bytes = 0;  // to be written
};

// The largest file of a page of such a session: what a cache must have room for to be of any use.
std::int64_t page_file_bytes(const Session& session);

class DiskCache {
 public:
  // What it keeps in mind of one growing list of tokens.
  struct Prefix {
    std::vector<std::array<std::uint8_t, 24>> keys;  // of its pages
    std::int64_t saved = 0;                          // pages that are there, or were given up
    std::int64_t damaged = 0;                        // pages that were found, and were not what their names say
  };

  // Of a session that was created with these options; reads all of the model's tensors once. kInvalidArgument for a
  // folder that others may look into, or no room; kIo where it cannot be made or read.
  static Result<DiskCache> open(const DiskCacheOptions& options, const Session& session,
                                const SessionOptions& session_options);
  DiskCache(DiskCache&&) noexcept;
  DiskCache& operator=(DiskCache&&) noexcept;
  ~DiskCache();  // writes what waits to be written

  // From the thread that uses the session:

  // Brings a sequence that holds the beginning of `tokens` further where the disk has whole pages of more, before the last
  // of them at most. How many of the tokens that it holds then were read.
  std::int64_t load(Session& session, SequenceId sequence, std::span<const TokenId> tokens, Prefix& prefix);
  // The pages that became full: they are copied, and written by another thread. Of the states of recurrent layers those
  // are kept that the same prompt, one that goes on behind it, or a long one that differs later would go on from: at its
  // last pages and at each 1024th token.
  void save(Session& session, SequenceId sequence, std::int64_t prompt_tokens, Prefix& prefix);

  // From any thread:

  // Until all that waits is written, or could not be.
  void flush();
  DiskCacheStatistics statistics() const;

  struct Impl;

 private:
  explicit DiskCache(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rowmax::engine
