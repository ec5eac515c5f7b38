// Keys and values that are decoded before use, fp8 E4M3 and q8_0: their tiles are always gathered into f32 scratch.
// Part of the attend kernel's algorithm, see attend.h; the numbers are defined in kv.h.
#pragma once

#include <cstring>

#include "attention/kernels/stream.h"
#include "base/half.h"
#include "base/simd/simd.h"

namespace rowmax::attention {
namespace {

using simd::F32x16;

inline bool is_packed(DType dtype) noexcept { return dtype == DType::kF8E4M3 || dtype == DType::kQ8_0; }

// Dimensions [d, d + 16) of a q8_0 row; d is a multiple of 16, so that they lie in one block.
ROWMAX_INLINE F32x16 load_q8_0(const std::uint8_t* row, std::int64_t d) noexcept {
  const std::uint8_t* block = row + d / 32 * 34;
  std::uint16_t scale;
  std::memcpy(&scale, block, sizeof scale);
  const auto* q = reinterpret_cast<const std::int8_t*>(block + 2 + d % 32);
  return simd::mul(simd::load_i8(q), simd::splat(base::f16_to_f32(scale)));
}

// Dimensions [d, d + n) of a key's row, n <= 16, other lanes 0; d is a multiple of 16.
template <DType kType>
ROWMAX_INLINE F32x16 load_packed(const Stream& stream, const std::uint8_t* row, std::int64_t d, int n) noexcept {
  if constexpr (kType == DType::kQ8_0) {
    return load_q8_0(row, d);
  } else {
    const F32x16 scale = simd::splat(stream.scale);
    const std::int64_t dim_stride = stream.strides->dim_stride;
    if (dim_stride == 1) {
      return simd::mul(n == 16 ? simd::load_f8e4m3(row + d) : simd::load_f8e4m3_n(row + d, n), scale);
    }
    std::uint8_t codes[16] = {};
    for (int i = 0; i < n; ++i) codes[i] = row[(d + i) * dim_stride];
    return simd::mul(simd::load_f8e4m3(codes), scale);
  }
}

inline int lanes_from(std::int64_t d, std::int64_t n_dim) noexcept {
  return n_dim - d < 16 ? static_cast<int>(n_dim - d) : 16;
}

// Sixteen keys of a tile, at least one of them seen, as f32 [d][key]; rows of keys that are not seen are nullptr and
// become 0. kAll: all are seen.
template <DType kType, bool kAll>
void gather_packed_sixteen(const Stream& stream, const std::uint8_t* const (&rows)[16], std::int64_t n_dim,
                           float* out) noexcept {
  for (std::int64_t d0 = 0; d0 < n_dim; d0 += 16) {
    const int n = lanes_from(d0, n_dim);
    F32x16 x[16];
    for (int k = 0; k < 16; ++k) {
      const bool seen = kAll || rows[k] != nullptr;
      x[k] = seen ? load_packed<kType>(stream, rows[k], d0, n) : simd::splat(0.0f);
    }
    simd::transpose(x);
    for (int d = 0; d < n; ++d) simd::store(out + (d0 + d) * kKeyTile, x[d]);
  }
}

// Keys of `word` of the tile that starts at key `begin`, as f32 [d][key]; other lanes are 0.
template <DType kType>
void gather_packed_keys(const Stream& stream, std::int64_t begin, std::uint64_t word, std::int64_t n_dim,
                        float* out) noexcept {
  for (int k0 = 0; k0 < kKeyTile; k0 += 16) {
    const std::uint32_t bits = static_cast<std::uint32_t>(word >> k0) & 0xFFFFu;
    if (bits == 0) {
      for (std::int64_t d = 0; d < n_dim; ++d) simd::store(out + d * kKeyTile + k0, simd::splat(0.0f));
      continue;
    }
    const std::uint8_t* rows[16];
    for (int k = 0; k < 16; ++k) {
      const bool seen = (bits >> k) & 1u;
      rows[k] = seen ? static_cast<const std::uint8_t*>(stream.key(begin + k0 + k)) : nullptr;
    }
    if (bits == 0xFFFFu) {
      gather_packed_sixteen<kType, true>(stream, rows, n_dim, out + k0);
    } else {
      gather_packed_sixteen<kType, false>(stream, rows, n_dim, out + k0);
    }
  }
}

// The same for fp8 keys that already lie as [d][key] in one page; n_lanes of them may be read.
inline void convert_f8_keys(const Stream& stream, std::int64_t begin, int n_lanes, std::int64_t n_dim,
                            float* out) noexcept {
  const auto* data = static_cast<const std::uint8_t*>(stream.key(begin));
  const F32x16 scale = simd::splat(stream.scale);
  for (std::int64_t d = 0; d < n_dim; ++d, data += stream.strides->dim_stride, out += kKeyTile) {
    if (n_lanes == kKeyTile) {
      for (int c = 0; c < kKeyTile; c += 16) simd::store(out + c, simd::mul(simd::load_f8e4m3(data + c), scale));
      continue;
    }
    for (int c = 0; c < kKeyTile; c += 16) {
      const int n = n_lanes - c < 0 ? 0 : n_lanes - c < 16 ? n_lanes - c : 16;
      simd::store(out + c, simd::mul(simd::load_f8e4m3_n(data + c, n), scale));
    }
  }
}

// Values of the keys of `word` as f32 [key][o_stride], from its first key to its last; keys left out and padding are 0.
template <DType kType>
void gather_packed_values(const Stream& stream, std::int64_t begin, std::uint64_t word, std::int64_t n_dim,
                          std::int64_t o_stride, float* out) noexcept {
  for (int k = lowest_bit(word); k < bits_end(word); ++k) {
    float* to = out + k * o_stride;
    if (((word >> k) & 1u) == 0) {
      std::memset(to, 0, static_cast<std::size_t>(o_stride) * sizeof(float));
      continue;
    }
    const auto* row = static_cast<const std::uint8_t*>(stream.key(begin + k));
    for (std::int64_t d = 0; d < n_dim; d += 16) {
      simd::store(to + d, load_packed<kType>(stream, row, d, lanes_from(d, n_dim)));
    }
  }
}

}  // namespace
}  // namespace rowmax::attention
