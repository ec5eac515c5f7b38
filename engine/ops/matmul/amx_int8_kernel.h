// Many tokens against integer panels with groups of 32 k on AMX: the products of a tile of k go through memory to the
// float chains, which are those of int8_kernel.h. Included after dot_avx512.h.
//
// Activations are two signed bytes, here 127 * coarse + fine (any split gives the same integers): where codes less
// their offset are -1, 0 and 1, 127 times a code is a byte too, and one product over 64 bytes [coarse | fine] makes the
// definition's integer. Other codes take two products. A sum has to go through memory, which takes as long as its
// product, and while AMX is at work 512-bit float operations have one port in place of two: those are the bounds.
#pragma once

#include <algorithm>

#include "engine/ops/matmul/amx_tiles.h"
#include "engine/ops/matmul/int8_kernel.h"
#include "engine/ops/matmul/round_kernel.h"

namespace rowmax::engine::panel {
namespace {

inline constexpr int kCoarse = 127;

// The coarse byte of an activation |a| <= kMaxCode.
constexpr int coarse_term(int a) noexcept { return std::min((a + (a >> kTermShift) + 64) >> kTermShift, kCoarse); }
constexpr bool terms_are_bytes() noexcept {
  for (int a = -kMaxCode; a <= kMaxCode; ++a) {
    const int coarse = coarse_term(a), fine = a - kCoarse * coarse;
    if (coarse < -128 || coarse > 127 || fine < -128 || fine > 127) return false;
  }
  return true;
}
static_assert(terms_are_bytes());

struct TermsOf127 {
  static ROWMAX_INLINE void store(std::int8_t* codes, int half, simd::I32x16 a) noexcept {
    codes += 16 * half;
    const simd::I32x16 nearly = simd::add(simd::add(a, simd::shift_right<kTermShift>(a)), simd::splat_i32(64));
    const simd::I32x16 coarse{_mm512_min_epi32(simd::shift_right<kTermShift>(nearly).v, _mm512_set1_epi32(kCoarse))};
    store_i8(codes, coarse);
    store_i8(codes + kTile, simd::sub(simd::add(a, coarse), simd::shift_left<kTermShift>(coarse)));
  }
};

// Panels whose codes may all be -1, 0 and 1.
template <class Panel>
inline constexpr bool kMayBeTernary = Panel::kBits <= 2 && Panel::kOffset == 1;

// What is left of a layout once its codes are unpacked: layouts that agree here share the code.
template <bool kMayBeTernary_, bool kHasMin_>
struct AmxPanel {
  static constexpr int kParts = kMayBeTernary_ ? 2 : 1;  // of the unpacked codes
  static constexpr bool kHasMin = kHasMin_;
};
template <class Panel>
using AmxPanelOf = AmxPanel<kMayBeTernary<Panel>, Panel::kHasMin>;

// A chunk of a panel: signed codes; before them, where the panel may be ternary, 127 times them.
template <int kParts>
struct AmxWeights : UnpackedScales {
  alignas(64) std::uint8_t codes[kInt8Chunk / kTile][kParts][kQuads][kVector];
  __mmask64 twos;  // not 0: some code is 2
  alignas(64) float chains[kTaskTokens][kRows];
};

// What unpack() fills.
template <class Panel>
struct UnpackedForAmx : AmxWeights<AmxPanelOf<Panel>::kParts> {
  struct Put {
    std::uint8_t (*codes)[kQuads][kVector];
    __mmask64& twos;
    ROWMAX_INLINE void operator()(int quad, Codes c) noexcept {
      if constexpr (kMayBeTernary<Panel>) {
        constexpr ByteTable kTimes127{{0x81, 0, 0x7F}};
        store_codes(codes[0][quad], look_up(kTimes127, c));
        twos |= _mm512_cmpeq_epi8_mask(c.v, _mm512_set1_epi8(3));
      }
      store_codes(codes[AmxPanelOf<Panel>::kParts - 1][quad],
                  {_mm512_sub_epi8(c.v, _mm512_set1_epi8(static_cast<char>(Panel::kOffset)))});
    }
  };
  ROWMAX_INLINE Put tile(int t) noexcept { return {this->codes[t], this->twos}; }
};

// Three sets of sums are in the making: tiles 0 and 1, 2 and 3, 4 and 5 (coarse and fine), or 0, 2, 4 for one sum of
// both. 6: activations, 7: codes.
template <bool kOneSum>
TileConfig int8_config(int n_tokens) noexcept {
  TileConfig config;
  for (int i = 0; i < 6; ++i) config.set(i, n_tokens, kVector);
  config.set(6, n_tokens, kOneSum ? kCodeBytes : kTile);
  config.set(7, kOneSum ? 2 * kQuads : kQuads, kVector);
  return config;
}

// What tiles are configured for.
struct AmxShape {
  int width;
  bool one_sum;
  bool operator==(const AmxShape&) const = default;
};

// The products of a tile of k with the tokens of a group.
template <int kParts, bool kOneSum>
struct TileSums {
  alignas(64) std::int32_t sums[kOneSum ? 1 : 2][kAmxTokens][kRows];

  // Starts the products: tile b of the chunk and the activations of its first token. Tile registers are named in the
  // instruction, so that each set has code of its own.
  static ROWMAX_INLINE void multiply(int set, const AmxWeights<kParts>& weights, int b, const std::int8_t* a) noexcept {
    _tile_loadd(7, weights.codes[b][kOneSum ? 0 : kParts - 1], kVector);
    _tile_loadd(6, a, kCodeBytes);
    a += kTile;
    switch (set) {
      case 0:
        _tile_zero(0);
        _tile_dpbssd(0, 6, 7);
        if constexpr (!kOneSum) {
          _tile_loadd(6, a, kCodeBytes);
          _tile_zero(1);
          _tile_dpbssd(1, 6, 7);
        }
        break;
      case 1:
        _tile_zero(2);
        _tile_dpbssd(2, 6, 7);
        if constexpr (!kOneSum) {
          _tile_loadd(6, a, kCodeBytes);
          _tile_zero(3);
          _tile_dpbssd(3, 6, 7);
        }
        break;
      default:
        _tile_zero(4);
        _tile_dpbssd(4, 6, 7);
        if constexpr (!kOneSum) {
          _tile_loadd(6, a, kCodeBytes);
          _tile_zero(5);
          _tile_dpbssd(5, 6, 7);
        }
    }
  }
  // Waits for them.
  ROWMAX_INLINE void store(int set) noexcept {
    switch (set) {
      case 0:
        _tile_stored(0, sums[0], kVector);
        if constexpr (!kOneSum) _tile_stored(1, sums[1], kVector);
        break;
      case 1:
        _tile_stored(2, sums[0], kVector);
        if constexpr (!kOneSum) _tile_stored(3, sums[1], kVector);
        break;
      default:
        _tile_stored(4, sums[0], kVector);
        if constexpr (!kOneSum) _tile_stored(5, sums[1], kVector);
    }
  }
  // Of codes less their offset and activations.
  ROWMAX_INLINE simd::F32x16 value(int token) const noexcept {
    if constexpr (kOneSum) {
      return simd::to_f32(simd::load_i32(sums[0][token]));
    } else {
      const simd::I32x16 coarse = simd::load_i32(sums[0][token]), fine = simd::load_i32(sums[1][token]);
      return simd::fma(simd::splat(static_cast<float>(kCoarse)), simd::to_f32(coarse), simd::to_f32(fine));
    }
  }
};

// Adds tile b to the chains. d and x_sums: of the tokens.
template <class Panel, bool kOneSum, int kTokens>
ROWMAX_INLINE void amx_fold(const TileSums<Panel::kParts, kOneSum>& sums, const UnpackedScales& weights, int b,
                            const float* d, const float* x_sums, simd::F32x16 (&acc)[kTokens]) noexcept {
  const simd::F32x16 scale = simd::load(weights.scales[b]);
  ROWMAX_UNROLL
  for (int t = 0; t < kTokens; ++t) acc[t] = simd::fma(sums.value(t), simd::mul(scale, simd::splat(d[t])), acc[t]);
  if constexpr (Panel::kHasMin) {
    const simd::F32x16 min = simd::load(weights.mins[b]);
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) acc[t] = simd::fma(min, simd::splat(x_sums[t]), acc[t]);
  }
}

// All tiles of a chunk; activations from index `at` on. While one is added to the chains, the products of the next
// three are under way.
template <class Panel, bool kOneSum, int kTokens>
ROWMAX_INLINE void amx_chains(const AmxWeights<Panel::kParts>& weights, int n_tiles, const Int8Activations& act,
                              std::int64_t at, simd::F32x16 (&acc)[kTokens]) noexcept {
  using Products = TileSums<Panel::kParts, kOneSum>;
  Products buffers[2];
  const std::int8_t* codes = act.codes + at * kCodeBytes;
  const float *scales = act.scales + at, *sums = act.sums + at;
  const auto start = [&](int set, int b) ROWMAX_INLINE_LAMBDA {
    if (b < n_tiles) Products::multiply(set, weights, b, codes + b * kTokens * kCodeBytes);
  };
  const auto fold = [&](int b) ROWMAX_INLINE_LAMBDA {
    amx_fold<Panel, kOneSum, kTokens>(buffers[b & 1], weights, b, scales + b * kTokens, sums + b * kTokens, acc);
  };
  start(0, 0);
  start(1, 1);
  int set = 0;
  for (int b = 0; b < n_tiles; ++b) {
    buffers[b & 1].store(set);
    start(set == 0 ? 2 : set - 1, b + 2);
    set = set == 2 ? 0 : set + 1;
    if (b > 0) fold(b - 1);
  }
  fold(n_tiles - 1);
}

// A chunk of panel p: tiles [tile_begin, tile_end).
struct AmxChunk {
  std::int64_t p, tile_begin, tile_end;
};

// kTokens tokens (padding included) against a chunk. chains: theirs, between one chunk and the next; y would be slow, a
// page for each token.
template <class Panel, bool kOneSum, int kTokens>
void amx_block(const Job& job, const AmxWeights<Panel::kParts>& weights, const AmxChunk& chunk, std::int64_t token,
               float (*chains)[kRows]) noexcept {
  const Int8Activations& act = *job.int8;
  const int n_rows = rows_of_panel(job, chunk.p);
  const int n_valid = static_cast<int>(std::min<std::int64_t>(act.n_tok - token, kTokens));
  const bool last = chunk.tile_end == act.n_tiles;
  float* y = job.y + token * job.ldy + chunk.p * kRows;
  simd::F32x16 acc[kTokens];
  ROWMAX_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    acc[t] = chunk.tile_begin == 0 ? simd::splat(0.0f) : simd::load(chains[t]);
    if (last && t < n_valid) __builtin_prefetch(y + t * job.ldy, 1);
  }
  const int n_tiles = static_cast<int>(chunk.tile_end - chunk.tile_begin);
  amx_chains<Panel, kOneSum, kTokens>(weights, n_tiles, act, token * act.n_tiles + chunk.tile_begin * kTokens, acc);
  ROWMAX_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    if (!last) {
      simd::store(chains[t], acc[t]);
    } else if (t < n_valid) {
      store_rows(y + t * job.ldy, simd::canonical_nan(acc[t]), n_rows);
    }
  }
}

// All tokens of a task against a chunk.
template <class Panel, bool kOneSum>
void amx_chunk(const Job& job, AmxWeights<Panel::kParts>& weights, const AmxChunk& chunk,
               AmxShape& configured) noexcept {
  for (std::int64_t token = job.token_begin; token < job.token_end; token += kAmxTokens) {
    const AmxShape shape{job.int8->width(token), kOneSum};
    if (!(shape == configured)) configure(int8_config<kOneSum>((configured = shape).width));
    float(*chains)[kRows] = weights.chains + (token - job.token_begin);
    switch (shape.width) {
      case 4: amx_block<Panel, kOneSum, 4>(job, weights, chunk, token, chains); break;
      case 8: amx_block<Panel, kOneSum, 8>(job, weights, chunk, token, chains); break;
      case 12: amx_block<Panel, kOneSum, 12>(job, weights, chunk, token, chains); break;
      default: amx_block<Panel, kOneSum, 16>(job, weights, chunk, token, chains);
    }
  }
}

// Some tiles of a panel are unpacked once for all tokens.
template <class Panel>
void amx_int8_many(const Job& job) noexcept {
  constexpr std::int64_t kChunkTiles = kInt8Chunk / kTile;
  UnpackedForAmx<Panel> weights;
  const std::int64_t n_tiles = job.int8->n_tiles;
  AmxShape configured{};
  for (std::int64_t p = job.panel_begin; p < job.panel_end; ++p) {
    for (std::int64_t b = 0; b < n_tiles; b += kChunkTiles) {
      const AmxChunk chunk{p, b, std::min(b + kChunkTiles, n_tiles)};
      weights.twos = 0;
      unpack<Panel>(job, p, b, chunk.tile_end, weights);
      written();
      if constexpr (kMayBeTernary<Panel>) {
        if (weights.twos == 0) {
          amx_chunk<AmxPanelOf<Panel>, true>(job, weights, chunk, configured);
          continue;
        }
      }
      amx_chunk<AmxPanelOf<Panel>, false>(job, weights, chunk, configured);
    }
  }
  _tile_release();
}

}  // namespace
}  // namespace rowmax::engine::panel
