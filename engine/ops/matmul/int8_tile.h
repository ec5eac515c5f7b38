// One tile of an integer panel times the activations of some tokens, in terms of a Dot (int8_kernel.h).
#pragma once

#include "engine/ops/matmul/int8_activations.h"

namespace rowmax::engine::panel {
namespace {

using Int8Weights = Unpacked;  // some tiles of a panel for many tokens

// Sums that a token's part of a tile is added up in: one for each group, or two for one group where a chain of dot
// products would leave the multipliers waiting.
template <class Panel, int kTokens>
inline constexpr int kSums = Panel::kGroups == 1 && kTokens == 1 && kSplitChains ? 2 : Panel::kGroups;

// Quads j and j + 4 of a tile for tokens side by side at a.
template <class Panel, int j, int kTokens, int kSumsOfToken>
ROWMAX_INLINE void add_pair(const std::byte* tile, const ByteTable& table, const std::int8_t* a,
                            Dot<Panel::kDotBits> (&coarse)[kTokens][kSumsOfToken],
                            Dot<Panel::kDotBits> (&fine)[kTokens][kSumsOfToken]) noexcept {
  constexpr bool kOneGroup = kSumsOfToken == 1;
  Codes low, high;
  unpack_pair<Panel, j>(tile, table, low, high);
  const auto low_weights = Dot<Panel::kDotBits>::prepare(low), high_weights = Dot<Panel::kDotBits>::prepare(high);
  ROWMAX_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    const std::int8_t* codes = a + kCodeBytes * t + 4 * j;
    constexpr int kSecond = kOneGroup ? 0 : 1;
    coarse[t][0].add(low_weights, codes, kOneGroup ? 2 * j : j);
    fine[t][0].add(low_weights, codes + kTile, kOneGroup ? 2 * j : j);
    coarse[t][kSecond].add(high_weights, codes + 16, kOneGroup ? 2 * j + 1 : j);
    fine[t][kSecond].add(high_weights, codes + kTile + 16, kOneGroup ? 2 * j + 1 : j);
  }
}

// One tile of one panel added to the chains of kTokens tokens; `at` is token 0's index.
template <class Panel, int kTokens>
ROWMAX_INLINE void int8_few_tile(const std::byte* tile, const ByteTable& table, const Scales<Panel>& scales,
                                 int first_group, const Int8Activations& act, std::int64_t at,
                                 simd::F32x16 (&acc)[kTokens]) noexcept {
  using DotBits = Dot<Panel::kDotBits>;
  constexpr int kGroups = Panel::kGroups, kSumsOfToken = kSums<Panel, kTokens>;
  const std::int8_t* a = act.codes + at * kCodeBytes;
  DotBits coarse[kTokens][kSumsOfToken], fine[kTokens][kSumsOfToken];
  ROWMAX_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    ROWMAX_UNROLL
    for (int i = 0; i < kSumsOfToken; ++i) {
      coarse[t][i].start(simd::splat_i32(0));
      fine[t][i].start(simd::splat_i32(i < kGroups ? Start<Panel>::value(act, i, at + t) : 0));
    }
  }
  add_pair<Panel, 0>(tile, table, a, coarse, fine);
  add_pair<Panel, 1>(tile, table, a, coarse, fine);
  add_pair<Panel, 2>(tile, table, a, coarse, fine);
  add_pair<Panel, 3>(tile, table, a, coarse, fine);
  ROWMAX_UNROLL
  for (int g = 0; g < kGroups; ++g) {
    const simd::F32x16 scale = scales.scale(first_group + g);
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      const simd::F32x16 product = simd::mul(scale, simd::splat(act.scales[at + t]));
      simd::I32x16 high = coarse[t][g].value(kQuads / kSumsOfToken), low = fine[t][g].value(kQuads / kSumsOfToken);
      if constexpr (kSumsOfToken > kGroups) {
        high = simd::add(high, coarse[t][1].value(kQuads / kSumsOfToken));
        low = simd::add(low, fine[t][1].value(kQuads / kSumsOfToken));
      }
      const simd::I32x16 sum = simd::add(simd::shift_left<kTermShift>(high), low);
      acc[t] = simd::fma(simd::to_f32(sum), product, acc[t]);
    }
    if constexpr (Panel::kHasMin) {
      const simd::F32x16 min = scales.min(first_group + g);
      ROWMAX_UNROLL
      for (int t = 0; t < kTokens; ++t) {
        acc[t] = simd::fma(min, simd::splat(group_sum<Panel>(act, g, at + t)), acc[t]);
      }
    }
  }
}

// The quads of one group of a tile, for one byte of each activation.
template <class Panel, int kTokens>
ROWMAX_INLINE void add_quads(const std::uint8_t (*codes)[kVector], const std::int8_t* a,
                             Dot<Panel::kDotBits> (&dots)[kTokens]) noexcept {
  ROWMAX_UNROLL
  for (int q = 0; q < Panel::kQuadsOfGroup; ++q) {
    const auto w = Dot<Panel::kDotBits>::prepare(load_codes(codes[q]));
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) dots[t].add(w, a + kCodeBytes * t + 4 * q, q);
  }
}

// One tile of unpacked weights added to the chains of kTokens tokens.
template <class Panel, int kTokens>
ROWMAX_INLINE void int8_tile(const std::uint8_t (*codes)[kVector], const float (*scales)[kRows],
                             const float (*mins)[kRows], const Activations<Panel>& act,
                             simd::F32x16 (&acc)[kTokens]) noexcept {
  using DotBits = Dot<Panel::kDotBits>;
  constexpr int kQuadsOfGroup = Panel::kQuadsOfGroup;
  ROWMAX_UNROLL
  for (int g = 0; g < Panel::kGroups; ++g) {
    DotBits dots[kTokens];
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) dots[t].start(simd::splat_i32(0));
    add_quads<Panel, kTokens>(codes + g * kQuadsOfGroup, act.codes + 4 * g * kQuadsOfGroup, dots);
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      const simd::I32x16 coarse = simd::shift_left<kTermShift>(dots[t].value(kQuadsOfGroup));
      dots[t].start(simd::add(coarse, simd::splat_i32(act.start(g, t))));
    }
    add_quads<Panel, kTokens>(codes + g * kQuadsOfGroup, act.codes + kTile + 4 * g * kQuadsOfGroup, dots);
    const simd::F32x16 scale = simd::load(scales[g]);
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      const simd::F32x16 product = simd::mul(scale, simd::splat(act.scales[t]));
      acc[t] = simd::fma(simd::to_f32(dots[t].value(kQuadsOfGroup)), product, acc[t]);
    }
    if constexpr (Panel::kHasMin) {
      const simd::F32x16 min = simd::load(mins[g]);
      ROWMAX_UNROLL
      for (int t = 0; t < kTokens; ++t) acc[t] = simd::fma(min, simd::splat(act.group_sum(g, t)), acc[t]);
    }
  }
}

}  // namespace
}  // namespace rowmax::engine::panel
