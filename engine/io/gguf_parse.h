// From bytes to a checked table of contents; GgufFile is this plus the owner of the bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rowmax/engine/gguf.h"
#include "rowmax/result.h"

namespace rowmax::engine {

struct GgufContent {
  std::string name;
  std::uint32_t version = 0;
  std::uint32_t alignment = 0;
  std::uint64_t file_bytes = 0;
  std::vector<std::string> notices;
  std::vector<GgufRest> rests;
  std::vector<std::pair<std::string_view, GgufValue>> metadata;  // file order
  std::vector<GgufTensor> tensors;                               // file order
  std::vector<std::uint32_t> keys_by_name;                       // indices, sorted
  std::vector<std::uint32_t> tensors_by_name;
};

// Reads the whole file; all views point into bytes. May throw std::bad_alloc (the caller turns it into an Error).
Result<GgufContent> parse_gguf(std::span<const std::byte> bytes, std::string name, const GgufOptions& options);

// By name; nullptr when absent.
const GgufValue* find_key(const GgufContent& content, std::string_view key) noexcept;
const GgufTensor* find_tensor(const GgufContent& content, std::string_view name) noexcept;
// Sorts keys_by_name and tensors_by_name anew.
void index_by_name(GgufContent& content);

// Between the halves: gives every tensor its format. Most type ids stand for one; for the others the options or the
// room between offsets decide, and a notice says so. data_bytes: of tensor data, to the file's end.
Status resolve_formats(GgufContent& content, std::uint64_t data_bytes, const GgufOptions& options);

// The second half: gives every tensor its bytes and checks alignment, overlap and the end of the file.
// infos_end: where the tensor table ends. Adds notices for gaps, and what is behind the last tensor.
Status place_tensors(GgufContent& content, std::span<const std::byte> bytes, std::uint64_t infos_end);

}  // namespace rowmax::engine
