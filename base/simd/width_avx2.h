// Two 256-bit registers. See simd.h for the contract.
#pragma once

#include <immintrin.h>

namespace rowmax::simd {
namespace {

inline constexpr const char* kWidthName = "avx2";
inline constexpr int kRegisters = 16;
inline constexpr int kRegistersPerVector = 2;

struct F32x16 {
  __m256 lo, hi;
};
struct I32x16 {
  __m256i lo, hi;
};
struct M16 {
  __m256 lo, hi;
};  // all bits of a lane set or clear

// Lane masks for the first n of 8 (n clamped to 0..8).
ROWMAX_INLINE __m256i first_n8(int n) noexcept {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

ROWMAX_INLINE F32x16 load(const float* p) noexcept { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
ROWMAX_INLINE void store(float* p, F32x16 x) noexcept {
  _mm256_storeu_ps(p, x.lo);
  _mm256_storeu_ps(p + 8, x.hi);
}
ROWMAX_INLINE F32x16 load_n(const float* p, int n) noexcept {
  return {_mm256_maskload_ps(p, first_n8(n)), _mm256_maskload_ps(p + 8, first_n8(n - 8))};
}
ROWMAX_INLINE void store_n(float* p, F32x16 x, int n) noexcept {
  _mm256_maskstore_ps(p, first_n8(n), x.lo);
  _mm256_maskstore_ps(p + 8, first_n8(n - 8), x.hi);
}
ROWMAX_INLINE I32x16 load_i32(const std::int32_t* p) noexcept {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8))};
}
ROWMAX_INLINE void store_i32(std::int32_t* p, I32x16 x) noexcept {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x.lo);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 8), x.hi);
}
ROWMAX_INLINE F32x16 load_f16(const std::uint16_t* p) noexcept {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
}
ROWMAX_INLINE F32x16 load_f16_n(const std::uint16_t* p, int n) noexcept {
  alignas(32) std::uint16_t lanes[16] = {};
  for (int i = 0; i < n; ++i) lanes[i] = p[i];
  return load_f16(lanes);
}
ROWMAX_INLINE __m256 widen_bf16(__m128i x) noexcept {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
}
ROWMAX_INLINE F32x16 load_bf16(const std::uint16_t* p) noexcept {
  return {widen_bf16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          widen_bf16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
}
ROWMAX_INLINE F32x16 load_bf16_n(const std::uint16_t* p, int n) noexcept {
  alignas(32) std::uint16_t lanes[16] = {};
  for (int i = 0; i < n; ++i) lanes[i] = p[i];
  return load_bf16(lanes);
}
// Sixteen fp8 E4M3 codes as the numbers they stand for; both NaN codes give NaN. By way of halves 2^8 times smaller:
// E4M3's bits are a half's, moved.
ROWMAX_INLINE F32x16 load_f8e4m3(const std::uint8_t* p) noexcept {
  const __m256i wide = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  const __m256i magnitude = _mm256_slli_epi16(_mm256_and_si256(wide, _mm256_set1_epi16(0x7F)), 7);
  const __m256i sign = _mm256_slli_epi16(wide, 8);
  const __m256i nan = _mm256_cmpeq_epi16(magnitude, _mm256_set1_epi16(0x3F80));
  const __m256i half = _mm256_or_si256(magnitude, _mm256_or_si256(_mm256_and_si256(sign, _mm256_set1_epi16(INT16_MIN)),
                                                                  _mm256_and_si256(nan, _mm256_set1_epi16(0x7E00))));
  const __m256 scale = _mm256_set1_ps(256.0f);
  return {_mm256_mul_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(half)), scale),
          _mm256_mul_ps(_mm256_cvtph_ps(_mm256_extracti128_si256(half, 1)), scale)};
}
ROWMAX_INLINE F32x16 load_f8e4m3_n(const std::uint8_t* p, int n) noexcept {
  alignas(16) std::uint8_t lanes[16] = {};
  for (int i = 0; i < n; ++i) lanes[i] = p[i];
  return load_f8e4m3(lanes);
}
ROWMAX_INLINE F32x16 load_i8(const std::int8_t* p) noexcept {
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))),
          _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 8))))};
}
// The same in units that are cheap to make: times kI8Unit they are the numbers.
inline constexpr float kI8Unit = 0x1p-24f;
// Bytes first, first + 1, ... of a half as the highest of its four lanes.
ROWMAX_INLINE __m128i highest_from(int first) noexcept {
  const auto at = [&](int i) { return static_cast<char>(first + i); };
  return _mm_setr_epi8(-1, -1, -1, at(0), -1, -1, -1, at(1), -1, -1, -1, at(2), -1, -1, -1, at(3));
}
ROWMAX_INLINE F32x16 load_i8_units(const std::int8_t* p) noexcept {
  const __m256i x = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  const __m256i low = _mm256_setr_m128i(highest_from(0), highest_from(4));
  const __m256i high = _mm256_setr_m128i(highest_from(8), highest_from(12));
  return {_mm256_cvtepi32_ps(_mm256_shuffle_epi8(x, low)), _mm256_cvtepi32_ps(_mm256_shuffle_epi8(x, high))};
}
ROWMAX_INLINE void store_f16(std::uint16_t* p, F32x16 x) noexcept {
  constexpr int kRound = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x.lo, kRound));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), _mm256_cvtps_ph(x.hi, kRound));
}
ROWMAX_INLINE F32x16 splat(float x) noexcept { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
ROWMAX_INLINE I32x16 splat_i32(std::int32_t x) noexcept { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }

ROWMAX_INLINE F32x16 add(F32x16 a, F32x16 b) noexcept { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
ROWMAX_INLINE F32x16 sub(F32x16 a, F32x16 b) noexcept { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
ROWMAX_INLINE F32x16 mul(F32x16 a, F32x16 b) noexcept { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
ROWMAX_INLINE F32x16 div(F32x16 a, F32x16 b) noexcept { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
ROWMAX_INLINE F32x16 fma(F32x16 a, F32x16 b, F32x16 c) noexcept {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
ROWMAX_INLINE F32x16 sqrt(F32x16 a) noexcept { return {_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)}; }
ROWMAX_INLINE F32x16 max(F32x16 a, F32x16 b) noexcept { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
ROWMAX_INLINE F32x16 min(F32x16 a, F32x16 b) noexcept { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }

ROWMAX_INLINE M16 less(F32x16 a, F32x16 b) noexcept {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ)};
}
ROWMAX_INLINE M16 equal(F32x16 a, F32x16 b) noexcept {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_EQ_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_EQ_OQ)};
}
ROWMAX_INLINE M16 is_nan(F32x16 a) noexcept {
  return {_mm256_cmp_ps(a.lo, a.lo, _CMP_UNORD_Q), _mm256_cmp_ps(a.hi, a.hi, _CMP_UNORD_Q)};
}
ROWMAX_INLINE M16 less(I32x16 a, I32x16 b) noexcept {
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(b.lo, a.lo)), _mm256_castsi256_ps(_mm256_cmpgt_epi32(b.hi, a.hi))};
}
ROWMAX_INLINE M16 mask_from_bits(std::uint32_t bits) noexcept {
  const __m256i low = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i high = _mm256_slli_epi32(low, 8);
  const __m256i all = _mm256_set1_epi32(static_cast<int>(bits));
  return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(all, low), low)),
          _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(all, high), high))};
}
ROWMAX_INLINE std::uint32_t mask_bits(M16 m) noexcept {
  return static_cast<std::uint32_t>(_mm256_movemask_ps(m.lo)) |
         (static_cast<std::uint32_t>(_mm256_movemask_ps(m.hi)) << 8);
}
ROWMAX_INLINE F32x16 select(M16 m, F32x16 yes, F32x16 no) noexcept {
  return {_mm256_blendv_ps(no.lo, yes.lo, m.lo), _mm256_blendv_ps(no.hi, yes.hi, m.hi)};
}

ROWMAX_INLINE I32x16 bitcast_i32(F32x16 x) noexcept { return {_mm256_castps_si256(x.lo), _mm256_castps_si256(x.hi)}; }
ROWMAX_INLINE F32x16 bitcast_f32(I32x16 x) noexcept { return {_mm256_castsi256_ps(x.lo), _mm256_castsi256_ps(x.hi)}; }
ROWMAX_INLINE F32x16 to_f32(I32x16 x) noexcept { return {_mm256_cvtepi32_ps(x.lo), _mm256_cvtepi32_ps(x.hi)}; }
ROWMAX_INLINE I32x16 round_to_i32(F32x16 x) noexcept { return {_mm256_cvtps_epi32(x.lo), _mm256_cvtps_epi32(x.hi)}; }
ROWMAX_INLINE I32x16 add(I32x16 a, I32x16 b) noexcept {
  return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)};
}
ROWMAX_INLINE I32x16 sub(I32x16 a, I32x16 b) noexcept {
  return {_mm256_sub_epi32(a.lo, b.lo), _mm256_sub_epi32(a.hi, b.hi)};
}
ROWMAX_INLINE I32x16 mul(I32x16 a, I32x16 b) noexcept {
  return {_mm256_mullo_epi32(a.lo, b.lo), _mm256_mullo_epi32(a.hi, b.hi)};
}
ROWMAX_INLINE I32x16 bit_and(I32x16 a, I32x16 b) noexcept {
  return {_mm256_and_si256(a.lo, b.lo), _mm256_and_si256(a.hi, b.hi)};
}
ROWMAX_INLINE I32x16 bit_or(I32x16 a, I32x16 b) noexcept {
  return {_mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi)};
}
ROWMAX_INLINE I32x16 bit_xor(I32x16 a, I32x16 b) noexcept {
  return {_mm256_xor_si256(a.lo, b.lo), _mm256_xor_si256(a.hi, b.hi)};
}
template <int kBits>
ROWMAX_INLINE I32x16 shift_left(I32x16 a) noexcept {
  return {_mm256_slli_epi32(a.lo, kBits), _mm256_slli_epi32(a.hi, kBits)};
}
template <int kBits>
ROWMAX_INLINE I32x16 shift_right(I32x16 a) noexcept {
  return {_mm256_srai_epi32(a.lo, kBits), _mm256_srai_epi32(a.hi, kBits)};
}

// x * 2^n, n integral, x * 2^n normal; `exponents` holds n + 127 in its low bits (either form may serve).
ROWMAX_INLINE F32x16 mul_power_of_2(F32x16 x, F32x16, F32x16 exponents) noexcept {
  return mul(x, bitcast_f32(shift_left<23>(bitcast_i32(exponents))));
}

ROWMAX_INLINE float reduce_add(F32x16 x) noexcept {
  const __m256 a = _mm256_add_ps(x.lo, x.hi);
  const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(c, _mm_shuffle_ps(c, c, 1)));
}
ROWMAX_INLINE float reduce_max(F32x16 x) noexcept {
  const __m256 a = _mm256_max_ps(x.lo, x.hi);
  const __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_max_ss(c, _mm_shuffle_ps(c, c, 1)));
}

ROWMAX_INLINE void transpose8(__m256 (&x)[8]) noexcept {
  __m256 t[8], u[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xEE);
    u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
  }
  for (int i = 0; i < 4; ++i) {
    x[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
    x[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
  }
}
// Lane i of the result, i < 8, is reduce_max(x[i]); the others mean nothing.
ROWMAX_INLINE F32x16 reduce_max8(const F32x16 (&x)[8]) noexcept {
  float lanes[16] = {};
  for (int i = 0; i < 8; ++i) lanes[i] = reduce_max(x[i]);
  return load(lanes);
}

// Rows become columns: lane j of x[i] and lane i of x[j] change places.
ROWMAX_INLINE void transpose(F32x16 (&x)[16]) noexcept {
  __m256 a[8], b[8], c[8], d[8];
  for (int i = 0; i < 8; ++i) {
    a[i] = x[i].lo;
    b[i] = x[i].hi;
    c[i] = x[i + 8].lo;
    d[i] = x[i + 8].hi;
  }
  transpose8(a);
  transpose8(b);
  transpose8(c);
  transpose8(d);
  for (int i = 0; i < 8; ++i) {
    x[i] = {a[i], c[i]};
    x[i + 8] = {b[i], d[i]};
  }
}

ROWMAX_INLINE __m128 load_quarter(const float* p) noexcept { return _mm_loadu_ps(p); }
ROWMAX_INLINE __m128 load_quarter(const std::uint8_t* p) noexcept {
  return _mm_castsi128_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
template <class T>
ROWMAX_INLINE __m256 load_quarters(const T* low, const T* high) noexcept {
  return _mm256_insertf128_ps(_mm256_castps128_ps256(load_quarter(low)), load_quarter(high), 1);
}
// Columns d..d+3 of eight rows. Written out, so that no register is indexed.
template <class T>
ROWMAX_INLINE void load_columns4_of_8(const T* const* rows, std::int64_t d, __m256 (&x)[4]) noexcept {
  const __m256 a = load_quarters(rows[0] + d, rows[4] + d), b = load_quarters(rows[1] + d, rows[5] + d);
  const __m256 c = load_quarters(rows[2] + d, rows[6] + d), e = load_quarters(rows[3] + d, rows[7] + d);
  const __m256d low_ab = _mm256_castps_pd(_mm256_unpacklo_ps(a, b)),
                low_ce = _mm256_castps_pd(_mm256_unpacklo_ps(c, e));
  const __m256d high_ab = _mm256_castps_pd(_mm256_unpackhi_ps(a, b));
  const __m256d high_ce = _mm256_castps_pd(_mm256_unpackhi_ps(c, e));
  x[0] = _mm256_castpd_ps(_mm256_unpacklo_pd(low_ab, low_ce));
  x[1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low_ab, low_ce));
  x[2] = _mm256_castpd_ps(_mm256_unpacklo_pd(high_ab, high_ce));
  x[3] = _mm256_castpd_ps(_mm256_unpackhi_pd(high_ab, high_ce));
}

// Columns d..d+3 of sixteen rows: lane k of x[i] is rows[k][d + i].
ROWMAX_INLINE void load_columns4(const float* const (&rows)[16], std::int64_t d, F32x16 (&x)[4]) noexcept {
  __m256 low[4], high[4];
  load_columns4_of_8(rows, d, low);
  load_columns4_of_8(rows + 8, d, high);
  x[0] = {low[0], high[0]};
  x[1] = {low[1], high[1]};
  x[2] = {low[2], high[2]};
  x[3] = {low[3], high[3]};
}
// Bytes at..at+15 of sixteen rows, four a lane: lane k of x[i] is rows[k][at + 4 i ..], the first the lowest.
ROWMAX_INLINE void load_columns4(const std::uint8_t* const (&rows)[16], std::int64_t at, I32x16 (&x)[4]) noexcept {
  __m256 low[4], high[4];
  load_columns4_of_8(rows, at, low);
  load_columns4_of_8(rows + 8, at, high);
  x[0] = {_mm256_castps_si256(low[0]), _mm256_castps_si256(high[0])};
  x[1] = {_mm256_castps_si256(low[1]), _mm256_castps_si256(high[1])};
  x[2] = {_mm256_castps_si256(low[2]), _mm256_castps_si256(high[2])};
  x[3] = {_mm256_castps_si256(low[3]), _mm256_castps_si256(high[3])};
}

}  // namespace
}  // namespace rowmax::simd
