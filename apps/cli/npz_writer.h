// Arrays for numpy: an .npz file, which is a zip of .npy files (stored, not compressed).
// Formats: numpy.lib.format version 1.0; PKWARE APPNOTE 6.3, without zip64 (so at most 4 GiB - 1 in all).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rowmax/engine/output_file.h"
#include "rowmax/result.h"

namespace rowmax::cli {

class NpzWriter {
 public:
  // One-dimensional arrays.
  void add(std::string_view name, std::span<const std::int32_t> values);
  void add(std::string_view name, std::span<const double> values);
  // Writes a temporary file beside `path` and renames it. kLimit where it would need zip64.
  Status write(const std::string& path, const engine::OutputOptions& options) const;

 private:
  struct Entry {
    std::string name;
    std::string bytes;
  };
  void add_bytes(std::string_view name, std::string_view dtype, std::size_t count, std::string_view bytes);
  std::vector<Entry> entries_;
};

}  // namespace rowmax::cli
