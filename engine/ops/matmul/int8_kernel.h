// The integer path: rounded activations against integer panels. Included after one dot_*.h by the file of one
// instruction set; see matmul.h for the order of operations and panel.h for the layouts.
//
// dot_*.h provides Codes (a quad: 16 rows x 4 k bytes) with load_codes, store_codes, shifted, merge, flip_sign;
// Dot<bits> with start(I32x16), add(weights, 4 activations, index), value(), and dot_bits(bits), the bits whose Dot
// stands for that of fewer; kUnsignedBytes; kSplitChains; kInt8FewPanels, the panels that one token takes side by side;
// kFewTokens, how many of up to 4 tokens share codes on their way from packed bytes; kGemmTokens, the tokens that lie
// together, and kBlockTokens, those of them in one register block; and small loads. Each
// activation is two bytes, coarse * 128 + fine: the dot product of the coarse bytes, times 128, is where the one of the fine bytes
// starts. Integer sums are exact everywhere, so only the float chain per output needs an order, and that is lane-wise.
#pragma once

#if defined(__aarch64__) && !defined(ROWMAX_SIMD_SCALAR)
#include "engine/ops/matmul/int8_tile_neon.h"
#else
#include "engine/ops/matmul/int8_tile.h"
#endif

namespace rowmax::engine::panel {
namespace {

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

// Tiles [tile_begin, tile_end) of panel p.
struct Chunk {
  std::int64_t p, tile_begin, tile_end;
};

// kTokens tokens (padding included), a token group or a part of it, against some unpacked tiles; y holds the chains between
// one chunk of tiles and the next.
template <class Panel, int kTokens>
void int8_block(const Job& job, const Int8Weights& weights, CorrectionRows rows, const Chunk& chunk, std::int64_t token,
                Ahead ahead) noexcept {
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
  constexpr int kWidth = kBlockTokens == kGemmTokens ? kTokens : kGemmTokens;  // of the token group
  const std::int64_t lane = kWidth == kTokens ? 0 : token % kWidth;
  Activations<Panel> act(*job.int8, rows, (token - lane) * job.int8->n_tiles + tile_begin * kWidth + lane);
  const int n_tiles = static_cast<int>(tile_end - tile_begin);
  for (int b = 0; b < n_tiles; ++b) {
    ahead.ask();
    const auto* codes = weights.codes[b];
    const auto *scales = weights.scales + b * Panel::kGroups, *mins = weights.mins + b * Panel::kGroups;
    int8_tile<Panel, kTokens>(codes, scales, mins, act, acc);
    act.next(kWidth);
  }
  const bool last = tile_end == job.int8->n_tiles;
  ROWMAX_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    if (t < n_valid) store_rows(y + t * job.ldy, last ? simd::canonical_nan(acc[t]) : acc[t], n_rows);
  }
}

// All tokens of a task against a chunk.
template <class Panel>
void int8_chunk(const Job& job, const Int8Weights& weights, CorrectionRows rows, const Chunk& chunk,
                Ahead ahead) noexcept {
  for (std::int64_t token = job.token_begin; token < job.token_end; token += kGemmTokens) {
    const int width = job.int8->width(token);
    if (width == kGemmTokens) {
      for (int t = 0; t < kGemmTokens && token + t < job.int8->n_tok; t += kBlockTokens) {
        int8_block<Panel, kBlockTokens>(job, weights, rows, chunk, token + t, ahead.take());
      }
    } else if constexpr (kGemmTokens == 12) {
      if (width == 8) {
        int8_block<Panel, 8>(job, weights, rows, chunk, token, ahead.take());
      } else {
        int8_block<Panel, 4>(job, weights, rows, chunk, token, ahead.take());
      }
    }
  }
}

// Many tokens: some tiles of a panel are unpacked once for all of them.
template <class Panel>
void int8_many(const Job& job) noexcept {
  constexpr std::int64_t kChunkTiles = kInt8Chunk / kTile;
  Int8Weights weights;
  const std::int64_t n_tiles = job.int8->n_tiles;
  for (std::int64_t p = job.panel_begin; p < job.panel_end; ++p) {
    for (std::int64_t b = 0; b < n_tiles; b += kChunkTiles) {
      const std::int64_t b_end = b + kChunkTiles < n_tiles ? b + kChunkTiles : n_tiles;
      unpack<Panel>(job, p, b, b_end, weights);
      const bool last = b_end == n_tiles;
      const Ahead ahead =
          ahead_of<Panel>(job, last ? p + 1 : p, last ? 0 : b_end, last ? kChunkTiles : n_tiles - b_end);
      int8_chunk<UnpackedOf<Panel>>(job, weights, kCorrectionRows<Panel>, {p, b, b_end}, ahead);
    }
  }
}

// Tokens from `token` on. Several streams of memory reach its bandwidth where one does not.
template <class Panel, int kTokens>
void int8_few(const Job& job, std::int64_t token) noexcept {
  constexpr int kPanels = kTokens == 1 ? kInt8FewPanels : 1;
  std::int64_t p = job.panel_begin;
  for (; p + kPanels <= job.panel_end; p += kPanels) int8_few_panels<Panel, kTokens, kPanels>(job, p, token);
  if constexpr (kPanels > 1) {
    for (; p < job.panel_end; ++p) int8_few_panels<Panel, kTokens, 1>(job, p, token);
  }
}

// The whole call's number of tokens decides, as it decided the order of the activations in memory.
template <class Panel>
void int8_few_tokens(const Job& job) noexcept {
  const std::int64_t n_tok = job.int8->n_tok;
  if constexpr (kFewTokens == 4) {
    switch (n_tok) {
      case 1: return int8_few<Panel, 1>(job, 0);
      case 2: return int8_few<Panel, 2>(job, 0);
      case 3: return int8_few<Panel, 3>(job, 0);
      default: return int8_few<Panel, 4>(job, 0);
    }
  } else {
    // A job is one panel or a few short ones: their codes come from memory once, and then from a cache.
    std::int64_t token = 0;
    for (; token + kFewTokens <= n_tok; token += kFewTokens) int8_few<Panel, kFewTokens>(job, token);
    for (; token < n_tok; ++token) int8_few<Panel, 1>(job, token);
  }
}

}  // namespace
}  // namespace rowmax::engine::panel
