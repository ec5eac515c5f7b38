// Rounds activations to blocks of 32 numbers of two signed bytes. Included after one dot_*.h; see matmul.h for the
// definition and Int8Activations for the order in memory.
#pragma once

#include <cstring>
#include <limits>

#include "engine/ops/matmul/panel.h"

namespace rowmax::engine::panel {
namespace {

// 16 activations |a| <= kMaxCode as a = coarse * 128 + fine with -127 <= coarse <= 127 and -64 <= fine <= 63.
ROWMAX_INLINE void store_terms(std::int8_t* codes, simd::I32x16 a) noexcept {
  const simd::I32x16 half = simd::splat_i32(1 << (kTermShift - 1));
  const simd::I32x16 coarse = simd::shift_right<kTermShift>(simd::add(a, half));
  store_i8(codes, coarse);
  store_i8(codes + kTile, simd::sub(a, simd::shift_left<kTermShift>(coarse)));
}

// One block of one token, to index `at`; x is nullptr for a padding token.
ROWMAX_INLINE void round_block(const float* x, const Int8Activations& out, std::int64_t at) noexcept {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr std::int32_t kInfinityBits = 0x7F800000;
  constexpr std::int32_t kTinyBits = 0x0D800000;  // 2^-100; below it kMaxCode / m could overflow
  std::int8_t* codes = out.codes + at * kCodeBytes;
  std::int32_t bits = 0;  // of m: magnitudes of floats compare as integers, NaN above infinity
  if (x != nullptr) {
    const simd::I32x16 magnitude = simd::splat_i32(INT32_MAX);
    const simd::I32x16 low = simd::bit_and(simd::bitcast_i32(simd::load(x)), magnitude);
    const simd::I32x16 high = simd::bit_and(simd::bitcast_i32(simd::load(x + 16)), magnitude);
    bits = max_lanes(low, high);
  }
  std::int32_t low_sum = 0, sum = 0;
  float d = 0.0f;
  if (bits >= kTinyBits && bits < kInfinityBits) {
    float most = 0.0f;
    std::memcpy(&most, &bits, 4);
    d = most / static_cast<float>(kMaxCode);
    const simd::F32x16 factor = simd::splat(static_cast<float>(kMaxCode) / most);
    const simd::I32x16 low = simd::round_to_i32(simd::mul(simd::load(x), factor));
    const simd::I32x16 high = simd::round_to_i32(simd::mul(simd::load(x + 16), factor));
    store_terms(codes, low);
    store_terms(codes + 16, high);
    sum = sum_lanes(simd::add(low, high));
    if (out.half_sums) low_sum = sum_lanes(low);
  } else {
    if (bits >= kInfinityBits) d = kNan;
    store_terms(codes, simd::splat_i32(0));
    store_terms(codes + 16, simd::splat_i32(0));
  }
  out.scales[at] = d;
  out.sums[at] = d * static_cast<float>(sum);
  for (int i = 0; i < kCorrections; ++i) {
    if (out.corrections[i] == nullptr) continue;
    const Correction& row = kCorrectionTable[i];
    out.corrections[i][at] = -row.offset * (row.group == kTile ? sum : row.first == 0 ? low_sum : sum - low_sum);
  }
}

void round_groups(const float* x, std::int64_t ldx, const Int8Activations& out, std::int64_t group_begin,
                  std::int64_t group_end) noexcept {
  for (std::int64_t first = group_begin * out.group; first < group_end * out.group; first += out.group) {
    if (first >= out.n_tok) return;
    const int width = out.width(first);
    for (int t = 0; t < width; ++t) {
      const float* row = first + t < out.n_tok ? x + (first + t) * ldx : nullptr;
      std::int64_t at = first * out.n_tiles + t;
      for (std::int64_t b = 0; b < out.n_tiles; ++b, at += width) {
        round_block(row == nullptr ? nullptr : row + b * kTile, out, at);
      }
    }
  }
}

}  // namespace
}  // namespace rowmax::engine::panel
