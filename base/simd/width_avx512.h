// One 512-bit register. See simd.h for the contract.
#pragma once

#include <immintrin.h>

namespace rowmax::simd {
namespace {

inline constexpr const char* kWidthName = "avx512";
inline constexpr int kRegisters = 32;          // architectural vector registers
inline constexpr int kRegistersPerVector = 1;  // registers one F32x16 takes

struct F32x16 {
  __m512 v;
};
struct I32x16 {
  __m512i v;
};
struct M16 {
  __mmask16 v;
};

ROWMAX_INLINE __mmask16 first_n(int n) noexcept { return static_cast<__mmask16>((1u << n) - 1u); }

ROWMAX_INLINE F32x16 load(const float* p) noexcept { return {_mm512_loadu_ps(p)}; }
ROWMAX_INLINE void store(float* p, F32x16 x) noexcept { _mm512_storeu_ps(p, x.v); }
// The first n lanes (0..16); the others become +0 / keep the memory; bytes beyond are not touched.
ROWMAX_INLINE F32x16 load_n(const float* p, int n) noexcept { return {_mm512_maskz_loadu_ps(first_n(n), p)}; }
ROWMAX_INLINE void store_n(float* p, F32x16 x, int n) noexcept { _mm512_mask_storeu_ps(p, first_n(n), x.v); }
ROWMAX_INLINE I32x16 load_i32(const std::int32_t* p) noexcept { return {_mm512_loadu_si512(p)}; }
ROWMAX_INLINE void store_i32(std::int32_t* p, I32x16 x) noexcept { _mm512_storeu_si512(p, x.v); }
ROWMAX_INLINE F32x16 load_f16(const std::uint16_t* p) noexcept {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
ROWMAX_INLINE F32x16 load_f16_n(const std::uint16_t* p, int n) noexcept {
  return {_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_n(n), p))};
}
ROWMAX_INLINE F32x16 load_bf16(const std::uint16_t* p) noexcept {
  return {_mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16))};
}
ROWMAX_INLINE F32x16 load_bf16_n(const std::uint16_t* p, int n) noexcept {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first_n(n), p)), 16))};
}
// Sixteen fp8 E4M3 codes as the numbers they stand for; both NaN codes give NaN. By way of halves 2^8 times smaller:
// E4M3's bits are a half's, moved.
ROWMAX_INLINE F32x16 widen_f8(__m128i codes) noexcept {
  const __m256i wide = _mm256_cvtepu8_epi16(codes);
  const __m256i magnitude = _mm256_slli_epi16(_mm256_and_si256(wide, _mm256_set1_epi16(0x7F)), 7);
  const __m256i sign = _mm256_slli_epi16(wide, 8);
  const __m256i nan = _mm256_cmpeq_epi16(magnitude, _mm256_set1_epi16(0x3F80));
  const __m256i half = _mm256_or_si256(magnitude, _mm256_or_si256(_mm256_and_si256(sign, _mm256_set1_epi16(INT16_MIN)),
                                                                  _mm256_and_si256(nan, _mm256_set1_epi16(0x7E00))));
  return {_mm512_mul_ps(_mm512_cvtph_ps(half), _mm512_set1_ps(256.0f))};
}
ROWMAX_INLINE F32x16 load_f8e4m3(const std::uint8_t* p) noexcept {
  return widen_f8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
ROWMAX_INLINE F32x16 load_f8e4m3_n(const std::uint8_t* p, int n) noexcept {
  return widen_f8(_mm_maskz_loadu_epi8(first_n(n), p));
}
ROWMAX_INLINE F32x16 load_i8(const std::int8_t* p) noexcept {
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
}
// The same in units that are cheap to make: times kI8Unit they are the numbers.
inline constexpr float kI8Unit = 1.0f;
ROWMAX_INLINE F32x16 load_i8_units(const std::int8_t* p) noexcept { return load_i8(p); }
ROWMAX_INLINE void store_f16(std::uint16_t* p, F32x16 x) noexcept {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
ROWMAX_INLINE F32x16 splat(float x) noexcept { return {_mm512_set1_ps(x)}; }
ROWMAX_INLINE I32x16 splat_i32(std::int32_t x) noexcept { return {_mm512_set1_epi32(x)}; }

ROWMAX_INLINE F32x16 add(F32x16 a, F32x16 b) noexcept { return {_mm512_add_ps(a.v, b.v)}; }
ROWMAX_INLINE F32x16 sub(F32x16 a, F32x16 b) noexcept { return {_mm512_sub_ps(a.v, b.v)}; }
ROWMAX_INLINE F32x16 mul(F32x16 a, F32x16 b) noexcept { return {_mm512_mul_ps(a.v, b.v)}; }
ROWMAX_INLINE F32x16 div(F32x16 a, F32x16 b) noexcept { return {_mm512_div_ps(a.v, b.v)}; }
ROWMAX_INLINE F32x16 fma(F32x16 a, F32x16 b, F32x16 c) noexcept { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
ROWMAX_INLINE F32x16 sqrt(F32x16 a) noexcept { return {_mm512_sqrt_ps(a.v)}; }
ROWMAX_INLINE F32x16 max(F32x16 a, F32x16 b) noexcept { return {_mm512_max_ps(a.v, b.v)}; }
ROWMAX_INLINE F32x16 min(F32x16 a, F32x16 b) noexcept { return {_mm512_min_ps(a.v, b.v)}; }

ROWMAX_INLINE M16 less(F32x16 a, F32x16 b) noexcept { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
ROWMAX_INLINE M16 equal(F32x16 a, F32x16 b) noexcept { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
ROWMAX_INLINE M16 is_nan(F32x16 a) noexcept { return {_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q)}; }
ROWMAX_INLINE M16 less(I32x16 a, I32x16 b) noexcept { return {_mm512_cmplt_epi32_mask(a.v, b.v)}; }
ROWMAX_INLINE M16 mask_from_bits(std::uint32_t bits) noexcept { return {static_cast<__mmask16>(bits)}; }
ROWMAX_INLINE std::uint32_t mask_bits(M16 m) noexcept { return m.v; }
ROWMAX_INLINE F32x16 select(M16 m, F32x16 yes, F32x16 no) noexcept { return {_mm512_mask_blend_ps(m.v, no.v, yes.v)}; }

ROWMAX_INLINE I32x16 bitcast_i32(F32x16 x) noexcept { return {_mm512_castps_si512(x.v)}; }
ROWMAX_INLINE F32x16 bitcast_f32(I32x16 x) noexcept { return {_mm512_castsi512_ps(x.v)}; }
ROWMAX_INLINE F32x16 to_f32(I32x16 x) noexcept { return {_mm512_cvtepi32_ps(x.v)}; }
// Round to nearest even; for |x| < 2^31 only.
ROWMAX_INLINE I32x16 round_to_i32(F32x16 x) noexcept { return {_mm512_cvtps_epi32(x.v)}; }
ROWMAX_INLINE I32x16 add(I32x16 a, I32x16 b) noexcept { return {_mm512_add_epi32(a.v, b.v)}; }
ROWMAX_INLINE I32x16 sub(I32x16 a, I32x16 b) noexcept { return {_mm512_sub_epi32(a.v, b.v)}; }
ROWMAX_INLINE I32x16 mul(I32x16 a, I32x16 b) noexcept { return {_mm512_mullo_epi32(a.v, b.v)}; }
ROWMAX_INLINE I32x16 bit_and(I32x16 a, I32x16 b) noexcept { return {_mm512_and_si512(a.v, b.v)}; }
ROWMAX_INLINE I32x16 bit_or(I32x16 a, I32x16 b) noexcept { return {_mm512_or_si512(a.v, b.v)}; }
ROWMAX_INLINE I32x16 bit_xor(I32x16 a, I32x16 b) noexcept { return {_mm512_xor_si512(a.v, b.v)}; }
template <int kBits>
ROWMAX_INLINE I32x16 shift_left(I32x16 a) noexcept {
  return {_mm512_slli_epi32(a.v, kBits)};
}
template <int kBits>
ROWMAX_INLINE I32x16 shift_right(I32x16 a) noexcept {
  return {_mm512_srai_epi32(a.v, kBits)};
}

// x * 2^n, n integral, x * 2^n normal; `exponents` holds n + 127 in its low bits (either form may serve).
ROWMAX_INLINE F32x16 mul_power_of_2(F32x16 x, F32x16 n, F32x16) noexcept { return {_mm512_scalef_ps(x.v, n.v)}; }

ROWMAX_INLINE float reduce_add(F32x16 x) noexcept {
  const __m256 a = _mm256_add_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
  const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(c, _mm_shuffle_ps(c, c, 1)));
}
ROWMAX_INLINE float reduce_max(F32x16 x) noexcept {
  const __m256 a = _mm256_max_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
  const __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_max_ss(c, _mm_shuffle_ps(c, c, 1)));
}

// Lane i of the result, i < 8, is reduce_max(x[i]); the others mean nothing.
ROWMAX_INLINE F32x16 reduce_max8(const F32x16 (&x)[8]) noexcept {
  // The same tree on parts of a register: 8 lanes of two, 4 of four, 2 of eight.
  __m512 a[4], b[2];
  for (int i = 0; i < 4; ++i) {
    a[i] = _mm512_max_ps(_mm512_shuffle_f32x4(x[2 * i].v, x[2 * i + 1].v, 0x44),
                         _mm512_shuffle_f32x4(x[2 * i].v, x[2 * i + 1].v, 0xEE));
  }
  for (int i = 0; i < 2; ++i) {
    b[i] = _mm512_max_ps(_mm512_shuffle_f32x4(a[2 * i], a[2 * i + 1], 0x88),
                         _mm512_shuffle_f32x4(a[2 * i], a[2 * i + 1], 0xDD));
  }
  const __m512 c = _mm512_max_ps(_mm512_shuffle_ps(b[0], b[1], 0x44), _mm512_shuffle_ps(b[0], b[1], 0xEE));
  const __m512 d = _mm512_max_ps(c, _mm512_permute_ps(c, 0xB1));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 0, 0, 0, 0, 0, 0, 0, 0);
  return {_mm512_permutexvar_ps(order, d)};
}

// Rows become columns: lane j of x[i] and lane i of x[j] change places.
ROWMAX_INLINE void transpose(F32x16 (&x)[16]) noexcept {
  __m512 t[16], u[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(x[i].v, x[i + 1].v);
    t[i + 1] = _mm512_unpackhi_ps(x[i].v, x[i + 1].v);
  }
  for (int i = 0; i < 16; i += 4) {  // u[4a + b]: rows 4a..4a+3 of columns b, b+4, b+8, b+12
    u[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
    u[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
    u[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[i + 1]), _mm512_castps_pd(t[i + 3])));
    u[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[i + 1]), _mm512_castps_pd(t[i + 3])));
  }
  for (int b = 0; b < 4; ++b) {
    const __m512 low01 = _mm512_shuffle_f32x4(u[b], u[4 + b], 0x88);  // columns b, b+8 of rows 0-3, 4-7
    const __m512 low23 = _mm512_shuffle_f32x4(u[8 + b], u[12 + b], 0x88);
    const __m512 high01 = _mm512_shuffle_f32x4(u[b], u[4 + b], 0xDD);  // columns b+4, b+12
    const __m512 high23 = _mm512_shuffle_f32x4(u[8 + b], u[12 + b], 0xDD);
    x[b].v = _mm512_shuffle_f32x4(low01, low23, 0x88);
    x[b + 8].v = _mm512_shuffle_f32x4(low01, low23, 0xDD);
    x[b + 4].v = _mm512_shuffle_f32x4(high01, high23, 0x88);
    x[b + 12].v = _mm512_shuffle_f32x4(high01, high23, 0xDD);
  }
}

ROWMAX_INLINE __m128 load_quarter(const float* p) noexcept { return _mm_loadu_ps(p); }
ROWMAX_INLINE __m128 load_quarter(const std::uint8_t* p) noexcept {
  return _mm_castsi128_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
// Columns d..d+3 of sixteen rows: lane k of x[i] is rows[k][d + i].
template <class T>
ROWMAX_INLINE void load_columns4(const T* const (&rows)[16], std::int64_t d, F32x16 (&x)[4]) noexcept {
  __m512 r[4], t[4];
  for (int i = 0; i < 4; ++i) {  // quarters: rows i, i + 4, i + 8, i + 12
    r[i] = _mm512_castps128_ps512(load_quarter(rows[i] + d));
    r[i] = _mm512_insertf32x4(r[i], load_quarter(rows[i + 4] + d), 1);
    r[i] = _mm512_insertf32x4(r[i], load_quarter(rows[i + 8] + d), 2);
    r[i] = _mm512_insertf32x4(r[i], load_quarter(rows[i + 12] + d), 3);
  }
  t[0] = _mm512_unpacklo_ps(r[0], r[1]);
  t[1] = _mm512_unpackhi_ps(r[0], r[1]);
  t[2] = _mm512_unpacklo_ps(r[2], r[3]);
  t[3] = _mm512_unpackhi_ps(r[2], r[3]);
  for (int i = 0; i < 2; ++i) {
    x[2 * i].v = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
    x[2 * i + 1].v = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
  }
}
// Bytes at..at+15 of sixteen rows, four a lane: lane k of x[i] is rows[k][at + 4 i ..], the first the lowest.
ROWMAX_INLINE void load_columns4(const std::uint8_t* const (&rows)[16], std::int64_t at, I32x16 (&x)[4]) noexcept {
  F32x16 columns[4];
  load_columns4(rows, at, columns);
  for (int i = 0; i < 4; ++i) x[i] = bitcast_i32(columns[i]);
}

}  // namespace
}  // namespace rowmax::simd
