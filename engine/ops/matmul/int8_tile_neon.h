// Tiles of integer panels on AArch64, in place of int8_tile.h: after dot_neon.h.
//
// A register block is what 32 registers hold: the sums of one group, of both bytes of every activation, and the float chains.
// With dot products or matrix products these are 2 tokens (16 sums, 8 chains), without them 1 (16 sums in words, 4 chains),
// and codes and activations pass by in what is left. A half of a tile is what one register of activations covers.
#pragma once

#include <type_traits>

#include "engine/ops/matmul/int8_activations.h"

namespace rowmax::engine::panel {
namespace {

// ---- codes: of quad q, all or those of rows 4i .. 4i + 3

template <class Panel>
struct PackedQuads {
  const std::byte* tile;
  const ByteTable& table;

  template <int q, class C = Codes>
  ROWMAX_INLINE C quad(int i = 0) const noexcept {
    C low, high;
    unpack_pair<Panel, q % 4>(tile + 16 * i, table, low, high);
    return q < 4 ? low : high;
  }
};
struct UnpackedQuads {
  const std::uint8_t (*codes)[kVector];

  template <int q, class C = Codes>
  ROWMAX_INLINE C quad(int i = 0) const noexcept {
    return C::load(codes[q] + 16 * i);
  }
};

#ifdef __ARM_FEATURE_MATMUL_INT8

// 8 k, quads 2n and 2n + 1, of rows 4i and 4i + 1, and of the two that follow: as matrix products take them.
struct RowPairs {
  uint8x16_t v[2];
};
ROWMAX_INLINE RowPairs pair_rows(uint8x16_t even, uint8x16_t odd) noexcept {
  const uint32x4_t a = vreinterpretq_u32_u8(even), b = vreinterpretq_u32_u8(odd);
  return {{vreinterpretq_u8_u32(vzip1q_u32(a, b)), vreinterpretq_u8_u32(vzip2q_u32(a, b))}};
}
template <int n, class Panel>
ROWMAX_INLINE RowPairs row_pairs(const PackedQuads<Panel>& tile, int i) noexcept {
  return pair_rows(tile.template quad<2 * n, FourRows>(i).v[0], tile.template quad<2 * n + 1, FourRows>(i).v[0]);
}

// Takes the quads of a tile as row pairs: those of quads 2n and 2n + 1 in the order of rows. Of each half the even quads
// come before the odd ones that follow them.
class StoreRowPairs {
 public:
  ROWMAX_INLINE explicit StoreRowPairs(std::uint8_t (*codes)[kVector]) noexcept : codes_(codes) {}
  ROWMAX_INLINE void operator()(int quad, Codes c) noexcept {
    Codes& even = even_[quad / 4];
    if (quad % 2 == 0) {
      even = c;
      return;
    }
    ROWMAX_PARTS {
      const RowPairs rows = pair_rows(even.v[i], c.v[i]);
      std::uint8_t* to = codes_[quad - 1 + i / 2] + 32 * (i % 2);
      vst1q_u8(to, rows.v[0]);
      vst1q_u8(to + 16, rows.v[1]);
    }
  }

 private:
  std::uint8_t (*codes_)[kVector];
  Codes even_[2];
};
struct PairedRows {
  const std::uint8_t (*codes)[kVector];
};
template <int n>
ROWMAX_INLINE RowPairs row_pairs(const PairedRows& tile, int i) noexcept {
  const std::uint8_t* from = tile.codes[2 * n + i / 2] + 32 * (i % 2);
  return {{vld1q_u8(from), vld1q_u8(from + 16)}};
}

// Some tiles for many tokens.
struct Int8Weights : UnpackedScales {
  alignas(64) std::uint8_t codes[kInt8Chunk / kTile][kQuads][kVector];

  ROWMAX_INLINE StoreRowPairs tile(int t) noexcept { return StoreRowPairs(codes[t]); }
};
using WeightQuads = PairedRows;

#else

using Int8Weights = Unpacked;
using WeightQuads = UnpackedQuads;

#endif

// ---- sums of a group

#if defined(__ARM_FEATURE_MATMUL_INT8)

// Of two rows and the two bytes of an activation, 8 k at a time: [coarse, fine] of row 2i, then of row 2i + 1. The bytes of 8
// activations lie together, first the coarse ones (EightTerms).
template <int kBits, int kQuadsOfGroup, int kTokens>
struct GroupSums {
  int32x4_t pairs[kTokens][8];

  ROWMAX_INLINE void start(int t, std::int32_t from) noexcept {
    const auto fine = static_cast<std::uint64_t>(static_cast<std::uint32_t>(from)) << 32;
    ROWMAX_TIMES(8) pairs[t][i] = vreinterpretq_s32_u64(vdupq_n_u64(fine));
  }
  ROWMAX_INLINE void add_rows(int i, RowPairs rows, const int8x16_t (&terms)[kTokens]) noexcept {
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      pairs[t][2 * i] = vmmlaq_s32(pairs[t][2 * i], vreinterpretq_s8_u8(rows.v[0]), terms[t]);
      pairs[t][2 * i + 1] = vmmlaq_s32(pairs[t][2 * i + 1], vreinterpretq_s8_u8(rows.v[1]), terms[t]);
    }
  }
  template <int kHalf, bool kFirst, class Quads>
  ROWMAX_INLINE void add_half(const Quads& quads, const std::int8_t* a) noexcept {
    int8x16_t first[kTokens], second[kTokens];
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      first[t] = vld1q_s8(a + kCodeBytes * t + 32 * kHalf);
      second[t] = vld1q_s8(a + kCodeBytes * t + 32 * kHalf + 16);
    }
    ROWMAX_PARTS {
      add_rows(i, row_pairs<2 * kHalf>(quads, i), first);
      add_rows(i, row_pairs<2 * kHalf + 1>(quads, i), second);
    }
  }
  ROWMAX_INLINE simd::I32x16 total(int t) noexcept {
    simd::I32x16 r;
    ROWMAX_PARTS {
      const int32x4_t a = pairs[t][2 * i], b = pairs[t][2 * i + 1];
      r.v[i] = vmlaq_n_s32(vuzp2q_s32(a, b), vuzp1q_s32(a, b), 1 << kTermShift);
    }
    return r;
  }
};

#elif defined(__ARM_FEATURE_DOTPROD)

template <int kBits, int kQuadsOfGroup, int kTokens>
struct GroupSums {
  int32x4_t coarse[kTokens][4], fine[kTokens][4];

  ROWMAX_INLINE void start(int t, std::int32_t from) noexcept {
    ROWMAX_PARTS {
      coarse[t][i] = vdupq_n_s32(0);
      fine[t][i] = vdupq_n_s32(from);
    }
  }
  template <int kLane>
  ROWMAX_INLINE void add_rows(int i, FourRows codes, const int8x16_t (&high)[kTokens],
                              const int8x16_t (&low)[kTokens]) noexcept {
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      coarse[t][i] = add_dots<kLane>(coarse[t][i], codes.v[0], high[t]);
      fine[t][i] = add_dots<kLane>(fine[t][i], codes.v[0], low[t]);
    }
  }
  template <int kHalf, bool kFirst, class Quads>
  ROWMAX_INLINE void add_half(const Quads& quads, const std::int8_t* a) noexcept {
    int8x16_t high[kTokens], low[kTokens];
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      high[t] = vld1q_s8(a + kCodeBytes * t + 16 * kHalf);
      low[t] = vld1q_s8(a + kCodeBytes * t + kTile + 16 * kHalf);
    }
    ROWMAX_PARTS {
      add_rows<0>(i, quads.template quad<4 * kHalf, FourRows>(i), high, low);
      add_rows<1>(i, quads.template quad<4 * kHalf + 1, FourRows>(i), high, low);
      add_rows<2>(i, quads.template quad<4 * kHalf + 2, FourRows>(i), high, low);
      add_rows<3>(i, quads.template quad<4 * kHalf + 3, FourRows>(i), high, low);
    }
  }
  ROWMAX_INLINE simd::I32x16 total(int t) noexcept {
    simd::I32x16 r;
    ROWMAX_PARTS r.v[i] = vmlaq_n_s32(fine[t][i], coarse[t][i], 1 << kTermShift);
    return r;
  }
};

#else

// Products of bytes that 16 bits hold: 8 * 31*127 = 31496, 4 * 63*127 = 32004, 2 * 128*127 = 32512.
template <int kBits>
inline constexpr int kQuads16 = kBits <= 5   ? 8
                                : kBits == 6 ? 4
                                             : 2;

// All of a group's in 16 bits. Register i has rows 2i and 2i + 1.
struct WordSums {
  int16x8_t coarse[8], fine[8];
  std::int32_t from;

  ROWMAX_INLINE void start(int /*t*/, std::int32_t start) noexcept { from = start; }
  template <bool kFirst>
  ROWMAX_INLINE void add_quad(const Codes& codes, const std::int8_t* a) noexcept {
    const int8x16_t high = load_quad(a), low = load_quad(a + kTile);
    ROWMAX_PARTS {
      const int8x16_t v = vreinterpretq_s8_u8(codes.v[i]);
      if constexpr (kFirst) {
        coarse[2 * i] = vmull_s8(vget_low_s8(v), vget_low_s8(high));
        coarse[2 * i + 1] = vmull_high_s8(v, high);
        fine[2 * i] = vmull_s8(vget_low_s8(v), vget_low_s8(low));
        fine[2 * i + 1] = vmull_high_s8(v, low);
      } else {
        coarse[2 * i] = vmlal_s8(coarse[2 * i], vget_low_s8(v), vget_low_s8(high));
        coarse[2 * i + 1] = vmlal_high_s8(coarse[2 * i + 1], v, high);
        fine[2 * i] = vmlal_s8(fine[2 * i], vget_low_s8(v), vget_low_s8(low));
        fine[2 * i + 1] = vmlal_high_s8(fine[2 * i + 1], v, low);
      }
    }
  }
  template <int kHalf, bool kFirst, class Quads>
  ROWMAX_INLINE void add_half(const Quads& quads, const std::int8_t* a) noexcept {
    add_quad<kFirst>(quads.template quad<4 * kHalf>(), a + 16 * kHalf);
    add_quad<false>(quads.template quad<4 * kHalf + 1>(), a + 16 * kHalf + 4);
    add_quad<false>(quads.template quad<4 * kHalf + 2>(), a + 16 * kHalf + 8);
    add_quad<false>(quads.template quad<4 * kHalf + 3>(), a + 16 * kHalf + 12);
  }
  ROWMAX_INLINE simd::I32x16 total(int /*t*/) noexcept {
    simd::I32x16 r;
    ROWMAX_PARTS {
      const int32x4_t high = vpaddq_s32(vpaddlq_s16(coarse[2 * i]), vpaddlq_s16(coarse[2 * i + 1]));
      const int32x4_t low = vpaddq_s32(vpaddlq_s16(fine[2 * i]), vpaddlq_s16(fine[2 * i + 1]));
      r.v[i] = vmlaq_n_s32(vaddq_s32(low, vdupq_n_s32(from)), high, 1 << kTermShift);
    }
    return r;
  }
};

// Codes of 8 bits: two quads in 16 bits, and then two partial sums a row. Register i has rows 2i and 2i + 1.
struct LongSums {
  int32x4_t coarse[8], fine[8];

  ROWMAX_INLINE void start(int /*t*/, std::int32_t from) noexcept {
    const auto first = static_cast<std::uint64_t>(static_cast<std::uint32_t>(from));
    ROWMAX_TIMES(8) {
      coarse[i] = vdupq_n_s32(0);
      fine[i] = vreinterpretq_s32_u64(vdupq_n_u64(first));
    }
  }
  static ROWMAX_INLINE void add_both(int32x4_t (&sums)[8], int i, int8x16_t v, int8x16_t w, int8x16_t a,
                                     int8x16_t b) noexcept {
    const int16x8_t low = vmlal_s8(vmull_s8(vget_low_s8(v), vget_low_s8(a)), vget_low_s8(w), vget_low_s8(b));
    sums[2 * i] = vpadalq_s16(sums[2 * i], low);
    sums[2 * i + 1] = vpadalq_s16(sums[2 * i + 1], vmlal_high_s8(vmull_high_s8(v, a), w, b));
  }
  ROWMAX_INLINE void add_quads(const Codes& first, const Codes& second, const std::int8_t* a) noexcept {
    const int8x16_t high_0 = load_quad(a), high_1 = load_quad(a + 4);
    const int8x16_t low_0 = load_quad(a + kTile), low_1 = load_quad(a + kTile + 4);
    ROWMAX_PARTS {
      const int8x16_t v = vreinterpretq_s8_u8(first.v[i]), w = vreinterpretq_s8_u8(second.v[i]);
      add_both(coarse, i, v, w, high_0, high_1);
      add_both(fine, i, v, w, low_0, low_1);
    }
  }
  template <int kHalf, bool kFirst, class Quads>
  ROWMAX_INLINE void add_half(const Quads& quads, const std::int8_t* a) noexcept {
    add_quads(quads.template quad<4 * kHalf>(), quads.template quad<4 * kHalf + 1>(), a + 16 * kHalf);
    add_quads(quads.template quad<4 * kHalf + 2>(), quads.template quad<4 * kHalf + 3>(), a + 16 * kHalf + 8);
  }
  ROWMAX_INLINE simd::I32x16 total(int /*t*/) noexcept {
    simd::I32x16 r;
    ROWMAX_PARTS {
      const int32x4_t high = vpaddq_s32(coarse[2 * i], coarse[2 * i + 1]);
      r.v[i] = vmlaq_n_s32(vpaddq_s32(fine[2 * i], fine[2 * i + 1]), high, 1 << kTermShift);
    }
    return r;
  }
};

template <int kBits, int kQuadsOfGroup, int kTokens>
struct GroupSums : std::conditional_t<(kQuadsOfGroup <= kQuads16<kBits>), WordSums, LongSums> {
  static_assert(kTokens == 1 && (kQuadsOfGroup <= kQuads16<kBits> || kQuads16<kBits> == 2));
};

#endif

// ---- tiles

template <int kGroups, int kGroup, class Sums, class Quads>
ROWMAX_INLINE void add_group(Sums& sums, const Quads& quads, const std::int8_t* a) noexcept {
  if constexpr (kGroups == 1) {
    sums.template add_half<0, true>(quads, a);
    sums.template add_half<1, false>(quads, a);
  } else {
    sums.template add_half<kGroup, true>(quads, a);
  }
}

template <class Sums, int kTokens>
ROWMAX_INLINE void add_to_chains(Sums& sums, simd::F32x16 scale, const float* d,
                                 simd::F32x16 (&acc)[kTokens]) noexcept {
  ROWMAX_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    acc[t] = simd::fma(simd::to_f32(sums.total(t)), simd::mul(scale, simd::splat(d[t])), acc[t]);
  }
}

template <class Panel, int kTokens, int g>
ROWMAX_INLINE void int8_few_group(const PackedQuads<Panel>& quads, const Scales<Panel>& scales, int first_group,
                                  const Int8Activations& act, std::int64_t at, simd::F32x16 (&acc)[kTokens]) noexcept {
  GroupSums<Panel::kDotBits, kQuads / Panel::kGroups, kTokens> sums;
  ROWMAX_UNROLL
  for (int t = 0; t < kTokens; ++t) sums.start(t, Start<Panel>::value(act, g, at + t));
  add_group<Panel::kGroups, g>(sums, quads, act.codes + at * kCodeBytes);
  add_to_chains(sums, scales.scale(first_group + g), act.scales + at, acc);
  if constexpr (Panel::kHasMin) {
    const simd::F32x16 min = scales.min(first_group + g);
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      acc[t] = simd::fma(min, simd::splat(group_sum<Panel>(act, g, at + t)), acc[t]);
    }
  }
}

// One tile of one panel added to the chains of kTokens tokens; `at` is token 0's index.
template <class Panel, int kTokens>
ROWMAX_INLINE void int8_few_tile(const std::byte* tile, const ByteTable& table, const Scales<Panel>& scales,
                                 int first_group, const Int8Activations& act, std::int64_t at,
                                 simd::F32x16 (&acc)[kTokens]) noexcept {
  const PackedQuads<Panel> quads{tile, table};
  int8_few_group<Panel, kTokens, 0>(quads, scales, first_group, act, at, acc);
  if constexpr (Panel::kGroups == 2) int8_few_group<Panel, kTokens, 1>(quads, scales, first_group, act, at, acc);
}

template <class Panel, int kTokens, int g>
ROWMAX_INLINE void int8_group(const WeightQuads& quads, const float (*scales)[kRows], const float (*mins)[kRows],
                              const Activations<Panel>& act, simd::F32x16 (&acc)[kTokens]) noexcept {
  GroupSums<Panel::kDotBits, Panel::kQuadsOfGroup, kTokens> sums;
  ROWMAX_UNROLL
  for (int t = 0; t < kTokens; ++t) sums.start(t, act.start(g, t));
  add_group<Panel::kGroups, g>(sums, quads, act.codes);
  add_to_chains(sums, simd::load(scales[g]), act.scales, acc);
  if constexpr (Panel::kHasMin) {
    const simd::F32x16 min = simd::load(mins[g]);
    ROWMAX_UNROLL
    for (int t = 0; t < kTokens; ++t) acc[t] = simd::fma(min, simd::splat(act.group_sum(g, t)), acc[t]);
  }
}

// One tile of unpacked weights added to the chains of kTokens tokens.
template <class Panel, int kTokens>
ROWMAX_INLINE void int8_tile(const std::uint8_t (*codes)[kVector], const float (*scales)[kRows],
                             const float (*mins)[kRows], const Activations<Panel>& act,
                             simd::F32x16 (&acc)[kTokens]) noexcept {
  const WeightQuads quads{codes};
  int8_group<Panel, kTokens, 0>(quads, scales, mins, act, acc);
  if constexpr (Panel::kGroups == 2) int8_group<Panel, kTokens, 1>(quads, scales, mins, act, acc);
}

}  // namespace
}  // namespace rowmax::engine::panel
