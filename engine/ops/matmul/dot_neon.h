// Codes of 16 rows x 4 k and their exact integer dot product with 4 activations of a ternary panel: AArch64 Advanced SIMD, and
// with its dot products in the files that are compiled for them. Integer panels: int8_tile_neon.h. Of the 32 registers a vector
// of 16 rows takes four, so that a register block is a few tokens. See int8_kernel.h.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

#include "base/simd/simd.h"
#include "engine/ops/matmul/panel.h"

namespace rowmax::engine::panel {
namespace {

inline constexpr bool kUnsignedBytes = false;
inline constexpr int kTernaryPanels = 1;
inline constexpr int kTernaryFewPanels = 1, kInt8FewPanels = 1;  // of one token, side by side
inline constexpr int kPackedTiles = 4;
inline constexpr int kGemmTokens = 4;  // tokens that lie together
#ifdef __ARM_FEATURE_DOTPROD
inline constexpr int kBlockTokens = 2, kTernaryBlockTokens = 4;  // in one register block
inline constexpr int kFewTokens = 2, kTernaryFewTokens = 4;      // of up to 4 that share codes from packed bytes
#else
inline constexpr int kBlockTokens = 1, kTernaryBlockTokens = 1;
inline constexpr int kFewTokens = 1, kTernaryFewTokens = 2;
#endif
inline constexpr int kF32Tokens = 4, kF32Panels = 1;  // the same on the exact path, tokens by panels

// A quad, or a part of it: register i has rows 4i .. 4i + 3.
template <int kRegisters>
struct CodesOf {
  uint8x16_t v[kRegisters];

  static ROWMAX_INLINE CodesOf load(const void* p) noexcept {
    CodesOf c;
    ROWMAX_TIMES(kRegisters) c.v[i] = vld1q_u8(static_cast<const std::uint8_t*>(p) + 16 * i);
    return c;
  }
};
using Codes = CodesOf<4>;
using FourRows = CodesOf<1>;

ROWMAX_INLINE Codes load_codes(const void* p) noexcept { return Codes::load(p); }
ROWMAX_INLINE void store_codes(void* p, Codes c) noexcept {
  ROWMAX_PARTS vst1q_u8(static_cast<std::uint8_t*>(p) + 16 * i, c.v[i]);
}
template <int kShift, int kMask, int n>
ROWMAX_INLINE CodesOf<n> shifted(CodesOf<n> c) noexcept {
  constexpr int kLeft = ((0xFF << (kShift > 0 ? kShift : 0)) & 0xFF) >> (kShift < 0 ? -kShift : 0);  // by the shift
  ROWMAX_TIMES(n) {
    uint8x16_t& v = c.v[i];
    if constexpr (kShift > 0) v = vshlq_n_u8(v, kShift);
    if constexpr (kShift < 0) v = vshrq_n_u8(v, -kShift);
    if constexpr ((kLeft & kMask) != kLeft) v = vandq_u8(v, vdupq_n_u8(kMask));
  }
  return c;
}
template <int n>
ROWMAX_INLINE CodesOf<n> merge(CodesOf<n> a, CodesOf<n> b) noexcept {
  ROWMAX_TIMES(n) a.v[i] = vorrq_u8(a.v[i], b.v[i]);
  return a;
}
// The table's byte at each index in 0 .. 15.
template <int n>
ROWMAX_INLINE CodesOf<n> look_up(const ByteTable& table, CodesOf<n> indices) noexcept {
  const uint8x16_t bytes = vld1q_u8(table.v);
  ROWMAX_TIMES(n) indices.v[i] = vqtbl1q_u8(bytes, indices.v[i]);
  return indices;
}

#ifdef __ARM_FEATURE_DOTPROD

constexpr int dot_bits(int /*bits*/) noexcept { return 8; }

// sum + the four products of a lane of activations and each row.
template <int kLane>
ROWMAX_INLINE int32x4_t add_dots(int32x4_t sum, uint8x16_t codes, int8x16_t a) noexcept {
  return vdotq_laneq_s32(sum, vreinterpretq_s8_u8(codes), a, kLane);
}

// Codes of 2 bits times activations. Four quads of these are loaded at once.
struct QuadDot {
  int32x4_t sums[4];

  template <int kLane>
  ROWMAX_INLINE void add_lane(const Codes& codes, int8x16_t a) noexcept {
    ROWMAX_PARTS sums[i] = add_dots<kLane>(sums[i], codes.v[i], a);
  }
  ROWMAX_INLINE simd::I32x16 total() noexcept { return {{sums[0], sums[1], sums[2], sums[3]}}; }
};

template <int kBits>
struct Dot : QuadDot {
  using Weights = Codes;
  static ROWMAX_INLINE Weights prepare(Codes c) noexcept { return c; }
  ROWMAX_INLINE void start(simd::I32x16 from) noexcept { ROWMAX_PARTS sums[i] = from.v[i]; }
  // index: of the quad in its tile.
  ROWMAX_INLINE void add(const Weights& w, const std::int8_t* a, int index) noexcept {
    const int8x16_t four = vld1q_s8(a - 4 * (index % 4));
    switch (index % 4) {
      case 0: return add_lane<0>(w, four);
      case 1: return add_lane<1>(w, four);
      case 2: return add_lane<2>(w, four);
      default: return add_lane<3>(w, four);
    }
  }
  ROWMAX_INLINE simd::I32x16 value(int /*n_added*/) noexcept { return total(); }
};

struct PackedDot : QuadDot {
  ROWMAX_INLINE void start() noexcept { ROWMAX_PARTS sums[i] = vdupq_n_s32(0); }
  template <int j>
  ROWMAX_INLINE void add(const Codes& packed, const std::int8_t* a) noexcept {
    add_lane<j>(shifted<-2 * j, 3>(packed), vld1q_s8(a - 4 * j));
  }
  ROWMAX_INLINE void flush() noexcept {}
};

#else

constexpr int dot_bits(int bits) noexcept { return bits < 5 ? 5 : bits; }

ROWMAX_INLINE int8x16_t load_quad(const std::int8_t* a) noexcept {
  std::int32_t bytes;
  std::memcpy(&bytes, a, 4);
  return vreinterpretq_s8_s32(vdupq_n_s32(bytes));
}

// Codes of 2 bits times activations. Products add up in 16 bits, those of kPackedTiles tiles, 32 of 3*128, before they
// are widened: register i has rows 2i and 2i + 1.
struct WordDot {
  int32x4_t sums[8];  // two partial ones a row
  int16x8_t words[8];

  ROWMAX_INLINE void add_quad(const Codes& codes, int8x16_t a) noexcept {
    ROWMAX_PARTS {
      const int8x16_t v = vreinterpretq_s8_u8(codes.v[i]);
      words[2 * i] = vmlal_s8(words[2 * i], vget_low_s8(v), vget_low_s8(a));
      words[2 * i + 1] = vmlal_high_s8(words[2 * i + 1], v, a);
    }
  }
  ROWMAX_INLINE void flush() noexcept {
    ROWMAX_TIMES(8) {
      sums[i] = vpadalq_s16(sums[i], words[i]);
      words[i] = vdupq_n_s16(0);
    }
  }
  ROWMAX_INLINE simd::I32x16 total() noexcept {
    simd::I32x16 total;
    ROWMAX_PARTS total.v[i] = vpaddq_s32(sums[2 * i], sums[2 * i + 1]);
    return total;
  }
};

template <int kBits>
struct Dot : WordDot {
  using Weights = Codes;
  static ROWMAX_INLINE Weights prepare(Codes c) noexcept { return c; }
  ROWMAX_INLINE void start(simd::I32x16 from) noexcept {
    ROWMAX_PARTS {
      sums[2 * i] = vzip1q_s32(from.v[i], vdupq_n_s32(0));
      sums[2 * i + 1] = vzip2q_s32(from.v[i], vdupq_n_s32(0));
    }
    ROWMAX_TIMES(8) words[i] = vdupq_n_s16(0);
  }
  ROWMAX_INLINE void add(const Weights& w, const std::int8_t* a, int index) noexcept {
    add_quad(w, load_quad(a));
    if (index == kQuads - 1) flush();
  }
  ROWMAX_INLINE simd::I32x16 value(int /*n_added*/) noexcept { return total(); }
};

struct PackedDot : WordDot {
  ROWMAX_INLINE void start() noexcept {
    ROWMAX_TIMES(8) {
      sums[i] = vdupq_n_s32(0);
      words[i] = vdupq_n_s16(0);
    }
  }
  template <int j>
  ROWMAX_INLINE void add(const Codes& packed, const std::int8_t* a) noexcept {
    add_quad(shifted<-2 * j, 3>(packed), load_quad(a));
  }
};

#endif

ROWMAX_INLINE simd::I32x16 load_u8(const std::uint8_t* p) noexcept {
  const uint8x16_t bytes = vld1q_u8(p);
  const uint16x8_t low = vmovl_u8(vget_low_u8(bytes)), high = vmovl_u8(vget_high_u8(bytes));
  return {{vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low))), vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(low))),
           vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high))),
           vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(high)))}};
}
ROWMAX_INLINE simd::I32x16 load_i8(const std::uint8_t* p) noexcept {
  const int8x16_t bytes = vreinterpretq_s8_u8(vld1q_u8(p));
  const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_s8(vget_high_s8(bytes));
  return {{vmovl_s16(vget_low_s16(low)), vmovl_s16(vget_high_s16(low)), vmovl_s16(vget_low_s16(high)),
           vmovl_s16(vget_high_s16(high))}};
}
// Lanes in -128 .. 127.
ROWMAX_INLINE int8x16_t narrow(simd::I32x16 x) noexcept {
  const int16x8_t low = vcombine_s16(vmovn_s32(x.v[0]), vmovn_s32(x.v[1]));
  const int16x8_t high = vcombine_s16(vmovn_s32(x.v[2]), vmovn_s32(x.v[3]));
  return vcombine_s8(vmovn_s16(low), vmovn_s16(high));
}
ROWMAX_INLINE void store_i8(std::int8_t* p, simd::I32x16 x) noexcept { vst1q_s8(p, narrow(x)); }
ROWMAX_INLINE std::int32_t sum_lanes(simd::I32x16 x) noexcept {
  return vaddvq_s32(vaddq_s32(vaddq_s32(x.v[0], x.v[1]), vaddq_s32(x.v[2], x.v[3])));
}
// The largest of both vectors' lanes.
ROWMAX_INLINE std::int32_t max_lanes(simd::I32x16 x, simd::I32x16 y) noexcept {
  int32x4_t most = vmaxq_s32(x.v[0], y.v[0]);
  ROWMAX_TIMES(3) most = vmaxq_s32(most, vmaxq_s32(x.v[i + 1], y.v[i + 1]));
  return vmaxvq_s32(most);
}
ROWMAX_INLINE void prefetch(const std::byte* p) noexcept { __builtin_prefetch(p); }

}  // namespace
}  // namespace rowmax::engine::panel
