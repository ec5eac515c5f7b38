// Where the keys or values of one kv head of one sequence lie. Part of the attend kernels' algorithm; shared by the f32
// and the f64 kernel.
#pragma once

#include <cstdint>

#include "attention/kernels/call.h"
#include "base/simd/simd.h"

namespace rowmax::attention {
namespace {

inline int lowest_bit(std::uint64_t word) noexcept { return __builtin_ctzll(word); }
inline int bits_end(std::uint64_t word) noexcept { return 64 - __builtin_clzll(word); }

// `index` counts elements; with q8_0 it is a multiple of its block's. Addresses are counted as integers: a sequence
// without keys may have no memory, and nothing is read there.
ROWMAX_INLINE const void* element(const void* base, DType dtype, std::int64_t index) noexcept {
  const std::int64_t offset = dtype == DType::kF32                            ? index * 4
                              : dtype == DType::kF16 || dtype == DType::kBF16 ? index * 2
                              : dtype == DType::kF8E4M3                       ? index
                              : dtype == DType::kF64                          ? index * 8
                                                                              : index / 32 * 34;
  return reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(base) + static_cast<std::uintptr_t>(offset));
}

// Keys or values of one kv head of one sequence.
struct Stream {
  const void* base;  // of the head
  const KvStrides* strides;
  const std::int32_t* pages;
  std::int64_t page_size;
  std::int64_t ring_keys;
  DType dtype;
  float scale;  // of fp8 codes

  // Elements from `base` to key j.
  ROWMAX_INLINE std::int64_t offset(std::int64_t j) const noexcept {
    if (ring_keys != 0) j %= ring_keys;
    if (page_size == 0) return j * strides->key_stride;
    const std::int64_t index = j / page_size;
    const std::int64_t page = pages != nullptr ? pages[index] : index;
    return page * strides->page_stride + (j - index * page_size) * strides->key_stride;
  }
  ROWMAX_INLINE const void* key(std::int64_t j) const noexcept { return element(base, dtype, offset(j)); }
  // Whether keys [begin, end) lie in one page, and do not wrap around the ring.
  ROWMAX_INLINE bool one_page(std::int64_t begin, std::int64_t end) const noexcept {
    if (ring_keys != 0 && begin / ring_keys != (end - 1) / ring_keys) return false;
    return page_size == 0 || begin / page_size == (end - 1) / page_size;  // page_size divides ring_keys
  }
};

inline Stream key_stream(const CallArgs& call, const BlockArgs& block) noexcept {
  const KvView& kv = call.args->kv;
  return {element(block.kv->k, kv.dtype, block.kv_head * kv.k.head_stride),
          &kv.k,
          block.kv->pages,
          kv.page_size,
          kv.ring_keys,
          kv.dtype,
          kv.k_scales != nullptr ? kv.k_scales[block.kv_head] : 1.0f};
}
inline Stream value_stream(const CallArgs& call, const BlockArgs& block) noexcept {
  const KvView& kv = call.args->kv;
  return {element(block.kv->v, kv.dtype, block.kv_head * kv.v.head_stride),
          &kv.v,
          block.kv->pages,
          kv.page_size,
          kv.ring_keys,
          kv.dtype,
          kv.v_scales != nullptr ? kv.v_scales[block.kv_head] : 1.0f};
}

}  // namespace
}  // namespace rowmax::attention
