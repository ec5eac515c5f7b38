// Many tokens against integer panels on AVX-512. Included after dot_avx512.h, in place of the many tokens of int8_kernel.h.
//
// In words, a code less its offset and the whole activation, the 512 products of a tile and a token are 16 vpdpwssd, as many
// as of bytes, and what two bytes an activation cost besides falls away: a shift and an addition where the coarse sum becomes
// the fine one's start. The sums are those of the definition: exact, below 2^27. A block is 12 tokens by 2 panels, which share
// the loads of activations. That many sums hide their latency, 12 do not; the chains wait in memory.
#pragma once

#include <cstring>
#include <type_traits>

#include "engine/ops/matmul/int8_kernel.h"
#include "engine/ops/matmul/round_kernel.h"

namespace rowmax::engine::panel {
namespace {

inline constexpr int kWordGroup = kGemmTokens;  // tokens that lie together, and of a register block
inline constexpr int kWordPanels = 2;           // of one
inline constexpr int kWordChunk = 256;          // k unpacked at a time (8 KiB of words a panel)
inline constexpr int kWordPairs = kTile / 2;    // vectors of weights in a tile

// ---- activations

// 16 activations as words, k 0, 2, 1, 3 of every quad: pairs as unpacking makes them of a quad of codes.
struct WordTerms {
  static constexpr int kBytes = kCodeBytes;

  static ROWMAX_INLINE void store(std::int8_t* codes, int half, simd::I32x16 a) noexcept {
    const __m256i words = _mm512_cvtepi32_epi16(a.v);
    const __m256i pairs = _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(words, 0xD8), 0xD8);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + kTile * half), pairs);
  }
};

// Few tokens are multiplied as bytes.
void round_words_or_bytes(const float* x, std::int64_t ldx, const Int8Activations& out, std::int64_t group_begin,
                          std::int64_t group_end) noexcept {
  if (out.n_tok > kTokenStep) {
    round_groups<WordTerms>(x, ldx, out, group_begin, group_end);
  } else {
    round_groups<BinaryTerms>(x, ldx, out, group_begin, group_end);
  }
}

// ---- weights

// A chunk of a panel: codes less their offset.
struct WordWeights : UnpackedScales {
  alignas(64) std::int16_t words[kWordChunk / kTile][kWordPairs][2 * kRows];
};

// What unpack() fills.
template <class Panel>
struct UnpackedWords {
  float (&scales)[kInt8Chunk / 16][kRows];
  float (&mins)[kInt8Chunk / 16][kRows];
  std::int16_t (*words)[kWordPairs][2 * kRows];

  ROWMAX_INLINE explicit UnpackedWords(WordWeights& out) noexcept
      : scales(out.scales), mins(out.mins), words(out.words) {}

  struct Put {
    std::int16_t (*words)[2 * kRows];

    // Bytes 0 and 2 of every four, then 1 and 3.
    ROWMAX_INLINE void operator()(int quad, Codes c) noexcept {
      const __m512i offset = _mm512_set1_epi16(Panel::kOffset);
      const __m512i even = _mm512_and_si512(c.v, _mm512_set1_epi16(0xFF)), odd = _mm512_srli_epi16(c.v, 8);
      _mm512_store_si512(words[2 * quad], _mm512_sub_epi16(even, offset));
      _mm512_store_si512(words[2 * quad + 1], _mm512_sub_epi16(odd, offset));
    }
  };
  ROWMAX_INLINE Put tile(int t) noexcept { return {words[t]}; }
};

// ---- products

ROWMAX_INLINE __m512i load_pair(const std::int8_t* a) noexcept {
  std::int32_t words;
  std::memcpy(&words, a, 4);
  return _mm512_set1_epi32(words);
}

// The chains of a panel's tokens between one tile and the next; y would be slow, a page for each token.
using WordChains = float[kTaskTokens][kRows];

// Tile b of kPanels panels added to the chains of kTokens tokens, the first of them number `row` of the task.
template <class Panel, int kPanels, int kTokens>
ROWMAX_INLINE void word_tile(const WordWeights* weights, int b, const Activations<Panel>& act, std::int64_t row,
                             WordChains* chains) noexcept {
  constexpr int kPairs = kWordPairs / Panel::kGroups;  // of a group
  ROWMAX_UNROLL
  for (int g = 0; g < Panel::kGroups; ++g) {
    __m512i sums[kPanels][kTokens];
    ROWMAX_UNROLL
    for (int p = 0; p < kPanels; ++p) {
      ROWMAX_UNROLL
      for (int t = 0; t < kTokens; ++t) sums[p][t] = _mm512_setzero_si512();
    }
    ROWMAX_UNROLL
    for (int i = 0; i < kPairs; ++i) {
      __m512i w[kPanels];
      ROWMAX_UNROLL
      for (int p = 0; p < kPanels; ++p) w[p] = _mm512_load_si512(weights[p].words[b][g * kPairs + i]);
      ROWMAX_UNROLL
      for (int t = 0; t < kTokens; ++t) {
        const __m512i pair = load_pair(act.codes + kCodeBytes * t + 4 * (g * kPairs + i));
        ROWMAX_UNROLL
        for (int p = 0; p < kPanels; ++p) sums[p][t] = _mm512_dpwssd_epi32(sums[p][t], w[p], pair);
      }
    }
    asm volatile("" ::: "memory");  // or g++ takes the chains into registers that it does not have
    ROWMAX_UNROLL
    for (int p = 0; p < kPanels; ++p) {
      const simd::F32x16 scale = simd::load(weights[p].scales[b * Panel::kGroups + g]);
      ROWMAX_UNROLL
      for (int t = 0; t < kTokens; ++t) {
        const simd::F32x16 product = simd::mul(scale, simd::splat(act.scales[t]));
        simd::F32x16 chain = simd::load(chains[p][row + t]);
        chain = simd::fma(simd::to_f32(simd::I32x16{sums[p][t]}), product, chain);
        if constexpr (Panel::kHasMin) {
          const simd::F32x16 min = simd::load(weights[p].mins[b * Panel::kGroups + g]);
          chain = simd::fma(min, simd::splat(act.group_sum(g, t)), chain);
        }
        simd::store(chains[p][row + t], chain);
      }
    }
  }
}

// A chunk of kPanels panels, and the packed codes that are unpacked next.
template <int kPanels>
struct WordTurn {
  Chunk chunk;
  Ahead ahead[kPanels];
};

// kTokens tokens from `token` on, a token group, against a chunk.
template <class Panel, int kPanels, int kTokens>
void word_block(const Job& job, const WordWeights* weights, CorrectionRows rows, WordTurn<kPanels>& turn,
                std::int64_t token, WordChains* chains) noexcept {
  const Int8Activations& acts = *job.int8;
  const Chunk& chunk = turn.chunk;
  const std::int64_t row = token - job.token_begin;
  Ahead ahead[kPanels];
  for (int p = 0; p < kPanels; ++p) {
    ahead[p] = turn.ahead[p].take();
    if (chunk.tile_begin == 0) std::memset(chains[p][row], 0, kTokens * sizeof chains[p][row]);
  }
  Activations<Panel> act(acts, rows, token * acts.n_tiles + chunk.tile_begin * kTokens);
  const int n_tiles = static_cast<int>(chunk.tile_end - chunk.tile_begin);
  for (int b = 0; b < n_tiles; ++b) {
    for (Ahead& each : ahead) each.ask();
    word_tile<Panel, kPanels, kTokens>(weights, b, act, row, chains);
    act.next(kTokens);
  }
  if (chunk.tile_end < acts.n_tiles) return;
  for (int p = 0; p < kPanels; ++p) {
    const int n_rows = rows_of_panel(job, chunk.p + p);
    for (int t = 0; t < kTokens && token + t < acts.n_tok; ++t) {
      store_rows(job.y + (token + t) * job.ldy + (chunk.p + p) * kRows,
                 simd::canonical_nan(simd::load(chains[p][row + t])), n_rows);
    }
  }
}

// All tokens of a task against a chunk.
template <class Panel, int kPanels>
void word_chunk(const Job& job, const WordWeights* weights, CorrectionRows rows, WordTurn<kPanels>& turn,
                WordChains* chains) noexcept {
  for (std::int64_t token = job.token_begin; token < job.token_end; token += kWordGroup) {
    switch (job.int8->width(token)) {
      case 4: word_block<Panel, kPanels, 4>(job, weights, rows, turn, token, chains); break;
      case 8: word_block<Panel, kPanels, 8>(job, weights, rows, turn, token, chains); break;
      default: word_block<Panel, kPanels, kWordGroup>(job, weights, rows, turn, token, chains);
    }
  }
}

// Layouts that agree here share the code.
template <class Panel>
using WordPanelOf = UnpackedPanel<16, Panel::kGroups, false, Panel::kHasMin>;

template <class Panel, int kPanels>
void word_panels(const Job& job, std::int64_t p, WordWeights* weights, WordChains* chains) noexcept {
  constexpr std::int64_t kChunkTiles = kWordChunk / kTile;
  const std::int64_t n_tiles = job.int8->n_tiles;
  for (std::int64_t b = 0; b < n_tiles; b += kChunkTiles) {
    WordTurn<kPanels> turn{{p, b, b + kChunkTiles < n_tiles ? b + kChunkTiles : n_tiles}, {}};
    const bool last = turn.chunk.tile_end == n_tiles;
    const std::int64_t next = last ? 0 : turn.chunk.tile_end, left = n_tiles - next;
    for (int i = 0; i < kPanels; ++i) {
      UnpackedWords<Panel> out(weights[i]);
      unpack<Panel>(job, p + i, b, turn.chunk.tile_end, out);
      turn.ahead[i] =
          ahead_of<Panel>(job, last ? p + kPanels + i : p + i, next, left < kChunkTiles ? left : kChunkTiles);
    }
    word_chunk<WordPanelOf<Panel>, kPanels>(job, weights, kCorrectionRows<Panel>, turn, chains);
  }
}

// Some tiles of two panels are unpacked once for all tokens.
template <class Panel>
void word_many(const Job& job) noexcept {
  WordWeights weights[kWordPanels];
  alignas(64) WordChains chains[kWordPanels];
  std::int64_t p = job.panel_begin;
  for (; p + kWordPanels <= job.panel_end; p += kWordPanels) word_panels<Panel, kWordPanels>(job, p, weights, chains);
  if (p < job.panel_end) word_panels<Panel, 1>(job, p, weights, chains);
}

}  // namespace
}  // namespace rowmax::engine::panel
