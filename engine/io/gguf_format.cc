#include "engine/io/gguf_format.h"

#include <algorithm>
#include <iterator>

#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

struct ForeignType {
  std::uint32_t id;
  std::string_view name;
  std::string_view remedy = "";  // what to do about it
};

// What ids of ggml.h (upstream) and bitnet.cpp mean that engine/quant's table does not have, or (39) have meant elsewhere.
// "removed" ones had a meaning in old files.
constexpr ForeignType kForeignTypes[] = {
    {4, "Q4_2, removed from the format"},
    {5, "Q4_3, removed from the format"},
    {9, "Q8_1"},
    {15, "Q8_K"},
    {24, "I8"},
    {25, "I16"},
    {26, "I32"},
    {27, "I64"},
    {28, "F64"},
    {31, "Q4_0_4_4, removed from the format"},
    {32, "Q4_0_4_8, removed from the format"},
    {33, "Q4_0_8_8, removed from the format"},
    {37, "IQ4_NL_4_8, removed from the format"},
    {38, "TL1 of bitnet.cpp, or the removed IQ4_NL_8_8",
     "TL1's tiles follow a kernel_config.ini that is not in the file: convert the model anew, from its safetensors or "
     "from its I2_S file"},
    {39, "MXFP4, or TL2 in files of bitnet.cpp",
     "TL2's tiles follow a kernel_config.ini that is not in the file: convert such a model anew, from its safetensors "
     "or from its I2_S file"},
};

}  // namespace

const char* gguf_type_name(GgufType type) noexcept {
  static constexpr const char* kNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                           "bool", "string", "array", "u64", "i64", "f64"};
  const auto index = static_cast<std::size_t>(type);
  return index < std::size(kNames) ? kNames[index] : "unknown";
}

std::string_view foreign_tensor_type_name(std::uint32_t type) noexcept {
  const auto* found = std::ranges::find(kForeignTypes, type, &ForeignType::id);
  return found == std::end(kForeignTypes) ? std::string_view() : found->name;
}

std::string_view gguf_tensor_type_name(std::uint32_t type) noexcept {
  const FormatInfo* format = find_format(type);
  return format != nullptr ? std::string_view(format->name) : foreign_tensor_type_name(type);
}

std::string_view gguf_tensor_format_name(const GgufTensor& tensor) noexcept {
  return tensor.format != nullptr ? std::string_view(tensor.format->name) : gguf_tensor_type_name(tensor.type);
}

Error unreadable_tensor_type(std::uint32_t type) {
  const auto* found = std::ranges::find(kForeignTypes, type, &ForeignType::id);
  if (found == std::end(kForeignTypes)) {
    return Error{ErrorCode::kUnsupported, concat("has the unknown type ", type)};
  }
  return Error{ErrorCode::kUnsupported, concat("has type ", type, " (", found->name, "), which is not supported",
                                               found->remedy.empty() ? "" : "; ", found->remedy)};
}

Result<std::int64_t> gguf_element_count(const std::vector<std::int64_t>& shape) {
  if (shape.empty() || shape.size() > kGgufMaxDims) {
    return Error{ErrorCode::kCorrupt, concat("has ", shape.size(), " dimensions, expected 1 to ", kGgufMaxDims)};
  }
  std::int64_t n_elements = 1;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] < 1) {
      return Error{ErrorCode::kCorrupt, concat("has ", shape[i], " as dimension ", i, ", expected at least 1")};
    }
    if (__builtin_mul_overflow(n_elements, shape[i], &n_elements)) {
      return Error{ErrorCode::kCorrupt, "has dimensions whose product exceeds 2^63 - 1"};
    }
  }
  return n_elements;
}

Result<std::uint64_t> gguf_tensor_bytes(const FormatInfo& format, const std::vector<std::int64_t>& shape) {
  ROWMAX_TRY(n_elements, gguf_element_count(shape));
  if (shape[0] % format.block_elements != 0) {
    return Error{ErrorCode::kCorrupt, concat("has rows of ", shape[0], " elements, which are not whole blocks of ",
                                             format.block_elements, " (type ", format.name, ")")};
  }
  const std::int64_t rows = n_elements / shape[0];
  if (rows % format.row_group != 0) {
    return Error{ErrorCode::kCorrupt, concat("has ", rows, " rows, which are not whole groups of ", format.row_group,
                                             " (type ", format.name, ")")};
  }
  std::int64_t n_bytes = 0;
  const bool too_long = __builtin_mul_overflow(shape[0] / format.block_elements, format.block_bytes, &n_bytes) ||
                        __builtin_add_overflow(n_bytes, format.row_head_bytes, &n_bytes) ||
                        __builtin_mul_overflow(n_bytes, rows, &n_bytes) ||
                        __builtin_add_overflow(n_bytes, format.tail_bytes, &n_bytes);
  if (too_long) return Error{ErrorCode::kCorrupt, "has more than 2^63 - 1 bytes"};
  return static_cast<std::uint64_t>(n_bytes);
}

}  // namespace rowmax::engine
