// The constants of GGUF that reader and writer share. Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/quant/format.h"
#include "rowmax/engine/gguf.h"

namespace rowmax::engine {

static_assert(std::endian::native == std::endian::little, "GGUF is read in place: little-endian machines only");
static_assert(sizeof(std::size_t) == 8, "file sizes are kept in size_t");

inline constexpr std::string_view kGgufMagic = "GGUF";
inline constexpr std::uint32_t kGgufVersion = 3;  // written; 2 and 3 are read (they differ in big-endian files only)
inline constexpr std::string_view kGgufAlignmentKey = "general.alignment";
inline constexpr std::uint32_t kGgufDefaultAlignment = 32;
inline constexpr std::uint32_t kGgufMinAlignment = 8;
inline constexpr std::uint32_t kGgufMaxAlignment = 64 * 1024;

// Bounds on what a file may ask for; far above every real model, and low enough that a bad file costs no memory.
inline constexpr std::uint64_t kGgufMaxKeys = 64 * 1024;
inline constexpr std::uint64_t kGgufMaxTensors = 1024 * 1024;
inline constexpr std::uint64_t kGgufMaxKeyBytes = 64 * 1024;
inline constexpr std::uint64_t kGgufMaxStringBytes = 64ull * 1024 * 1024;
inline constexpr std::uint64_t kGgufMaxMetadataBytes = 1024ull * 1024 * 1024;
inline constexpr std::uint64_t kGgufMaxTensorNameBytes = 63;  // ggml keeps 64 bytes with the closing NUL
inline constexpr std::uint32_t kGgufMaxDims = 4;

// The fewest bytes each can take in a file.
inline constexpr std::uint64_t kGgufMinKeyBytes = 8 + 1 + 4 + 1;             // length, name, type, a one-byte value
inline constexpr std::uint64_t kGgufMinTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;  // length, name, n_dims, dim, type, offset

// Bytes of one scalar of the type; 0 for strings, arrays and unknown types.
constexpr std::size_t gguf_scalar_bytes(GgufType type) noexcept {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool: return 1;
    case GgufType::kU16:
    case GgufType::kI16: return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32: return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64: return 8;
    case GgufType::kString:
    case GgufType::kArray: return 0;
  }
  return 0;
}

constexpr bool gguf_is_integer(GgufType type) noexcept {
  return gguf_scalar_bytes(type) > 0 && type != GgufType::kF32 && type != GgufType::kF64 && type != GgufType::kBool;
}

// value rounded up to a multiple of alignment (a power of two); value must be at most 2^63.
constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) noexcept {
  return (value + alignment - 1) & ~(alignment - 1);
}

// What the id means where it is not a format of engine/quant; empty when nothing is known.
std::string_view foreign_tensor_type_name(std::uint32_t type) noexcept;

// The sentence's rest about a tensor of a type that is not in engine/quant's table: "has type 38 (...), which ...".
Error unreadable_tensor_type(std::uint32_t type);

// The product of dims, all of which must be at least 1. Every product is checked in order, from the first dim on, so
// that no wrapped product (2^32 * 2^32 = 0) passes for a small or empty tensor. The message of an error names no
// tensor.
Result<std::int64_t> gguf_element_count(const std::vector<std::int64_t>& shape);
// Bytes of a tensor of a format; as above.
Result<std::uint64_t> gguf_tensor_bytes(const FormatInfo& format, const std::vector<std::int64_t>& shape);

}  // namespace rowmax::engine
