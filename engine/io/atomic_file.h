// A file that appears whole or not at all.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "rowmax/result.h"

namespace rowmax::engine {

// Writes to a temporary file in the target's folder; commit() renames it over the target. Without commit() the
// destructor removes it and the target stays as it was.
class AtomicFile {
 public:
  static Result<AtomicFile> create(const std::string& path);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  Status append(std::span<const std::byte> bytes);
  // Flushes to the disk, then renames. Nothing may follow.
  Status commit();

 private:
  AtomicFile() = default;

  std::string path_;
  std::string temporary_;
  int descriptor_ = -1;
};

}  // namespace rowmax::engine
