// Plain arrays: the reference every other width must equal bit for bit, and what a CPU without AVX2 runs.
// See simd.h for the contract.
#pragma once

#include "base/half.h"

namespace rowmax::simd {
namespace {

inline constexpr const char* kWidthName = "scalar";
inline constexpr int kRegisters = 16;
inline constexpr int kRegistersPerVector = 4;

struct F32x16 {
  float v[16];
};
struct I32x16 {
  std::int32_t v[16];
};
struct M16 {
  std::uint32_t v;
};

#define ROWMAX_EACH(expression)                       \
  for (int i = 0; i < 16; ++i) r.v[i] = (expression); \
  return r

ROWMAX_INLINE F32x16 load(const float* p) noexcept {
  F32x16 r;
  ROWMAX_EACH(p[i]);
}
ROWMAX_INLINE void store(float* p, F32x16 x) noexcept {
  for (int i = 0; i < 16; ++i) p[i] = x.v[i];
}
ROWMAX_INLINE F32x16 load_n(const float* p, int n) noexcept {
  F32x16 r;
  ROWMAX_EACH(i < n ? p[i] : 0.0f);
}
ROWMAX_INLINE void store_n(float* p, F32x16 x, int n) noexcept {
  for (int i = 0; i < n; ++i) p[i] = x.v[i];
}
ROWMAX_INLINE I32x16 load_i32(const std::int32_t* p) noexcept {
  I32x16 r;
  ROWMAX_EACH(p[i]);
}
ROWMAX_INLINE void store_i32(std::int32_t* p, I32x16 x) noexcept {
  for (int i = 0; i < 16; ++i) p[i] = x.v[i];
}
ROWMAX_INLINE F32x16 load_f16(const std::uint16_t* p) noexcept {
  F32x16 r;
  ROWMAX_EACH(base::f16_to_f32(p[i]));
}
ROWMAX_INLINE F32x16 load_f16_n(const std::uint16_t* p, int n) noexcept {
  F32x16 r;
  ROWMAX_EACH(i < n ? base::f16_to_f32(p[i]) : 0.0f);
}
ROWMAX_INLINE F32x16 load_bf16(const std::uint16_t* p) noexcept {
  F32x16 r;
  ROWMAX_EACH(base::bf16_to_f32(p[i]));
}
ROWMAX_INLINE F32x16 load_bf16_n(const std::uint16_t* p, int n) noexcept {
  F32x16 r;
  ROWMAX_EACH(i < n ? base::bf16_to_f32(p[i]) : 0.0f);
}
// Sixteen fp8 E4M3 codes as the numbers they stand for; both NaN codes give NaN.
ROWMAX_INLINE F32x16 load_f8e4m3(const std::uint8_t* p) noexcept {
  F32x16 r;
  ROWMAX_EACH(base::f8e4m3_to_f32(p[i]));
}
ROWMAX_INLINE F32x16 load_f8e4m3_n(const std::uint8_t* p, int n) noexcept {
  F32x16 r;
  ROWMAX_EACH(i < n ? base::f8e4m3_to_f32(p[i]) : 0.0f);
}
ROWMAX_INLINE F32x16 load_i8(const std::int8_t* p) noexcept {
  F32x16 r;
  ROWMAX_EACH(static_cast<float>(p[i]));
}
// The same in units that are cheap to make: times kI8Unit they are the numbers.
inline constexpr float kI8Unit = 1.0f;
ROWMAX_INLINE F32x16 load_i8_units(const std::int8_t* p) noexcept { return load_i8(p); }
ROWMAX_INLINE void store_f16(std::uint16_t* p, F32x16 x) noexcept {
  for (int i = 0; i < 16; ++i) p[i] = base::f32_to_f16(x.v[i]);
}
ROWMAX_INLINE F32x16 splat(float x) noexcept {
  F32x16 r;
  ROWMAX_EACH(x);
}
ROWMAX_INLINE I32x16 splat_i32(std::int32_t x) noexcept {
  I32x16 r;
  ROWMAX_EACH(x);
}

ROWMAX_INLINE F32x16 add(F32x16 a, F32x16 b) noexcept {
  F32x16 r;
  ROWMAX_EACH(a.v[i] + b.v[i]);
}
ROWMAX_INLINE F32x16 sub(F32x16 a, F32x16 b) noexcept {
  F32x16 r;
  ROWMAX_EACH(a.v[i] - b.v[i]);
}
ROWMAX_INLINE F32x16 mul(F32x16 a, F32x16 b) noexcept {
  F32x16 r;
  ROWMAX_EACH(a.v[i] * b.v[i]);
}
ROWMAX_INLINE F32x16 div(F32x16 a, F32x16 b) noexcept {
  F32x16 r;
  ROWMAX_EACH(a.v[i] / b.v[i]);
}
// fmaf is correctly rounded by definition, in hardware or (on old CPUs) by the C library.
ROWMAX_INLINE F32x16 fma(F32x16 a, F32x16 b, F32x16 c) noexcept {
  F32x16 r;
  ROWMAX_EACH(__builtin_fmaf(a.v[i], b.v[i], c.v[i]));
}
ROWMAX_INLINE F32x16 sqrt(F32x16 a) noexcept {
  F32x16 r;
  ROWMAX_EACH(__builtin_sqrtf(a.v[i]));
}
ROWMAX_INLINE F32x16 max(F32x16 a, F32x16 b) noexcept {
  F32x16 r;
  ROWMAX_EACH(a.v[i] > b.v[i] ? a.v[i] : b.v[i]);
}
ROWMAX_INLINE F32x16 min(F32x16 a, F32x16 b) noexcept {
  F32x16 r;
  ROWMAX_EACH(a.v[i] < b.v[i] ? a.v[i] : b.v[i]);
}

#define ROWMAX_TEST(expression)                                                    \
  M16 r{0};                                                                        \
  for (int i = 0; i < 16; ++i) r.v |= static_cast<std::uint32_t>(expression) << i; \
  return r
ROWMAX_INLINE M16 less(F32x16 a, F32x16 b) noexcept { ROWMAX_TEST(a.v[i] < b.v[i]); }
ROWMAX_INLINE M16 equal(F32x16 a, F32x16 b) noexcept { ROWMAX_TEST(a.v[i] == b.v[i]); }
ROWMAX_INLINE M16 is_nan(F32x16 a) noexcept { ROWMAX_TEST(a.v[i] != a.v[i]); }
ROWMAX_INLINE M16 less(I32x16 a, I32x16 b) noexcept { ROWMAX_TEST(a.v[i] < b.v[i]); }
#undef ROWMAX_TEST
ROWMAX_INLINE M16 mask_from_bits(std::uint32_t bits) noexcept { return {bits & 0xFFFFu}; }
ROWMAX_INLINE std::uint32_t mask_bits(M16 m) noexcept { return m.v; }
ROWMAX_INLINE F32x16 select(M16 m, F32x16 yes, F32x16 no) noexcept {
  F32x16 r;
  ROWMAX_EACH((m.v >> i) & 1u ? yes.v[i] : no.v[i]);
}

ROWMAX_INLINE I32x16 bitcast_i32(F32x16 x) noexcept { return std::bit_cast<I32x16>(x); }
ROWMAX_INLINE F32x16 bitcast_f32(I32x16 x) noexcept { return std::bit_cast<F32x16>(x); }
ROWMAX_INLINE F32x16 to_f32(I32x16 x) noexcept {
  F32x16 r;
  ROWMAX_EACH(static_cast<float>(x.v[i]));
}
// Adding and taking away 2^23 with x's sign rounds to nearest even for |x| < 2^23; larger values are integers already.
ROWMAX_INLINE std::int32_t round_lane(float x) noexcept {
  const float shift = x < 0 ? -0x1p23f : 0x1p23f;
  if (!(x < 0x1p23f && x > -0x1p23f)) return static_cast<std::int32_t>(x);
  const volatile float shifted = x + shift;
  return static_cast<std::int32_t>(shifted - shift);
}
ROWMAX_INLINE I32x16 round_to_i32(F32x16 x) noexcept {
  I32x16 r;
  ROWMAX_EACH(round_lane(x.v[i]));
}
ROWMAX_INLINE std::int32_t wrap(std::uint32_t x) noexcept { return static_cast<std::int32_t>(x); }
ROWMAX_INLINE std::uint32_t bits(std::int32_t x) noexcept { return static_cast<std::uint32_t>(x); }
ROWMAX_INLINE I32x16 add(I32x16 a, I32x16 b) noexcept {
  I32x16 r;
  ROWMAX_EACH(wrap(bits(a.v[i]) + bits(b.v[i])));
}
ROWMAX_INLINE I32x16 sub(I32x16 a, I32x16 b) noexcept {
  I32x16 r;
  ROWMAX_EACH(wrap(bits(a.v[i]) - bits(b.v[i])));
}
ROWMAX_INLINE I32x16 mul(I32x16 a, I32x16 b) noexcept {
  I32x16 r;
  ROWMAX_EACH(wrap(bits(a.v[i]) * bits(b.v[i])));
}
ROWMAX_INLINE I32x16 bit_and(I32x16 a, I32x16 b) noexcept {
  I32x16 r;
  ROWMAX_EACH(a.v[i] & b.v[i]);
}
ROWMAX_INLINE I32x16 bit_or(I32x16 a, I32x16 b) noexcept {
  I32x16 r;
  ROWMAX_EACH(a.v[i] | b.v[i]);
}
ROWMAX_INLINE I32x16 bit_xor(I32x16 a, I32x16 b) noexcept {
  I32x16 r;
  ROWMAX_EACH(a.v[i] ^ b.v[i]);
}
template <int kBits>
ROWMAX_INLINE I32x16 shift_left(I32x16 a) noexcept {
  I32x16 r;
  ROWMAX_EACH(wrap(bits(a.v[i]) << kBits));
}
template <int kBits>
ROWMAX_INLINE I32x16 shift_right(I32x16 a) noexcept {
  I32x16 r;
  ROWMAX_EACH(a.v[i] >> kBits);
}
#undef ROWMAX_EACH

// x * 2^n, n integral, x * 2^n normal; `exponents` holds n + 127 in its low bits (either form may serve).
ROWMAX_INLINE F32x16 mul_power_of_2(F32x16 x, F32x16, F32x16 exponents) noexcept {
  return mul(x, bitcast_f32(shift_left<23>(bitcast_i32(exponents))));
}

ROWMAX_INLINE float reduce_add(F32x16 x) noexcept {
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) x.v[i] = x.v[i] + x.v[i + width];
  }
  return x.v[0];
}
ROWMAX_INLINE float reduce_max(F32x16 x) noexcept {
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) x.v[i] = x.v[i] > x.v[i + width] ? x.v[i] : x.v[i + width];
  }
  return x.v[0];
}

// Lane i of the result, i < 8, is reduce_max(x[i]); the others mean nothing.
ROWMAX_INLINE F32x16 reduce_max8(const F32x16 (&x)[8]) noexcept {
  float lanes[16] = {};
  for (int i = 0; i < 8; ++i) lanes[i] = reduce_max(x[i]);
  return load(lanes);
}

// Rows become columns: lane j of x[i] and lane i of x[j] change places.
ROWMAX_INLINE void transpose(F32x16 (&x)[16]) noexcept {
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < i; ++j) {
      const float lane = x[i].v[j];
      x[i].v[j] = x[j].v[i];
      x[j].v[i] = lane;
    }
  }
}

// Columns d..d+3 of sixteen rows: lane k of x[i] is rows[k][d + i].
ROWMAX_INLINE void load_columns4(const float* const (&rows)[16], std::int64_t d, F32x16 (&x)[4]) noexcept {
  for (int i = 0; i < 4; ++i) {
    float lanes[16];
    for (int k = 0; k < 16; ++k) lanes[k] = rows[k][d + i];
    x[i] = load(lanes);
  }
}
// Bytes at..at+15 of sixteen rows, four a lane: lane k of x[i] is rows[k][at + 4 i ..], the first the lowest.
ROWMAX_INLINE void load_columns4(const std::uint8_t* const (&rows)[16], std::int64_t at, I32x16 (&x)[4]) noexcept {
  for (int i = 0; i < 4; ++i) {
    for (int k = 0; k < 16; ++k) {
      const std::uint8_t* b = rows[k] + at + 4 * i;
      x[i].v[k] =
          wrap(std::uint32_t{b[0]} | std::uint32_t{b[1]} << 8 | std::uint32_t{b[2]} << 16 | std::uint32_t{b[3]} << 24);
    }
  }
}

}  // namespace
}  // namespace rowmax::simd
