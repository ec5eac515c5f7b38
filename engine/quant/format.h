// The table of weight formats. A format is one header in this folder (layout, decode, encode) and one row in format.cc;
// sizes, names, the loader's checks, the generic matmul and the tests all come from the row.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace rowmax::engine {

// A row-major tensor [rows, cols] in its file's bytes (any alignment): what format_tensor_bytes says, tail included.
struct TensorView {
  const std::byte* bytes = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
};
// The same to be written. `scale` is read by formats with one scale a tensor, and by no other.
struct TensorTarget {
  std::byte* bytes = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  float scale = 0.0f;
};

// Why a tensor cannot be used. row -1: it can. block counts from the start of the row; -1: the row's or tensor's scale.
struct InvalidWeight {
  std::int64_t row = -1;
  std::int64_t block = -1;
  const char* expected = "";
  const char* found = "";
};

// A tensor is row after row, each `row_head_bytes` and then its blocks; behind the last row stand `tail_bytes`. In
// formats with row_group > 1 the bytes of that many rows are mixed, and the sizes are those of one row of them.
struct FormatInfo {
  std::uint32_t id;             // the type id that tensors in GGUF files carry; some formats share one
  const char* name;             // ggml's spelling where ggml has the format: "Q4_1", "BF16"
  std::int64_t block_elements;  // a row holds whole blocks
  std::int64_t block_bytes;
  std::int64_t row_head_bytes;
  std::int64_t tail_bytes;
  std::int64_t row_group;  // rows are a multiple of it
  // Never what an id alone stands for: it must be asked for by name.
  bool only_by_name;
  // Of use only where a quantiser knows how much each weight matters; `encode` does not.
  bool needs_importance;

  // Rows [row, row + n_rows) as n_rows * cols floats. Never fails: every bit pattern has a value, and a NaN or infinity
  // in a scale or minimum yields what IEEE arithmetic yields. The arithmetic is the format's definition in f32;
  // `decode` defines the value of a weight for the whole engine. The caller's floating-point environment must be the
  // default one (base/fp_env.h).
  void (*decode)(const TensorView& tensor, std::int64_t row, std::int64_t n_rows, float* out) noexcept;
  // The inverse, rounding to nearby representable blocks; row and n_rows are multiples of row_group. The call that
  // writes row 0 writes the tail. Finite input; what comes out for NaN or infinity is unspecified but never out of
  // bounds. Meant for tools and tests: it is deterministic, but not tuned for speed.
  void (*encode)(const float* values, const TensorTarget& tensor, std::int64_t row, std::int64_t n_rows) noexcept;
  // The first weight of the rows that no sound file holds: a scale, minimum (or, in float formats, value) that is NaN
  // or infinite, a code without a meaning.
  InvalidWeight (*find_invalid)(const TensorView& tensor, std::int64_t row, std::int64_t n_rows) noexcept;
  // Formats whose weights are a scale times -1, 0 or 1 (or 2): that of a block; all of a row's blocks share it where the
  // format has row heads, all of the tensor's where it has a tail. nullptr for other formats.
  float (*scale_of)(const TensorView& tensor, std::int64_t row, std::int64_t block) noexcept;
  bool half_scales;  // stored as halves, else as f32
  // Formats with one scale a tensor: the scale for these values, right for weights that are -m, 0 or m (as ternary
  // formats take them); nullptr for the others.
  float (*tensor_scale)(const float* values, std::int64_t n) noexcept;
};

// All formats, in order of id; of those that share an id, the one that the id alone stands for is first.
std::span<const FormatInfo> formats() noexcept;
// The formats with this id: none, one, or several that only sizes (or the user) can tell apart.
std::span<const FormatInfo> formats_of(std::uint32_t id) noexcept;
// The first of formats_of(id), nullptr when there is none.
const FormatInfo* find_format(std::uint32_t id) noexcept;
// nullptr when the table has no such format.
const FormatInfo* find_format(std::string_view name) noexcept;

// Bytes of one row of `cols` elements; cols must be a multiple of block_elements.
constexpr std::int64_t format_row_bytes(const FormatInfo& format, std::int64_t cols) noexcept {
  return format.row_head_bytes + cols / format.block_elements * format.block_bytes;
}
// Bytes of a tensor; rows must be a multiple of row_group. Does not look for overflow.
constexpr std::int64_t format_tensor_bytes(const FormatInfo& format, std::int64_t rows, std::int64_t cols) noexcept {
  return rows * format_row_bytes(format, cols) + format.tail_bytes;
}

// Row `row` of a row-major tensor of `cols` columns in its file's bytes: cols floats to out. This is the embedding
// lookup. cols must be a multiple of block_elements and the bytes must be those of whole rows and the tail (a caller's
// bug otherwise). Sets the floating-point environment itself.
void decode_row(const FormatInfo& format, std::span<const std::byte> tensor, std::int64_t row, std::int64_t cols,
                float* out) noexcept;

// Encodes a whole tensor on the calling thread, with the format's own tensor_scale where it needs one. out has
// format_tensor_bytes bytes.
void encode_tensor(const FormatInfo& format, const float* values, std::int64_t rows, std::int64_t cols,
                   std::byte* out) noexcept;

}  // namespace rowmax::engine
