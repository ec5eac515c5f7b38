// Sixteen virtual lanes of f32 or i32 on every instruction set, with the same bits on all of them.
//
// Kernels are written once over F32x16 / I32x16 / M16 and instantiated by one file per ISA (x_avx2.cc, x_avx512.cc,
// x_neon.cc, x_scalar.cc); the file's compiler flags choose the width file below: one 512-bit register, two of 256,
// four of 128, or plain arrays. All operations are IEEE operations on single lanes, so which registers hold them cannot
// matter:
//   - fma is always fused, mul and add never are (-ffp-contract=off);
//   - max(a, b) is a > b ? a : b and min(a, b) is a < b ? a : b, as x86 has it: the second operand where one is NaN;
//   - reductions combine lane i with i+8, then i+4, i+2, i+1: one tree everywhere;
//   - no estimates (rcp, rsqrt), no approximate conversions.
// A NaN's payload is not defined; results that leave the library pass canonical_nan().
//
// Everything lies in an unnamed namespace and is inlined: no symbol of one ISA can stand in for another's.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#ifdef __FAST_MATH__
#error "rowmax promises defined bits: build it without -ffast-math"
#endif

#define ROWMAX_INLINE inline __attribute__((always_inline))
#define ROWMAX_INLINE_LAMBDA __attribute__((always_inline))

#if defined(__AVX512F__) && defined(__AVX512VL__)
#include "base/simd/width_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__)
#include "base/simd/width_avx2.h"
#elif defined(__aarch64__) && defined(__ARM_NEON) && !defined(ROWMAX_SIMD_SCALAR)
#include "base/simd/width_neon.h"
#else
#include "base/simd/width_scalar.h"
#endif

namespace rowmax::simd {
namespace {

// ---- built from the primitives, alike on every ISA

ROWMAX_INLINE F32x16 canonical_nan(F32x16 x) noexcept {
  return select(is_nan(x), bitcast_f32(splat_i32(0x7FC00000)), x);
}
ROWMAX_INLINE F32x16 neg(F32x16 x) noexcept { return bitcast_f32(bit_xor(bitcast_i32(x), splat_i32(INT32_MIN))); }
ROWMAX_INLINE F32x16 abs(F32x16 x) noexcept { return bitcast_f32(bit_and(bitcast_i32(x), splat_i32(INT32_MAX))); }
ROWMAX_INLINE F32x16 copy_sign(F32x16 magnitude, F32x16 sign) noexcept {
  return bitcast_f32(
      bit_or(bit_and(bitcast_i32(magnitude), splat_i32(INT32_MAX)), bit_and(bitcast_i32(sign), splat_i32(INT32_MIN))));
}
// Byte kByte of each lane, 0 the lowest, as its highest one; zeros below.
template <int kByte>
ROWMAX_INLINE I32x16 highest_byte(I32x16 x) noexcept {
  const I32x16 moved = shift_left<8 * (3 - kByte)>(x);
  return kByte == 0 ? moved : bit_and(moved, splat_i32(static_cast<std::int32_t>(0xFF000000u)));
}

}  // namespace
}  // namespace rowmax::simd
