// Views: where numbers lie and how to step through them. A view never owns; it must stay valid until the call that it
// was passed to returns. Strides count elements (not bytes), are 64-bit and may be 0 (broadcast) or negative.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rowmax {

enum class DType : std::uint8_t {
  kF32 = 0,
  kF16 = 1,     // IEEE 754 half
  kBF16 = 2,    // bfloat16
  kF64 = 3,     // IEEE 754 double
  kF8E4M3 = 4,  // OCP 8-bit floating point, E4M3 ("fn": no infinities, largest 448, 0x7F and 0xFF are NaN)
  kQ8_0 = 5,    // GGUF Q8_0: blocks of 32 elements, an f16 scale and 32 int8 (34 bytes); keys and values alone
};
// How elements of a type lie in memory. A block is what is stored together: one element, but for kQ8_0.
struct DTypeInfo {
  const char* name;
  std::int64_t block_elements;
  std::int64_t block_bytes;
};
inline constexpr DTypeInfo kDTypes[] = {{"f32", 1, 4}, {"f16", 1, 2},     {"bf16", 1, 2},
                                        {"f64", 1, 8}, {"f8_e4m3", 1, 1}, {"q8_0", 32, 34}};
inline constexpr int kDTypeCount = static_cast<int>(sizeof(kDTypes) / sizeof(kDTypes[0]));

constexpr bool dtype_known(DType dtype) noexcept { return static_cast<int>(dtype) < kDTypeCount; }
// Of a known type.
constexpr const DTypeInfo& dtype_info(DType dtype) noexcept { return kDTypes[static_cast<int>(dtype)]; }
// Bytes of n elements; n is a multiple of the block's elements.
constexpr std::int64_t dtype_bytes(DType dtype, std::int64_t n) noexcept {
  return n / dtype_info(dtype).block_elements * dtype_info(dtype).block_bytes;
}
constexpr const char* dtype_name(DType dtype) noexcept {
  return dtype_known(dtype) ? dtype_info(dtype).name : "unknown";
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

// The same for results: f32, f16, bf16 or f64, rounded once from the arithmetic's type. No element may lie inside
// another view of the same call.
struct HeadsView {
  void* data = nullptr;
  DType dtype = DType::kF32;
  MemorySpace space = MemorySpace::kHost;
  std::int64_t n_row = 0;
  std::int64_t n_head = 0;
  std::int64_t n_dim = 0;
  std::int64_t row_stride = 0;
  std::int64_t head_stride = 0;
  std::int64_t dim_stride = 1;

  operator ConstHeadsView() const noexcept {
    return {data, dtype, space, n_row, n_head, n_dim, row_stride, head_stride, dim_stride};
  }
};

// Densely packed [row][head][dim], the usual case.
inline ConstHeadsView packed_heads(const float* data, std::int64_t n_row, std::int64_t n_head,
                                   std::int64_t n_dim) noexcept {
  return {data, DType::kF32, MemorySpace::kHost, n_row, n_head, n_dim, n_head * n_dim, n_dim, 1};
}
inline HeadsView packed_heads(float* data, std::int64_t n_row, std::int64_t n_head, std::int64_t n_dim) noexcept {
  return {data, DType::kF32, MemorySpace::kHost, n_row, n_head, n_dim, n_head * n_dim, n_dim, 1};
}

}  // namespace rowmax
