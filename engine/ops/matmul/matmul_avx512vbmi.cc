// Few tokens against codes of one and two bits, by looking sums up in place of multiplying: AVX-512 VBMI.
//
// A byte of packed codes, shifted by 0 or 2, holds in its bits 0, 1, 4 and 5 either two codes of 2 bits or four of 1
// bit. Of the 16 sums that such codes can make with their activations, the right one is looked up: vpermb takes 64 of
// them out of 64 bytes, where the tables of the four bytes of a row (i = 0 .. 3) lie side by side. The index is
//   bits 0, 1 and 4, 5: those of the codes; bits 2, 3: i
// A sum plus what its negative activations can take off is one of 0 .. 2^16 - 1: with codes below 3 at most
// 2 * 2 * 16256, and with bits at most 4 * 16256. So it is two bytes, in two tables. vpdpbusd adds up the four bytes of
// a row. Together these offsets, with the -1 of the codes, are the sum of the activations' magnitudes:
//   sum (code - 1) a = sum over pairs (looked up) - sum |a|, and, bits standing for 0 and 2, twice that for bits
//   (sum (2 bit - 1) a = 2 * sum over fours (looked up) - sum |a|)
// These integers are exact, and the float operations are those of int8_kernel.h: the same bits.
#include "engine/ops/matmul/dot_avx512.h"
#include "engine/ops/matmul/int8_kernel.h"

namespace rowmax::engine::panel {
namespace {

constexpr int kTableVectors = 2;  // the sums' low bytes, their high bytes

// ---- tables

// Of the sums e0 * low + e1 * high over entries e: lane p of 16 has e0 = p % 4, e1 = p / 4 (codes), or the bits of
// these (kBits = 1: the pair of words of kLowBits, kHighBits).
struct EntryWords {
  alignas(64) std::int16_t codes[16][2];
  alignas(64) std::int16_t low_bits[16][2];
  alignas(64) std::int16_t high_bits[16][2];
};
constexpr EntryWords kEntryWords = [] {
  EntryWords words{};
  for (int p = 0; p < 16; ++p) {
    const int low = p % 4, high = p / 4;
    words.codes[p][0] = static_cast<std::int16_t>(low);
    words.codes[p][1] = static_cast<std::int16_t>(high);
    for (int bit = 0; bit < 2; ++bit) {
      words.low_bits[p][bit] = static_cast<std::int16_t>(low >> bit & 1);
      words.high_bits[p][bit] = static_cast<std::int16_t>(high >> bit & 1);
    }
  }
  return words;
}();

// Which two of a tile's 32 activations share a table: words 2d, 2d + 1 for table d.
struct PairOrder {
  alignas(64) std::int16_t codes[16][2];   // table 4 (2h + s) + i: quads 4h + s and 4h + s + 2
  alignas(64) std::int16_t bits[2][8][2];  // [0]: quads 2s, 2s + 1 of table 4s + i; [1]: quads 2s + 4, 2s + 5
};
constexpr PairOrder kPairOrder = [] {
  PairOrder order{};
  for (int d = 0; d < 16; ++d) {
    const int h = d / 8, s = d / 4 % 2, i = d % 4;
    for (int second = 0; second < 2; ++second) {
      order.codes[d][second] = static_cast<std::int16_t>(4 * (4 * h + s + 2 * second) + i);
      order.bits[h][4 * s + i][second] = static_cast<std::int16_t>(4 * (2 * s + 4 * h + second) + i);
    }
  }
  return order;
}();

// The 32 activations of a tile as words.
ROWMAX_INLINE __m512i load_words(const std::int8_t* codes) noexcept {
  const __m512i coarse = _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes)));
  const __m512i fine = _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + kTile)));
  return _mm512_add_epi16(_mm512_slli_epi16(coarse, kTermShift), fine);
}
// Twice (or kTimes times) what the negative ones of each pair of words take off.
template <int kTimes>
ROWMAX_INLINE __m512i negative_parts(__m512i pairs) noexcept {
  const __m512i zero = _mm512_setzero_si512();
  return _mm512_madd_epi16(_mm512_max_epi16(_mm512_sub_epi16(zero, pairs), zero), _mm512_set1_epi16(kTimes));
}

// Four tables of 16 sums below 2^16, side by side: bytes 16 L + 4 i + r hold entry 4 L + r of table i.
ROWMAX_INLINE void store_tables(std::uint8_t* out, const __m512i (&sums)[4]) noexcept {
  const __m512i low_byte = _mm512_set1_epi16(255);
  const __m512i first = _mm512_packus_epi32(sums[0], sums[1]), second = _mm512_packus_epi32(sums[2], sums[3]);
  _mm512_storeu_si512(out, _mm512_packus_epi16(_mm512_and_si512(first, low_byte), _mm512_and_si512(second, low_byte)));
  _mm512_storeu_si512(out + kVector, _mm512_packus_epi16(_mm512_srli_epi16(first, 8), _mm512_srli_epi16(second, 8)));
}

void build_pair_tables(__m512i words, std::uint8_t* out) noexcept {
  alignas(64) std::int32_t pairs[16], offsets[16];
  const __m512i sorted = _mm512_permutexvar_epi16(_mm512_load_si512(kPairOrder.codes), words);
  _mm512_store_si512(pairs, sorted);
  _mm512_store_si512(offsets, negative_parts<2>(sorted));
  const __m512i entries = _mm512_load_si512(kEntryWords.codes);
  for (int g = 0; g < 16; g += 4, out += kTableVectors * kVector) {
    __m512i sums[4];
    ROWMAX_UNROLL
    for (int i = 0; i < 4; ++i) {
      sums[i] = _mm512_dpwssd_epi32(_mm512_set1_epi32(offsets[g + i]), entries, _mm512_set1_epi32(pairs[g + i]));
    }
    store_tables(out, sums);
  }
}

void build_quad_tables(__m512i words, std::uint8_t* out) noexcept {
  alignas(64) std::int32_t pairs[16], offsets[16];
  const __m512i sorted = _mm512_permutexvar_epi16(_mm512_load_si512(kPairOrder.bits), words);
  _mm512_store_si512(pairs, sorted);
  _mm512_store_si512(offsets, negative_parts<1>(sorted));
  const __m512i low = _mm512_load_si512(kEntryWords.low_bits), high = _mm512_load_si512(kEntryWords.high_bits);
  for (int g = 0; g < 8; g += 4, out += kTableVectors * kVector) {
    __m512i sums[4];
    ROWMAX_UNROLL
    for (int i = 0; i < 4; ++i) {
      const __m512i offset = _mm512_set1_epi32(offsets[g + i] + offsets[g + i + 8]);
      sums[i] = _mm512_dpwssd_epi32(offset, low, _mm512_set1_epi32(pairs[g + i]));
      sums[i] = _mm512_dpwssd_epi32(sums[i], high, _mm512_set1_epi32(pairs[g + i + 8]));
    }
    store_tables(out, sums);
  }
}

void build_tables(const Int8Activations& act, unsigned kinds) noexcept {
  const __m512i ones = _mm512_set1_epi16(1);
  for (std::int64_t at = 0; at < act.n_tok * act.n_tiles; ++at) {
    const __m512i words = load_words(act.codes + at * kCodeBytes);
    act.lut_starts[at] = -_mm512_reduce_add_epi32(_mm512_madd_epi16(_mm512_abs_epi16(words), ones));
    if ((kinds >> kPairLut & 1u) != 0) build_pair_tables(words, act.luts[kPairLut] + at * kLutBytes[kPairLut]);
    if ((kinds >> kQuadLut & 1u) != 0) build_quad_tables(words, act.luts[kQuadLut] + at * kLutBytes[kQuadLut]);
  }
}

// ---- products

ROWMAX_INLINE void prefetch_far(const std::byte* p) noexcept {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1);
}

template <class Panel>
inline constexpr Lut kLutOf = Panel::kBits == 1 ? kQuadLut : kPairLut;

// The sums of one tile.
template <int kPanels, int kTokens>
struct TileSums {
  __m512i low[kPanels][kTokens], high[kPanels][kTokens];

  ROWMAX_INLINE void start(const std::int32_t* starts) noexcept {
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      ROWMAX_UNROLL
      for (int i = 0; i < kPanels; ++i) {
        low[i][t] = _mm512_set1_epi32(starts[t]);
        high[i][t] = _mm512_setzero_si512();
      }
    }
  }
  // One vector of indices a panel; lut: its tables for token 0.
  template <class Panel>
  ROWMAX_INLINE void add(const __m512i (&indices)[kPanels], const std::uint8_t* lut) noexcept {
    const __m512i factors = _mm512_set1_epi8(Panel::kBits == 1 ? 2 : 1);
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t, lut += kLutBytes[kLutOf<Panel>]) {
      const __m512i lows = _mm512_loadu_si512(lut), highs = _mm512_loadu_si512(lut + kVector);
      ROWMAX_UNROLL
      for (int i = 0; i < kPanels; ++i) {
        low[i][t] = _mm512_dpbusd_epi32(low[i][t], _mm512_permutexvar_epi8(indices[i], lows), factors);
        high[i][t] = _mm512_dpbusd_epi32(high[i][t], _mm512_permutexvar_epi8(indices[i], highs), factors);
      }
    }
  }
  ROWMAX_INLINE simd::F32x16 total(int i, int t) const noexcept {
    return {_mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(high[i][t], 8), low[i][t]))};
  }
};

// Bits 0, 1, 4 and 5 of the codes, moved there by kShift, and the byte's place among its row's four in bits 2 and 3.
template <int kShift>
ROWMAX_INLINE __m512i indices_of(__m512i codes) noexcept {
  constexpr int kPlaces = 0x0C080400;  // vpermb ignores bits 6 and 7
  if constexpr (kShift != 0) codes = _mm512_srli_epi16(codes, kShift);
  // mask ? places : codes
  return _mm512_ternarylogic_epi32(_mm512_set1_epi32(0x0C0C0C0C), _mm512_set1_epi32(kPlaces), codes, 0xCA);
}

template <class Panel, int kPanels, int kTokens>
ROWMAX_INLINE void add_tile(const std::byte* const (&tiles)[kPanels], const std::byte* const (&ahead)[kPanels],
                            const std::uint8_t* lut, TileSums<kPanels, kTokens>& sums) noexcept {
  ROWMAX_UNROLL
  for (int h = 0; h < Panel::kTileBytes / kVector; ++h, lut += 2 * kTableVectors * kVector) {
    __m512i codes[kPanels], indices[kPanels];
    ROWMAX_UNROLL
    for (int i = 0; i < kPanels; ++i) {
      prefetch(ahead[i] + h * kVector);
      codes[i] = _mm512_loadu_si512(tiles[i] + h * kVector);
      indices[i] = indices_of<0>(codes[i]);
    }
    sums.template add<Panel>(indices, lut);
    ROWMAX_UNROLL
    for (int i = 0; i < kPanels; ++i) indices[i] = indices_of<2>(codes[i]);
    sums.template add<Panel>(indices, lut + kTableVectors * kVector);
  }
}

// kPanels panels from p on, which share the loads of tables. What is asked for ahead goes from the end of a panel's
// codes to those of the panel that follows in the same place, past its scales.
template <class Panel, int kTokens, int kPanels>
void lut_panels(const Job& job, std::int64_t p) noexcept {
  constexpr int kAheadTiles = kPrefetchBytes / Panel::kTileBytes;
  const Int8Activations& act = *job.int8;
  const std::byte *records[kPanels], *tiles[kPanels], *ahead[kPanels];
  const std::int64_t group_bytes = kPanels * job.panel_bytes, code_bytes = act.n_tiles * Panel::kTileBytes;
  std::int64_t left_ahead = act.n_tiles - kAheadTiles;
  simd::F32x16 acc[kPanels][kTokens];
  ROWMAX_UNROLL
  for (int i = 0; i < kPanels; ++i) {
    records[i] = job.panels + (p + i) * job.panel_bytes;
    tiles[i] = records[i] + Panel::scale_bytes(job.cols);
    ahead[i] = tiles[i] + kAheadTiles * Panel::kTileBytes;
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) acc[i][t] = simd::splat(0.0f);
  }
  std::int64_t at = 0;
  const std::uint8_t* lut = act.luts[kLutOf<Panel>];
  for (std::int64_t b = 0; b < act.n_tiles; b += Panel::kScaleTiles) {
    simd::F32x16 scales[kPanels];
    ROWMAX_UNROLL
    for (int i = 0; i < kPanels; ++i) {
      scales[i] = simd::load_f16(reinterpret_cast<const std::uint16_t*>(records[i]));
      prefetch_far(records[i] + group_bytes);
      records[i] += Panel::kRecordBytes;
    }
    for (int s = 0; s < Panel::kScaleTiles; ++s, at += kTokens, lut += kTokens * kLutBytes[kLutOf<Panel>]) {
      TileSums<kPanels, kTokens> sums;
      sums.start(act.lut_starts + at);
      if (left_ahead-- == 0) {
        for (int i = 0; i < kPanels; ++i) ahead[i] += group_bytes - code_bytes;
      }
      add_tile<Panel>(tiles, ahead, lut, sums);
      ROWMAX_UNROLL
      for (int i = 0; i < kPanels; ++i) {
        tiles[i] += Panel::kTileBytes;
        ahead[i] += Panel::kTileBytes;
        ROWMAX_UNROLL
        for (int t = 0; t < kTokens; ++t) {
          acc[i][t] = simd::fma(sums.total(i, t), simd::mul(scales[i], simd::splat(act.scales[at + t])), acc[i][t]);
        }
      }
    }
  }
  ROWMAX_UNROLL
  for (int i = 0; i < kPanels; ++i) {
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      store_rows(job.y + (job.token_begin + t) * job.ldy + (p + i) * kRows, simd::canonical_nan(acc[i][t]),
                 rows_of_panel(job, p + i));
    }
  }
}

constexpr int kLutPanels = 4;

template <class Panel, int kTokens>
void lut_few(const Job& job) noexcept {
  constexpr int kPanels = kTokens == 1 ? kLutPanels : 2;
  std::int64_t p = job.panel_begin;
  for (; p + kPanels <= job.panel_end; p += kPanels) lut_panels<Panel, kTokens, kPanels>(job, p);
  for (; p < job.panel_end; ++p) lut_panels<Panel, kTokens, 1>(job, p);
}

template <class Panel>
void lut_job(const Job& job) noexcept {
  switch (job.int8->n_tok) {
    case 1: return lut_few<Panel, 1>(job);
    case 2: return lut_few<Panel, 2>(job);
    case 3: return lut_few<Panel, 3>(job);
    default: return lut_few<Panel, 4>(job);
  }
}

template <class Panel>
void use_lut(PanelKernels& row) noexcept {
  if constexpr (Panel::kPanelKind == PanelKind::kInteger) {
    if constexpr (Panel::kBits <= 2 && Panel::kGroup == kTile && !Panel::kHasMin && !Panel::kSubScales) {
      row.few_by_lut = &lut_job<Panel>;
      row.lut = kLutOf<Panel>;
      row.lut_step = kLutPanels;
    }
  }
}
template <class... kPanels>
void use_luts(PanelList<kPanels...>, Kernels& kernels) noexcept {
  PanelKernels* row = kernels.panels;
  (use_lut<kPanels>(*row++), ...);
}

}  // namespace

const Kernels& kernels_avx512vbmi() noexcept {
  static const Kernels kernels = [] {
    Kernels all = kernels_avx512();
    use_luts(Panels{}, all);
    all.build_luts = &build_tables;
    return all;
  }();
  return kernels;
}

}  // namespace rowmax::engine::panel
