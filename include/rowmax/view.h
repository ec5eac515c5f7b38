// Views: where numbers lie and how to step through them. A view never owns; it must stay valid until the call that it
// was passed to returns. Strides count elements (not bytes), are 64-bit and may be 0 (broadcast) or negative.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rowmax {

enum class DType : std::uint8_t {
  kF32 = 0,
  kF16 = 1,   // IEEE 754 half
  kBF16 = 2,  // bfloat16
};

// Bytes of one element.
constexpr std::size_t dtype_size(DType dtype) noexcept { return dtype == DType::kF32 ? 4 : 2; }
constexpr const char* dtype_name(DType dtype) noexcept {
  switch (dtype) {
    case DType::kF32: return "f32";
    case DType::kF16: return "f16";
    case DType::kBF16: return "bf16";
  }
  return "unknown";
}

// Which memory the pointer of a view belongs to. Only kHost is supported by the kernels of this version; others are
// refused with kUnsupported, never followed.
enum class MemorySpace : std::uint8_t {
  kHost = 0,
  kCuda = 1,
};

// [row][head][dim]; element (r, h, d) lies at data + r * row_stride + h * head_stride + d * dim_stride.
struct ConstHeadsView {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  MemorySpace space = MemorySpace::kHost;
  std::int64_t n_row = 0;
  std::int64_t n_head = 0;
  std::int64_t n_dim = 0;
  std::int64_t row_stride = 0;
  std::int64_t head_stride = 0;
  std::int64_t dim_stride = 1;
};

// The same for results; f32 alone. No element may lie inside another view of the same call.
struct HeadsView {
  float* data = nullptr;
  MemorySpace space = MemorySpace::kHost;
  std::int64_t n_row = 0;
  std::int64_t n_head = 0;
  std::int64_t n_dim = 0;
  std::int64_t row_stride = 0;
  std::int64_t head_stride = 0;
  std::int64_t dim_stride = 1;

  operator ConstHeadsView() const noexcept {
    return {data, DType::kF32, space, n_row, n_head, n_dim, row_stride, head_stride, dim_stride};
  }
};

// Densely packed [row][head][dim], the usual case.
inline ConstHeadsView packed_heads(const float* data, std::int64_t n_row, std::int64_t n_head,
                                   std::int64_t n_dim) noexcept {
  return {data, DType::kF32, MemorySpace::kHost, n_row, n_head, n_dim, n_head * n_dim, n_dim, 1};
}
inline HeadsView packed_heads(float* data, std::int64_t n_row, std::int64_t n_head, std::int64_t n_dim) noexcept {
  return {data, MemorySpace::kHost, n_row, n_head, n_dim, n_head * n_dim, n_dim, 1};
}

}  // namespace rowmax
