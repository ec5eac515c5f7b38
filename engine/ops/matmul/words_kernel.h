// Many tokens on AVX2. Included after dot_avx2.h, in place of the many tokens of int8_kernel.h and ternary_kernel.h.
//
// Of 512 products of a tile and a token in bytes, two for each activation, AVX2 makes 32 vectors, adds them up in 16 bits
// and has these to widen. In words, a code less its offset and the whole activation, they are 32 vectors too, of 32 bits
// at once (vpmaddwd), and one code serves every format. The sums are those of the definition: exact, below 2^27.
// A block is 6 tokens by 16 rows: 12 sums, 2 vectors of weights, an activation and a product are the 16 registers there
// are. The float chains wait in memory.
//
// Ternary panels have one byte an activation and keep their bytes, 6 tokens at a time.
#pragma once

#include "engine/ops/matmul/int8_kernel.h"
#include "engine/ops/matmul/round_kernel.h"
#include "engine/ops/matmul/ternary_kernel.h"

namespace rowmax::engine::panel {
namespace {

inline constexpr int kWordGroup = 12;         // tokens that lie together
inline constexpr int kWordTokens = 6;         // of a register block
inline constexpr int kWordChunk = 512;        // k unpacked at a time (16 KiB of words)
inline constexpr int kWordPanels = 4;         // that go through the tokens' chunk before the next chunk's turn
inline constexpr int kWordPairs = kTile / 2;  // vectors of weights in a tile
inline constexpr int kPairsOfQuad = kWordPairs / kQuads;

// ---- activations

// 16 activations as words, k 0, 2, 1, 3 of every quad: pairs as unpacking makes them of a quad of codes.
struct WordTerms {
  static constexpr int kBytes = kCodeBytes;

  static ROWMAX_INLINE void store(std::int8_t* codes, int half, simd::I32x16 a) noexcept {
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a.lo, a.hi), 0xD8);
    const __m256i pairs = _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(words, 0xD8), 0xD8);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + 2 * 16 * half), pairs);
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

// A chunk of a panel.
struct WordWeights : UnpackedScales {
  alignas(64) std::int16_t words[kWordChunk / kTile][kWordPairs][2 * kRows];  // codes less their offset
};

// What unpack() fills.
template <class Panel>
struct UnpackedWords : WordWeights {
  struct Put {
    std::int16_t (*words)[2 * kRows];

    // The words of bytes 0 and 2 of every four, and of 1 and 3.
    static ROWMAX_INLINE void store(std::int16_t* even, std::int16_t* odd, __m256i bytes) noexcept {
      __m256i low, high;
      if constexpr (Panel::kDotBits == 8) {  // signed
        low = _mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8);
        high = _mm256_srai_epi16(bytes, 8);
      } else {
        const __m256i offset = _mm256_set1_epi16(Panel::kOffset);
        low = _mm256_sub_epi16(_mm256_and_si256(bytes, _mm256_set1_epi16(0xFF)), offset);
        high = _mm256_sub_epi16(_mm256_srli_epi16(bytes, 8), offset);
      }
      _mm256_store_si256(reinterpret_cast<__m256i*>(even), low);
      _mm256_store_si256(reinterpret_cast<__m256i*>(odd), high);
    }
    ROWMAX_INLINE void operator()(int quad, Codes c) noexcept {
      std::int16_t(*pairs)[2 * kRows] = words + kPairsOfQuad * quad;
      store(pairs[0], pairs[1], c.lo);
      store(pairs[0] + kRows, pairs[1] + kRows, c.hi);
    }
  };
  ROWMAX_INLINE Put tile(int t) noexcept { return {this->words[t]}; }
};

// ---- products

ROWMAX_INLINE __m256i load_pair(const std::int8_t* a) noexcept {
  std::int32_t words;
  std::memcpy(&words, a, 4);
  return _mm256_set1_epi32(words);
}

// Sums of 16 rows and kTokens tokens, `stride` bytes apart.
template <int kTokens, int kStride>
struct BlockSums {
  __m256i lo[kTokens], hi[kTokens];

  // A pair of k in words.
  template <bool kFresh>
  ROWMAX_INLINE void add_words_of(const std::int16_t* weights, const std::int8_t* a) noexcept {
    const __m256i w_lo = _mm256_load_si256(reinterpret_cast<const __m256i*>(weights));
    const __m256i w_hi = _mm256_load_si256(reinterpret_cast<const __m256i*>(weights + kRows));
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      const __m256i pair = load_pair(a + kStride * t);
      if constexpr (kFresh) {
        lo[t] = _mm256_madd_epi16(w_lo, pair);
        hi[t] = _mm256_madd_epi16(w_hi, pair);
      } else {
        add_dwords(lo[t], _mm256_madd_epi16(w_lo, pair));
        add_dwords(hi[t], _mm256_madd_epi16(w_hi, pair));
      }
    }
  }
  // A quad of k in bytes.
  ROWMAX_INLINE void add_bytes_of(const std::uint8_t* weights, const std::int8_t* a) noexcept {
    const Codes w = load_codes(weights);
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      const __m256i quad = load_pair(a + kStride * t);
      add_words(lo[t], _mm256_maddubs_epi16(w.lo, quad));
      add_words(hi[t], _mm256_maddubs_epi16(w.hi, quad));
    }
  }
};

// One tile added to the chains of kTokens tokens.
template <class Panel, int kTokens>
ROWMAX_INLINE void word_tile(const std::int16_t (*words)[2 * kRows], const float (*scales)[kRows],
                             const float (*mins)[kRows], const Activations<Panel>& act,
                             float (*chains)[kRows]) noexcept {
  constexpr int kPairs = kWordPairs / Panel::kGroups;  // of a group
  ROWMAX_UNROLL
  for (int g = 0; g < Panel::kGroups; ++g) {
    BlockSums<kTokens, kCodeBytes> sums;
    const std::int16_t(*w)[2 * kRows] = words + g * kPairs;
    const std::int8_t* a = act.codes + 4 * g * kPairs;
    sums.template add_words_of<true>(w[0], a);
    ROWMAX_UNROLL
    for (int i = 1; i < kPairs; ++i) sums.template add_words_of<false>(w[i], a + 4 * i);
    asm volatile("" ::: "memory");  // or g++ keeps the chains on the stack as well, and writes them twice
    const simd::F32x16 scale = simd::load(scales[g]);
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      const simd::F32x16 sum = simd::to_f32(simd::I32x16{sums.lo[t], sums.hi[t]});
      simd::F32x16 chain = simd::fma(sum, simd::mul(scale, simd::splat(act.scales[t])), simd::load(chains[t]));
      if constexpr (Panel::kHasMin) {
        chain = simd::fma(simd::load(mins[g]), simd::splat(act.group_sum(g, t)), chain);
      }
      simd::store(chains[t], chain);
    }
  }
}

// kTokens tokens from `token` on, the first of them number `lane` of a group of `width`, against a chunk. chains: theirs.
template <class Panel, int kTokens>
void word_block(const Job& job, const WordWeights& weights, CorrectionRows rows, const Chunk& chunk, std::int64_t token,
                int lane, int width, float (*chains)[kRows], Ahead ahead) noexcept {
  const Int8Activations& acts = *job.int8;
  if (chunk.tile_begin == 0) std::memset(chains, 0, kTokens * sizeof *chains);
  Activations<Panel> act(acts, rows, (token - lane) * acts.n_tiles + chunk.tile_begin * width + lane);
  const int n_tiles = static_cast<int>(chunk.tile_end - chunk.tile_begin);
  for (int b = 0; b < n_tiles; ++b) {
    ahead.ask();
    word_tile<Panel, kTokens>(weights.words[b], weights.scales + b * Panel::kGroups, weights.mins + b * Panel::kGroups,
                              act, chains);
    act.next(width);
  }
  if (chunk.tile_end < acts.n_tiles) return;
  const int n_rows = rows_of_panel(job, chunk.p);
  for (int t = 0; t < kTokens && token + t < acts.n_tok; ++t) {
    store_rows(job.y + (token + t) * job.ldy + chunk.p * kRows, simd::canonical_nan(simd::load(chains[t])), n_rows);
  }
}

// Calls block(token, lane, width, number of tokens) for all tokens of a task, 6 or 4 at a time.
template <class Block>
ROWMAX_INLINE void for_token_blocks(const Job& job, const TokenGroups& groups, Block&& block) noexcept {
  for (std::int64_t token = job.token_begin; token < job.token_end; token += kWordGroup) {
    const int width = groups.width(token);
    if (width == kWordGroup) {
      for (int lane = 0; lane < width; lane += kWordTokens) {
        block(token + lane, lane, width, std::integral_constant<int, kWordTokens>{});
      }
    } else {
      for (int lane = 0; lane < width; lane += kTokenStep) {
        block(token + lane, lane, width, std::integral_constant<int, kTokenStep>{});
      }
    }
  }
}

// All tokens of a task against a chunk. chains: those of the panel.
template <class Panel>
void word_chunk(const Job& job, const WordWeights& weights, CorrectionRows rows, const Chunk& chunk,
                float (*chains)[kRows], Ahead ahead) noexcept {
  for_token_blocks(job, *job.int8, [&](std::int64_t token, int lane, int width, auto n) ROWMAX_INLINE_LAMBDA {
    word_block<Panel, n>(job, weights, rows, chunk, token, lane, width, chains + (token - job.token_begin),
                         ahead.take());
  });
}

// Tiles of a panel, and what comes behind them.
struct Turn {
  std::int64_t p, place, tile_begin, tile_end;  // place: among kWordPanels
  std::int64_t next_p, next_begin, next_end;
};
// Calls run(Turn) for chunks of kChunkTiles tiles. A chunk's activations of a task's tokens stay in the second cache for
// kWordPanels panels; those of all k would not.
template <int kChunkTiles, class Run>
ROWMAX_INLINE void for_chunks(const Job& job, std::int64_t n_tiles, Run&& run) noexcept {
  const auto end_of = [&](std::int64_t b) { return b + kChunkTiles < n_tiles ? b + kChunkTiles : n_tiles; };
  for (std::int64_t first = job.panel_begin; first < job.panel_end; first += kWordPanels) {
    const std::int64_t end = first + kWordPanels < job.panel_end ? first + kWordPanels : job.panel_end;
    for (std::int64_t b = 0; b < n_tiles; b += kChunkTiles) {
      for (std::int64_t p = first; p < end; ++p) {
        Turn turn{p, p - first, b, end_of(b), p + 1, b, end_of(b)};
        if (p + 1 == end) {
          const bool last = turn.tile_end == n_tiles;
          turn.next_p = last ? end : first;
          turn.next_begin = last ? 0 : turn.tile_end;
          turn.next_end = end_of(turn.next_begin);
        }
        run(turn);
      }
    }
  }
}

// Layouts that agree here share the code.
template <class Panel>
using WordPanelOf = UnpackedPanel<16, Panel::kGroups, false, Panel::kHasMin>;

template <class Panel>
void word_many(const Job& job) noexcept {
  UnpackedWords<Panel> weights;
  alignas(64) float chains[kWordPanels][kTaskTokens][kRows];
  for_chunks<kWordChunk / kTile>(job, job.int8->n_tiles, [&](const Turn& turn) ROWMAX_INLINE_LAMBDA {
    unpack<Panel>(job, turn.p, turn.tile_begin, turn.tile_end, weights);
    const Ahead ahead = ahead_of<Panel>(job, turn.next_p, turn.next_begin, turn.next_end - turn.next_begin);
    word_chunk<WordPanelOf<Panel>>(job, weights, kCorrectionRows<Panel>, {turn.p, turn.tile_begin, turn.tile_end},
                                   chains[turn.place], ahead);
  });
}

// ---- ternary panels

// kTokens tokens against a chunk, as word_block. 16 bits hold the products of kPackedTiles tiles (PackedDot).
template <int kTokens>
void ternary_byte_block(const Job& job, const std::uint8_t (*codes)[kQuads][kVector], const Chunk& chunk,
                        std::int64_t token, int lane, int width, std::int32_t (*totals)[kRows]) noexcept {
  const TokenActivations& act = *job.by_token;
  if (chunk.tile_begin == 0) std::memset(totals, 0, kTokens * sizeof *totals);
  const std::int8_t* a = act.codes + ((token - lane) * act.n_tiles + chunk.tile_begin * width + lane) * kTile;
  const int n_tiles = static_cast<int>(chunk.tile_end - chunk.tile_begin);
  const __m256i ones = _mm256_set1_epi16(1);
  for (int first = 0; first < n_tiles; first += kPackedTiles) {
    const int end = first + kPackedTiles < n_tiles ? first + kPackedTiles : n_tiles;
    BlockSums<kTokens, kTile> sums;
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) sums.lo[t] = sums.hi[t] = _mm256_setzero_si256();
    for (int b = first; b < end; ++b, a += width * kTile) {
      ROWMAX_UNROLL
      for (int q = 0; q < kQuads; ++q) sums.add_bytes_of(codes[b][q], a + 4 * q);
    }
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      const simd::I32x16 more{_mm256_madd_epi16(sums.lo[t], ones), _mm256_madd_epi16(sums.hi[t], ones)};
      simd::store_i32(totals[t], simd::add(simd::load_i32(totals[t]), more));
    }
  }
  if (chunk.tile_end < act.n_tiles) return;
  const simd::F32x16 scale = simd::load(reinterpret_cast<const float*>(job.panels + chunk.p * job.panel_bytes));
  for (int t = 0; t < kTokens && token + t < act.n_tok; ++t) {
    store_outputs(job, token + t, chunk.p, simd::load_i32(totals[t]), scale);
  }
}

inline void ternary_byte_many(const Job& job) noexcept {
  alignas(64) std::uint8_t codes[kTernaryChunk / kTile][kQuads][kVector];
  alignas(64) std::int32_t totals[kWordPanels][kTaskTokens][kRows];
  for_chunks<kTernaryChunk / kTile>(job, job.by_token->n_tiles, [&](const Turn& turn) ROWMAX_INLINE_LAMBDA {
    unpack_ternary(job, turn.p, turn.tile_begin, turn.tile_end, codes);
    const Chunk chunk{turn.p, turn.tile_begin, turn.tile_end};
    for_token_blocks(job, *job.by_token, [&](std::int64_t token, int lane, int width, auto n) ROWMAX_INLINE_LAMBDA {
      ternary_byte_block<n>(job, codes, chunk, token, lane, width, totals[turn.place] + (token - job.token_begin));
    });
  });
}

}  // namespace
}  // namespace rowmax::engine::panel
