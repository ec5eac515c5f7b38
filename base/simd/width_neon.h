// Four 128-bit registers of AArch64 Advanced SIMD. See simd.h for the contract.
#pragma once

#include <arm_neon.h>

namespace rowmax::simd {
namespace {

inline constexpr const char* kWidthName = "neon";
inline constexpr int kRegisters = 32;
inline constexpr int kRegistersPerVector = 4;

struct F32x16 {
  float32x4_t v[4];
};
struct I32x16 {
  int32x4_t v[4];
};
struct M16 {
  uint32x4_t v[4];
};  // all bits of a lane set or clear

// For i = 0 .. n - 1: parts of a vector, vectors of an array. g++ -O2 does not unroll such a loop by itself, and what a loop
// indexes lies in memory, since a register has no index.
#define ROWMAX_TIMES(n) _Pragma("GCC unroll 16") for (int i = 0; i < (n); ++i)
#define ROWMAX_PARTS ROWMAX_TIMES(4)
#define ROWMAX_EACH(expression) \
  ROWMAX_PARTS                  \
  r.v[i] = (expression);        \
  return r

ROWMAX_INLINE F32x16 load(const float* p) noexcept {
  F32x16 r;
  ROWMAX_EACH(vld1q_f32(p + 4 * i));
}
ROWMAX_INLINE void store(float* p, F32x16 x) noexcept { ROWMAX_PARTS vst1q_f32(p + 4 * i, x.v[i]); }
ROWMAX_INLINE F32x16 load_n(const float* p, int n) noexcept {
  float lanes[16] = {};
  for (int i = 0; i < n; ++i) lanes[i] = p[i];
  return load(lanes);
}
ROWMAX_INLINE void store_n(float* p, F32x16 x, int n) noexcept {
  float lanes[16];
  store(lanes, x);
  for (int i = 0; i < n; ++i) p[i] = lanes[i];
}
ROWMAX_INLINE I32x16 load_i32(const std::int32_t* p) noexcept {
  I32x16 r;
  ROWMAX_EACH(vld1q_s32(p + 4 * i));
}
ROWMAX_INLINE void store_i32(std::int32_t* p, I32x16 x) noexcept { ROWMAX_PARTS vst1q_s32(p + 4 * i, x.v[i]); }
ROWMAX_INLINE F32x16 load_f16(const std::uint16_t* p) noexcept {
  F32x16 r;
  ROWMAX_EACH(vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))));
}
ROWMAX_INLINE F32x16 load_f16_n(const std::uint16_t* p, int n) noexcept {
  std::uint16_t lanes[16] = {};
  for (int i = 0; i < n; ++i) lanes[i] = p[i];
  return load_f16(lanes);
}
ROWMAX_INLINE F32x16 load_bf16(const std::uint16_t* p) noexcept {
  F32x16 r;
  ROWMAX_EACH(vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16)));
}
ROWMAX_INLINE F32x16 load_bf16_n(const std::uint16_t* p, int n) noexcept {
  std::uint16_t lanes[16] = {};
  for (int i = 0; i < n; ++i) lanes[i] = p[i];
  return load_bf16(lanes);
}
// Sixteen fp8 E4M3 codes as the numbers they stand for; both NaN codes give NaN. By way of halves 2^8 times smaller:
// E4M3's bits are a half's, moved.
ROWMAX_INLINE F32x16 load_f8e4m3(const std::uint8_t* p) noexcept {
  F32x16 r;
  ROWMAX_TIMES(2) {
    const uint16x8_t wide = vmovl_u8(vld1_u8(p + 8 * i));
    const uint16x8_t magnitude = vshlq_n_u16(vandq_u16(wide, vdupq_n_u16(0x7F)), 7);
    const uint16x8_t sign = vandq_u16(vshlq_n_u16(wide, 8), vdupq_n_u16(0x8000));
    const uint16x8_t nan = vandq_u16(vceqq_u16(magnitude, vdupq_n_u16(0x3F80)), vdupq_n_u16(0x7E00));
    const uint16x8_t half = vorrq_u16(magnitude, vorrq_u16(sign, nan));
    r.v[2 * i] = vmulq_n_f32(vcvt_f32_f16(vreinterpret_f16_u16(vget_low_u16(half))), 256.0f);
    r.v[2 * i + 1] = vmulq_n_f32(vcvt_f32_f16(vreinterpret_f16_u16(vget_high_u16(half))), 256.0f);
  }
  return r;
}
ROWMAX_INLINE F32x16 load_f8e4m3_n(const std::uint8_t* p, int n) noexcept {
  std::uint8_t lanes[16] = {};
  for (int i = 0; i < n; ++i) lanes[i] = p[i];
  return load_f8e4m3(lanes);
}
ROWMAX_INLINE F32x16 load_i8(const std::int8_t* p) noexcept {
  F32x16 r;
  ROWMAX_TIMES(2) {
    const int16x8_t wide = vmovl_s8(vld1_s8(p + 8 * i));
    r.v[2 * i] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
    r.v[2 * i + 1] = vcvtq_f32_s32(vmovl_s16(vget_high_s16(wide)));
  }
  return r;
}
// The same in units that are cheap to make: times kI8Unit they are the numbers.
inline constexpr float kI8Unit = 1.0f;
ROWMAX_INLINE F32x16 load_i8_units(const std::int8_t* p) noexcept { return load_i8(p); }
ROWMAX_INLINE void store_f16(std::uint16_t* p, F32x16 x) noexcept {
  ROWMAX_PARTS vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(x.v[i])));
}
ROWMAX_INLINE F32x16 splat(float x) noexcept {
  F32x16 r;
  ROWMAX_EACH(vdupq_n_f32(x));
}
ROWMAX_INLINE I32x16 splat_i32(std::int32_t x) noexcept {
  I32x16 r;
  ROWMAX_EACH(vdupq_n_s32(x));
}

ROWMAX_INLINE F32x16 add(F32x16 a, F32x16 b) noexcept {
  F32x16 r;
  ROWMAX_EACH(vaddq_f32(a.v[i], b.v[i]));
}
ROWMAX_INLINE F32x16 sub(F32x16 a, F32x16 b) noexcept {
  F32x16 r;
  ROWMAX_EACH(vsubq_f32(a.v[i], b.v[i]));
}
ROWMAX_INLINE F32x16 mul(F32x16 a, F32x16 b) noexcept {
  F32x16 r;
  ROWMAX_EACH(vmulq_f32(a.v[i], b.v[i]));
}
ROWMAX_INLINE F32x16 div(F32x16 a, F32x16 b) noexcept {
  F32x16 r;
  ROWMAX_EACH(vdivq_f32(a.v[i], b.v[i]));
}
ROWMAX_INLINE F32x16 fma(F32x16 a, F32x16 b, F32x16 c) noexcept {
  F32x16 r;
  ROWMAX_EACH(vfmaq_f32(c.v[i], a.v[i], b.v[i]));
}
ROWMAX_INLINE F32x16 sqrt(F32x16 a) noexcept {
  F32x16 r;
  ROWMAX_EACH(vsqrtq_f32(a.v[i]));
}
// Not vmaxq/vminq: those return NaN where x86 returns the second operand.
ROWMAX_INLINE F32x16 max(F32x16 a, F32x16 b) noexcept {
  F32x16 r;
  ROWMAX_EACH(vbslq_f32(vcgtq_f32(a.v[i], b.v[i]), a.v[i], b.v[i]));
}
ROWMAX_INLINE F32x16 min(F32x16 a, F32x16 b) noexcept {
  F32x16 r;
  ROWMAX_EACH(vbslq_f32(vcltq_f32(a.v[i], b.v[i]), a.v[i], b.v[i]));
}

ROWMAX_INLINE M16 less(F32x16 a, F32x16 b) noexcept {
  M16 r;
  ROWMAX_EACH(vcltq_f32(a.v[i], b.v[i]));
}
ROWMAX_INLINE M16 equal(F32x16 a, F32x16 b) noexcept {
  M16 r;
  ROWMAX_EACH(vceqq_f32(a.v[i], b.v[i]));
}
ROWMAX_INLINE M16 is_nan(F32x16 a) noexcept {
  M16 r;
  ROWMAX_EACH(vmvnq_u32(vceqq_f32(a.v[i], a.v[i])));
}
ROWMAX_INLINE M16 less(I32x16 a, I32x16 b) noexcept {
  M16 r;
  ROWMAX_EACH(vcltq_s32(a.v[i], b.v[i]));
}
ROWMAX_INLINE M16 mask_from_bits(std::uint32_t bits) noexcept {
  const std::uint32_t first[4] = {1, 2, 4, 8};
  const uint32x4_t lanes = vld1q_u32(first);
  M16 r;
  ROWMAX_EACH(vtstq_u32(vdupq_n_u32(bits >> (4 * i)), lanes));
}
ROWMAX_INLINE std::uint32_t mask_bits(M16 m) noexcept {
  const std::uint32_t first[4] = {1, 2, 4, 8};
  const uint32x4_t lanes = vld1q_u32(first);
  std::uint32_t bits = 0;
  ROWMAX_PARTS bits |= vaddvq_u32(vandq_u32(m.v[i], lanes)) << (4 * i);
  return bits;
}
ROWMAX_INLINE F32x16 select(M16 m, F32x16 yes, F32x16 no) noexcept {
  F32x16 r;
  ROWMAX_EACH(vbslq_f32(m.v[i], yes.v[i], no.v[i]));
}

ROWMAX_INLINE I32x16 bitcast_i32(F32x16 x) noexcept {
  I32x16 r;
  ROWMAX_EACH(vreinterpretq_s32_f32(x.v[i]));
}
ROWMAX_INLINE F32x16 bitcast_f32(I32x16 x) noexcept {
  F32x16 r;
  ROWMAX_EACH(vreinterpretq_f32_s32(x.v[i]));
}
ROWMAX_INLINE F32x16 to_f32(I32x16 x) noexcept {
  F32x16 r;
  ROWMAX_EACH(vcvtq_f32_s32(x.v[i]));
}
ROWMAX_INLINE I32x16 round_to_i32(F32x16 x) noexcept {
  I32x16 r;
  ROWMAX_EACH(vcvtnq_s32_f32(x.v[i]));
}
ROWMAX_INLINE I32x16 add(I32x16 a, I32x16 b) noexcept {
  I32x16 r;
  ROWMAX_EACH(vaddq_s32(a.v[i], b.v[i]));
}
ROWMAX_INLINE I32x16 sub(I32x16 a, I32x16 b) noexcept {
  I32x16 r;
  ROWMAX_EACH(vsubq_s32(a.v[i], b.v[i]));
}
ROWMAX_INLINE I32x16 mul(I32x16 a, I32x16 b) noexcept {
  I32x16 r;
  ROWMAX_EACH(vmulq_s32(a.v[i], b.v[i]));
}
ROWMAX_INLINE I32x16 bit_and(I32x16 a, I32x16 b) noexcept {
  I32x16 r;
  ROWMAX_EACH(vandq_s32(a.v[i], b.v[i]));
}
ROWMAX_INLINE I32x16 bit_or(I32x16 a, I32x16 b) noexcept {
  I32x16 r;
  ROWMAX_EACH(vorrq_s32(a.v[i], b.v[i]));
}
ROWMAX_INLINE I32x16 bit_xor(I32x16 a, I32x16 b) noexcept {
  I32x16 r;
  ROWMAX_EACH(veorq_s32(a.v[i], b.v[i]));
}
template <int kBits>
ROWMAX_INLINE I32x16 shift_left(I32x16 a) noexcept {
  I32x16 r;
  ROWMAX_EACH(vshlq_n_s32(a.v[i], kBits));
}
template <int kBits>
ROWMAX_INLINE I32x16 shift_right(I32x16 a) noexcept {
  I32x16 r;
  ROWMAX_EACH(vshrq_n_s32(a.v[i], kBits));
}
#undef ROWMAX_EACH

ROWMAX_INLINE float32x4_t keep_greater(float32x4_t a, float32x4_t b) noexcept {
  return vbslq_f32(vcgtq_f32(a, b), a, b);
}
// x * 2^n, n integral, x * 2^n normal; `exponents` holds n + 127 in its low bits (either form may serve).
ROWMAX_INLINE F32x16 mul_power_of_2(F32x16 x, F32x16, F32x16 exponents) noexcept {
  return mul(x, bitcast_f32(shift_left<23>(bitcast_i32(exponents))));
}

ROWMAX_INLINE float reduce_add(F32x16 x) noexcept {
  const float32x4_t a = vaddq_f32(vaddq_f32(x.v[0], x.v[2]), vaddq_f32(x.v[1], x.v[3]));
  const float32x2_t b = vadd_f32(vget_low_f32(a), vget_high_f32(a));
  return vget_lane_f32(b, 0) + vget_lane_f32(b, 1);
}
ROWMAX_INLINE float reduce_max(F32x16 x) noexcept {
  const float32x4_t a = keep_greater(keep_greater(x.v[0], x.v[2]), keep_greater(x.v[1], x.v[3]));
  const float low = vgetq_lane_f32(a, 0) > vgetq_lane_f32(a, 2) ? vgetq_lane_f32(a, 0) : vgetq_lane_f32(a, 2);
  const float high = vgetq_lane_f32(a, 1) > vgetq_lane_f32(a, 3) ? vgetq_lane_f32(a, 1) : vgetq_lane_f32(a, 3);
  return low > high ? low : high;
}

// Rows of four become columns.
struct Quarter {
  float32x4_t v[4];
};
ROWMAX_INLINE Quarter transposed(float32x4_t a, float32x4_t b, float32x4_t c, float32x4_t d) noexcept {
  const float32x4x2_t p = vtrnq_f32(a, b), q = vtrnq_f32(c, d);
  return {{vcombine_f32(vget_low_f32(p.val[0]), vget_low_f32(q.val[0])),
           vcombine_f32(vget_low_f32(p.val[1]), vget_low_f32(q.val[1])),
           vcombine_f32(vget_high_f32(p.val[0]), vget_high_f32(q.val[0])),
           vcombine_f32(vget_high_f32(p.val[1]), vget_high_f32(q.val[1]))}};
}

// Lane i of the result, i < 8, is reduce_max(x[i]); the others mean nothing.
ROWMAX_INLINE F32x16 reduce_max8(const F32x16 (&x)[8]) noexcept {
  F32x16 r = splat(0.0f);
  ROWMAX_TIMES(2) {
    float32x4_t four[4];
    _Pragma("GCC unroll 4") for (int j = 0; j < 4; ++j) {
      const F32x16& y = x[4 * i + j];
      four[j] = keep_greater(keep_greater(y.v[0], y.v[2]), keep_greater(y.v[1], y.v[3]));
    }
    const Quarter lanes = transposed(four[0], four[1], four[2], four[3]);
    r.v[i] = keep_greater(keep_greater(lanes.v[0], lanes.v[2]), keep_greater(lanes.v[1], lanes.v[3]));
  }
  return r;
}

// Rows become columns: lane j of x[i] and lane i of x[j] change places.
ROWMAX_INLINE void transpose(F32x16 (&x)[16]) noexcept {
  F32x16 y[16];
  ROWMAX_PARTS {
    _Pragma("GCC unroll 4") for (int j = 0; j < 4; ++j) {  // the 4 x 4 block of rows 4i.., columns 4j..
      const Quarter block = transposed(x[4 * i].v[j], x[4 * i + 1].v[j], x[4 * i + 2].v[j], x[4 * i + 3].v[j]);
      _Pragma("GCC unroll 4") for (int k = 0; k < 4; ++k) y[4 * j + k].v[i] = block.v[k];
    }
  }
  ROWMAX_TIMES(16) x[i] = y[i];
}

ROWMAX_INLINE float32x4_t load_quarter(const float* p) noexcept { return vld1q_f32(p); }
ROWMAX_INLINE float32x4_t load_quarter(const std::uint8_t* p) noexcept { return vreinterpretq_f32_u8(vld1q_u8(p)); }
// Columns d..d+3 of sixteen rows: lane k of x[i] is rows[k][d + i].
template <class T>
ROWMAX_INLINE void load_columns4(const T* const (&rows)[16], std::int64_t d, F32x16 (&x)[4]) noexcept {
  ROWMAX_PARTS {
    const Quarter columns = transposed(load_quarter(rows[4 * i] + d), load_quarter(rows[4 * i + 1] + d),
                                       load_quarter(rows[4 * i + 2] + d), load_quarter(rows[4 * i + 3] + d));
    _Pragma("GCC unroll 4") for (int j = 0; j < 4; ++j) x[j].v[i] = columns.v[j];
  }
}
// Bytes at..at+15 of sixteen rows, four a lane: lane k of x[i] is rows[k][at + 4 i ..], the first the lowest.
ROWMAX_INLINE void load_columns4(const std::uint8_t* const (&rows)[16], std::int64_t at, I32x16 (&x)[4]) noexcept {
  F32x16 columns[4];
  load_columns4(rows, at, columns);
  ROWMAX_TIMES(4) x[i] = bitcast_i32(columns[i]);
}

}  // namespace
}  // namespace rowmax::simd
