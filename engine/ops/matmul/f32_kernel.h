// The exact path: f32 activations against any panel, weights decoded to exactly what the format's decode() gives.
// Included after one dot_*.h by the file of one instruction set; see matmul.h for the order of operations.
#pragma once

#include "engine/ops/matmul/unpack.h"

namespace rowmax::engine::panel {
namespace {

// k [k_begin, k_begin + n) of an integer panel as [k][16] floats; both are multiples of Panel::kBlock.
template <class Panel>
ROWMAX_INLINE void decode_integers(const std::byte* panel, std::int64_t cols, std::int64_t k_begin, int n,
                                   float* out) noexcept {
  const std::byte* tile = panel + Panel::scale_bytes(cols) + k_begin / kTile * Panel::kTileBytes;
  const std::byte* record = panel + k_begin / Panel::kBlock * Panel::kRecordBytes;
  for (int first = 0; first < n; first += Panel::kBlock, record += Panel::kRecordBytes) {
    const Scales<Panel> scales(record);
    for (int s = 0; s < Panel::kScaleTiles; ++s, tile += Panel::kTileBytes, out += kTile * kRows) {
      alignas(64) std::uint8_t codes[kQuads][kVector];
      unpack_tile<Panel>(tile, codes);
      for (int q = 0; q < kQuads; ++q) {
        const int group = s * Panel::kGroups + q * 4 / Panel::kGroup;
        const simd::F32x16 scale = scales.scale(group);
        simd::F32x16 min = simd::splat(0.0f);
        if constexpr (Panel::kHasMin) min = scales.min(group);
        simd::I32x16 words = simd::load_i32(reinterpret_cast<const std::int32_t*>(codes[q]));
        for (int i = 0; i < 4; ++i) {
          simd::I32x16 code = simd::bit_and(words, simd::splat_i32(255));
          if constexpr (Panel::kBits == 8 && !kUnsignedBytes) code = simd::bit_xor(code, simd::splat_i32(128));
          const simd::F32x16 value = simd::to_f32(simd::sub(code, simd::splat_i32(Panel::kOffset)));
          simd::F32x16 weight = simd::mul(value, scale);
          if constexpr (Panel::kHasMin) weight = simd::add(weight, min);
          simd::store(out + (4 * q + i) * kRows, weight);
          words = simd::shift_right<8>(words);
        }
      }
    }
  }
}

// The same of a ternary panel.
ROWMAX_INLINE void decode_ternary(const std::byte* panel, std::int64_t k_begin, int n, float* out) noexcept {
  const simd::F32x16 scale = simd::load(reinterpret_cast<const float*>(panel));
  const std::byte* tile = panel + TernaryPanel::kHeadBytes + k_begin / kTile * TernaryPanel::kTileBytes;
  for (int first = 0; first < n; first += kTile, tile += TernaryPanel::kTileBytes, out += kTile * kRows) {
    alignas(64) std::uint8_t codes[kQuads][kVector];
    unpack_tile<TernaryPanel>(tile, codes);
    for (int q = 0; q < kQuads; ++q) {
      simd::I32x16 words = simd::load_i32(reinterpret_cast<const std::int32_t*>(codes[q]));
      for (int i = 0; i < 4; ++i) {
        const simd::I32x16 code = simd::bit_and(words, simd::splat_i32(255));
        const simd::F32x16 value = simd::to_f32(simd::sub(code, simd::splat_i32(TernaryPanel::kOffset)));
        simd::store(out + (4 * q + i) * kRows, simd::mul(value, scale));
        words = simd::shift_right<8>(words);
      }
    }
  }
}

// The weights [k][16] of a chunk: where they lie, or decoded into scratch.
template <class Panel>
ROWMAX_INLINE const float* f32_chunk(const Job& job, std::int64_t p, std::int64_t k, int n, float* scratch) noexcept {
  const std::byte* panel = job.panels + p * job.panel_bytes;
  if constexpr (Panel::kPanelKind == PanelKind::kInteger) {
    decode_integers<Panel>(panel, job.cols, k, n, scratch);
  } else if constexpr (Panel::kPanelKind == PanelKind::kTernary) {
    decode_ternary(panel, k, n, scratch);
  } else if constexpr (Panel::kKind == Float::kF32) {
    return reinterpret_cast<const float*>(panel) + k * kRows;
  } else {
    const auto* halves = reinterpret_cast<const std::uint16_t*>(panel) + k * kRows;
    for (int i = 0; i < n; ++i) {
      simd::store(scratch + i * kRows, Panel::kKind == Float::kF16 ? simd::load_f16(halves + i * kRows)
                                                                   : simd::load_bf16(halves + i * kRows));
    }
  }
  return scratch;
}

// One chunk of k for kTokens tokens: y = its sums for the first chunk, y + its sums for the others.
template <int kTokens>
void f32_block(const Job& job, const float* weights, std::int64_t k, int n, std::int64_t token,
               std::int64_t p) noexcept {
  const float* x = job.x + token * job.ldx + k;
  simd::F32x16 sum[kTokens];
  ROWMAX_UNROLL
  for (int t = 0; t < kTokens; ++t) sum[t] = simd::splat(0.0f);
  for (int i = 0; i < n; ++i) {
    const simd::F32x16 w = simd::load(weights + i * kRows);
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) sum[t] = simd::fma(w, simd::splat(x[t * job.ldx + i]), sum[t]);
  }
  const std::int64_t left = job.rows - p * kRows;
  const int n_rows = left < kRows ? static_cast<int>(left) : kRows;
  float* y = job.y + token * job.ldy + p * kRows;
  ROWMAX_UNROLL
  for (int t = 0; t < kTokens; ++t, y += job.ldy) {
    simd::F32x16 value = k == 0 ? sum[t] : simd::add(simd::load_n(y, n_rows), sum[t]);
    if (k + n == job.cols) value = simd::canonical_nan(value);
    simd::store_n(y, value, n_rows);
  }
}

template <class Panel>
void f32_job(const Job& job) noexcept {
  constexpr int kMany = kGemmTokens;
  alignas(64) float scratch[kF32Chunk * kRows];
  for (std::int64_t p = job.panel_begin; p < job.panel_end; ++p) {
    for (std::int64_t k = 0; k < job.cols; k += kF32Chunk) {
      const int n = static_cast<int>(job.cols - k < kF32Chunk ? job.cols - k : kF32Chunk);
      const float* weights = f32_chunk<Panel>(job, p, k, n, scratch);
      std::int64_t token = job.token_begin;
      for (; token + kMany <= job.token_end; token += kMany) f32_block<kMany>(job, weights, k, n, token, p);
      if constexpr (kMany > 4) {
        for (; token + 4 <= job.token_end; token += 4) f32_block<4>(job, weights, k, n, token, p);
      }
      for (; token < job.token_end; ++token) f32_block<1>(job, weights, k, n, token, p);
    }
  }
}

}  // namespace
}  // namespace rowmax::engine::panel
