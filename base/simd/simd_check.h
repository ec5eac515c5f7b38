// The same exercise of every operation of simd.h, run by one translation unit per ISA and compared with the scalar one.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/simd/math.h"

namespace rowmax::simd {

// Fills out[kCheckWords] with the bits of every operation applied to a, b, c (16 floats each) and h (16 halves).
inline constexpr int kCheckWords = 16 * 75;
using CheckFn = void (*)(const float* a, const float* b, const float* c, const std::uint16_t* h, std::uint32_t* out);
void check_scalar(const float* a, const float* b, const float* c, const std::uint16_t* h, std::uint32_t* out);
void check_avx2(const float* a, const float* b, const float* c, const std::uint16_t* h, std::uint32_t* out);
void check_avx512(const float* a, const float* b, const float* c, const std::uint16_t* h, std::uint32_t* out);
void check_neon(const float* a, const float* b, const float* c, const std::uint16_t* h, std::uint32_t* out);

namespace {

// noexcept, no std containers: this body is compiled for each ISA.
inline void check_all(const float* a_, const float* b_, const float* c_, const std::uint16_t* h, std::uint32_t* out) {
  const F32x16 a = load(a_), b = load(b_), c = load(c_);
  float lanes[16];
  int slot = 0;
  const auto put = [&](F32x16 x) {
    store(lanes, canonical_nan(x));
    std::memcpy(out + 16 * slot++, lanes, sizeof lanes);
  };
  const auto put_int = [&](I32x16 x) { store_i32(reinterpret_cast<std::int32_t*>(out + 16 * slot++), x); };
  put(add(a, b));
  put(sub(a, b));
  put(mul(a, b));
  put(div(a, b));
  put(fma(a, b, c));
  put(sqrt(abs(a)));
  put(max(a, b));
  put(min(a, b));
  put(neg(a));
  put(abs(a));
  put(copy_sign(a, b));
  put(select(less(a, b), a, c));
  put(select(equal(a, b), a, c));
  put(select(is_nan(a), b, c));
  put(select(mask_from_bits(0xA5C3), a, b));
  put(load_n(a_, 5));
  put(load_n(a_, 16));
  put(load_n(a_, 0));
  put(load_f16(h));
  put(load_f16_n(h, 11));
  put(load_bf16(h));
  put(load_bf16_n(h, 3));
  put(exp(a));
  put(expm1(b));
  put(tanh(c));
  put(sigmoid(c));
  put(silu(a));
  put(gelu_tanh(b));
  const F32x16 small = min(splat(1e9f), max(splat(-1e9f), select(is_nan(a), splat(0.5f), a)));
  const I32x16 n = round_to_i32(small);
  const I32x16 m = round_to_i32(min(splat(1e6f), max(splat(-1e6f), select(is_nan(b), splat(2.5f), b))));
  put_int(n);
  put_int(add(n, m));
  put_int(sub(n, m));
  put_int(mul(n, m));
  put_int(bit_and(n, m));
  put_int(bit_or(n, m));
  put_int(bit_xor(n, m));
  put_int(shift_left<3>(n));
  put_int(shift_right<5>(n));
  put(to_f32(n));
  std::uint32_t* last = out + 16 * slot++;
  for (int i = 0; i < 16; ++i) last[i] = 0;
  last[0] = mask_bits(less(a, b));
  last[1] = mask_bits(is_nan(c));
  last[2] = mask_bits(less(n, m));
  const float sum = reduce_add(select(is_nan(a), splat(1.0f), small)), most = reduce_max(small);
  std::memcpy(last + 3, &sum, 4);
  std::memcpy(last + 4, &most, 4);
  for (int i = 0; i < 16; ++i) lanes[i] = -1.0f;
  store_n(lanes, canonical_nan(a), 7);
  std::memcpy(out + 16 * slot++, lanes, sizeof lanes);
  std::uint16_t halves[16];
  store_f16(halves, small);
  for (int i = 0; i < 16; ++i) out[16 * slot + i] = halves[i];
  ++slot;
  F32x16 matrix[16];
  for (int i = 0; i < 16; ++i) matrix[i] = add(i % 2 == 0 ? small : to_f32(n), splat(static_cast<float>(i)));
  transpose(matrix);
  for (F32x16 row : matrix) put(row);
  const F32x16 eight[8] = {a, b, c, small, matrix[0], matrix[1], splat(2.0f), b};
  put(select(mask_from_bits(0xFF), reduce_max8(eight), splat(0.0f)));
  const F32x16 shifted = add(min(splat(60.0f), max(splat(-60.0f), small)), splat(0x1.8p23f + 127.0f));
  put(mul_power_of_2(splat(1.25f), sub(shifted, splat(0x1.8p23f + 127.0f)), shifted));
  float rows[16][16];
  const float* row_of[16];
  for (int i = 0; i < 16; ++i) {
    store(rows[i], matrix[i]);
    row_of[i] = rows[i];
  }
  F32x16 columns[4];
  load_columns4(row_of, 8, columns);
  for (F32x16 column : columns) put(column);
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(h);
  put(load_f8e4m3(bytes));
  put(load_f8e4m3_n(bytes + 16, 9));
  put(load_i8(reinterpret_cast<const std::int8_t*>(bytes)));
  put(mul(load_i8_units(reinterpret_cast<const std::int8_t*>(bytes)), splat(kI8Unit)));
  const std::uint8_t* byte_rows[16];
  for (int i = 0; i < 16; ++i) byte_rows[i] = bytes + (7 * i) % 16;
  I32x16 fours[4];
  load_columns4(byte_rows, 1, fours);
  for (I32x16 four : fours) put_int(four);
  put_int(highest_byte<0>(fours[0]));
  put_int(highest_byte<1>(fours[1]));
  put_int(highest_byte<2>(fours[2]));
  put_int(highest_byte<3>(fours[3]));
}

}  // namespace
}  // namespace rowmax::simd
