// Many tokens against ternary panels on AMX: sums stay in tiles over a chunk of k, for two panels and two groups of
// tokens at once. Included after dot_avx512.h; ternary_kernel.h has the rest.
#pragma once

#include <algorithm>

#include "engine/ops/matmul/amx_tiles.h"
#include "engine/ops/matmul/round_kernel.h"
#include "engine/ops/matmul/ternary_kernel.h"

namespace rowmax::engine::panel {
namespace {

inline constexpr int kAmxTernaryPanels = 2;
inline constexpr int kAmxTernaryChunk = 1024;  // k unpacked at a time, two panels of it
inline constexpr int kPair = 2 * kTile;        // k of a product

// A token group's codes: tiles of k in pairs, so that a product takes 64 bytes of a token. An odd tile stands last.
struct TilesInPairs {
  std::int8_t* codes;  // of the group
  std::int64_t n_tiles;
  int width;
  ROWMAX_INLINE std::int8_t* at(std::int64_t tile, int token) const noexcept {
    const bool odd = tile == n_tiles - 1 && tile % 2 == 0;
    const std::int64_t pair = codes_before(tile / 2 * 2, width);
    return codes + pair + (odd ? token * kTile : token * kPair + tile % 2 * kTile);
  }
  // Bytes of a group before a tile that starts a pair.
  static ROWMAX_INLINE std::int64_t codes_before(std::int64_t tile, int width) noexcept { return tile * width * kTile; }
};

struct AmxTernaryScratch {
  alignas(64) std::uint8_t codes[kAmxTernaryPanels][kAmxTernaryChunk / kTile][kQuads][kVector];
  alignas(64) std::int32_t sums[kTaskTokens / kAmxTokens][kAmxTernaryPanels][kAmxTokens][kRows];
};

// What the tiles hold: sums 0 and 1 of the first group of tokens and two panels, 2 and 3 of the second group;
// activations 4 and 5 of the groups; codes 6 and 7 of the panels.
struct TernaryTiles {
  int width[2];
  int k;  // of a product: kPair, or kTile for an odd tile
  bool operator==(const TernaryTiles&) const = default;

  ROWMAX_INLINE TileConfig config() const noexcept {
    TileConfig config;
    for (int i = 0; i < 4; ++i) config.set(i, width[i / 2], kVector);
    for (int i = 4; i < 6; ++i) config.set(i, width[i - 4], k);
    for (int i = 6; i < 8; ++i) config.set(i, k / 4, kVector);
    return config;
  }
};

// A chunk of k: tiles [tile_begin, tile_end) of kPanels panels from p on, an even number of tiles or one.
struct TernaryChunk {
  std::int64_t p, tile_begin, tile_end;
};

template <int kPanels, int kGroups>
ROWMAX_INLINE void multiply_chunk(const AmxTernaryScratch& scratch, const std::int8_t* const (&a)[2], int n_tiles,
                                  const TernaryTiles& tiles) noexcept {
  const std::int64_t row = tiles.k;
  for (int b = 0; b < n_tiles; b += 2) {
    _tile_loadd(6, scratch.codes[0][b], kVector);
    _tile_loadd(4, a[0] + TilesInPairs::codes_before(b, tiles.width[0]), row);
    _tile_dpbssd(0, 4, 6);
    if constexpr (kPanels == 2) {
      _tile_loadd(7, scratch.codes[1][b], kVector);
      _tile_dpbssd(1, 4, 7);
    }
    if constexpr (kGroups == 2) {
      _tile_loadd(5, a[1] + TilesInPairs::codes_before(b, tiles.width[1]), row);
      _tile_dpbssd(2, 5, 6);
      if constexpr (kPanels == 2) _tile_dpbssd(3, 5, 7);
    }
  }
}

template <int kPanels, int kGroups>
ROWMAX_INLINE void load_sums(bool first, const std::int32_t (*sums)[kAmxTernaryPanels][kAmxTokens][kRows]) noexcept {
  if (first) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    return;
  }
  _tile_loadd(0, sums[0][0], kVector);
  if constexpr (kPanels == 2) _tile_loadd(1, sums[0][1], kVector);
  if constexpr (kGroups == 2) _tile_loadd(2, sums[1][0], kVector);
  if constexpr (kGroups == 2 && kPanels == 2) _tile_loadd(3, sums[1][1], kVector);
}
template <int kPanels, int kGroups>
ROWMAX_INLINE void store_sums(std::int32_t (*sums)[kAmxTernaryPanels][kAmxTokens][kRows]) noexcept {
  _tile_stored(0, sums[0][0], kVector);
  if constexpr (kPanels == 2) _tile_stored(1, sums[0][1], kVector);
  if constexpr (kGroups == 2) _tile_stored(2, sums[1][0], kVector);
  if constexpr (kGroups == 2 && kPanels == 2) _tile_stored(3, sums[1][1], kVector);
}

// kGroups groups of tokens (padding included) against a chunk of kPanels unpacked panels.
template <int kPanels, int kGroups>
void amx_ternary_block(const Job& job, AmxTernaryScratch& scratch, const TernaryChunk& chunk, std::int64_t token,
                       const TernaryTiles& tiles) noexcept {
  const TokenActivations& act = *job.by_token;
  auto* sums = scratch.sums + (token - job.token_begin) / kAmxTokens;
  const std::int8_t* a[2] = {};
  for (int i = 0; i < kGroups; ++i) {
    a[i] = act.codes + (token + i * kAmxTokens) * act.n_tiles * kTile +
           TilesInPairs::codes_before(chunk.tile_begin, tiles.width[i]);
  }
  load_sums<kPanels, kGroups>(chunk.tile_begin == 0, sums);
  multiply_chunk<kPanels, kGroups>(scratch, a, static_cast<int>(chunk.tile_end - chunk.tile_begin), tiles);
  store_sums<kPanels, kGroups>(sums);
  if (chunk.tile_end < act.n_tiles) return;
  for (int i = 0; i < kPanels; ++i) {
    const simd::F32x16 scale = simd::load(reinterpret_cast<const float*>(job.panels + (chunk.p + i) * job.panel_bytes));
    const std::int64_t end = std::min(token + kGroups * kAmxTokens, act.n_tok);
    for (std::int64_t t = token; t < end; ++t) {
      const std::int64_t lane = t - token;
      store_outputs(job, t, chunk.p + i, simd::load_i32(sums[lane / kAmxTokens][i][lane % kAmxTokens]), scale);
    }
  }
}

// All tokens against a chunk.
template <int kPanels>
void amx_ternary_chunk(const Job& job, AmxTernaryScratch& scratch, const TernaryChunk& chunk,
                       TernaryTiles& configured) noexcept {
  const TokenActivations& act = *job.by_token;
  for (int i = 0; i < kPanels; ++i) {
    const std::byte* tiles = job.panels + (chunk.p + i) * job.panel_bytes + TernaryPanel::kHeadBytes;
    for (std::int64_t tile = chunk.tile_begin; tile < chunk.tile_end; ++tile) {
      unpack_tile<TernaryPanel>(tiles + tile * TernaryPanel::kTileBytes,
                                StoreQuads{scratch.codes[i][tile - chunk.tile_begin]});
    }
  }
  written();
  for (std::int64_t token = job.token_begin; token < job.token_end; token += 2 * kAmxTokens) {
    const bool two = token + kAmxTokens < job.token_end;
    TernaryTiles tiles{{act.width(token), two ? act.width(token + kAmxTokens) : configured.width[1]},
                       chunk.tile_end - chunk.tile_begin == 1 ? kTile : kPair};
    if (tiles.width[1] == 0) tiles.width[1] = kAmxTokens;
    if (!(tiles == configured)) configure((configured = tiles).config());
    if (two) {
      amx_ternary_block<kPanels, 2>(job, scratch, chunk, token, tiles);
    } else {
      amx_ternary_block<kPanels, 1>(job, scratch, chunk, token, tiles);
    }
  }
}

template <int kPanels>
void amx_ternary_panels(const Job& job, std::int64_t p, AmxTernaryScratch& scratch, TernaryTiles& configured) noexcept {
  constexpr std::int64_t kChunkTiles = kAmxTernaryChunk / kTile;
  const std::int64_t n_tiles = job.by_token->n_tiles, n_paired = n_tiles / 2 * 2;
  for (std::int64_t b = 0; b < n_paired; b += kChunkTiles) {
    amx_ternary_chunk<kPanels>(job, scratch, {p, b, std::min(b + kChunkTiles, n_paired)}, configured);
  }
  if (n_paired < n_tiles) amx_ternary_chunk<kPanels>(job, scratch, {p, n_paired, n_tiles}, configured);
}

void amx_ternary_many(const Job& job) noexcept {
  AmxTernaryScratch scratch;
  TernaryTiles configured{};
  std::int64_t p = job.panel_begin;
  for (; p + 2 <= job.panel_end; p += 2) amx_ternary_panels<2>(job, p, scratch, configured);
  if (p < job.panel_end) amx_ternary_panels<1>(job, p, scratch, configured);
  _tile_release();
}

}  // namespace
}  // namespace rowmax::engine::panel
