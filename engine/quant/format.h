// The table of weight formats. A format is one header in this folder (block layout, decode, encode) and one row in
// format.cc; sizes, names, the loader's check, the generic matmul and the tests all come from the row.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace rowmax::engine {

struct FormatInfo {
  std::uint32_t id;             // ggml's type id, as tensors in GGUF files carry it
  const char* name;             // ggml's spelling: "Q4_1", "BF16"
  std::int64_t block_elements;  // a row holds whole blocks
  std::int64_t block_bytes;
  // n_blocks consecutive blocks (any alignment) to n_blocks * block_elements floats. Never fails: every bit pattern has
  // a value, and a NaN or infinity in a block's scale or minimum yields what IEEE arithmetic yields. The arithmetic is
  // the format's definition in f32; `decode` defines the value of a weight for the whole engine. The caller's
  // floating-point environment must be the default one (base/fp_env.h).
  void (*decode)(const std::byte* blocks, std::int64_t n_blocks, float* out) noexcept;
  // The inverse, rounding to nearby representable blocks. Finite input; what comes out for NaN or infinity is
  // unspecified but never out of bounds. Meant for tools and tests: it is deterministic, but not tuned for speed.
  void (*encode)(const float* values, std::int64_t n_blocks, std::byte* out) noexcept;
  // The first block whose scale or minimum (or, in float formats, whose value) is NaN or infinite; -1: none is.
  std::int64_t (*find_not_finite)(const std::byte* blocks, std::int64_t n_blocks) noexcept;
};

// All formats, in order of id.
std::span<const FormatInfo> formats() noexcept;
// nullptr when the table has no such format.
const FormatInfo* find_format(std::uint32_t id) noexcept;
const FormatInfo* find_format(std::string_view name) noexcept;

// Bytes of one row of `cols` elements; cols must be a multiple of block_elements.
constexpr std::int64_t format_row_bytes(const FormatInfo& format, std::int64_t cols) noexcept {
  return cols / format.block_elements * format.block_bytes;
}

// Row `row` of a row-major tensor of `cols` columns in its file's bytes: cols floats to out. This is the embedding
// lookup. cols must be a multiple of block_elements and the bytes must hold the row (a caller's bug otherwise). Sets
// the floating-point environment itself.
void decode_row(const FormatInfo& format, std::span<const std::byte> tensor, std::int64_t row, std::int64_t cols,
                float* out) noexcept;

}  // namespace rowmax::engine
