// Keys and values that are not floats, fp8 E4M3 and q8_0. Tiles of fp8 become f32 scratch before they are used, as do those of
// q8_0 in blocks of many rows. Few rows decode q8_0 in their register blocks: keys from their bytes, turned, values from where
// they lie. Part of the attend kernel's algorithm, see attend.h; the numbers are defined in kv.h.
#pragma once

#include <cstring>

#include "attention/kernels/stream.h"
#include "base/half.h"
#include "base/simd/simd.h"

// Register blocks are registers only where their loops are unrolled, whatever the optimisation level. Plain arrays are
// in memory anyway, and unrolled they take minutes to compile.
#if defined(ROWMAX_SIMD_SCALAR)
#define ROWMAX_UNROLL
#elif defined(__clang__)
#define ROWMAX_UNROLL _Pragma("unroll")
#else
#define ROWMAX_UNROLL _Pragma("GCC unroll 16")
#endif

namespace rowmax::attention {
namespace {

using simd::F32x16;

inline bool is_packed(DType dtype) noexcept { return dtype == DType::kF8E4M3 || dtype == DType::kQ8_0; }

// Where dimension d of a q8_0 row lies, and bytes of n elements in whole blocks.
inline std::int64_t q8_0_at(std::int64_t d) noexcept { return d / 32 * 34 + 2 + d % 32; }
inline std::int64_t q8_0_bytes(std::int64_t n) noexcept { return n / 32 * 34; }

// Sixteen numbers of one block, whose scale comes times kI8Unit. A product of a half and a byte is exact, and so it is times
// a power of two: which one, changes no bit.
ROWMAX_INLINE F32x16 decode_q8_0(const std::uint8_t* q, float scale) noexcept {
  return simd::mul(simd::load_i8_units(reinterpret_cast<const std::int8_t*>(q)), simd::splat(scale));
}
// Byte kByte of each lane as a number of q8_0, its scale in the same lane, times kHighByte: a byte is converted where it is
// highest, 2^24 times too large.
inline constexpr float kHighByte = 0x1p-24f;
template <int kByte>
ROWMAX_INLINE F32x16 decode_q8_0_byte(simd::I32x16 bytes, F32x16 scale) noexcept {
  return simd::mul(simd::to_f32(simd::highest_byte<kByte>(bytes)), scale);
}

// Where the rows of a tile's keys lie.
struct TileRows {
  const std::uint8_t* of[kKeyTile];

  // Those of keys [k, k + 16).
  const std::uint8_t* const (&sixteen(int k) const noexcept)[16] {
    return *reinterpret_cast<const std::uint8_t* const(*)[16]>(of + k);
  }
};

// Rows of keys of `word` of the tile that starts at key `begin`. In the place of a key that is not in it stands the first
// that is: what becomes of it is used nowhere.
inline TileRows find_rows(const Stream& stream, std::int64_t begin, std::uint64_t word) noexcept {
  TileRows rows;
  const int first = lowest_bit(word), end = bits_end(word);
  const auto* row = static_cast<const std::uint8_t*>(stream.key(begin + first));
  for (const std::uint8_t*& other : rows.of) other = row;
  if (word == bit_range(first, end) && stream.one_page(begin + first, begin + end)) {
    const std::int64_t row_bytes = q8_0_bytes(stream.strides->key_stride);
    for (int k = first; k < end; ++k, row += row_bytes) rows.of[k] = row;
    return rows;
  }
  for (std::uint64_t rest = word; rest != 0; rest &= rest - 1) {
    rows.of[lowest_bit(rest)] = static_cast<const std::uint8_t*>(stream.key(begin + lowest_bit(rest)));
  }
  return rows;
}

// The scales of dimensions [d_begin, d_end), times `factor`, as [d / 32][key]; behind them half as many bytes are written.
inline void load_q8_0_scales(const TileRows& rows, std::int64_t d_begin, std::int64_t d_end, float factor,
                             float* scales) noexcept {
  const std::int64_t n_block = (d_end - d_begin) / 32;
  // First all halves, then the conversions: a vector that is read right behind its parts waits for them.
  auto* const halves = reinterpret_cast<std::uint16_t*>(scales + n_block * kKeyTile);
  for (std::int64_t i = 0; i < n_block; ++i) {
    const std::int64_t at = q8_0_bytes(d_begin + 32 * i);
    ROWMAX_UNROLL
    for (int k = 0; k < kKeyTile; ++k) std::memcpy(halves + i * kKeyTile + k, rows.of[k] + at, 2);
  }
  for (std::int64_t i = 0; i < n_block * kKeyTile; i += 16) {
    simd::store(scales + i, simd::mul(simd::load_f16(halves + i), simd::splat(factor)));
  }
}
inline constexpr int kBlockScales = kKeyTile + kKeyTile / 2;  // floats that one block's are written to

// Keys: their bytes, four dimensions a word, as [d / 4][key].
inline void turn_q8_0_keys(const TileRows& rows, std::int64_t n_dim, std::int32_t* words) noexcept {
  for (int c = 0; c < kKeyTile; c += 16) {
    std::int32_t* to = words + c;
    for (std::int64_t d = 0; d < n_dim; d += 16, to += 4 * kKeyTile) {
      simd::I32x16 x[4];
      simd::load_columns4(rows.sixteen(c), q8_0_at(d), x);
      simd::store_i32(to, x[0]);
      simd::store_i32(to + kKeyTile, x[1]);
      simd::store_i32(to + 2 * kKeyTile, x[2]);
      simd::store_i32(to + 3 * kKeyTile, x[3]);
    }
  }
}

// The same as f32 [d][key].
inline void decode_q8_0_keys(const TileRows& rows, std::int64_t n_dim, float* out) noexcept {
  for (std::int64_t d = 0; d < n_dim; d += 16) {
    alignas(64) float scales[kBlockScales];
    if (d % 32 == 0) load_q8_0_scales(rows, d, d + 32, kHighByte, scales);
    for (int c = 0; c < kKeyTile; c += 16) {
      simd::I32x16 x[4];
      simd::load_columns4(rows.sixteen(c), q8_0_at(d), x);
      const F32x16 scale = simd::load(scales + c);
      float* to = out + d * kKeyTile + c;
      ROWMAX_UNROLL
      for (int i = 0; i < 4; ++i, to += 4 * kKeyTile) {
        simd::store(to, decode_q8_0_byte<0>(x[i], scale));
        simd::store(to + kKeyTile, decode_q8_0_byte<1>(x[i], scale));
        simd::store(to + 2 * kKeyTile, decode_q8_0_byte<2>(x[i], scale));
        simd::store(to + 3 * kKeyTile, decode_q8_0_byte<3>(x[i], scale));
      }
    }
  }
}

// Values of the keys of `word` as f32 [key][o_stride], from its first key to its last; there is no padding. Those of keys
// that are left out are the first one's.
inline void decode_q8_0_values(const TileRows& rows, std::uint64_t word, std::int64_t n_dim, std::int64_t o_stride,
                               float* out) noexcept {
  for (std::int64_t d = 0; d < n_dim; d += 32) {
    alignas(64) float scales[kBlockScales];
    load_q8_0_scales(rows, d, d + 32, simd::kI8Unit, scales);
    for (int k = lowest_bit(word); k < bits_end(word); ++k) {
      const std::uint8_t* block = rows.of[k] + q8_0_bytes(d);
      simd::store(out + k * o_stride + d, decode_q8_0(block + 2, scales[k]));
      simd::store(out + k * o_stride + d + 16, decode_q8_0(block + 18, scales[k]));
    }
  }
}

// Dimensions [d, d + n) of a key's row of fp8, n <= 16, other lanes 0; d is a multiple of 16.
ROWMAX_INLINE F32x16 load_f8(const Stream& stream, const std::uint8_t* row, std::int64_t d, int n) noexcept {
  const F32x16 scale = simd::splat(stream.scale);
  const std::int64_t dim_stride = stream.strides->dim_stride;
  if (dim_stride == 1) {
    return simd::mul(n == 16 ? simd::load_f8e4m3(row + d) : simd::load_f8e4m3_n(row + d, n), scale);
  }
  std::uint8_t codes[16] = {};
  for (int i = 0; i < n; ++i) codes[i] = row[(d + i) * dim_stride];
  return simd::mul(simd::load_f8e4m3(codes), scale);
}

inline int lanes_from(std::int64_t d, std::int64_t n_dim) noexcept {
  return n_dim - d < 16 ? static_cast<int>(n_dim - d) : 16;
}

// Sixteen keys of a tile, at least one of them seen, as f32 [d][key]; rows of keys that are not seen are nullptr and
// become 0. kAll: all are seen.
template <bool kAll>
void gather_f8_sixteen(const Stream& stream, const std::uint8_t* const (&rows)[16], std::int64_t n_dim,
                       float* out) noexcept {
  for (std::int64_t d0 = 0; d0 < n_dim; d0 += 16) {
    const int n = lanes_from(d0, n_dim);
    F32x16 x[16];
    for (int k = 0; k < 16; ++k) {
      const bool seen = kAll || rows[k] != nullptr;
      x[k] = seen ? load_f8(stream, rows[k], d0, n) : simd::splat(0.0f);
    }
    simd::transpose(x);
    for (int d = 0; d < n; ++d) simd::store(out + (d0 + d) * kKeyTile, x[d]);
  }
}

// Keys of `word` of the tile that starts at key `begin`, as f32 [d][key]; other lanes are 0.
inline void gather_f8_keys(const Stream& stream, std::int64_t begin, std::uint64_t word, std::int64_t n_dim,
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
      gather_f8_sixteen<true>(stream, rows, n_dim, out + k0);
    } else {
      gather_f8_sixteen<false>(stream, rows, n_dim, out + k0);
    }
  }
}

// The same for keys that already lie as [d][key] in one page; n_lanes of them may be read.
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
inline void gather_f8_values(const Stream& stream, std::int64_t begin, std::uint64_t word, std::int64_t n_dim,
                             std::int64_t o_stride, float* out) noexcept {
  for (int k = lowest_bit(word); k < bits_end(word); ++k) {
    float* to = out + k * o_stride;
    if (((word >> k) & 1u) == 0) {
      std::memset(to, 0, static_cast<std::size_t>(o_stride) * sizeof(float));
      continue;
    }
    const auto* row = static_cast<const std::uint8_t*>(stream.key(begin + k));
    for (std::int64_t d = 0; d < n_dim; d += 16) {
      simd::store(to + d, load_f8(stream, row, d, lanes_from(d, n_dim)));
    }
  }
}

}  // namespace
}  // namespace rowmax::attention
