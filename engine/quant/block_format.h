// The table row of a format that is blocks and nothing else: no head, no tail, rows one after another.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/quant/format.h"

namespace rowmax::engine::quant {

// What find_not_finite wants and finds.
struct UnsoundBlock {
  const char *expected = "finite numbers", *found = "NaN or infinity";
};

// Ops: kId, kName, kElements, kBytes; decode(blocks, n_blocks, out), encode(values, n_blocks, out) and
// find_not_finite(blocks, n_blocks), which gives the first block with a NaN or infinity, or -1, and unsound().
template <class Ops>
constexpr FormatInfo block_format_row() noexcept {
  FormatInfo row{};
  row.id = Ops::kId;
  row.name = Ops::kName;
  row.block_elements = Ops::kElements;
  row.block_bytes = Ops::kBytes;
  row.row_group = 1;
  row.decode = [](const TensorView& tensor, std::int64_t first, std::int64_t n_rows, float* out) noexcept {
    const std::int64_t blocks = tensor.cols / Ops::kElements;
    Ops::decode(tensor.bytes + first * blocks * Ops::kBytes, n_rows * blocks, out);
  };
  row.encode = [](const float* values, const TensorTarget& tensor, std::int64_t first, std::int64_t n_rows) noexcept {
    const std::int64_t blocks = tensor.cols / Ops::kElements;
    Ops::encode(values, n_rows * blocks, tensor.bytes + first * blocks * Ops::kBytes);
  };
  row.find_invalid = [](const TensorView& tensor, std::int64_t first, std::int64_t n_rows) noexcept -> InvalidWeight {
    const std::int64_t blocks = tensor.cols / Ops::kElements;
    const std::int64_t at = Ops::find_not_finite(tensor.bytes + first * blocks * Ops::kBytes, n_rows * blocks);
    if (at < 0) return {};
    return {first + at / blocks, at % blocks, Ops::unsound().expected, Ops::unsound().found};
  };
  return row;
}

}  // namespace rowmax::engine::quant
