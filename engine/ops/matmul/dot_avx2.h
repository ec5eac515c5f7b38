// Codes of 16 rows x 4 k and their exact integer dot product with 4 activations: AVX2, and with AVX-VNNI in the files
// that are compiled for it. See int8_kernel.h.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "base/simd/simd.h"
#include "engine/ops/matmul/panel.h"

namespace rowmax::engine::panel {
namespace {

#ifdef __AVXVNNI__
inline constexpr bool kUnsignedBytes = true;  // vpdpbusd takes unsigned codes
inline constexpr bool kSplitChains = true;
#else
inline constexpr bool kUnsignedBytes = false;
inline constexpr bool kSplitChains = false;
#endif
inline constexpr int kTernaryPanels = 1;
inline constexpr int kTernaryFewPanels = 1, kInt8FewPanels = 1;  // of one token, side by side
inline constexpr int kPackedTiles = 4;
inline constexpr int kGemmTokens = 4;                                                // tokens that lie together
inline constexpr int kBlockTokens = kGemmTokens, kTernaryBlockTokens = kGemmTokens;  // in one register block
inline constexpr int kF32Tokens = 6, kF32Panels = 1;  // the same on the exact path, tokens by panels
inline constexpr int kFewTokens = 4;                  // of up to 4 that share codes on their way from packed bytes
inline constexpr int kTernaryFewTokens = 4;           // the same of ternary panels

struct Codes {
  __m256i lo, hi;
};
ROWMAX_INLINE Codes load_codes(const void* p) noexcept {
  const auto* q = static_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(q), _mm256_loadu_si256(q + 1)};
}
ROWMAX_INLINE void store_codes(void* p, Codes c) noexcept {
  auto* q = static_cast<__m256i*>(p);
  _mm256_storeu_si256(q, c.lo);
  _mm256_storeu_si256(q + 1, c.hi);
}
template <int kShift, int kMask>
ROWMAX_INLINE __m256i shifted(__m256i v) noexcept {
  if constexpr (kShift > 0) v = _mm256_slli_epi16(v, kShift);
  if constexpr (kShift < 0) v = _mm256_srli_epi16(v, -kShift);
  return _mm256_and_si256(v, _mm256_set1_epi8(static_cast<char>(kMask)));
}
template <int kShift, int kMask>
ROWMAX_INLINE Codes shifted(Codes c) noexcept {
  return {shifted<kShift, kMask>(c.lo), shifted<kShift, kMask>(c.hi)};
}
ROWMAX_INLINE Codes merge(Codes a, Codes b) noexcept {
  return {_mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi)};
}
// The table's byte at each index in 0 .. 15.
ROWMAX_INLINE Codes look_up(const ByteTable& table, Codes indices) noexcept {
  const __m256i bytes = _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(table.v)));
  return {_mm256_shuffle_epi8(bytes, indices.lo), _mm256_shuffle_epi8(bytes, indices.hi)};
}
ROWMAX_INLINE Codes flip_sign(Codes c) noexcept {
  const __m256i top = _mm256_set1_epi8(-128);
  return {_mm256_xor_si256(c.lo, top), _mm256_xor_si256(c.hi, top)};
}

#ifdef __AVXVNNI__

ROWMAX_INLINE __m256i quad_of(const std::int8_t* a) noexcept {
  std::int32_t bytes;
  std::memcpy(&bytes, a, 4);
  return _mm256_set1_epi32(bytes);
}

constexpr int dot_bits(int /*bits*/) noexcept { return 8; }

// Sums of quads. index counts the add() calls, from 0.
template <int kBits>
struct Dot {
  __m256i sum_lo, sum_hi;

  using Weights = Codes;
  static ROWMAX_INLINE Weights prepare(Codes c) noexcept { return c; }
  ROWMAX_INLINE void start(simd::I32x16 from) noexcept {
    sum_lo = from.lo;
    sum_hi = from.hi;
  }
  ROWMAX_INLINE void add(Weights w, const std::int8_t* a, int /*index*/) noexcept {
    const __m256i quad = quad_of(a);
    sum_lo = _mm256_dpbusd_avx_epi32(sum_lo, w.lo, quad);
    sum_hi = _mm256_dpbusd_avx_epi32(sum_hi, w.hi, quad);
  }
  ROWMAX_INLINE simd::I32x16 value(int /*n_added*/) noexcept { return {sum_lo, sum_hi}; }
};

// Packed codes of 2 bits times activations.
struct PackedDot {
  Dot<2> dot;

  ROWMAX_INLINE void start() noexcept { dot.start(simd::splat_i32(0)); }
  template <int j>
  ROWMAX_INLINE void add(Codes packed, const std::int8_t* a) noexcept {
    dot.add(shifted<-2 * j, 3>(packed), a, j);
  }
  ROWMAX_INLINE void flush() noexcept {}
  ROWMAX_INLINE simd::I32x16 total() noexcept { return dot.value(0); }
};

#else  // AVX2 alone

// Additions that g++ can only do in place. Where it may choose, it gives every sum a new register, runs out of them and
// takes the sums to the stack and back (docs/performance.md).
ROWMAX_INLINE void add_words(__m256i& sum, __m256i x) noexcept { asm("vpaddw %1, %0, %0" : "+x"(sum) : "x"(x)); }
ROWMAX_INLINE void add_dwords(__m256i& sum, __m256i x) noexcept { asm("vpaddd %1, %0, %0" : "+x"(sum) : "x"(x)); }

constexpr int dot_bits(int bits) noexcept { return bits < 4 ? 4 : bits; }

// vpmaddubsw adds two products of an unsigned code and a signed activation into 16 bits, which must not saturate. With
// |activation| <= 127, kQuads16 such pairs fit: 8 * 2*15*127 = 30480, 4 * 2*31*127 = 31496, 2 * 2*63*127 = 32004.
// Signed bytes (8 bits, -128 .. 127) enter as |w| with the activation taking w's sign: 2*128*127 = 32512.
template <int kBits>
struct Dot {
  static constexpr int kQuads16 = kBits <= 4 ? 8 : kBits == 5 ? 4 : kBits == 6 ? 2 : 1;
  __m256i sum_lo, sum_hi;
  __m256i pairs_lo, pairs_hi;

  struct Signed {
    __m256i lo, hi, abs_lo, abs_hi;
  };
  using Weights = std::conditional_t<kBits == 8, Signed, Codes>;
  static ROWMAX_INLINE Weights prepare(Codes c) noexcept {
    if constexpr (kBits == 8) {
      return {c.lo, c.hi, _mm256_abs_epi8(c.lo), _mm256_abs_epi8(c.hi)};
    } else {
      return c;
    }
  }
  ROWMAX_INLINE void start(simd::I32x16 from) noexcept {
    sum_lo = from.lo;
    sum_hi = from.hi;
    pairs_lo = pairs_hi = _mm256_setzero_si256();
  }
  ROWMAX_INLINE void flush() noexcept {
    const __m256i ones = _mm256_set1_epi16(1);
    sum_lo = _mm256_add_epi32(sum_lo, _mm256_madd_epi16(pairs_lo, ones));
    sum_hi = _mm256_add_epi32(sum_hi, _mm256_madd_epi16(pairs_hi, ones));
  }
  ROWMAX_INLINE void add(Weights w, const std::int8_t* a, int index) noexcept {
    std::int32_t bytes;
    std::memcpy(&bytes, a, 4);
    const __m256i quad = _mm256_set1_epi32(bytes);
    __m256i lo, hi;
    if constexpr (kBits == 8) {
      lo = _mm256_maddubs_epi16(w.abs_lo, _mm256_sign_epi8(quad, w.lo));
      hi = _mm256_maddubs_epi16(w.abs_hi, _mm256_sign_epi8(quad, w.hi));
    } else {
      lo = _mm256_maddubs_epi16(w.lo, quad);
      hi = _mm256_maddubs_epi16(w.hi, quad);
    }
    if (index % kQuads16 == 0) {
      pairs_lo = lo;
      pairs_hi = hi;
    } else {
      add_words(pairs_lo, lo);
      add_words(pairs_hi, hi);
    }
    if (index % kQuads16 == kQuads16 - 1) flush();
  }
  ROWMAX_INLINE simd::I32x16 value(int n_added) noexcept {
    if (n_added % kQuads16 != 0) flush();
    return {sum_lo, sum_hi};
  }
};

// Packed codes of 2 bits times activations. 16 bits hold the 32 pairs between flushes: 32 * 2*3*128 = 24576.
struct PackedDot {
  __m256i sum_lo, sum_hi;
  __m256i pairs_lo, pairs_hi;

  ROWMAX_INLINE void start() noexcept { sum_lo = sum_hi = pairs_lo = pairs_hi = _mm256_setzero_si256(); }
  template <int j>
  ROWMAX_INLINE void add(Codes packed, const std::int8_t* a) noexcept {
    std::int32_t bytes;
    std::memcpy(&bytes, a, 4);
    const __m256i quad = _mm256_set1_epi32(bytes);
    const Codes codes = shifted<-2 * j, 3>(packed);
    add_words(pairs_lo, _mm256_maddubs_epi16(codes.lo, quad));
    add_words(pairs_hi, _mm256_maddubs_epi16(codes.hi, quad));
  }
  ROWMAX_INLINE void flush() noexcept {
    const __m256i ones = _mm256_set1_epi16(1);
    sum_lo = _mm256_add_epi32(sum_lo, _mm256_madd_epi16(pairs_lo, ones));
    sum_hi = _mm256_add_epi32(sum_hi, _mm256_madd_epi16(pairs_hi, ones));
    pairs_lo = pairs_hi = _mm256_setzero_si256();
  }
  ROWMAX_INLINE simd::I32x16 total() noexcept { return {sum_lo, sum_hi}; }
};

#endif

ROWMAX_INLINE simd::I32x16 load_u8(const std::uint8_t* p) noexcept {
  return {_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 8)))};
}
ROWMAX_INLINE simd::I32x16 load_i8(const std::uint8_t* p) noexcept {
  return {_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 8)))};
}
// Lanes in -128 .. 127.
ROWMAX_INLINE void store_i8(std::int8_t* p, simd::I32x16 x) noexcept {
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.lo, x.hi), 0xD8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}
ROWMAX_INLINE std::int32_t sum_lanes(simd::I32x16 x) noexcept {
  const __m256i a = _mm256_add_epi32(x.lo, x.hi);
  __m128i b = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  b = _mm_add_epi32(b, _mm_shuffle_epi32(b, 0x4E));
  b = _mm_add_epi32(b, _mm_shuffle_epi32(b, 0xB1));
  return _mm_cvtsi128_si32(b);
}
// The largest of both vectors' lanes.
ROWMAX_INLINE std::int32_t max_lanes(simd::I32x16 x, simd::I32x16 y) noexcept {
  const __m256i a = _mm256_max_epi32(_mm256_max_epi32(x.lo, x.hi), _mm256_max_epi32(y.lo, y.hi));
  __m128i b = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  b = _mm_max_epi32(b, _mm_shuffle_epi32(b, 0x4E));
  b = _mm_max_epi32(b, _mm_shuffle_epi32(b, 0xB1));
  return _mm_cvtsi128_si32(b);
}
ROWMAX_INLINE void prefetch(const std::byte* p) noexcept {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
}

}  // namespace
}  // namespace rowmax::engine::panel
