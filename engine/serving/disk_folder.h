// The files of a disk cache: their names, and all that is asked of the system. A name is ID-KEY-PARTS.page in
// hexadecimal digits: what numbers depend on, the page's key, the parts that are in it. What else lies in the folder is
// left alone, but for unfinished files of processes that ended (.rowmax-PID-N.tmp).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rowmax/engine/session.h"
#include "rowmax/result.h"

namespace rowmax::engine {

struct PageName {
  std::array<std::uint8_t, 4> id = {};
  std::array<std::uint8_t, 24> key = {};
  PageParts parts = 0;

  std::string text() const;
  // Without the parts: what all files of a page begin with.
  std::string stem() const;
  static std::optional<PageName> parse(std::string_view text);
};

class DiskFolder {
 public:
  struct Entry {
    std::string name;
    std::int64_t bytes = 0;
    std::int64_t used = 0;  // nanoseconds since the epoch
  };

  // kInvalidArgument unless it belongs to this user and is closed to others; made where it is not there.
  static Result<DiskFolder> open(const std::string& path);
  DiskFolder(DiskFolder&& other) noexcept;
  DiskFolder& operator=(DiskFolder&& other) noexcept;
  ~DiskFolder();

  // All pages; unfinished files of processes that ended are removed.
  Result<std::vector<Entry>> scan();
  // The whole file. kNotFound where there is none; kCorrupt where it is no regular file of this size; kIo.
  Status read(const std::string& name, std::span<std::byte> bytes) const;
  // Under a temporary name, flushed, then under its own. Nothing is left where it fails.
  Status write(const std::string& name, std::span<const std::byte> bytes);
  void remove(const std::string& name) noexcept;
  void touch(const std::string& name, std::int64_t nanoseconds) noexcept;

 private:
  explicit DiskFolder(int descriptor) noexcept : descriptor_(descriptor) {}
  int descriptor_ = -1;
};

}  // namespace rowmax::engine
