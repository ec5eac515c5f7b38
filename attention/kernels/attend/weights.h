// Raw dots to weights: scale, soft cap, bias and mask, the running maximum, the exponentials. Part of the attend
// kernel's algorithm, see attend.h.
#pragma once

#include "attention/kernels/attend/blocks.h"
#include "attention/kernels/rows.h"
#include "attention/kernels/weight_exp.h"
#include "base/simd/math.h"

namespace rowmax::attention {
namespace {

ROWMAX_INLINE F32x16 guarded_base(F32x16 m) noexcept {
  return simd::select(simd::equal(m, simd::splat(-kInfinity)), simd::splat(0.0f), m);
}

// Turns raw dots of a row into masked scores; returns their maximum, lane by lane, and lowers *low to the lowest
// visible score so far. kPlain: all keys visible, neither soft cap nor bias. Dots of sixteen keys without a visible one
// are not read.
template <bool kPlain>
ROWMAX_INLINE F32x16 finish_scores(const CallArgs& call, const float* bias, std::uint64_t word, float* s, F32x16* low,
                                   std::uint32_t* flags) noexcept {
  const F32x16 scale = simd::splat(static_cast<float>(call.args->scale));
  const float softcap = call.args->softcap;
  const F32x16 minus_infinity = simd::splat(-kInfinity);
  F32x16 high = minus_infinity;
  F32x16 raw_size = simd::splat(0.0f);
  ROWMAX_UNROLL
  for (int c = 0; c < kKeyTile; c += 16) {
    if constexpr (kPlain) {
      const F32x16 x = simd::mul(simd::load(s + c), scale);
      *low = simd::min(x, *low);  // a NaN leaves it as it is
      high = simd::max(high, x);
      simd::store(s + c, x);
    } else {
      const std::uint32_t bits = static_cast<std::uint32_t>(word >> c) & 0xFFFFu;
      if (bits == 0) {
        simd::store(s + c, minus_infinity);
        continue;
      }
      F32x16 x = simd::mul(simd::load(s + c), scale);
      const simd::M16 visible = simd::mask_from_bits(bits);
      if (softcap > 0.0f) {
        raw_size = simd::max(simd::select(visible, simd::abs(x), simd::splat(0.0f)), raw_size);
        x = simd::mul(simd::splat(softcap), simd::tanh(simd::div(x, simd::splat(softcap))));
      }
      if (bias != nullptr) x = simd::add(x, simd::load(bias + c));
      *low = simd::min(simd::select(visible, x, simd::splat(kInfinity)), *low);
      x = simd::select(visible, x, minus_infinity);
      high = simd::max(high, x);
      simd::store(s + c, x);
    }
  }
  if (!kPlain && softcap > 0.0f && simd::reduce_max(raw_size) == kInfinity) *flags |= kRowOverflow;
  return high;
}

// The same, out of line: rarely many rows, and long.
__attribute__((noinline)) inline F32x16 finish_masked_scores(const CallArgs& call, const float* bias,
                                                             std::uint64_t word, float* s, F32x16* low,
                                                             std::uint32_t* flags) noexcept {
  return finish_scores<false>(call, bias, word, s, low, flags);
}

inline bool has_minus_infinity(F32x16 x) noexcept {
  return simd::mask_bits(simd::equal(x, simd::splat(-kInfinity))) != 0;
}

// Notes which of the rows [r0, r0 + n) have a visible score of -inf.
inline void find_overflow(int r0, int n, const Scratch& scratch) noexcept {
  for (int r = r0; r < r0 + n; ++r) {
    for (int c = 0; c < kKeyTile; c += 16) {
      const std::uint32_t visible = static_cast<std::uint32_t>(scratch.words[r] >> c) & 0xFFFFu;
      const F32x16 x = simd::load(scratch.s + r * kKeyTile + c);
      if ((simd::mask_bits(simd::equal(x, simd::splat(-kInfinity))) & visible) != 0) scratch.flags[r] |= kRowOverflow;
    }
  }
}

inline constexpr int kMaxWeightRows = 8;  // of one call below

// Scores to weights happens in two halves, so that the first of one block of rows, whose steps wait for each other, can
// run beside the second of the block before.

// First half for rows [r0, r0 + n), n <= kMaxWeightRows, at least one with a visible key: raw dots to masked scores;
// updates m, sets alpha. Writes alpha of up to 16 rows from r0 on: call it for ascending rows. One step of `ahead` a
// row.
inline void start_weights(const CallArgs& call, const BlockArgs& block, int r0, int n, const Scratch& scratch,
                          Prefetch* ahead) noexcept {
  const bool has_bias = adds_bias(call, block);
  const bool plain = !has_bias && !(call.args->softcap > 0.0f);
  F32x16 low = simd::splat(kInfinity);
  std::uint32_t seen = 0;
  F32x16 high[kMaxWeightRows];
  for (int i = 0; i < kMaxWeightRows; ++i) {
    high[i] = simd::splat(-kInfinity);
    if (i >= n || scratch.words[r0 + i] == 0) continue;
    const int r = r0 + i;
    const std::uint64_t word = scratch.words[r];
    ahead->step<2>();
    float* s = scratch.s + r * kKeyTile;
    const float* bias = has_bias ? scratch.bias + r * kKeyTile : nullptr;
    high[i] = plain && word == ~std::uint64_t{0} ? finish_scores<true>(call, bias, word, s, &low, &scratch.flags[r])
                                                 : finish_masked_scores(call, bias, word, s, &low, &scratch.flags[r]);
    scratch.flags[r] |= kRowSeen;
    seen |= 1u << i;
  }
  if (has_minus_infinity(low)) find_overflow(r0, n, scratch);
  const simd::M16 visible = simd::mask_from_bits(seen);
  const F32x16 m_old = simd::load(scratch.m + r0);
  const F32x16 m = simd::select(visible, simd::max(m_old, simd::reduce_max8(high)), m_old);
  simd::store(scratch.m + r0, m);
  const F32x16 alpha = exp_weight(simd::sub(m_old, guarded_base(m)));
  simd::store(scratch.alpha + r0, simd::select(visible, alpha, simd::splat(1.0f)));
}

// start_weights for kRows rows that all see all keys of the tile, with neither soft cap nor bias.
template <int kRows>
ROWMAX_INLINE void start_weights_plain(const CallArgs& call, int r0, const Scratch& scratch) noexcept {
  static_assert(kRows <= kMaxWeightRows);
  F32x16 low = simd::splat(kInfinity);
  F32x16 high[kMaxWeightRows];
  ROWMAX_UNROLL
  for (int i = 0; i < kMaxWeightRows; ++i) {
    high[i] = i < kRows ? finish_scores<true>(call, nullptr, ~std::uint64_t{0}, scratch.s + (r0 + i) * kKeyTile, &low,
                                              nullptr)
                        : simd::splat(-kInfinity);
  }
  for (int i = 0; i < kRows; ++i) scratch.flags[r0 + i] |= kRowSeen;
  if (has_minus_infinity(low)) find_overflow(r0, kRows, scratch);
  const simd::M16 rows = simd::mask_from_bits((1u << kRows) - 1u);
  const F32x16 m_old = simd::load(scratch.m + r0);
  const F32x16 m = simd::select(rows, simd::max(m_old, simd::reduce_max8(high)), m_old);
  simd::store(scratch.m + r0, m);
  simd::store(scratch.alpha + r0, exp_weight(simd::sub(m_old, guarded_base(m))));
}

// Second half: scores to weights, updates l. One step of `ahead` a row.
inline void finish_weights(int r0, int n, const Scratch& scratch, Prefetch* ahead) noexcept {
  float bases[16];
  simd::store(bases, guarded_base(simd::load(scratch.m + r0)));
  for (int r = r0; r < r0 + n; ++r) {
    const std::uint64_t word = scratch.words[r];
    ahead->step<2>();
    float* s = scratch.s + r * kKeyTile;
    const F32x16 base = simd::splat(bases[r - r0]);
    F32x16 p[4];
    if (word == ~std::uint64_t{0}) {
      ROWMAX_UNROLL
      for (int c = 0; c < 4; ++c) p[c] = exp_weight(simd::sub(simd::load(s + 16 * c), base));
    } else {
      ROWMAX_UNROLL
      for (int c = 0; c < 4; ++c) {
        p[c] = simd::splat(0.0f);
        if (((word >> (16 * c)) & 0xFFFFu) != 0) p[c] = exp_weight(simd::sub(simd::load(s + 16 * c), base));
      }
    }
    ROWMAX_UNROLL
    for (int c = 0; c < 4; ++c) simd::store(s + 16 * c, p[c]);
    if (word == 0) continue;
    const F32x16 sum = simd::add(simd::add(simd::add(p[0], p[1]), p[2]), p[3]);
    float* l = scratch.l + r * 16;
    simd::store(l, simd::add(simd::mul(simd::load(l), simd::splat(scratch.alpha[r])), sum));
  }
}

}  // namespace
}  // namespace rowmax::attention
