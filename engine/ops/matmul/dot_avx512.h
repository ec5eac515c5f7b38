// Codes of 16 rows x 4 k and their exact integer dot product with 4 activations: AVX-512 VNNI. See int8_kernel.h.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "base/simd/simd.h"
#include "engine/ops/matmul/panel.h"

namespace rowmax::engine::panel {
namespace {

inline constexpr bool kUnsignedBytes = true;  // vpdpbusd takes unsigned codes
inline constexpr bool kSplitChains = true;
inline constexpr int kTernaryPanels = 2;
inline constexpr int kTernaryFewPanels = 4, kInt8FewPanels = 2;  // of one token, side by side
inline constexpr int kPackedTiles = 4096;
inline constexpr int kGemmTokens = 12;                                               // tokens that lie together
inline constexpr int kBlockTokens = kGemmTokens, kTernaryBlockTokens = kGemmTokens;  // in one register block
inline constexpr int kF32Tokens = 6, kF32Panels = 2;  // the same on the exact path, tokens by panels
inline constexpr int kFewTokens = 4;                  // of up to 4 that share codes on their way from packed bytes
inline constexpr int kTernaryFewTokens = 4;           // the same of ternary panels

struct Codes {
  __m512i v;
};
ROWMAX_INLINE Codes load_codes(const void* p) noexcept { return {_mm512_loadu_si512(p)}; }
ROWMAX_INLINE void store_codes(void* p, Codes c) noexcept { _mm512_storeu_si512(p, c.v); }
// Every byte moved by kShift bits (left when positive) and masked; the mask must drop what crosses from other bytes.
template <int kShift, int kMask>
ROWMAX_INLINE Codes shifted(Codes c) noexcept {
  __m512i v = c.v;
  if constexpr (kShift > 0) v = _mm512_slli_epi16(v, kShift);
  if constexpr (kShift < 0) v = _mm512_srli_epi16(v, -kShift);
  return {_mm512_and_si512(v, _mm512_set1_epi8(static_cast<char>(kMask)))};
}
ROWMAX_INLINE Codes merge(Codes a, Codes b) noexcept { return {_mm512_or_si512(a.v, b.v)}; }
// The table's byte at each index in 0 .. 15.
ROWMAX_INLINE Codes look_up(const ByteTable& table, Codes indices) noexcept {
  const __m512i bytes = _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(table.v)));
  return {_mm512_shuffle_epi8(bytes, indices.v)};
}
ROWMAX_INLINE Codes flip_sign(Codes c) noexcept { return {_mm512_xor_si512(c.v, _mm512_set1_epi8(-128))}; }

constexpr int dot_bits(int /*bits*/) noexcept { return 8; }

// Sums of up to 8 quads. index counts the add() calls, from 0.
template <int kBits>
struct Dot {
  __m512i sum;

  using Weights = Codes;
  static ROWMAX_INLINE Weights prepare(Codes c) noexcept { return c; }
  ROWMAX_INLINE void start(simd::I32x16 from) noexcept { sum = from.v; }
  ROWMAX_INLINE void add(Weights w, const std::int8_t* a, int /*index*/) noexcept {
    std::int32_t quad;
    std::memcpy(&quad, a, 4);
    sum = _mm512_dpbusd_epi32(sum, w.v, _mm512_set1_epi32(quad));
  }
  ROWMAX_INLINE simd::I32x16 value(int /*n_added*/) noexcept { return {sum}; }
};

// Packed codes of 2 bits times activations. The codes stay where they are in their bytes, as 1, 4, 16 and 64 times
// themselves, each in a sum of its own that is divided in the end: masks alone, no shifts.
struct PackedDot {
  __m512i sums[4];
  __m512i flushed;

  ROWMAX_INLINE void start() noexcept {
    flushed = _mm512_setzero_si512();
    for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  }
  template <int j>
  ROWMAX_INLINE void add(Codes packed, const std::int8_t* a) noexcept {
    std::int32_t quad;
    std::memcpy(&quad, a, 4);
    const __m512i code = _mm512_and_si512(packed.v, _mm512_set1_epi8(static_cast<char>(3 << (2 * j))));
    sums[j] = _mm512_dpbusd_epi32(sums[j], code, _mm512_set1_epi32(quad));
  }
  // A tile adds at most 2 * 4*192*128 to a sum, kPackedTiles of them 0.75 * 2^30.
  ROWMAX_INLINE void flush() noexcept {
    flushed = _mm512_add_epi32(flushed, sums[0]);
    flushed = _mm512_add_epi32(flushed, _mm512_srai_epi32(sums[1], 2));
    flushed = _mm512_add_epi32(flushed, _mm512_srai_epi32(sums[2], 4));
    flushed = _mm512_add_epi32(flushed, _mm512_srai_epi32(sums[3], 6));
    for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  }
  ROWMAX_INLINE simd::I32x16 total() noexcept { return {flushed}; }
};

ROWMAX_INLINE simd::I32x16 load_u8(const std::uint8_t* p) noexcept {
  return {_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
ROWMAX_INLINE simd::I32x16 load_i8(const std::uint8_t* p) noexcept {
  return {_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
// Lanes in -128 .. 127.
ROWMAX_INLINE void store_i8(std::int8_t* p, simd::I32x16 x) noexcept {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x.v));
}
ROWMAX_INLINE std::int32_t sum_lanes(simd::I32x16 x) noexcept { return _mm512_reduce_add_epi32(x.v); }
// The largest of both vectors' lanes.
ROWMAX_INLINE std::int32_t max_lanes(simd::I32x16 x, simd::I32x16 y) noexcept {
  return _mm512_reduce_max_epi32(_mm512_max_epi32(x.v, y.v));
}
ROWMAX_INLINE void prefetch(const std::byte* p) noexcept {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
}

}  // namespace
}  // namespace rowmax::engine::panel
