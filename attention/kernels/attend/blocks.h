// The two matrix products of the attend kernel in register blocks: scores of up to kBlockRows rows with 64 keys, and
// weights times values. Every output is one fma chain; how rows and columns are blocked is invisible in the bits.
#pragma once

#include "attention/kernels/attend/tiles.h"

// Register blocks are registers only where these loops are unrolled, whatever the optimisation level.
#if defined(__clang__)
#define ROWMAX_UNROLL _Pragma("unroll")
#else
#define ROWMAX_UNROLL _Pragma("GCC unroll 16")
#endif

namespace rowmax::attention {
namespace {

// Accumulators that fit the register file: 6 x 4 of 32 registers with 512 bits, else 6 x 1 (16 x 256: 12 of 16
// registers; 32 x 128: 24 of 32); few rows take more columns so that enough chains run at once.
inline constexpr int kBlockRows = 6;
template <int kRows>
inline constexpr int kBlockVectors = simd::kRegistersPerVector == 1 ? 4
                                     : kRows == 1                   ? 4
                                     : kRows == 2                   ? 2
                                                                    : 1;

// Lines of memory to ask for while computing: where a tile is used once or twice, its successor must be on its way.
struct Prefetch {
  const char* line = nullptr;
  std::int64_t n_lines = 0;  // left to ask for
  std::int64_t row_skip = 0;
  std::int64_t lines_of_row = 0;
  std::int64_t left_of_row = 0;

  ROWMAX_INLINE void next() noexcept {
    if (n_lines <= 0) return;
    __builtin_prefetch(line, 0, 3);
    --n_lines;
    line += 64;
    if (--left_of_row == 0) {
      left_of_row = lines_of_row;
      line += row_skip;
    }
  }
};

// n_rows rows of row_bytes each, stride_bytes apart.
inline Prefetch prefetch_rows(const void* data, std::int64_t n_rows, std::int64_t row_bytes,
                              std::int64_t stride_bytes) noexcept {
  if (row_bytes == stride_bytes) {  // dense: one long row
    row_bytes *= n_rows;
    stride_bytes = row_bytes;
    n_rows = 1;
  }
  const std::int64_t lines = (row_bytes + 63) / 64;
  return {static_cast<const char*>(data), n_rows * lines, stride_bytes - 64 * lines, lines, lines};
}

// s[r][key] = sum over d ascending of q[r][d] * k[d][key].
template <class Source, bool kTail, int kRows>
void scores_rows(const float* q, std::int64_t n_dim, const TileOperand& k, float* s, Prefetch* prefetch) noexcept {
  Prefetch ahead = *prefetch;
  constexpr int kVectors = kBlockVectors<kRows>;
  for (int c = 0; c < kKeyTile; c += 16 * kVectors) {
    const auto* column = static_cast<const typename Source::Type*>(k.data) + c;
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
    for (std::int64_t d = 0; d < n_dim; ++d, column += k.stride) {
      ahead.next();
      ahead.next();
      F32x16 x[kVectors];
      ROWMAX_UNROLL
      for (int j = 0; j < kVectors; ++j) {
        x[j] = kTail ? Source::load_n(column + 16 * j, n[j]) : Source::load(column + 16 * j);
      }
      ROWMAX_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const F32x16 y = simd::splat(q[r * n_dim + d]);
        ROWMAX_UNROLL
        for (int j = 0; j < kVectors; ++j) acc[r][j] = simd::fma(y, x[j], acc[r][j]);
      }
    }
    ROWMAX_UNROLL
    for (int r = 0; r < kRows; ++r) {
      ROWMAX_UNROLL
      for (int j = 0; j < kVectors; ++j) simd::store(s + r * kKeyTile + c + 16 * j, acc[r][j]);
    }
  }
  *prefetch = ahead;
}

template <class Source, bool kTail>
void scores_block(int n_rows, const float* q, std::int64_t n_dim, const TileOperand& k, float* s,
                  Prefetch* ahead) noexcept {
  switch (n_rows) {
    case 1: return scores_rows<Source, kTail, 1>(q, n_dim, k, s, ahead);
    case 2: return scores_rows<Source, kTail, 2>(q, n_dim, k, s, ahead);
    case 3: return scores_rows<Source, kTail, 3>(q, n_dim, k, s, ahead);
    case 4: return scores_rows<Source, kTail, 4>(q, n_dim, k, s, ahead);
    case 5: return scores_rows<Source, kTail, 5>(q, n_dim, k, s, ahead);
    default: return scores_rows<Source, kTail, 6>(q, n_dim, k, s, ahead);
  }
}

// kVectors vectors of columns from d on; the last one has `lanes` lanes where kTail.
template <class Source, int kRows, int kVectors, bool kTail>
ROWMAX_INLINE void values_columns(const float* p, const float* alpha, const TileOperand& v, int begin, int end,
                                  std::int64_t d, int lanes, float* o, std::int64_t o_stride,
                                  Prefetch* prefetch) noexcept {
  Prefetch ahead = *prefetch;
  F32x16 acc[kRows][kVectors];
  ROWMAX_UNROLL
  for (int r = 0; r < kRows; ++r) {
    const F32x16 a = simd::splat(alpha[r]);
    ROWMAX_UNROLL
    for (int j = 0; j < kVectors; ++j) acc[r][j] = simd::mul(simd::load(o + r * o_stride + d + 16 * j), a);
  }
  const auto* row = static_cast<const typename Source::Type*>(v.data) + begin * v.stride + d;
  for (int key = begin; key < end; ++key, row += v.stride) {
    ahead.next();
    ahead.next();
    F32x16 x[kVectors];
    ROWMAX_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      x[j] = kTail ? Source::load_n(row + 16 * j, lanes) : Source::load(row + 16 * j);
    }
    ROWMAX_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const F32x16 y = simd::splat(p[r * kKeyTile + key]);
      ROWMAX_UNROLL
      for (int j = 0; j < kVectors; ++j) acc[r][j] = simd::fma(y, x[j], acc[r][j]);
    }
  }
  ROWMAX_UNROLL
  for (int r = 0; r < kRows; ++r) {
    ROWMAX_UNROLL
    for (int j = 0; j < kVectors; ++j) simd::store(o + r * o_stride + d + 16 * j, acc[r][j]);
  }
  *prefetch = ahead;
}

// o[r][d] = alpha[r] * o[r][d], then + p[r][key] * v[key][d] over keys [begin, end) ascending.
template <class Source, int kRows>
void values_rows(const float* p, const float* alpha, const TileOperand& v, int begin, int end, std::int64_t n_dim,
                 float* o, std::int64_t o_stride, Prefetch* ahead) noexcept {
  constexpr int kVectors = kBlockVectors<kRows>;
  std::int64_t d = 0;
  for (; d + 16 * kVectors <= n_dim; d += 16 * kVectors) {
    values_columns<Source, kRows, kVectors, false>(p, alpha, v, begin, end, d, 16, o, o_stride, ahead);
  }
  for (; d + 16 <= n_dim; d += 16) {
    values_columns<Source, kRows, 1, false>(p, alpha, v, begin, end, d, 16, o, o_stride, ahead);
  }
  if (d < n_dim) {
    values_columns<Source, kRows, 1, true>(p, alpha, v, begin, end, d, static_cast<int>(n_dim - d), o, o_stride, ahead);
  }
}

template <class Source>
void values_block(int n_rows, const float* p, const float* alpha, const TileOperand& v, int begin, int end,
                  std::int64_t n_dim, float* o, std::int64_t o_stride, Prefetch* ahead) noexcept {
  switch (n_rows) {
    case 1: return values_rows<Source, 1>(p, alpha, v, begin, end, n_dim, o, o_stride, ahead);
    case 2: return values_rows<Source, 2>(p, alpha, v, begin, end, n_dim, o, o_stride, ahead);
    case 3: return values_rows<Source, 3>(p, alpha, v, begin, end, n_dim, o, o_stride, ahead);
    case 4: return values_rows<Source, 4>(p, alpha, v, begin, end, n_dim, o, o_stride, ahead);
    case 5: return values_rows<Source, 5>(p, alpha, v, begin, end, n_dim, o, o_stride, ahead);
    default: return values_rows<Source, 6>(p, alpha, v, begin, end, n_dim, o, o_stride, ahead);
  }
}

// The same for one row, keys of `word` alone: values of other keys are not used, whatever they are.
template <class Source>
void values_guarded(const float* p, float alpha, const TileOperand& v, std::uint64_t word, std::int64_t n_dim,
                    float* o) noexcept {
  const auto* data = static_cast<const typename Source::Type*>(v.data);
  for (std::int64_t d = 0; d < n_dim; d += 16) {
    const int lanes = n_dim - d < 16 ? static_cast<int>(n_dim - d) : 16;
    F32x16 acc = simd::mul(simd::load(o + d), simd::splat(alpha));
    for (std::uint64_t rest = word; rest != 0; rest &= rest - 1) {
      const int key = lowest_bit(rest);
      acc = simd::fma(simd::splat(p[key]), Source::load_n(data + key * v.stride + d, lanes), acc);
    }
    simd::store(o + d, acc);
  }
}

}  // namespace
}  // namespace rowmax::attention
