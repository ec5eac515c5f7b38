// The exact path: f32 activations against any panel, weights decoded to exactly what the format's decode() gives.
// Included after one dot_*.h by the file of one instruction set; see matmul.h for the order of operations.
#pragma once

#include "engine/ops/matmul/unpack.h"

namespace rowmax::engine::panel {
namespace {

// k [k_begin, k_begin + n) of an integer panel as [k][16] floats; both are multiples of Panel::kBlock.
template <class Panel>
ROWMAX_INLINE void decode_integers(const Job& job, const std::byte* panel, std::int64_t k_begin, int n,
                                   float* out) noexcept {
  const ByteTable table = book_bytes<Panel>(job);
  const std::byte* tile = panel + Panel::scale_bytes(job.cols) + k_begin / kTile * Panel::kTileBytes;
  const std::byte* record = panel + k_begin / Panel::kBlock * Panel::kRecordBytes;
  for (int first = 0; first < n; first += Panel::kBlock, record += Panel::kRecordBytes) {
    const Scales<Panel> scales(record, book_unit<Panel>(job));
    for (int s = 0; s < Panel::kScaleTiles; ++s, tile += Panel::kTileBytes, out += kTile * kRows) {
      alignas(64) std::uint8_t codes[kQuads][kVector];
      unpack_tile<Panel>(tile, StoreQuads{codes}, table);
      for (int q = 0; q < kQuads; ++q) {
        const int group = s * Panel::kGroups + q * 4 / Panel::kGroup;
        const simd::F32x16 scale = scales.scale(group);
        simd::F32x16 min = simd::splat(0.0f);
        if constexpr (Panel::kHasMin) min = scales.min(group);
        simd::I32x16 words = simd::load_i32(reinterpret_cast<const std::int32_t*>(codes[q]));
        for (int i = 0; i < 4; ++i) {
          simd::I32x16 code = simd::bit_and(words, simd::splat_i32(255));
          if constexpr (Panel::kDotBits == 8 && !kUnsignedBytes) code = simd::bit_xor(code, simd::splat_i32(128));
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
    unpack_tile<TernaryPanel>(tile, StoreQuads{codes});
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

// Halves are converted once for this many tokens or more, and where they are used otherwise.
inline constexpr std::int64_t kConvertInPlace = 32;

// Sixteen weights of one k of a float panel.
template <class Panel>
ROWMAX_INLINE simd::F32x16 load_float(const std::byte* p) noexcept {
  if constexpr (Panel::kKind == Float::kF32) {
    return simd::load(reinterpret_cast<const float*>(p));
  } else if constexpr (Panel::kKind == Float::kF16) {
    return simd::load_f16(reinterpret_cast<const std::uint16_t*>(p));
  } else {
    return simd::load_bf16(reinterpret_cast<const std::uint16_t*>(p));
  }
}

// Weights of a chunk as floats: [k][16] of panel j at floats + j * stride.
struct FloatWeights {
  const float* floats;
  std::int64_t stride;

  ROWMAX_INLINE simd::F32x16 load(int j, int i) const noexcept { return simd::load(floats + j * stride + i * kRows); }
};
// Halves, converted where they are used.
template <class Panel>
struct HalfWeights {
  const std::byte* halves;
  std::int64_t panel_bytes;

  ROWMAX_INLINE simd::F32x16 load(int j, int i) const noexcept {
    const std::byte* at = halves + j * panel_bytes + i * kRows * Panel::kElementBytes;
    prefetch(at + kPrefetchBytes);
    return load_float<Panel>(at);
  }
};

// The weights of a chunk of panel p, decoded into scratch.
template <class Panel>
ROWMAX_INLINE void decode_chunk(const Job& job, std::int64_t p, std::int64_t k, int n, float* scratch) noexcept {
  const std::byte* panel = job.panels + p * job.panel_bytes;
  if constexpr (Panel::kPanelKind == PanelKind::kInteger) {
    decode_integers<Panel>(job, panel, k, n, scratch);
  } else if constexpr (Panel::kPanelKind == PanelKind::kTernary) {
    decode_ternary(panel, k, n, scratch);
  } else {
    const HalfWeights<Panel> weights{panel + k * kRows * Panel::kElementBytes, job.panel_bytes};
    for (int i = 0; i < n; ++i) simd::store(scratch + i * kRows, weights.load(0, i));
  }
}

// One chunk of k for kTokens tokens and panels [p, p + kPanels): y = its sums for the first chunk, y + its sums for the
// others.
template <int kTokens, int kPanels, class Weights>
void f32_block(const Job& job, const Weights& weights, std::int64_t k, int n, std::int64_t token,
               std::int64_t p) noexcept {
  const float* x = job.x + token * job.ldx + k;
  simd::F32x16 sum[kPanels][kTokens];
  ROWMAX_UNROLL
  for (int j = 0; j < kPanels; ++j) {
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) sum[j][t] = simd::splat(0.0f);
  }
  for (int i = 0; i < n; ++i) {
    simd::F32x16 w[kPanels];
    ROWMAX_UNROLL
    for (int j = 0; j < kPanels; ++j) w[j] = weights.load(j, i);
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      const simd::F32x16 value = simd::splat(x[t * job.ldx + i]);
      ROWMAX_UNROLL
      for (int j = 0; j < kPanels; ++j) sum[j][t] = simd::fma(w[j], value, sum[j][t]);
    }
  }
  ROWMAX_UNROLL
  for (int j = 0; j < kPanels; ++j) {
    const int n_rows = rows_of_panel(job, p + j);
    float* y = job.y + token * job.ldy + (p + j) * kRows;
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t, y += job.ldy) {
      simd::F32x16 value = k == 0 ? sum[j][t] : simd::add(load_rows(y, n_rows), sum[j][t]);
      if (k + n == job.cols) value = simd::canonical_nan(value);
      store_rows(y, value, n_rows);
    }
  }
}

// How many of the tokens that are left go together: where it can be helped, no block has so few chains that they wait for
// each other.
constexpr int f32_block_tokens(std::int64_t left) noexcept {
  if (left >= kF32Tokens && left != kF32Tokens + 1 && left != kF32Tokens + 2) return kF32Tokens;
  return left >= 4 && left != 5 ? 4 : left >= 3 ? 3 : static_cast<int>(left);
}

// All tokens of a job.
template <int kPanels, class Weights>
void f32_tokens(const Job& job, const Weights& weights, std::int64_t k, int n, std::int64_t p) noexcept {
  for (std::int64_t token = job.token_begin; token < job.token_end;) {
    const int tokens = f32_block_tokens(job.token_end - token);
    switch (tokens) {
      case 1: f32_block<1, kPanels>(job, weights, k, n, token, p); break;
      case 2: f32_block<2, kPanels>(job, weights, k, n, token, p); break;
      case 3: f32_block<3, kPanels>(job, weights, k, n, token, p); break;
      case 4: f32_block<4, kPanels>(job, weights, k, n, token, p); break;
      default: f32_block<kF32Tokens, kPanels>(job, weights, k, n, token, p);
    }
    token += tokens;
  }
}

// A chunk of panels [p, p + kPanels).
template <class Panel, int kPanels>
ROWMAX_INLINE void f32_panels(const Job& job, std::int64_t k, int n, std::int64_t p, float* scratch) noexcept {
  const std::byte* panel = job.panels + p * job.panel_bytes;
  if constexpr (Panel::kPanelKind == PanelKind::kFloat) {
    if constexpr (Panel::kKind == Float::kF32) {
      const std::int64_t stride = job.panel_bytes / static_cast<std::int64_t>(sizeof(float));
      const FloatWeights weights{reinterpret_cast<const float*>(panel) + k * kRows, stride};
      return f32_tokens<kPanels>(job, weights, k, n, p);
    } else if (job.token_end - job.token_begin <= kConvertInPlace) {
      const HalfWeights<Panel> weights{panel + k * kRows * Panel::kElementBytes, job.panel_bytes};
      return f32_tokens<kPanels>(job, weights, k, n, p);
    }
  }
  for (int j = 0; j < kPanels; ++j) decode_chunk<Panel>(job, p + j, k, n, scratch + j * kF32Chunk * kRows);
  f32_tokens<kPanels>(job, FloatWeights{scratch, kF32Chunk * kRows}, k, n, p);
}

// Few tokens on float panels [p, p + kPanels). The time is memory's then, if enough chains run at once and enough lines
// are on their way: so panels are taken side by side, and what lies ahead of each is asked for.
template <class Panel, int kTokens, int kPanels>
void f32_few_tokens(const Job& job, std::int64_t p) noexcept {
  constexpr std::int64_t kStep = kRows * Panel::kElementBytes;  // of one k
  constexpr int kAtOnce = 4;                                    // k between two requests
  const float* x = job.x + job.token_begin * job.ldx;
  const std::byte* weights = job.panels + p * job.panel_bytes;
  simd::F32x16 total[kPanels][kTokens], sum[kPanels][kTokens];
  const auto add_column = [&](std::int64_t k) ROWMAX_INLINE_LAMBDA {
    ROWMAX_UNROLL
    for (int j = 0; j < kPanels; ++j) {
      const simd::F32x16 w = load_float<Panel>(weights + j * job.panel_bytes + k * kStep);
      ROWMAX_UNROLL
      for (int t = 0; t < kTokens; ++t) sum[j][t] = simd::fma(w, simd::splat(x[t * job.ldx + k]), sum[j][t]);
    }
  };
  ROWMAX_UNROLL
  for (int j = 0; j < kPanels; ++j) {
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) total[j][t] = simd::splat(-0.0f);  // -0 + s is s, whatever s is
  }
  for (std::int64_t begin = 0; begin < job.cols; begin += kF32Chunk) {
    const std::int64_t end = begin + kF32Chunk < job.cols ? begin + kF32Chunk : job.cols;
    ROWMAX_UNROLL
    for (int j = 0; j < kPanels; ++j) {
      ROWMAX_UNROLL
      for (int t = 0; t < kTokens; ++t) sum[j][t] = simd::splat(0.0f);
    }
    std::int64_t k = begin;
    for (; k + kAtOnce <= end; k += kAtOnce) {
      ROWMAX_UNROLL
      for (int j = 0; j < kPanels; ++j) {
        const std::byte* ahead = weights + j * job.panel_bytes + k * kStep + kPrefetchBytes;
        ROWMAX_UNROLL
        for (std::int64_t i = 0; i < kAtOnce * kStep; i += 64) __builtin_prefetch(ahead + i);
      }
      ROWMAX_UNROLL
      for (int i = 0; i < kAtOnce; ++i) add_column(k + i);
    }
    for (; k < end; ++k) add_column(k);
    ROWMAX_UNROLL
    for (int j = 0; j < kPanels; ++j) {
      ROWMAX_UNROLL
      for (int t = 0; t < kTokens; ++t) total[j][t] = simd::add(total[j][t], sum[j][t]);
    }
  }
  ROWMAX_UNROLL
  for (int j = 0; j < kPanels; ++j) {
    const int n_rows = rows_of_panel(job, p + j);
    float* y = job.y + job.token_begin * job.ldy + (p + j) * kRows;
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) store_rows(y + t * job.ldy, simd::canonical_nan(total[j][t]), n_rows);
  }
}

// Float panels of a job of many tokens, whose chunk of activations they share.
inline constexpr int kManyFloatPanels = 4;
// Float panels that few tokens take at once, and as many as registers allow of them with kTokens.
inline constexpr int kFewTokensPanels = 4;
template <int kTokens>
inline constexpr int kPanelsOf = simd::kRegistersPerVector == 1 || kTokens == 1 ? kFewTokensPanels
                                 : kTokens == 2                                 ? 2
                                                                                : 1;

template <class Panel, int kTokens>
void f32_few_tokens_job(const Job& job) noexcept {
  std::int64_t p = job.panel_begin;
  for (; p + kPanelsOf<kTokens> <= job.panel_end; p += kPanelsOf<kTokens>) {
    f32_few_tokens<Panel, kTokens, kPanelsOf<kTokens>>(job, p);
  }
  for (; p < job.panel_end; ++p) f32_few_tokens<Panel, kTokens, 1>(job, p);
}

template <class Panel>
void f32_job(const Job& job) noexcept {
  if constexpr (Panel::kPanelKind == PanelKind::kFloat) {
    switch (job.token_end - job.token_begin) {
      case 1: return f32_few_tokens_job<Panel, 1>(job);
      case 2: return f32_few_tokens_job<Panel, 2>(job);
      case 3: return f32_few_tokens_job<Panel, 3>(job);
      case 4: return f32_few_tokens_job<Panel, 4>(job);
      default: break;
    }
  }
  alignas(64) float scratch[kF32Panels * kF32Chunk * kRows];
  // A chunk's activations stay in the second cache for all panels of the job.
  for (std::int64_t k = 0; k < job.cols; k += kF32Chunk) {
    const int n = static_cast<int>(job.cols - k < kF32Chunk ? job.cols - k : kF32Chunk);
    std::int64_t p = job.panel_begin;
    for (; p + kF32Panels <= job.panel_end; p += kF32Panels) f32_panels<Panel, kF32Panels>(job, k, n, p, scratch);
    if constexpr (kF32Panels > 1) {
      for (; p < job.panel_end; ++p) f32_panels<Panel, 1>(job, k, n, p, scratch);
    }
  }
}

}  // namespace
}  // namespace rowmax::engine::panel
