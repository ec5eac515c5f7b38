// Ternary panels against activations of one signed byte a number: exact integer sums over all k, then two float
// operations an output. Included after one dot_*.h by the file of one instruction set; see matmul.h for the definition
// and panel.h for the layout.
//
// dot_*.h provides, beside what int8_kernel.h needs, PackedDot: sums of packed codes of 2 bits times activations, with
// start(), add<j>(packed, 4 activations) for the codes in bits 2j and 2j + 1, flush() after at most kPackedTiles tiles,
// total(); kTernaryPanels, the panels that share the loads of many tokens' activations; kTernaryFewPanels, those that one
// token takes side by side; and what kBlockTokens and kFewTokens are for integer panels.
#pragma once

#include "engine/ops/matmul/int8_kernel.h"

namespace rowmax::engine::panel {
namespace {

// float(sum of (code - 1) * activation) * scale / s, for the rows of a panel.
ROWMAX_INLINE void store_outputs(const Job& job, std::int64_t token, std::int64_t p, simd::I32x16 sum,
                                 simd::F32x16 scale) noexcept {
  const TokenActivations& act = *job.by_token;
  const simd::I32x16 centred = simd::sub(sum, simd::splat_i32(act.sums[token]));
  const simd::F32x16 y = simd::div(simd::mul(simd::to_f32(centred), scale), simd::splat(act.scales[token]));
  store_rows(job.y + token * job.ldy + p * kRows, simd::canonical_nan(y), rows_of_panel(job, p));
}

// Quad 4h + j, of which `packed` has the codes.
template <int kTokens, int h, int j>
ROWMAX_INLINE void add_packed_quad(const Codes& packed, const std::int8_t* a, PackedDot (&dots)[kTokens]) noexcept {
  ROWMAX_UNROLL
  for (int t = 0; t < kTokens; ++t) dots[t].template add<j>(packed, a + kTile * t + 16 * h + 4 * j);
}
template <int kTokens, int h>
ROWMAX_INLINE void add_packed(const std::byte* tile, const std::int8_t* a, PackedDot (&dots)[kTokens]) noexcept {
  const Codes packed = load_codes(tile + h * kVector);
  add_packed_quad<kTokens, h, 0>(packed, a, dots);
  add_packed_quad<kTokens, h, 1>(packed, a, dots);
  add_packed_quad<kTokens, h, 2>(packed, a, dots);
  add_packed_quad<kTokens, h, 3>(packed, a, dots);
}

// kTokens of up to 4 tokens, from job.token_begin on, kPanels panels from p on: codes go from the packed bytes through registers, once. What is asked for
// ahead goes from the end of a panel to the one that follows in the same place.
template <int kTokens, int kPanels>
ROWMAX_INLINE void ternary_few_panels(const Job& job, std::int64_t p) noexcept {
  constexpr int kAheadTiles = kPrefetchBytes / TernaryPanel::kTileBytes;
  const TokenActivations& act = *job.by_token;
  const std::byte* panel = job.panels + p * job.panel_bytes;
  const std::byte* tile = panel + TernaryPanel::kHeadBytes;
  const std::byte* ahead = tile + kPrefetchBytes;
  const std::int8_t* a = act.codes + job.token_begin * kTile;
  const std::int64_t stride = kTile * (kTernaryFewTokens == kTokenStep ? kTokens : act.n_tok);
  std::int64_t left_ahead = act.n_tiles - kAheadTiles;
  PackedDot dots[kPanels][kTokens];
  ROWMAX_UNROLL
  for (int i = 0; i < kPanels; ++i) {
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) dots[i][t].start();
  }
  for (std::int64_t left = act.n_tiles; left > 0; left -= kPackedTiles) {
    const std::int64_t n = left < kPackedTiles ? left : kPackedTiles;
    for (std::int64_t b = 0; b < n; ++b, tile += TernaryPanel::kTileBytes, a += stride) {
      if (left_ahead-- == 0) ahead += (kPanels - 1) * job.panel_bytes + TernaryPanel::kHeadBytes;
      ROWMAX_UNROLL
      for (int i = 0; i < kPanels; ++i) {
        prefetch(ahead + i * job.panel_bytes);
        prefetch(ahead + i * job.panel_bytes + kVector);
        add_packed<kTokens, 0>(tile + i * job.panel_bytes, a, dots[i]);
        add_packed<kTokens, 1>(tile + i * job.panel_bytes, a, dots[i]);
      }
      ahead += TernaryPanel::kTileBytes;
    }
    ROWMAX_UNROLL
    for (int i = 0; i < kPanels; ++i) {
      ROWMAX_UNROLL
      for (int t = 0; t < kTokens; ++t) dots[i][t].flush();
    }
  }
  ROWMAX_UNROLL
  for (int i = 0; i < kPanels; ++i) {
    const simd::F32x16 scale = simd::load(reinterpret_cast<const float*>(panel + i * job.panel_bytes));
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) store_outputs(job, job.token_begin + t, p + i, dots[i][t].total(), scale);
  }
}

// Several streams of memory reach its bandwidth where one does not.
template <int kTokens>
void ternary_few(const Job& job) noexcept {
  constexpr int kPanels = kTokens == 1 ? kTernaryFewPanels : 1;
  std::int64_t p = job.panel_begin;
  for (; p + kPanels <= job.panel_end; p += kPanels) ternary_few_panels<kTokens, kPanels>(job, p);
  if constexpr (kPanels > 1) {
    for (; p < job.panel_end; ++p) ternary_few_panels<kTokens, 1>(job, p);
  }
}

// Sums of a task between one chunk of k and the next, and a chunk of its panels' codes.
struct TernaryScratch {
  alignas(64) std::uint8_t codes[kTernaryPanels][kTernaryChunk / kTile][kQuads][kVector];
  alignas(64) std::int32_t sums[kTaskTokens + kMaxTokenGroup][kTernaryPanels][kRows];
};

// Tiles [tile_begin, tile_end) of panel p.
ROWMAX_INLINE void unpack_ternary(const Job& job, std::int64_t p, std::int64_t tile_begin, std::int64_t tile_end,
                                  std::uint8_t (*codes)[kQuads][kVector]) noexcept {
  const std::byte* tiles = job.panels + p * job.panel_bytes + TernaryPanel::kHeadBytes;
  for (std::int64_t tile = tile_begin; tile < tile_end; ++tile) {
    unpack_tile<TernaryPanel>(tiles + tile * TernaryPanel::kTileBytes, StoreQuads{codes[tile - tile_begin]});
  }
}

// kTokens tokens (padding included), a token group or a part of it, against a chunk of kPanels unpacked panels.
template <int kPanels, int kTokens>
ROWMAX_INLINE void ternary_block(const Job& job, TernaryScratch& scratch, std::int64_t tile_begin,
                                 std::int64_t tile_end, std::int64_t token, std::int64_t p) noexcept {
  const TokenActivations& act = *job.by_token;
  std::int32_t(*sums)[kTernaryPanels][kRows] = scratch.sums + (token - job.token_begin);
  Dot<2> dots[kPanels][kTokens];
  ROWMAX_UNROLL
  for (int i = 0; i < kPanels; ++i) {
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      dots[i][t].start(tile_begin == 0 ? simd::splat_i32(0) : simd::load_i32(sums[t][i]));
    }
  }
  constexpr int kWidth = kTernaryBlockTokens == kGemmTokens ? kTokens : kGemmTokens;  // of the token group
  const std::int64_t lane = kWidth == kTokens ? 0 : token % kWidth;
  const std::int8_t* a = act.codes + ((token - lane) * act.n_tiles + tile_begin * kWidth + lane) * kTile;
  const int n_tiles = static_cast<int>(tile_end - tile_begin);
  for (int b = 0; b < n_tiles; ++b, a += kWidth * kTile) {
    ROWMAX_UNROLL
    for (int q = 0; q < kQuads; ++q) {
      typename Dot<2>::Weights weights[kPanels];
      ROWMAX_UNROLL
      for (int i = 0; i < kPanels; ++i) weights[i] = Dot<2>::prepare(load_codes(scratch.codes[i][b][q]));
      ROWMAX_UNROLL
      for (int t = 0; t < kTokens; ++t) {
        ROWMAX_UNROLL
        for (int i = 0; i < kPanels; ++i) dots[i][t].add(weights[i], a + kTile * t + 4 * q, q);
      }
    }
  }
  const bool last = tile_end == act.n_tiles;
  ROWMAX_UNROLL
  for (int i = 0; i < kPanels; ++i) {
    const simd::F32x16 scale = simd::load(reinterpret_cast<const float*>(job.panels + (p + i) * job.panel_bytes));
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      const simd::I32x16 sum = dots[i][t].value(kQuads);
      if (!last) {
        simd::store_i32(sums[t][i], sum);
      } else if (token + t < act.n_tok) {
        store_outputs(job, token + t, p + i, sum, scale);
      }
    }
  }
}

// kPanels panels from p on: a chunk of their codes is unpacked once for all tokens of the task.
template <int kPanels>
void ternary_panels(const Job& job, std::int64_t p, TernaryScratch& scratch) noexcept {
  constexpr std::int64_t kChunkTiles = kTernaryChunk / kTile;
  const std::int64_t n_tiles = job.by_token->n_tiles;
  for (std::int64_t b = 0; b < n_tiles; b += kChunkTiles) {
    const std::int64_t b_end = b + kChunkTiles < n_tiles ? b + kChunkTiles : n_tiles;
    for (int i = 0; i < kPanels; ++i) unpack_ternary(job, p + i, b, b_end, scratch.codes[i]);
    for (std::int64_t token = job.token_begin; token < job.token_end; token += kGemmTokens) {
      const int width = job.by_token->width(token);
      if (width == kGemmTokens) {
        for (int t = 0; t < kGemmTokens && token + t < job.by_token->n_tok; t += kTernaryBlockTokens) {
          ternary_block<kPanels, kTernaryBlockTokens>(job, scratch, b, b_end, token + t, p);
        }
      } else if constexpr (kGemmTokens == 12) {
        if (width == 8) {
          ternary_block<kPanels, 8>(job, scratch, b, b_end, token, p);
        } else {
          ternary_block<kPanels, 4>(job, scratch, b, b_end, token, p);
        }
      }
    }
  }
}

// The whole call's number of tokens decides, as it decided the order of the activations in memory.
inline void ternary_few_tokens(const Job& job) noexcept {
  const std::int64_t n_tok = job.by_token->n_tok;
  if constexpr (kTernaryFewTokens == 4) {
    switch (n_tok) {
      case 1: return ternary_few<1>(job);
      case 2: return ternary_few<2>(job);
      case 3: return ternary_few<3>(job);
      default: return ternary_few<4>(job);
    }
  } else {
    Job part = job;
    for (; part.token_begin + kTernaryFewTokens <= n_tok; part.token_begin += kTernaryFewTokens) {
      ternary_few<kTernaryFewTokens>(part);
    }
    for (; part.token_begin < n_tok; ++part.token_begin) ternary_few<1>(part);
  }
}

inline void ternary_many(const Job& job) noexcept {
  TernaryScratch scratch;
  std::int64_t p = job.panel_begin;
  for (; p + kTernaryPanels <= job.panel_end; p += kTernaryPanels) ternary_panels<kTernaryPanels>(job, p, scratch);
  if constexpr (kTernaryPanels > 1) {
    for (; p < job.panel_end; ++p) ternary_panels<1>(job, p, scratch);
  }
}

}  // namespace
}  // namespace rowmax::engine::panel
