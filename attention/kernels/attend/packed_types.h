// Keys and values that are decoded before use, fp8 E4M3 and q8_0: their tiles are always gathered into f32 scratch.
// Part of the attend kernel's algorithm, see attend.h; the numbers are defined in kv.h.
#pragma once

#include <cstring>

#include "attention/kernels/attend/stream.h"
#include "base/half.h"
#include "base/simd/simd.h"

namespace rowmax::attention {
namespace {

using simd::F32x16;

inline bool is_packed(DType dtype) noexcept { return dtype == DType::kF8E4M3 || dtype == DType::kQ8_0; }

// The first n of sixteen fp8 codes, the others 0. E4M3's bits are those of an f16 2^8 times smaller.
ROWMAX_INLINE F32x16 load_f8(const std::uint8_t* p, int n, float scale) noexcept {
  std::uint16_t half[16];
  for (int i = 0; i < 16; ++i) half[i] = i < n ? base::f8e4m3_to_f16_scaled(p[i]) : 0;
  return simd::mul(simd::mul(simd::load_f16(half), simd::splat(256.0f)), simd::splat(scale));
}

// Dimensions [d, d + 16) of a q8_0 row; d is a multiple of 16, so that they lie in one block.
ROWMAX_INLINE F32x16 load_q8_0(const std::uint8_t* row, std::int64_t d) noexcept {
  const std::uint8_t* block = row + d / 32 * 34;
  std::uint16_t scale;
  std::memcpy(&scale, block, sizeof scale);
  float values[16];
  const std::uint8_t* q = block + 2 + d % 32;
  for (int i = 0; i < 16; ++i) values[i] = static_cast<float>(static_cast<std::int8_t>(q[i]));
  return simd::mul(simd::load(values), simd::splat(base::f16_to_f32(scale)));
}

// Dimensions [d, d + n) of a key's row, n <= 16, other lanes 0; d is a multiple of 16.
ROWMAX_INLINE F32x16 load_packed(const Stream& stream, const std::uint8_t* row, std::int64_t d, int n) noexcept {
  if (stream.dtype == DType::kQ8_0) return load_q8_0(row, d);
  const std::int64_t dim_stride = stream.strides->dim_stride;
  if (dim_stride == 1) return load_f8(row + d, n, stream.scale);
  std::uint8_t codes[16];
  for (int i = 0; i < n; ++i) codes[i] = row[(d + i) * dim_stride];
  return load_f8(codes, n, stream.scale);
}

inline int lanes_from(std::int64_t d, std::int64_t n_dim) noexcept {
  return n_dim - d < 16 ? static_cast<int>(n_dim - d) : 16;
}

// Keys of `word` of the tile that starts at key `begin`, as f32 [d][key]; other lanes are 0.
inline void gather_packed_keys(const Stream& stream, std::int64_t begin, std::uint64_t word, std::int64_t n_dim,
                               float* out) noexcept {
  for (int k0 = 0; k0 < kKeyTile; k0 += 16) {
    const std::uint8_t* rows[16];
    for (int k = 0; k < 16; ++k) {
      const bool seen = (word >> (k0 + k)) & 1u;
      rows[k] = seen ? static_cast<const std::uint8_t*>(stream.key(begin + k0 + k)) : nullptr;
    }
    for (std::int64_t d0 = 0; d0 < n_dim; d0 += 16) {
      const int n = lanes_from(d0, n_dim);
      F32x16 x[16];
      for (int k = 0; k < 16; ++k) {
        x[k] = rows[k] != nullptr ? load_packed(stream, rows[k], d0, n) : simd::splat(0.0f);
      }
      simd::transpose(x);
      for (int d = 0; d < n; ++d) simd::store(out + (d0 + d) * kKeyTile + k0, x[d]);
    }
  }
}

// The same for fp8 keys that already lie as [d][key] in one page; n_lanes of them may be read.
inline void convert_f8_keys(const Stream& stream, std::int64_t begin, int n_lanes, std::int64_t n_dim,
                            float* out) noexcept {
  const auto* data = static_cast<const std::uint8_t*>(stream.key(begin));
  for (std::int64_t d = 0; d < n_dim; ++d) {
    for (int c = 0; c < kKeyTile; c += 16) {
      const int n = n_lanes - c < 0 ? 0 : n_lanes - c < 16 ? n_lanes - c : 16;
      simd::store(out + d * kKeyTile + c, load_f8(data + d * stream.strides->dim_stride + c, n, stream.scale));
    }
  }
}

// Values of the keys of `word` as f32 [key][o_stride], from its first key to its last; keys left out and padding are 0.
inline void gather_packed_values(const Stream& stream, std::int64_t begin, std::uint64_t word, std::int64_t n_dim,
                                 std::int64_t o_stride, float* out) noexcept {
  for (int k = lowest_bit(word); k < bits_end(word); ++k) {
    float* to = out + k * o_stride;
    const bool seen = (word >> k) & 1u;
    const auto* row = seen ? static_cast<const std::uint8_t*>(stream.key(begin + k)) : nullptr;
    for (std::int64_t d = 0; d < o_stride; d += 16) {
      const int n = lanes_from(d, n_dim);
      simd::store(to + d, seen && n > 0 ? load_packed(stream, row, d, n) : simd::splat(0.0f));
    }
  }
}

}  // namespace
}  // namespace rowmax::attention
