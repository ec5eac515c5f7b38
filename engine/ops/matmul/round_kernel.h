// Rounds activations: in blocks of 32 to two signed bytes a number, or by token to one. Included after one dot_*.h; see
// matmul.h for the definitions and TokenGroups for the order in memory.
#pragma once

#include <cstring>
#include <limits>

#include "engine/ops/matmul/panel.h"

namespace rowmax::engine::panel {
namespace {

// 16 activations |a| <= kMaxCode as a = coarse * 128 + fine with -127 <= coarse <= 127 and -64 <= fine <= 63.
struct BinaryTerms {
  static constexpr int kBytes = kCodeBytes;

  static ROWMAX_INLINE simd::I32x16 coarse(simd::I32x16 a) noexcept {
    return simd::shift_right<kTermShift>(simd::add(a, simd::splat_i32(1 << (kTermShift - 1))));
  }
  static ROWMAX_INLINE simd::I32x16 fine(simd::I32x16 a) noexcept {
    return simd::sub(a, simd::shift_left<kTermShift>(coarse(a)));
  }
  // half: which of the block's halves they are, 0 or 1.
  static ROWMAX_INLINE void store(std::int8_t* codes, int half, simd::I32x16 a) noexcept {
    store_i8(codes + 16 * half, coarse(a));
    store_i8(codes + 16 * half + kTile, fine(a));
  }
};

// One block of one token, to index `at`; x is nullptr for a padding token. Terms: how 16 activations become bytes.
template <class Terms>
ROWMAX_INLINE void round_block(const float* x, const Int8Activations& out, std::int64_t at) noexcept {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr std::int32_t kInfinityBits = 0x7F800000;
  constexpr std::int32_t kTinyBits = 0x0D800000;  // 2^-100; below it kMaxCode / m could overflow
  std::int8_t* codes = out.codes + at * Terms::kBytes;
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
    Terms::store(codes, 0, low);
    Terms::store(codes, 1, high);
    sum = sum_lanes(simd::add(low, high));
    if (out.half_sums) low_sum = sum_lanes(low);
  } else {
    if (bits >= kInfinityBits) d = kNan;
    Terms::store(codes, 0, simd::splat_i32(0));
    Terms::store(codes, 1, simd::splat_i32(0));
  }
  out.scales[at] = d;
  out.sums[at] = d * static_cast<float>(sum);
  for (int i = 0; i < kCorrections; ++i) {
    if (out.corrections[i] == nullptr) continue;
    const Correction& row = kCorrectionTable[i];
    out.corrections[i][at] = -row.offset * (row.group == kTile ? sum : row.first == 0 ? low_sum : sum - low_sum);
  }
}

template <class Terms>
void round_groups(const float* x, std::int64_t ldx, const Int8Activations& out, std::int64_t group_begin,
                  std::int64_t group_end) noexcept {
  for (std::int64_t first = group_begin * out.group; first < group_end * out.group; first += out.group) {
    if (first >= out.n_tok) return;
    const int width = out.width(first);
    for (int t = 0; t < width; ++t) {
      const float* row = first + t < out.n_tok ? x + (first + t) * ldx : nullptr;
      std::int64_t at = first * out.n_tiles + t;
      for (std::int64_t b = 0; b < out.n_tiles; ++b, at += width) {
        round_block<Terms>(row == nullptr ? nullptr : row + b * kTile, out, at);
      }
    }
  }
}

// Where a token group of ternary panels has its codes: tiles in turn, each with the tokens side by side.
struct TilesInTurn {
  std::int8_t* codes;  // of the group
  std::int64_t n_tiles;
  int width;
  ROWMAX_INLINE std::int8_t* at(std::int64_t tile, int token) const noexcept {
    return codes + (tile * width + token) * kTile;
  }
};

// Token t of its group by the rule of one scale a token; x is nullptr for a padding token.
template <class Order>
ROWMAX_INLINE void round_token(const float* x, const Order& order, int t, float* scale, std::int32_t* sum) noexcept {
  const std::int64_t n_tiles = order.n_tiles;
  constexpr std::int32_t kInfinityBits = 0x7F800000;
  *scale = 1.0f;
  *sum = 0;
  std::int32_t bits = 0;  // of max |x|: magnitudes of floats compare as integers, NaN above infinity
  for (std::int64_t b = 0; x != nullptr && b < n_tiles; ++b) {
    const simd::I32x16 magnitude = simd::splat_i32(INT32_MAX);
    const std::int32_t most = max_lanes(simd::bit_and(simd::bitcast_i32(simd::load(x + b * kTile)), magnitude),
                                        simd::bit_and(simd::bitcast_i32(simd::load(x + b * kTile + 16)), magnitude));
    bits = most > bits ? most : bits;
  }
  if (x == nullptr || bits >= kInfinityBits) {
    if (bits >= kInfinityBits) *scale = std::numeric_limits<float>::quiet_NaN();
    for (std::int64_t b = 0; b < n_tiles; ++b) std::memset(order.at(b, t), 0, kTile);
    return;
  }
  float most = 0.0f;
  std::memcpy(&most, &bits, 4);
  *scale = 127.0f / (most > 1e-5f ? most : 1e-5f);
  // No product exceeds 127 by more than two roundings, so that none has to be cut.
  const simd::F32x16 factor = simd::splat(*scale);
  simd::I32x16 total = simd::splat_i32(0);
  for (std::int64_t b = 0; b < n_tiles; ++b) {
    const simd::I32x16 low = simd::round_to_i32(simd::mul(simd::load(x + b * kTile), factor));
    const simd::I32x16 high = simd::round_to_i32(simd::mul(simd::load(x + b * kTile + 16), factor));
    store_i8(order.at(b, t), low);
    store_i8(order.at(b, t) + 16, high);
    total = simd::add(total, simd::add(low, high));
  }
  *sum = sum_lanes(total);
}

template <class Order>
void round_tokens(const float* x, std::int64_t ldx, const TokenActivations& out, std::int64_t group_begin,
                  std::int64_t group_end) noexcept {
  for (std::int64_t first = group_begin * out.group; first < group_end * out.group; first += out.group) {
    if (first >= out.n_tok) return;
    const int width = out.width(first);
    const Order order{out.codes + first * out.n_tiles * kTile, out.n_tiles, width};
    for (int t = 0; t < width; ++t) {
      const float* row = first + t < out.n_tok ? x + (first + t) * ldx : nullptr;
      round_token(row, order, t, out.scales + first + t, out.sums + first + t);
    }
  }
}

}  // namespace
}  // namespace rowmax::engine::panel
