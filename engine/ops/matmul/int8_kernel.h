// The integer path: rounded activations against integer panels. Included after one dot_*.h by the file of one
// instruction set; see matmul.h for the order of operations and panel.h for the layouts.
//
// dot_*.h provides Codes (a quad: 16 rows x 4 k bytes) with load_codes, store_codes, shifted, merge, flip_sign;
// Dot<bits> with start(I32x16), add(weights, 4 activations, index), value(), and dot_bits(bits), the bits whose Dot
// stands for that of fewer; kUnsignedBytes; kSplitChains; kInt8FewPanels, the panels that one token takes side by side;
// kFewTokens, how many of up to 4 tokens share codes on their way from packed bytes; kGemmTokens; and small loads. Each
// activation is two bytes, coarse * 128 + fine: the dot product of the coarse bytes, times 128, is where the one of the fine bytes
// starts. Integer sums are exact everywhere, so only the float chain per output needs an order, and that is lane-wise.
#pragma once

#include "engine/ops/matmul/unpack.h"

namespace rowmax::engine::panel {
namespace {

// Codes start from -offset * (sum of activations), so that the offset costs nothing.
template <class Panel>
struct Start {
  static constexpr int kOffset = Panel::kDotBits == 8 && !kUnsignedBytes ? 0 : Panel::kOffset;
  // Rows of kCorrectionTable for the first and the last group of a tile: found by the compiler.
  static constexpr int kIndex[2] = {
      kOffset == 0 ? 0 : correction_index(kOffset, Panel::kGroup, 0),
      kOffset == 0 ? 0 : correction_index(kOffset, Panel::kGroup, (Panel::kGroups - 1) * Panel::kGroup)};
  static_assert(kIndex[0] >= 0 && kIndex[1] >= 0, "add a row to kCorrectionTable");

  static ROWMAX_INLINE std::int32_t value(const Int8Activations& act, int group, std::int64_t at) noexcept {
    if constexpr (kOffset == 0) {
      return 0;
    } else {
      return act.corrections[kIndex[group]][at];
    }
  }
};

// Minima of groups of 16 take their sums of activations from the corrections of offset 1.
template <class Panel>
struct HalfSums {
  static constexpr bool kUsed = Panel::kHasMin && Panel::kGroups > 1;
  static constexpr int kIndex[2] = {correction_index(1, 16, 0), correction_index(1, 16, 16)};
  static_assert(!kUsed || Start<Panel>::kOffset == 0, "Activations holds one kind of correction");
};
// d * float(sum of a group's activations), for minima.
template <class Panel>
ROWMAX_INLINE float group_sum(const Int8Activations& act, int group, std::int64_t at) noexcept {
  if constexpr (HalfSums<Panel>::kUsed) {
    return act.scales[at] * static_cast<float>(-act.corrections[HalfSums<Panel>::kIndex[group]][at]);
  } else {
    return act.sums[at];
  }
}

// Sums that a token's part of a tile is added up in: one for each group, or two for one group where a chain of dot
// products would leave the multipliers waiting.
template <class Panel, int kTokens>
inline constexpr int kSums = Panel::kGroups == 1 && kTokens == 1 && kSplitChains ? 2 : Panel::kGroups;

// Quads j and j + 4 of a tile for tokens side by side at a.
template <class Panel, int j, int kTokens, int kSumsOfToken>
ROWMAX_INLINE void add_pair(const std::byte* tile, const ByteTable& table, const std::int8_t* a,
                            Dot<Panel::kDotBits> (&coarse)[kTokens][kSumsOfToken],
                            Dot<Panel::kDotBits> (&fine)[kTokens][kSumsOfToken]) noexcept {
  constexpr bool kOneGroup = kSumsOfToken == 1;
  Codes low, high;
  unpack_pair<Panel, j>(tile, table, low, high);
  const auto low_weights = Dot<Panel::kDotBits>::prepare(low), high_weights = Dot<Panel::kDotBits>::prepare(high);
  ROWMAX_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    const std::int8_t* codes = a + kCodeBytes * t + 4 * j;
    constexpr int kSecond = kOneGroup ? 0 : 1;
    coarse[t][0].add(low_weights, codes, kOneGroup ? 2 * j : j);
    fine[t][0].add(low_weights, codes + kTile, kOneGroup ? 2 * j : j);
    coarse[t][kSecond].add(high_weights, codes + 16, kOneGroup ? 2 * j + 1 : j);
    fine[t][kSecond].add(high_weights, codes + kTile + 16, kOneGroup ? 2 * j + 1 : j);
  }
}

// One tile of one panel added to the chains of kTokens tokens; `at` is token 0's index.
template <class Panel, int kTokens>
ROWMAX_INLINE void int8_few_tile(const std::byte* tile, const ByteTable& table, const Scales<Panel>& scales,
                                 int first_group, const Int8Activations& act, std::int64_t at,
                                 simd::F32x16 (&acc)[kTokens]) noexcept {
  using DotBits = Dot<Panel::kDotBits>;
  constexpr int kGroups = Panel::kGroups, kSumsOfToken = kSums<Panel, kTokens>;
  const std::int8_t* a = act.codes + at * kCodeBytes;
  DotBits coarse[kTokens][kSumsOfToken], fine[kTokens][kSumsOfToken];
  ROWMAX_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    ROWMAX_UNROLL
    for (int i = 0; i < kSumsOfToken; ++i) {
      coarse[t][i].start(simd::splat_i32(0));
      fine[t][i].start(simd::splat_i32(i < kGroups ? Start<Panel>::value(act, i, at + t) : 0));
    }
  }
  add_pair<Panel, 0>(tile, table, a, coarse, fine);
  add_pair<Panel, 1>(tile, table, a, coarse, fine);
  add_pair<Panel, 2>(tile, table, a, coarse, fine);
  add_pair<Panel, 3>(tile, table, a, coarse, fine);
  ROWMAX_UNROLL
  for (int g = 0; g < kGroups; ++g) {
    const simd::F32x16 scale = scales.scale(first_group + g);
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      const simd::F32x16 product = simd::mul(scale, simd::splat(act.scales[at + t]));
      simd::I32x16 high = coarse[t][g].value(kQuads / kSumsOfToken), low = fine[t][g].value(kQuads / kSumsOfToken);
      if constexpr (kSumsOfToken > kGroups) {
        high = simd::add(high, coarse[t][1].value(kQuads / kSumsOfToken));
        low = simd::add(low, fine[t][1].value(kQuads / kSumsOfToken));
      }
      const simd::I32x16 sum = simd::add(simd::shift_left<kTermShift>(high), low);
      acc[t] = simd::fma(simd::to_f32(sum), product, acc[t]);
    }
    if constexpr (Panel::kHasMin) {
      const simd::F32x16 min = scales.min(first_group + g);
      ROWMAX_UNROLL
      for (int t = 0; t < kTokens; ++t) {
        acc[t] = simd::fma(min, simd::splat(group_sum<Panel>(act, g, at + t)), acc[t]);
      }
    }
  }
}

// kTokens of up to 4 tokens, from `token` on, kPanels panels from p on: codes go from the packed bytes through registers, once. What is asked for
// ahead goes from the end of a panel's codes to those of the panel that follows in the same place, past its scales.
template <class Panel, int kTokens, int kPanels>
ROWMAX_INLINE void int8_few_panels(const Job& job, std::int64_t p, std::int64_t token) noexcept {
  constexpr int kAheadTiles = kPrefetchBytes / Panel::kTileBytes;
  const Int8Activations& act = *job.int8;
  const ByteTable table = book_bytes<Panel>(job);
  const std::int64_t panel_bytes = job.panel_bytes;
  const std::byte* record = job.panels + p * panel_bytes;
  const std::byte* tile = record + Panel::scale_bytes(job.cols);
  const std::byte* ahead = tile + kAheadTiles * Panel::kTileBytes;
  std::int64_t left_ahead = act.n_tiles - kAheadTiles, at = token;
  simd::F32x16 acc[kPanels][kTokens];
  ROWMAX_UNROLL
  for (int i = 0; i < kPanels; ++i) {
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) acc[i][t] = simd::splat(0.0f);
  }
  for (std::int64_t b = 0; b < act.n_tiles; b += Panel::kScaleTiles, record += Panel::kRecordBytes) {
    for (int line = 0; line < Panel::kRecordBytes; line += kVector) {
      for (int i = 0; i < kPanels; ++i) prefetch(record + (kPanels + i) * panel_bytes + line);
    }
    Scales<Panel> scales[kPanels];
    ROWMAX_UNROLL
    for (int i = 0; i < kPanels; ++i) scales[i] = Scales<Panel>(record + i * panel_bytes, book_unit<Panel>(job));
    for (int s = 0; s < Panel::kScaleTiles; ++s, tile += Panel::kTileBytes, at += act.n_tok) {
      if (left_ahead-- == 0) ahead += kPanels * panel_bytes - act.n_tiles * Panel::kTileBytes;
      ROWMAX_UNROLL
      for (int i = 0; i < kPanels; ++i) {
        for (int line = 0; line < Panel::kTileBytes; line += kVector) prefetch(ahead + i * panel_bytes + line);
        int8_few_tile<Panel, kTokens>(tile + i * panel_bytes, table, scales[i], s * Panel::kGroups, act, at, acc[i]);
      }
      ahead += Panel::kTileBytes;
    }
  }
  ROWMAX_UNROLL
  for (int i = 0; i < kPanels; ++i) {
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      store_rows(job.y + (token + t) * job.ldy + (p + i) * kRows, simd::canonical_nan(acc[i][t]),
                 rows_of_panel(job, p + i));
    }
  }
}

// What is left of a layout once its codes are unpacked: layouts that agree here share the code for many tokens, and the
// compiler's time for it. Dots of kDotBits stand for those of fewer bits (dot_bits).
template <int kDotBits_, int kGroups_, bool kHasStart_, bool kHasMin_>
struct UnpackedPanel {
  static constexpr int kDotBits = kDotBits_, kGroups = kGroups_;
  static constexpr bool kHasStart = kHasStart_, kHasMin = kHasMin_;
  static constexpr bool kHalfSums = kHasMin && kGroups > 1;
  static constexpr int kQuadsOfGroup = kQuads / kGroups;
};
template <class Panel>
using UnpackedOf = UnpackedPanel<dot_bits(Panel::kDotBits), Panel::kGroups, Start<Panel>::kOffset != 0, Panel::kHasMin>;

// Rows of Int8Activations::corrections for the first and the last group of a tile.
struct CorrectionRows {
  int row[2];
};
template <class Panel>
inline constexpr CorrectionRows kCorrectionRows =
    HalfSums<Panel>::kUsed ? CorrectionRows{{HalfSums<Panel>::kIndex[0], HalfSums<Panel>::kIndex[1]}}
                           : CorrectionRows{{Start<Panel>::kIndex[0], Start<Panel>::kIndex[1]}};

// The start of one token group's rows of Int8Activations at a tile.
template <class Panel>
struct Activations {
  static constexpr bool kCorrected = Panel::kHasStart || Panel::kHalfSums;
  const std::int8_t* codes;
  const float* scales;
  const float* sums;
  const std::int32_t* corrections[Panel::kGroups];

  ROWMAX_INLINE Activations(const Int8Activations& act, CorrectionRows rows, std::int64_t at) noexcept
      : codes(act.codes + at * kCodeBytes), scales(act.scales + at), sums(act.sums + at) {
    if constexpr (kCorrected) {
      for (int g = 0; g < Panel::kGroups; ++g) corrections[g] = act.corrections[rows.row[g]] + at;
    }
  }
  ROWMAX_INLINE std::int32_t start(int group, int token) const noexcept {
    if constexpr (Panel::kHasStart) {
      return corrections[group][token];
    } else {
      return 0;
    }
  }
  ROWMAX_INLINE float group_sum(int group, int token) const noexcept {
    if constexpr (Panel::kHalfSums) {
      return scales[token] * static_cast<float>(-corrections[group][token]);
    } else {
      return sums[token];
    }
  }
  ROWMAX_INLINE void next(int width) noexcept {
    codes += width * kCodeBytes;
    scales += width;
    sums += width;
    if constexpr (kCorrected) {
      for (int g = 0; g < Panel::kGroups; ++g) corrections[g] += width;
    }
  }
};

// The quads of one group of a tile, for one byte of each activation.
template <class Panel, int kTokens>
ROWMAX_INLINE void add_quads(const std::uint8_t (*codes)[kVector], const std::int8_t* a,
                             Dot<Panel::kDotBits> (&dots)[kTokens]) noexcept {
  ROWMAX_UNROLL
  for (int q = 0; q < Panel::kQuadsOfGroup; ++q) {
    const auto w = Dot<Panel::kDotBits>::prepare(load_codes(codes[q]));
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) dots[t].add(w, a + kCodeBytes * t + 4 * q, q);
  }
}

// One tile of unpacked weights added to the chains of kTokens tokens.
template <class Panel, int kTokens>
ROWMAX_INLINE void int8_tile(const std::uint8_t (*codes)[kVector], const float (*scales)[kRows],
                             const float (*mins)[kRows], const Activations<Panel>& act,
                             simd::F32x16 (&acc)[kTokens]) noexcept {
  using DotBits = Dot<Panel::kDotBits>;
  constexpr int kQuadsOfGroup = Panel::kQuadsOfGroup;
  ROWMAX_UNROLL
  for (int g = 0; g < Panel::kGroups; ++g) {
    DotBits dots[kTokens];
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) dots[t].start(simd::splat_i32(0));
    add_quads<Panel, kTokens>(codes + g * kQuadsOfGroup, act.codes + 4 * g * kQuadsOfGroup, dots);
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      const simd::I32x16 coarse = simd::shift_left<kTermShift>(dots[t].value(kQuadsOfGroup));
      dots[t].start(simd::add(coarse, simd::splat_i32(act.start(g, t))));
    }
    add_quads<Panel, kTokens>(codes + g * kQuadsOfGroup, act.codes + kTile + 4 * g * kQuadsOfGroup, dots);
    const simd::F32x16 scale = simd::load(scales[g]);
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      const simd::F32x16 product = simd::mul(scale, simd::splat(act.scales[t]));
      acc[t] = simd::fma(simd::to_f32(dots[t].value(kQuadsOfGroup)), product, acc[t]);
    }
    if constexpr (Panel::kHasMin) {
      const simd::F32x16 min = simd::load(mins[g]);
      ROWMAX_UNROLL
      for (int t = 0; t < kTokens; ++t) acc[t] = simd::fma(min, simd::splat(act.group_sum(g, t)), acc[t]);
    }
  }
}

// Tiles [tile_begin, tile_end) of panel p.
struct Chunk {
  std::int64_t p, tile_begin, tile_end;
};

// One group of kTokens tokens (padding included) against some unpacked tiles; y holds the chains between one chunk of
// tiles and the next.
template <class Panel, int kTokens>
void int8_block(const Job& job, const Unpacked& weights, CorrectionRows rows, const Chunk& chunk,
                std::int64_t token) noexcept {
  const auto [p, tile_begin, tile_end] = chunk;
  const int n_rows = rows_of_panel(job, p);
  const std::int64_t left = job.int8->n_tok - token;
  const int n_valid = left < kTokens ? static_cast<int>(left) : kTokens;
  float* y = job.y + token * job.ldy + p * kRows;

  simd::F32x16 acc[kTokens];
  ROWMAX_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    acc[t] = tile_begin == 0 || t >= n_valid ? simd::splat(0.0f) : load_rows(y + t * job.ldy, n_rows);
  }
  Activations<Panel> act(*job.int8, rows, token * job.int8->n_tiles + tile_begin * kTokens);
  const int n_tiles = static_cast<int>(tile_end - tile_begin);
  for (int b = 0; b < n_tiles; ++b) {
    const auto* codes = weights.codes[b];
    const auto *scales = weights.scales + b * Panel::kGroups, *mins = weights.mins + b * Panel::kGroups;
    int8_tile<Panel, kTokens>(codes, scales, mins, act, acc);
    act.next(kTokens);
  }
  const bool last = tile_end == job.int8->n_tiles;
  ROWMAX_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    if (t < n_valid) store_rows(y + t * job.ldy, last ? simd::canonical_nan(acc[t]) : acc[t], n_rows);
  }
}

// All tokens of a task against a chunk.
template <class Panel>
void int8_chunk(const Job& job, const Unpacked& weights, CorrectionRows rows, const Chunk& chunk) noexcept {
  for (std::int64_t token = job.token_begin; token < job.token_end; token += kGemmTokens) {
    const int width = job.int8->width(token);
    if (width == kGemmTokens) {
      int8_block<Panel, kGemmTokens>(job, weights, rows, chunk, token);
    } else if constexpr (kGemmTokens == 12) {
      if (width == 8) {
        int8_block<Panel, 8>(job, weights, rows, chunk, token);
      } else {
        int8_block<Panel, 4>(job, weights, rows, chunk, token);
      }
    }
  }
}

// Many tokens: some tiles of a panel are unpacked once for all of them.
template <class Panel>
void int8_many(const Job& job) noexcept {
  constexpr std::int64_t kChunkTiles = kInt8Chunk / kTile;
  Unpacked weights;
  const std::int64_t n_tiles = job.int8->n_tiles;
  for (std::int64_t p = job.panel_begin; p < job.panel_end; ++p) {
    for (std::int64_t b = 0; b < n_tiles; b += kChunkTiles) {
      const std::int64_t b_end = b + kChunkTiles < n_tiles ? b + kChunkTiles : n_tiles;
      unpack<Panel>(job, p, b, b_end, weights);
      int8_chunk<UnpackedOf<Panel>>(job, weights, kCorrectionRows<Panel>, {p, b, b_end});
    }
  }
}

// Several streams of memory reach its bandwidth where one does not.
template <class Panel, int kTokens>
void int8_few(const Job& job) noexcept {
  constexpr int kPanels = kTokens == 1 ? kInt8FewPanels : 1;
  std::int64_t p = job.panel_begin;
  for (; p + kPanels <= job.panel_end; p += kPanels) int8_few_panels<Panel, kTokens, kPanels>(job, p, 0);
  if constexpr (kPanels > 1) {
    for (; p < job.panel_end; ++p) int8_few_panels<Panel, kTokens, 1>(job, p, 0);
  }
}

// The whole call's number of tokens decides, as it decided the order of the activations in memory.
template <class Panel>
void int8_few_tokens(const Job& job) noexcept {
  const std::int64_t n_tok = job.int8->n_tok;
  if constexpr (kFewTokens == 4) {
    switch (n_tok) {
      case 1: return int8_few<Panel, 1>(job);
      case 2: return int8_few<Panel, 2>(job);
      case 3: return int8_few<Panel, 3>(job);
      default: return int8_few<Panel, 4>(job);
    }
  } else {
    if (kInt8FewPanels > 1 && n_tok == 1) return int8_few<Panel, 1>(job);
    for (std::int64_t p = job.panel_begin; p < job.panel_end; ++p) {
      std::int64_t token = 0;
      for (; token + kFewTokens <= n_tok; token += kFewTokens) int8_few_panels<Panel, kFewTokens, 1>(job, p, token);
      if (token < n_tok) int8_few_panels<Panel, 1, 1>(job, p, token);
    }
  }
}

}  // namespace
}  // namespace rowmax::engine::panel
