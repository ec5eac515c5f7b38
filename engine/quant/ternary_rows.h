// What the ternary formats with one scale a row or a tensor have in common: value[k] = scale * (code[k] - 1), codes 0,
// 1 and 2. The product is exact.
//
// A format is a struct of static members:
//   kId, kName, kOnlyByName; kElements, kBytes (of a block); kHeadBytes, kTailBytes, kRowGroup (see FormatInfo)
//   kPairs                         codes are pairs of bits, so that a 3 can occur (and no sound file has one)
//   scale(tensor, row), set_scale(tensor, row, scale)
//   read_codes(tensor, row, block, codes), write_codes(codes, tensor, row, block): kElements codes;
//                                  writing adds bits to zeroed bytes
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "engine/quant/fit.h"
#include "engine/quant/format.h"

namespace rowmax::engine::quant {

template <class T>
T load_as(const std::byte* p) noexcept {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

// Whether some pair of bits in n bytes is 3.
inline bool any_code_3(const std::byte* bytes, std::int64_t n) noexcept {
  constexpr std::uint64_t kLow = 0x5555555555555555u;
  std::uint64_t found = 0;
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const auto word = load_as<std::uint64_t>(bytes + i);
    found |= word & (word >> 1) & kLow;
  }
  for (; i < n; ++i) {
    const auto byte = std::to_integer<unsigned>(bytes[i]);
    found |= byte & (byte >> 1) & 0x55u;
  }
  return found != 0;
}

template <class Format>
struct TernaryRows {
  static constexpr std::int64_t row_bytes(std::int64_t cols) noexcept {
    return Format::kHeadBytes + cols / Format::kElements * Format::kBytes;
  }
  static void decode(const TensorView& tensor, std::int64_t row, std::int64_t n_rows, float* out) noexcept {
    for (std::int64_t r = row; r < row + n_rows; ++r) {
      const float scale = Format::scale(tensor, r);
      for (std::int64_t block = 0; block < tensor.cols / Format::kElements; ++block, out += Format::kElements) {
        std::uint8_t codes[Format::kElements];
        Format::read_codes(tensor, r, block, codes);
        for (int i = 0; i < Format::kElements; ++i) out[i] = scale * static_cast<float>(codes[i] - 1);
      }
    }
  }
  static float fitting_scale(const float* values, std::int64_t n) noexcept {
    float most = 0.0f;
    for (std::int64_t i = 0; i < n; ++i) most = std::fabs(values[i]) > most ? std::fabs(values[i]) : most;
    return most > 0.0f ? most : 1.0f;
  }
  static void encode(const float* values, const TensorTarget& tensor, std::int64_t row, std::int64_t n_rows) noexcept {
    std::memset(tensor.bytes + row * row_bytes(tensor.cols), 0,
                static_cast<std::size_t>(n_rows * row_bytes(tensor.cols)));
    if (row == 0 && Format::kTailBytes > 0) {
      std::memset(tensor.bytes + tensor.rows * row_bytes(tensor.cols), 0, static_cast<std::size_t>(Format::kTailBytes));
    }
    for (std::int64_t r = row; r < row + n_rows; ++r, values += tensor.cols) {
      const float wanted = Format::kTailBytes > 0 ? tensor.scale : fitting_scale(values, tensor.cols);
      if (r == 0 || Format::kTailBytes == 0) Format::set_scale(tensor, r, wanted);
      for (std::int64_t block = 0; block < tensor.cols / Format::kElements; ++block) {
        std::uint8_t codes[Format::kElements];
        const float* x = values + block * Format::kElements;
        for (int i = 0; i < Format::kElements; ++i) {
          codes[i] = static_cast<std::uint8_t>(1 + round_code(x[i] / wanted, -1, 1));
        }
        Format::write_codes(codes, tensor, r, block);
      }
    }
  }
  static InvalidWeight find_invalid(const TensorView& tensor, std::int64_t row, std::int64_t n_rows) noexcept {
    for (std::int64_t r = row; r < row + n_rows; ++r) {
      const float scale = Format::scale(tensor, r);
      if (!std::isfinite(scale)) return {r, -1, "a finite scale", "NaN or infinity"};
      if (Format::kTailBytes > 0) {  // one for all rows; that of a row of zeros may be 0
        if (!(scale > 0.0f)) return {r, -1, "a scale above 0", scale == 0.0f ? "0" : "one below 0"};
        break;
      }
    }
    if constexpr (!Format::kPairs) return {};
    const std::int64_t head = Format::kHeadBytes * Format::kRowGroup;
    for (std::int64_t r = row / Format::kRowGroup * Format::kRowGroup; r < row + n_rows; r += Format::kRowGroup) {
      const std::byte* group = tensor.bytes + r * row_bytes(tensor.cols);
      if (any_code_3(group + head, Format::kRowGroup * row_bytes(tensor.cols) - head)) {
        return {r, -1, "codes 0, 1 and 2", "code 3"};
      }
    }
    return {};
  }
};

template <class Format>
constexpr FormatInfo ternary_rows_row() noexcept {
  using Rows = TernaryRows<Format>;
  FormatInfo row{};
  row.id = Format::kId;
  row.name = Format::kName;
  row.block_elements = Format::kElements;
  row.block_bytes = Format::kBytes;
  row.row_head_bytes = Format::kHeadBytes;
  row.tail_bytes = Format::kTailBytes;
  row.row_group = Format::kRowGroup;
  row.only_by_name = Format::kOnlyByName;
  row.decode = &Rows::decode;
  row.encode = &Rows::encode;
  row.find_invalid = &Rows::find_invalid;
  row.scale_of = [](const TensorView& tensor, std::int64_t at, std::int64_t /*block*/) noexcept {
    return Format::scale(tensor, at);
  };
  row.half_scales = Format::kHeadBytes == 2;
  if constexpr (Format::kTailBytes > 0) row.tensor_scale = &Rows::fitting_scale;
  return row;
}

}  // namespace rowmax::engine::quant
