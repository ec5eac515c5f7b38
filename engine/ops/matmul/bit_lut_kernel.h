// Few tokens against codes of one bit on AVX2, by looking sums up in place of multiplying. Included after dot_avx2.h.
//
// Half a byte of codes, byte i of a row, has the bits of four k: of the 16 sums that these can make of their activations
// the right one is looked up by vpshufb, 32 rows at once, as all bytes of a lane share a table. For that the bytes of two
// panels are sorted by i. A sum plus what its negative activations can take off is one of 0 .. 4 * 16256. It is looked
// up in three pieces, of 5, 5 and 6 bits, which a byte can add up 8, 8 and 4 times. Together the offsets, with the -1 of
// the codes, are the sum of the activations' magnitudes:
//   sum (2 bit - 1) a = 2 * sum over fours (looked up) - sum |a|
// These integers are exact, and the float operations are those of int8_kernel.h: the same bits.
#pragma once

#include "engine/ops/matmul/int8_kernel.h"

namespace rowmax::engine::panel {
namespace {

inline constexpr int kPieces = 3;       // of a sum
inline constexpr int kPieceBits = 5;    // of the first two
inline constexpr int kTableBytes = 16;  // of one piece
inline constexpr int kLutPanels = 8;    // that pass by a chunk of tables, two at a time
static_assert(kLutBytes[kQuadLut] >= 4 * 2 * kPieces * kTableBytes);

// ---- tables

// Lane p has all bits set where p has bit q.
struct BitMasks {
  alignas(32) std::int16_t lanes[4][16];
};
constexpr BitMasks kBitMasks = [] {
  BitMasks masks{};
  for (int q = 0; q < 4; ++q) {
    for (int p = 0; p < 16; ++p) masks.lanes[q][p] = static_cast<std::int16_t>((p >> q & 1) != 0 ? -1 : 0);
  }
  return masks;
}();

// The pieces of the 16 sums of four activations.
ROWMAX_INLINE void build_table(const std::int16_t (&a)[4], std::uint8_t* out) noexcept {
  int taken_off = 0;
  for (const std::int16_t value : a) taken_off -= value < 0 ? value : 0;
  __m256i sums = _mm256_set1_epi16(static_cast<std::int16_t>(taken_off));
  for (int q = 0; q < 4; ++q) {
    const __m256i mask = _mm256_load_si256(reinterpret_cast<const __m256i*>(kBitMasks.lanes[q]));
    sums = _mm256_add_epi16(sums, _mm256_and_si256(mask, _mm256_set1_epi16(a[q])));
  }
  const __m256i low_bits = _mm256_set1_epi16((1 << kPieceBits) - 1);
  const __m256i low = _mm256_and_si256(sums, low_bits);
  const __m256i middle = _mm256_and_si256(_mm256_srli_epi16(sums, kPieceBits), low_bits);
  const __m256i high = _mm256_srli_epi16(sums, 2 * kPieceBits);
  const __m256i low_middle = _mm256_permute4x64_epi64(_mm256_packus_epi16(low, middle), 0xD8);
  const __m256i high_high = _mm256_permute4x64_epi64(_mm256_packus_epi16(high, high), 0xD8);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), low_middle);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 2 * kTableBytes), _mm256_castsi256_si128(high_high));
}

// Tables 2i and 2i + 1 of a tile: for the low and the high half of byte i, quads 0 .. 3 and 4 .. 7.
void build_bit_tables(const Int8Activations& act, unsigned /*kinds*/) noexcept {
  for (std::int64_t at = 0; at < act.n_tok * act.n_tiles; ++at) {
    const std::int8_t* codes = act.codes + at * kCodeBytes;
    std::uint8_t* out = act.luts[kQuadLut] + at * kLutBytes[kQuadLut];
    std::int32_t magnitudes = 0;
    for (int table = 0; table < 8; ++table, out += kPieces * kTableBytes) {
      std::int16_t a[4];
      for (int q = 0; q < 4; ++q) {
        const int k = 4 * (table % 2 * 4 + q) + table / 2;
        a[q] = static_cast<std::int16_t>((codes[k] << kTermShift) + codes[kTile + k]);
        magnitudes += a[q] < 0 ? -a[q] : a[q];
      }
      build_table(a, out);
    }
    act.lut_starts[at] = -magnitudes;
  }
}

// ---- products

// Byte i of the rows of two panels, one in each lane.
struct SortedBytes {
  __m256i of[4];
};
ROWMAX_INLINE SortedBytes sort_bytes(const std::byte* first, const std::byte* second) noexcept {
  const __m256i by_byte =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  __m256i fours[4];  // byte i of four rows is 32-bit number i of a lane
  ROWMAX_UNROLL
  for (int j = 0; j < 4; ++j) {
    const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(first + 16 * j));
    const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(second + 16 * j));
    fours[j] = _mm256_shuffle_epi8(_mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1), by_byte);
  }
  const __m256i even_0 = _mm256_unpacklo_epi32(fours[0], fours[1]), even_1 = _mm256_unpacklo_epi32(fours[2], fours[3]);
  const __m256i odd_0 = _mm256_unpackhi_epi32(fours[0], fours[1]), odd_1 = _mm256_unpackhi_epi32(fours[2], fours[3]);
  return {{_mm256_unpacklo_epi64(even_0, even_1), _mm256_unpackhi_epi64(even_0, even_1),
           _mm256_unpacklo_epi64(odd_0, odd_1), _mm256_unpackhi_epi64(odd_0, odd_1)}};
}

ROWMAX_INLINE void add_bytes(__m256i& sum, __m256i x) noexcept { asm("vpaddb %1, %0, %0" : "+x"(sum) : "x"(x)); }
ROWMAX_INLINE __m256i look_up_piece(const std::uint8_t* table, __m256i indices) noexcept {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), indices);
}

// Four rows of the first panel and the same four of the second are a vector: rows 4j .. 4j + 3 are vector j.
using RowQuads = __m256[4];

// The scales of two panels.
ROWMAX_INLINE void load_scales(const std::byte* first, const std::byte* second, RowQuads& out) noexcept {
  const simd::F32x16 a = simd::load_f16(reinterpret_cast<const std::uint16_t*>(first));
  const simd::F32x16 b = simd::load_f16(reinterpret_cast<const std::uint16_t*>(second));
  out[0] = _mm256_permute2f128_ps(a.lo, b.lo, 0x20);
  out[1] = _mm256_permute2f128_ps(a.lo, b.lo, 0x31);
  out[2] = _mm256_permute2f128_ps(a.hi, b.hi, 0x20);
  out[3] = _mm256_permute2f128_ps(a.hi, b.hi, 0x31);
}

// Twice the looked up sums of one tile, and `start`.
ROWMAX_INLINE void tile_sums(const SortedBytes& bytes, const std::uint8_t* lut, std::int32_t start,
                             __m256i (&out)[4]) noexcept {
  const __m256i half = _mm256_set1_epi8(15);
  __m256i low = _mm256_setzero_si256(), middle = low, high[2] = {low, low};
  ROWMAX_UNROLL
  for (int i = 0; i < 4; ++i) {
    const __m256i halves[2] = {_mm256_and_si256(bytes.of[i], half),
                               _mm256_and_si256(_mm256_srli_epi16(bytes.of[i], 4), half)};
    ROWMAX_UNROLL
    for (int h = 0; h < 2; ++h, lut += kPieces * kTableBytes) {
      add_bytes(low, look_up_piece(lut, halves[h]));
      add_bytes(middle, look_up_piece(lut + kTableBytes, halves[h]));
      add_bytes(high[i / 2], look_up_piece(lut + 2 * kTableBytes, halves[h]));
    }
  }
  const __m256i pieces = _mm256_set1_epi16(1 | 1 << kPieceBits << 8), ones = _mm256_set1_epi16(0x0101);
  const __m256i words = _mm256_set1_epi32(2 | 2 << 2 * kPieceBits << 16), starts = _mm256_set1_epi32(start);
  const __m256i low_0 = _mm256_maddubs_epi16(_mm256_unpacklo_epi8(low, middle), pieces);
  const __m256i low_1 = _mm256_maddubs_epi16(_mm256_unpackhi_epi8(low, middle), pieces);
  const __m256i high_0 = _mm256_maddubs_epi16(_mm256_unpacklo_epi8(high[0], high[1]), ones);
  const __m256i high_1 = _mm256_maddubs_epi16(_mm256_unpackhi_epi8(high[0], high[1]), ones);
  out[0] = _mm256_add_epi32(_mm256_madd_epi16(_mm256_unpacklo_epi16(low_0, high_0), words), starts);
  out[1] = _mm256_add_epi32(_mm256_madd_epi16(_mm256_unpackhi_epi16(low_0, high_0), words), starts);
  out[2] = _mm256_add_epi32(_mm256_madd_epi16(_mm256_unpacklo_epi16(low_1, high_1), words), starts);
  out[3] = _mm256_add_epi32(_mm256_madd_epi16(_mm256_unpackhi_epi16(low_1, high_1), words), starts);
}

// Two panels and their float chains between one chunk of k and the next.
struct PanelPair {
  std::int64_t first, second;  // the same one twice at the end of an odd number
  RowQuads chains;
};

// One token against tiles [tile_begin, tile_end) of two panels, those of a record together. The same tiles of the two that
// follow are asked for.
template <class Panel>
void bit_lut_chunk(const Job& job, PanelPair& pair, std::int64_t token, std::int64_t tile_begin,
                   std::int64_t tile_end) noexcept {
  const Int8Activations& act = *job.int8;
  const std::byte* panel = job.panels + pair.first * job.panel_bytes;
  const std::byte* record = panel + tile_begin / Panel::kScaleTiles * Panel::kRecordBytes;
  const std::byte* tile = panel + Panel::scale_bytes(job.cols) + tile_begin * Panel::kTileBytes;
  const std::int64_t apart = (pair.second - pair.first) * job.panel_bytes, next = 2 * job.panel_bytes;
  std::int64_t at = tile_begin * act.n_tok + token;
  __m256 chains[4] = {pair.chains[0], pair.chains[1], pair.chains[2], pair.chains[3]};
  for (std::int64_t b = tile_begin; b < tile_end; b += Panel::kScaleTiles, record += Panel::kRecordBytes) {
    RowQuads scales;
    load_scales(record, record + apart, scales);
    prefetch(record + next);
    prefetch(record + apart + next);
    for (int s = 0; s < Panel::kScaleTiles; ++s, at += act.n_tok, tile += Panel::kTileBytes) {
      prefetch(tile + next);
      prefetch(tile + apart + next);
      __m256i sums[4];
      tile_sums(sort_bytes(tile, tile + apart), act.luts[kQuadLut] + at * kLutBytes[kQuadLut], act.lut_starts[at],
                sums);
      const __m256 d = _mm256_set1_ps(act.scales[at]);
      ROWMAX_UNROLL
      for (int j = 0; j < 4; ++j) {
        chains[j] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[j]), _mm256_mul_ps(scales[j], d), chains[j]);
      }
    }
  }
  ROWMAX_UNROLL
  for (int j = 0; j < 4; ++j) pair.chains[j] = chains[j];
}

ROWMAX_INLINE void store_pair(const Job& job, const PanelPair& pair, std::int64_t token) noexcept {
  const RowQuads& c = pair.chains;
  const simd::F32x16 first{_mm256_permute2f128_ps(c[0], c[1], 0x20), _mm256_permute2f128_ps(c[2], c[3], 0x20)};
  const simd::F32x16 second{_mm256_permute2f128_ps(c[0], c[1], 0x31), _mm256_permute2f128_ps(c[2], c[3], 0x31)};
  float* y = job.y + token * job.ldy;
  store_rows(y + pair.first * kRows, simd::canonical_nan(first), rows_of_panel(job, pair.first));
  store_rows(y + pair.second * kRows, simd::canonical_nan(second), rows_of_panel(job, pair.second));
}

// Each token of a call by itself: more sums than one token's do not stay in registers. A chunk's tables, three times what
// two panels have there, stay in the first cache while several pairs pass by.
template <class Panel>
void bit_lut_job(const Job& job) noexcept {
  constexpr std::int64_t kChunkTiles = 32;
  const std::int64_t n_tiles = job.int8->n_tiles, n_panels = job.panel_end - job.panel_begin;
  for (std::int64_t token = 0; token < job.int8->n_tok; ++token) {
    for (std::int64_t done = 0; done < n_panels; done += kLutPanels) {
      PanelPair pairs[kLutPanels / 2];
      int n_pairs = 0;
      for (std::int64_t p = done; p < n_panels && p < done + kLutPanels; p += 2) {
        PanelPair& pair = pairs[n_pairs++];
        pair.first = job.panel_begin + p;
        pair.second = p + 1 < n_panels ? pair.first + 1 : pair.first;
        for (__m256& chain : pair.chains) chain = _mm256_setzero_ps();
      }
      for (std::int64_t b = 0; b < n_tiles; b += kChunkTiles) {
        const std::int64_t end = b + kChunkTiles < n_tiles ? b + kChunkTiles : n_tiles;
        for (int i = 0; i < n_pairs; ++i) bit_lut_chunk<Panel>(job, pairs[i], token, b, end);
      }
      for (int i = 0; i < n_pairs; ++i) store_pair(job, pairs[i], token);
    }
  }
}

}  // namespace
}  // namespace rowmax::engine::panel
