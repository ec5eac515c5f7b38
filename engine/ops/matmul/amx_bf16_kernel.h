// Many tokens against integer panels on AMX: products of bfloat16, whose sums are the definition's integers as floats.
// Included after dot_avx512.h.
//
// A bfloat16 holds 8 bits, so a code and each of an activation's two parts, 128 * coarse and fine, are one exactly. A product
// of tiles adds up its own products first and then adds them to the tile (Intel SDM, TDPBF16PS). The coarse part comes first:
// multiples of 128 below 2^31, which floats hold whatever their order. The fine part's sum is below 2^24. So only the last
// addition can round, as the definition's conversion does, and what leaves the tile needs no conversion; from there on the
// float operations are those of int8_kernel.h.
//
// What bounds it: a sum has to go through memory (16 cycles for 16 tokens, products take as long each), and while AMX is at
// work 512-bit float operations have one port in place of two.
#pragma once

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "engine/ops/matmul/amx_tiles.h"
#include "engine/ops/matmul/int8_kernel.h"
#include "engine/ops/matmul/round_kernel.h"

namespace rowmax::engine::panel {
namespace {

inline constexpr int kAmxPanels = 8;          // that pass by a chunk of activations while it is in the first cache
inline constexpr int kAmxChunk = 256;         // k unpacked at a time
inline constexpr int kPartBytes = 2 * kTile;  // of one token in one tile: a part of all activations
inline constexpr int kTileWords = kTile / 2;  // vectors of 16 rows x 2 k in a tile of weights
inline constexpr int kSumTiles = 4;           // tiles of sums in the making
static_assert(2 * kPartBytes <= kMostCodeBytes);

// ---- activations

// 16 activations, k 0, 2, 1, 3 of every quad: pairs as unpacking makes them of a quad of codes.
struct Bf16Terms {
  static constexpr int kBytes = 2 * kPartBytes;

  static ROWMAX_INLINE void store_part(std::int8_t* out, simd::I32x16 part) noexcept {
    const __m256i upper = _mm512_cvtepi32_epi16(_mm512_srli_epi32(simd::bitcast_i32(simd::to_f32(part)).v, 16));
    const __m256i pairs = _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(upper, 0xD8), 0xD8);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), pairs);
  }
  static ROWMAX_INLINE void store(std::int8_t* codes, int half, simd::I32x16 a) noexcept {
    const simd::I32x16 coarse = simd::shift_left<kTermShift>(BinaryTerms::coarse(a));
    store_part(codes + kTile * half, coarse);
    store_part(codes + kTile * half + kPartBytes, simd::sub(a, coarse));
  }
};

// ---- weights

// A chunk of a panel: codes less their offset.
struct AmxWeights : UnpackedScales {
  alignas(64) std::uint16_t words[kAmxChunk / kTile][kTileWords][2 * kRows];
};

struct Bf16Table {
  alignas(64) std::uint16_t v[64];
};
template <int kOffset>
inline constexpr Bf16Table kBf16Table = [] {
  Bf16Table table{};
  for (int code = 0; code < 64; ++code) {
    const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(code - kOffset));
    table.v[code] = static_cast<std::uint16_t>(bits >> 16);
  }
  return table;
}();

// What unpack() fills.
template <class Panel>
struct UnpackedBf16 {
  float (&scales)[kInt8Chunk / 16][kRows];
  float (&mins)[kInt8Chunk / 16][kRows];
  std::uint16_t (*words)[kTileWords][2 * kRows];

  ROWMAX_INLINE explicit UnpackedBf16(AmxWeights& out) noexcept
      : scales(out.scales), mins(out.mins), words(out.words) {}
  struct Put {
    std::uint16_t (*words)[2 * kRows];

    // The numbers of words whose low bits are codes.
    static ROWMAX_INLINE __m512i numbers(__m512i codes) noexcept {
      const auto& table = kBf16Table<Panel::kOffset>.v;
      if constexpr (Panel::kDotBits <= 5) {
        return _mm512_permutexvar_epi16(codes, _mm512_load_si512(table));
      } else {
        return _mm512_permutex2var_epi16(_mm512_load_si512(table), codes, _mm512_load_si512(table + 32));
      }
    }
    // Byte i of every four as a float.
    template <int i>
    static ROWMAX_INLINE __m512i float_of(__m512i bytes) noexcept {
      const __m512i code = _mm512_srai_epi32(i == 3 ? bytes : _mm512_slli_epi32(bytes, 24 - 8 * i), 24);
      return _mm512_castps_si512(_mm512_cvtepi32_ps(code));
    }
    ROWMAX_INLINE void operator()(int quad, Codes c) noexcept {
      __m512i even, odd;  // bytes 0 and 2 of every four, 1 and 3
      if constexpr (Panel::kDotBits <= 6) {
        even = numbers(c.v);
        odd = numbers(_mm512_srli_epi16(c.v, 8));
      } else {
        static_assert(Panel::kOffset == 128);
        const __m512i bytes = flip_sign(c).v;
        even = _mm512_or_si512(_mm512_srli_epi32(float_of<0>(bytes), 16), float_of<2>(bytes));
        odd = _mm512_or_si512(_mm512_srli_epi32(float_of<1>(bytes), 16), float_of<3>(bytes));
      }
      _mm512_store_si512(words[2 * quad], even);
      _mm512_store_si512(words[2 * quad + 1], odd);
    }
  };
  ROWMAX_INLINE Put tile(int t) noexcept { return {words[t]}; }
};

// ---- products

// What is left of a layout once its codes are unpacked: layouts that agree here share the code.
template <int kGroups_, bool kHasMin_>
struct AmxPanel {
  static constexpr int kGroups = kGroups_;
  static constexpr bool kHasMin = kHasMin_;
  static constexpr bool kHasStart = false, kHalfSums = kHasMin && kGroups > 1;  // for Activations
};
template <class Panel>
using AmxPanelOf = AmxPanel<Panel::kGroups, Panel::kHasMin>;

// 0 to 3: sums, 4: weights, 5: the coarse part of activations, 6: the fine part.
inline constexpr int kWeightsTile = 4, kCoarseTile = 5, kFineTile = 6;
template <class Panel>
TileConfig amx_config(int n_tokens) noexcept {
  TileConfig config;
  for (int i = 0; i < kSumTiles; ++i) config.set(i, n_tokens, kVector);
  config.set(kWeightsTile, kTileWords / Panel::kGroups, kVector);
  config.set(kCoarseTile, n_tokens, kPartBytes / Panel::kGroups);
  config.set(kFineTile, n_tokens, kPartBytes / Panel::kGroups);
  return config;
}

// The sums of a group of k with the tokens of a token group.
struct GroupSums {
  alignas(64) float sums[kAmxTokens][kRows];

  // Starts the products of tile kSums. words: those of the group's weights; a: the first token's activations.
  template <int kSums>
  static ROWMAX_INLINE void multiply(const std::uint16_t (*words)[2 * kRows], const std::int8_t* a) noexcept {
    load_tile<kWeightsTile>(words, kVector);
    load_tile<kCoarseTile>(a, 2 * kPartBytes);
    load_tile<kFineTile>(a + kPartBytes, 2 * kPartBytes);
    zero_tile<kSums>();
    multiply_bf16<kSums, kCoarseTile, kWeightsTile>();
    multiply_bf16<kSums, kFineTile, kWeightsTile>();
  }
};

// The groups of k of a chunk, one after the other: while one is added to the chains, the products of the next ones are
// under way.
template <class Panel, int kTokens>
struct AmxChain {
  const AmxWeights& weights;
  Activations<Panel> act;  // of the tile that is added next
  const std::int8_t* codes;
  int n_groups;
  int group = 0;
  GroupSums buffers[2];

  template <int kSet>
  ROWMAX_INLINE void start(int i) noexcept {
    if (i >= n_groups) return;
    const int tile = i / Panel::kGroups, g = i % Panel::kGroups;
    GroupSums::multiply<kSet>(weights.words[tile] + g * (kTileWords / Panel::kGroups),
                              codes + tile * kTokens * Bf16Terms::kBytes + g * kTile);
  }
  ROWMAX_INLINE void add(int i, const GroupSums& sums, simd::F32x16 (&acc)[kTokens]) noexcept {
    const int g = i % Panel::kGroups;
    const simd::F32x16 scale = simd::load(weights.scales[i]);
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      acc[t] = simd::fma(simd::load(sums.sums[t]), simd::mul(scale, simd::splat(act.scales[t])), acc[t]);
    }
    if constexpr (Panel::kHasMin) {
      const simd::F32x16 min = simd::load(weights.mins[i]);
      ROWMAX_UNROLL
      for (int t = 0; t < kTokens; ++t) acc[t] = simd::fma(min, simd::splat(act.group_sum(g, t)), acc[t]);
    }
    if (g == Panel::kGroups - 1) act.next(kTokens);
  }
  template <int kSet>
  ROWMAX_INLINE void step(int i, simd::F32x16 (&acc)[kTokens]) noexcept {
    if (i >= n_groups) return;
    start<(kSet + kSumTiles - 1) % kSumTiles>(i + kSumTiles - 1);
    store_tile<kSet>(buffers[kSet % 2].sums, kVector);
    if (i > 0) add(i - 1, buffers[1 - kSet % 2], acc);
  }
  template <int... kSet>
  ROWMAX_INLINE void run(std::integer_sequence<int, kSet...> /*sets*/, simd::F32x16 (&acc)[kTokens]) noexcept {
    (start<kSet>(kSet < kSumTiles - 1 ? kSet : n_groups), ...);
    for (int i = 0; i < n_groups; i += kSumTiles) (step<kSet>(i + kSet, acc), ...);
    add(n_groups - 1, buffers[(n_groups - 1) % 2], acc);
  }
};

// A chunk of panel p: tiles [tile_begin, tile_end).
struct AmxChunk {
  std::int64_t p, tile_begin, tile_end;
};

// kTokens tokens (padding included) against a chunk. chains: theirs, between one chunk and the next; y would be slow, a
// page for each token.
template <class Panel, int kTokens>
void amx_block(const Job& job, const AmxWeights& weights, CorrectionRows rows, const AmxChunk& chunk,
               std::int64_t token, float (*chains)[kRows]) noexcept {
  const Int8Activations& act = *job.int8;
  const int n_rows = rows_of_panel(job, chunk.p);
  const int n_valid = static_cast<int>(std::min<std::int64_t>(act.n_tok - token, kTokens));
  const bool last = chunk.tile_end == act.n_tiles;
  float* y = job.y + token * job.ldy + chunk.p * kRows;
  simd::F32x16 acc[kTokens];
  if (chunk.tile_begin == 0) std::memset(chains, 0, kTokens * sizeof *chains);
  for (int t = 0; last && t < n_valid; ++t) __builtin_prefetch(y + t * job.ldy, 1);
  ROWMAX_UNROLL
  for (int t = 0; t < kTokens; ++t) acc[t] = simd::load(chains[t]);
  const std::int64_t at = token * act.n_tiles + chunk.tile_begin * kTokens;
  const int n_groups = static_cast<int>(chunk.tile_end - chunk.tile_begin) * Panel::kGroups;
  AmxChain<Panel, kTokens> chain{weights, {act, rows, at}, act.codes + at * Bf16Terms::kBytes, n_groups, 0, {}};
  chain.run(std::make_integer_sequence<int, kSumTiles>{}, acc);
  ROWMAX_UNROLL
  for (int t = 0; t < kTokens; ++t) simd::store(chains[t], acc[t]);
  for (int t = 0; last && t < n_valid; ++t) {
    store_rows(y + t * job.ldy, simd::canonical_nan(simd::load(chains[t])), n_rows);
  }
}

// A token group against a chunk of n_panels panels.
template <class Panel, int kTokens>
void amx_panels(const Job& job, const AmxWeights* weights, int n_panels, CorrectionRows rows, AmxChunk chunk,
                std::int64_t token, float (*chains)[kTaskTokens][kRows]) noexcept {
  for (int i = 0; i < n_panels; ++i, ++chunk.p) {
    amx_block<Panel, kTokens>(job, weights[i], rows, chunk, token, chains[i] + (token - job.token_begin));
  }
}

// All tokens of a task against a chunk. configured: tokens that the tiles hold.
template <class Panel>
void amx_chunk(const Job& job, const AmxWeights* weights, int n_panels, CorrectionRows rows, const AmxChunk& chunk,
               float (*chains)[kTaskTokens][kRows], int& configured) noexcept {
  for (std::int64_t token = job.token_begin; token < job.token_end; token += kAmxTokens) {
    const int width = job.int8->width(token);
    if (width != configured) configure(amx_config<Panel>(configured = width));
    switch (width) {
      case 4: amx_panels<Panel, 4>(job, weights, n_panels, rows, chunk, token, chains); break;
      case 8: amx_panels<Panel, 8>(job, weights, n_panels, rows, chunk, token, chains); break;
      case 12: amx_panels<Panel, 12>(job, weights, n_panels, rows, chunk, token, chains); break;
      default: amx_panels<Panel, 16>(job, weights, n_panels, rows, chunk, token, chains);
    }
  }
}

// Some tiles of a few panels are unpacked once for all tokens.
template <class Panel>
void amx_many(const Job& job) noexcept {
  constexpr std::int64_t kChunkTiles = kAmxChunk / kTile;
  AmxWeights weights[kAmxPanels];
  alignas(64) float chains[kAmxPanels][kTaskTokens][kRows];
  const std::int64_t n_tiles = job.int8->n_tiles;
  int configured = 0;
  for (std::int64_t p = job.panel_begin; p < job.panel_end; p += kAmxPanels) {
    const int n_panels = static_cast<int>(std::min<std::int64_t>(job.panel_end - p, kAmxPanels));
    for (std::int64_t b = 0; b < n_tiles; b += kChunkTiles) {
      const AmxChunk chunk{p, b, std::min(b + kChunkTiles, n_tiles)};
      for (int i = 0; i < n_panels; ++i) {
        UnpackedBf16<Panel> out(weights[i]);
        unpack<Panel>(job, p + i, b, chunk.tile_end, out);
      }
      written();
      amx_chunk<AmxPanelOf<Panel>>(job, weights, n_panels, kCorrectionRows<Panel>, chunk, chains, configured);
    }
  }
  _tile_release();
}

}  // namespace
}  // namespace rowmax::engine::panel
