// Single numbers as they lie in memory, in fp64, whatever their type.
#pragma once

#include <cstring>

#include "attention/kernels/attend/stream.h"
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

}  // namespace
}  // namespace rowmax::attention
