// safetensors files: an 8-byte length, a JSON header with every tensor's type, shape and place, then the tensors.
// Format: https://huggingface.co/docs/safetensors
//
// As with GGUF, a file is hostile until checked: the header's length, every shape product and every place are bounded
// by the bytes that are really there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/mapped_file.h"
#include "rowmax/result.h"

namespace rowmax::engine {

struct SafetensorsTensor {
  std::string name;
  std::string dtype;                // as the header spells it: "F32", "BF16", "U8", ...
  std::vector<std::int64_t> shape;  // slowest first; 0 to 8 dims, each at least 0
  std::span<const std::byte> data;  // row-major, little-endian, perhaps unaligned
};

class SafetensorsFile {
 public:
  // Maps the file. kCorrupt names file, tensor, expected and found: a header that is too long, malformed or nested
  // too deep, a tensor or key named twice, an unknown dtype, an impossible shape, a place that is not exactly of the
  // shape's size, beyond the end, overlapping another's or leaving a hole (which the format forbids).
  static Result<SafetensorsFile> open(const std::string& path);
  // From memory that the caller keeps alive; name stands in messages.
  static Result<SafetensorsFile> parse(std::span<const std::byte> bytes, std::string name);

  const std::string& name() const noexcept { return name_; }
  std::span<const SafetensorsTensor> tensors() const noexcept { return tensors_; }  // by place
  const SafetensorsTensor* find(std::string_view name) const noexcept;              // nullptr when absent
  // The texts under __metadata__; members of it that are no text are left out.
  const std::map<std::string, std::string>& metadata() const noexcept { return metadata_; }
  // As MappedFile's; nothing happens for a file in memory.
  void drop_pages(std::span<const std::byte> range) const noexcept;

 private:
  SafetensorsFile() = default;
  Status read(std::span<const std::byte> bytes);

  std::optional<MappedFile> map_;
  std::string name_;
  std::vector<SafetensorsTensor> tensors_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string_view, std::size_t> index_;
};

}  // namespace rowmax::engine
