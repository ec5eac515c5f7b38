// Single numbers as they lie in memory, whatever their type: read in fp64, written as results.
#pragma once

#include <cstring>

#include "attention/kernels/stream.h"
#include "base/half.h"

namespace rowmax::attention {
namespace {

// Element `at` of an array of floats.
inline double number_at(const void* data, DType dtype, std::int64_t at) noexcept {
  if (dtype == DType::kF64) return static_cast<const double*>(data)[at];
  if (dtype == DType::kF32) return static_cast<double>(static_cast<const float*>(data)[at]);
  const std::uint16_t bits = static_cast<const std::uint16_t*>(data)[at];
  return static_cast<double>(dtype == DType::kF16 ? base::f16_to_f32(bits) : base::bf16_to_f32(bits));
}

// Dimension d of a key's row.
inline double stored_number(const Stream& stream, const void* row, std::int64_t d) noexcept {
  const auto* bytes = static_cast<const std::uint8_t*>(row);
  if (stream.dtype == DType::kF8E4M3) {
    return static_cast<double>(base::f8e4m3_to_f32(bytes[d * stream.strides->dim_stride]) * stream.scale);
  }
  if (stream.dtype == DType::kQ8_0) {
    const std::uint8_t* block = bytes + d / 32 * 34;
    std::uint16_t scale;
    std::memcpy(&scale, block, sizeof scale);
    return static_cast<double>(base::f16_to_f32(scale) *
                               static_cast<float>(static_cast<std::int8_t>(block[2 + d % 32])));
  }
  return number_at(row, stream.dtype, d * stream.strides->dim_stride);
}

// x as an element of a narrow or wide result; true where the type's range turns a finite x into infinity.
inline bool store_rounded(void* data, DType dtype, std::int64_t at, float x) noexcept {
  const bool finite = x - x == 0.0f;
  if (dtype == DType::kF64) {
    static_cast<double*>(data)[at] = static_cast<double>(x);
    return false;
  }
  const bool half = dtype == DType::kF16;
  const std::uint16_t bits = half ? base::f32_to_f16(x) : base::f32_to_bf16(x);
  static_cast<std::uint16_t*>(data)[at] = bits;
  return finite && (bits & 0x7FFFu) == (half ? 0x7C00u : 0x7F80u);
}

}  // namespace
}  // namespace rowmax::attention
