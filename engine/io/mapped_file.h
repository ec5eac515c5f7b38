// A regular file, mapped read-only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "rowmax/result.h"

namespace rowmax::engine {

struct WatchedRange;  // engine/io/fault_guard.h

// Owner of one read-only mapping; movable, the bytes stay where they are.
//
// A file that someone truncates while it is mapped makes reads beyond its new end fail with SIGBUS; no process can
// prevent that. Where guard_mapped_files() was called and watch() too, such reads give zeros and check_intact() tells.
// The size is checked when the file is mapped and again by check_size(), so that a file still being written is refused.
// Replace a model by renaming a new file over it: the map then keeps the old one.
class MappedFile {
 public:
  // Follows symbolic links. kNotFound: no such file; kInvalidArgument: a directory, FIFO, socket or device;
  // kCorrupt: an empty file; kIo: what the operating system says. Never blocks, whatever the path names.
  static Result<MappedFile> open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  const std::string& path() const noexcept { return path_; }
  std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }

  // kIo when the file has another size now than when it was mapped.
  Status check_size() const;
  // From now on bytes that are gone read as zeros (once guard_mapped_files() was called): whoever calls this asks
  // check_intact() before trusting what was read. kOutOfMemory.
  Status watch();
  // kCorrupt when bytes were gone as they were read, or the file has another size now than when it was mapped.
  Status check_intact() const;
  // Tells the kernel that these bytes of the file are not needed in memory now; they are read again on demand.
  void drop_pages(std::span<const std::byte> range) const noexcept;

 private:
  MappedFile() = default;
  void release() noexcept;

  std::string path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  int descriptor_ = -1;
  WatchedRange* watched_ = nullptr;
};

}  // namespace rowmax::engine
