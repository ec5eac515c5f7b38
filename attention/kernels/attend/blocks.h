// The two matrix products of the attend kernel in register blocks: scores of up to kBlockRows rows with 64 keys, and
// weights times values. Every output is one fma chain; how rows and columns are blocked is invisible in the bits.
#pragma once

#include "attention/kernels/attend/tiles.h"

namespace rowmax::attention {
namespace {

// Accumulators that fit the register file: 6 x 4 of 32 registers with 512 bits, else 6 x 1 (16 x 256: 12 of 16
// registers; 32 x 128: 24 of 32); few rows take more columns so that enough chains run at once. Where registers allow,
// 7 and 8 rows, the usual heads of a group, are one block: keys and values are then read and converted once.
inline constexpr int kBlockRows = 6;
inline constexpr int kWideBlockRows = simd::kRegistersPerVector == 1 ? 8 : kBlockRows;
static_assert(kDecodeRows == kWideBlockRows);
template <int kRows>
inline constexpr int kBlockVectors = simd::kRegistersPerVector == 1 ? (kRows > kBlockRows ? 2 : 4)
                                     : kRows == 1                   ? 4
                                     : kRows == 2                   ? 2
                                                                    : 1;
inline int block_vectors(int n_rows) noexcept {
  if (simd::kRegistersPerVector == 1) return n_rows > kBlockRows ? 2 : 4;
  return n_rows == 1 ? 4 : n_rows == 2 ? 2 : 1;
}

// Lines of memory to ask for while computing: where a tile is used once or twice, its successor must be on its way, and
// evenly, since the processor remembers only so many requests. Lines are asked for in fours far apart: the processor's
// own prefetcher follows each 4 KiB of memory by itself, and one stream at a time leaves it idle for most of the time.
struct Prefetch {
  const char* line = nullptr;     // the first of the next four
  std::int64_t stride = 0;        // bytes between the four
  std::int64_t n_fours = 0;       // left to ask for
  std::int64_t fours_of_run = 0;  // until run_skip
  std::int64_t left_of_run = 0;
  std::int64_t run_skip = 0;
  std::int64_t n_steps = 1;
  std::int64_t of_step = 0;  // n_steps-ths of four lines
  std::int64_t due = 0;      // likewise

  // All lines in n calls of step(), evenly.
  void spread(std::int64_t n) noexcept {
    n_steps = n;
    of_step = n_fours;
  }

  // kLocality as __builtin_prefetch has it: 3 for the first cache, 2 for the second. The second is close enough, and
  // takes more requests at once.
  template <int kLocality>
  ROWMAX_INLINE void step() noexcept {
    for (due += of_step; due >= n_steps && n_fours > 0; due -= n_steps, --n_fours) {
      const char* third = line + 2 * stride;
      __builtin_prefetch(line, 0, kLocality);
      __builtin_prefetch(line + stride, 0, kLocality);
      __builtin_prefetch(third, 0, kLocality);
      __builtin_prefetch(third + stride, 0, kLocality);
      line += 64;
      if (--left_of_run == 0) {
        left_of_run = fours_of_run;
        line += run_skip;
      }
    }
  }
};
// Dimensions or keys between two steps.
inline constexpr int kPrefetchEvery = 4;

// n_rows rows of row_bytes each, stride_bytes apart. Up to three lines or rows more than there are may be asked for.
inline Prefetch prefetch_rows(const void* data, std::int64_t n_rows, std::int64_t row_bytes,
                              std::int64_t stride_bytes) noexcept {
  if (row_bytes == stride_bytes || n_rows == 1) {  // dense: four quarters
    const std::int64_t fours = (row_bytes * n_rows + 255) / 256;
    return {static_cast<const char*>(data), 64 * fours, fours, fours, fours, 0};
  }
  const std::int64_t lines = (row_bytes + 63) / 64;
  return {static_cast<const char*>(data), stride_bytes, (n_rows + 3) / 4 * lines, lines, lines,
          4 * stride_bytes - 64 * lines};
}

template <int kByte>
using Byte = std::integral_constant<int, kByte>;

// s[r][key] = sum over d ascending of q[r][d] * k[d][key] for the keys of kVectors vectors from c on. q lies as
// [d][kRows] with a prefetch, as [r][n_dim] without.
template <class Source, bool kTail, bool kAhead, int kRows, int kVectors>
ROWMAX_INLINE void scores_columns(const float* q, std::int64_t n_dim, const TileOperand& k, int c, float* s,
                                  Prefetch* prefetch) noexcept {
  static_assert(!kIsQ8_0<Source> || (kAhead && !kTail), "fours of dimensions, gathered");
  using Type = std::conditional_t<kIsQ8_0<Source>, std::int32_t, typename Source::Type>;
  const auto* column = static_cast<const Type*>(k.data) + c;
  const float* scales = kIsQ8_0<Source> ? k.scales + c : nullptr;
  F32x16 acc[kRows][kVectors];
  ROWMAX_UNROLL
  for (int r = 0; r < kRows; ++r) {
    ROWMAX_UNROLL
    for (int j = 0; j < kVectors; ++j) acc[r][j] = simd::splat(0.0f);
  }
  int n[kVectors];
  ROWMAX_UNROLL
  for (int j = 0; j < kVectors; ++j) {
    const int lanes = k.n_lanes - c - 16 * j;
    n[j] = lanes < 0 ? 0 : lanes > 16 ? 16 : lanes;
  }
  const auto add_dimension = [&](std::int64_t d, auto byte) ROWMAX_INLINE_LAMBDA {
    F32x16 x[kVectors];
    ROWMAX_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      if constexpr (kIsQ8_0<Source>) {
        x[j] = decode_q8_0_byte<byte.value>(simd::load_i32(column + 16 * j), simd::load(scales + 16 * j));
      } else {
        x[j] = kTail ? Source::load_n(column + 16 * j, n[j]) : Source::load(column + 16 * j);
      }
    }
    if (!kIsQ8_0<Source> || byte.value == 3) column += k.stride;
    ROWMAX_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const F32x16 y = simd::splat(kAhead ? q[d * kRows + r] : q[r * n_dim + d]);
      ROWMAX_UNROLL
      for (int j = 0; j < kVectors; ++j) acc[r][j] = simd::fma(y, x[j], acc[r][j]);
    }
  };
  if constexpr (kAhead) {
    Prefetch ahead = *prefetch;
    std::int64_t d = 0;
    static_assert(kPrefetchEvery == 4);
    for (; d + kPrefetchEvery <= n_dim; d += kPrefetchEvery) {
      ahead.step<2>();
      add_dimension(d, Byte<0>{});
      add_dimension(d + 1, Byte<1>{});
      add_dimension(d + 2, Byte<2>{});
      add_dimension(d + 3, Byte<3>{});
      if (kIsQ8_0<Source> && d % 32 == 28) scales += kKeyTile;
    }
    ahead.step<2>();
    if constexpr (!kIsQ8_0<Source>) {
      for (; d < n_dim; ++d) add_dimension(d, Byte<0>{});
    }
    *prefetch = ahead;
  } else {
    for (std::int64_t d = 0; d < n_dim; ++d) add_dimension(d, Byte<0>{});
  }
  ROWMAX_UNROLL
  for (int r = 0; r < kRows; ++r) {
    ROWMAX_UNROLL
    for (int j = 0; j < kVectors; ++j) simd::store(s + r * kKeyTile + c + 16 * j, acc[r][j]);
  }
}

// The same for keys [begin, end), multiples of 16.
template <class Source, bool kTail, bool kAhead, int kRows>
void scores_rows(const float* q, std::int64_t n_dim, const TileOperand& k, int begin, int end, float* s,
                 Prefetch* prefetch) noexcept {
  constexpr int kVectors = kBlockVectors<kRows>;
  int c = begin;
  for (; c + 16 * kVectors <= end; c += 16 * kVectors) {
    scores_columns<Source, kTail, kAhead, kRows, kVectors>(q, n_dim, k, c, s, prefetch);
  }
  if constexpr (!kAhead) {  // with a prefetch: whole tiles alone
    if constexpr (kVectors > 2) {
      for (; c + 32 <= end; c += 32) scores_columns<Source, kTail, false, kRows, 2>(q, n_dim, k, c, s, prefetch);
    }
    if constexpr (kVectors > 1) {
      for (; c < end; c += 16) scores_columns<Source, kTail, false, kRows, 1>(q, n_dim, k, c, s, prefetch);
    }
  }
}

// Steps of a prefetch while one block computes all scores of a tile.
inline std::int64_t score_steps(int n_rows, std::int64_t n_dim) noexcept {
  return kKeyTile / 16 / block_vectors(n_rows) * ((n_dim + kPrefetchEvery - 1) / kPrefetchEvery);
}

template <class Source, bool kTail>
void scores_block(int n_rows, const float* q, std::int64_t n_dim, const TileOperand& k, float* s,
                  Prefetch* ahead) noexcept {
  switch (n_rows) {
    case 1: return scores_rows<Source, kTail, true, 1>(q, n_dim, k, 0, kKeyTile, s, ahead);
    case 2: return scores_rows<Source, kTail, true, 2>(q, n_dim, k, 0, kKeyTile, s, ahead);
    case 3: return scores_rows<Source, kTail, true, 3>(q, n_dim, k, 0, kKeyTile, s, ahead);
    case 4: return scores_rows<Source, kTail, true, 4>(q, n_dim, k, 0, kKeyTile, s, ahead);
    case 5: return scores_rows<Source, kTail, true, 5>(q, n_dim, k, 0, kKeyTile, s, ahead);
    case 6: return scores_rows<Source, kTail, true, 6>(q, n_dim, k, 0, kKeyTile, s, ahead);
    default: break;
  }
  if constexpr (kWideBlockRows > kBlockRows) {
    if (n_rows == 7) return scores_rows<Source, kTail, true, 7>(q, n_dim, k, 0, kKeyTile, s, ahead);
    scores_rows<Source, kTail, true, 8>(q, n_dim, k, 0, kKeyTile, s, ahead);
  }
}

// kVectors vectors of columns from d on; the last one has `lanes` lanes where kTail.
template <class Source, bool kAhead, int kRows, int kVectors, bool kTail>
ROWMAX_INLINE void values_columns(const float* p, const float* alpha, const TileOperand& v, int begin, int end,
                                  std::int64_t d, int lanes, float* o, std::int64_t o_stride,
                                  Prefetch* prefetch) noexcept {
  F32x16 acc[kRows][kVectors];
  ROWMAX_UNROLL
  for (int r = 0; r < kRows; ++r) {
    const F32x16 a = simd::splat(alpha[r]);
    ROWMAX_UNROLL
    for (int j = 0; j < kVectors; ++j) acc[r][j] = simd::mul(simd::load(o + r * o_stride + d + 16 * j), a);
  }
  const auto* row =
      static_cast<const typename Source::Type*>(v.data) + begin * v.stride + (kIsQ8_0<Source> ? q8_0_at(d) : d);
  const float* const scales = kIsQ8_0<Source> ? v.scales + d / 32 * kKeyTile : nullptr;
  const auto add_key = [&](int key) ROWMAX_INLINE_LAMBDA {
    F32x16 x[kVectors];
    ROWMAX_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      if constexpr (kIsQ8_0<Source>) {  // several vectors begin with a block
        x[j] = decode_q8_0(row + j / 2 * 34 + j % 2 * 16, scales[j / 2 * kKeyTile + key]);
      } else {
        x[j] = kTail ? Source::load_n(row + 16 * j, lanes) : Source::load(row + 16 * j);
      }
    }
    row += v.stride;
    ROWMAX_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const F32x16 y = simd::splat(p[r * kKeyTile + key]);
      ROWMAX_UNROLL
      for (int j = 0; j < kVectors; ++j) acc[r][j] = simd::fma(y, x[j], acc[r][j]);
    }
  };
  if constexpr (kAhead) {
    Prefetch ahead = *prefetch;
    int key = begin;
    for (; key + kPrefetchEvery <= end; key += kPrefetchEvery) {
      ahead.step<2>();
      ROWMAX_UNROLL
      for (int i = 0; i < kPrefetchEvery; ++i) add_key(key + i);
    }
    ahead.step<2>();
    for (; key < end; ++key) add_key(key);
    *prefetch = ahead;
  } else {
    for (int key = begin; key < end; ++key) add_key(key);
  }
  ROWMAX_UNROLL
  for (int r = 0; r < kRows; ++r) {
    ROWMAX_UNROLL
    for (int j = 0; j < kVectors; ++j) simd::store(o + r * o_stride + d + 16 * j, acc[r][j]);
  }
}

// o[r][d] = alpha[r] * o[r][d], then + p[r][key] * v[key][d] over keys [begin, end) ascending.
template <class Source, bool kAhead, int kRows>
void values_rows(const float* p, const float* alpha, const TileOperand& v, int begin, int end, std::int64_t n_dim,
                 float* o, std::int64_t o_stride, Prefetch* ahead) noexcept {
  constexpr int kVectors = kBlockVectors<kRows>;
  std::int64_t d = 0;
  for (; d + 16 * kVectors <= n_dim; d += 16 * kVectors) {
    values_columns<Source, kAhead, kRows, kVectors, false>(p, alpha, v, begin, end, d, 16, o, o_stride, ahead);
  }
  for (; d + 16 <= n_dim; d += 16) {
    values_columns<Source, kAhead, kRows, 1, false>(p, alpha, v, begin, end, d, 16, o, o_stride, ahead);
  }
  if (d < n_dim) {
    values_columns<Source, kAhead, kRows, 1, true>(p, alpha, v, begin, end, d, static_cast<int>(n_dim - d), o, o_stride,
                                                   ahead);
  }
}

// Steps of a prefetch while one block adds all values of a tile.
inline std::int64_t value_steps(int n_rows, int n_keys, std::int64_t n_dim) noexcept {
  const std::int64_t width = 16 * block_vectors(n_rows);
  const std::int64_t columns = n_dim / width + (n_dim % width + 15) / 16;
  return columns * ((n_keys + kPrefetchEvery - 1) / kPrefetchEvery);
}

// ahead: nullptr for kBlockRows rows alone, without prefetch.
template <class Source>
void values_block(int n_rows, const float* p, const float* alpha, const TileOperand& v, int begin, int end,
                  std::int64_t n_dim, float* o, std::int64_t o_stride, Prefetch* ahead) noexcept {
  if (ahead == nullptr) {
    return values_rows<Source, false, kBlockRows>(p, alpha, v, begin, end, n_dim, o, o_stride, nullptr);
  }
  switch (n_rows) {
    case 1: return values_rows<Source, true, 1>(p, alpha, v, begin, end, n_dim, o, o_stride, ahead);
    case 2: return values_rows<Source, true, 2>(p, alpha, v, begin, end, n_dim, o, o_stride, ahead);
    case 3: return values_rows<Source, true, 3>(p, alpha, v, begin, end, n_dim, o, o_stride, ahead);
    case 4: return values_rows<Source, true, 4>(p, alpha, v, begin, end, n_dim, o, o_stride, ahead);
    case 5: return values_rows<Source, true, 5>(p, alpha, v, begin, end, n_dim, o, o_stride, ahead);
    case 6: return values_rows<Source, true, 6>(p, alpha, v, begin, end, n_dim, o, o_stride, ahead);
    default: break;
  }
  if constexpr (kWideBlockRows > kBlockRows) {
    if (n_rows == 7) return values_rows<Source, true, 7>(p, alpha, v, begin, end, n_dim, o, o_stride, ahead);
    values_rows<Source, true, 8>(p, alpha, v, begin, end, n_dim, o, o_stride, ahead);
  }
}

// The same for one row, keys of `word` alone: values of other keys are not used, whatever they are.
template <class Source>
void values_guarded(const float* p, float alpha, const TileOperand& v, std::uint64_t word, std::int64_t n_dim,
                    float* o) noexcept {
  for (std::int64_t d = 0; d < n_dim; d += 16) {
    const int lanes = lanes_from(d, n_dim);
    F32x16 acc = simd::mul(simd::load(o + d), simd::splat(alpha));
    for (std::uint64_t rest = word; rest != 0; rest &= rest - 1) {
      const int key = lowest_bit(rest);
      acc = simd::fma(simd::splat(p[key]), load_value<Source>(v, key, d, lanes), acc);
    }
    simd::store(o + d, acc);
  }
}

}  // namespace
}  // namespace rowmax::attention
