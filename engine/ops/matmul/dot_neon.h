// Codes of 16 rows x 4 k and their exact integer dot product with 4 activations: AArch64 Advanced SIMD, and with
// its dot products in the files that are compiled for them. See int8_kernel.h.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

#include "base/simd/simd.h"
#include "engine/ops/matmul/panel.h"

namespace rowmax::engine::panel {
namespace {

inline constexpr bool kUnsignedBytes = false;
#ifdef __ARM_FEATURE_DOTPROD
inline constexpr bool kSplitChains = true;
#else
inline constexpr bool kSplitChains = false;
#endif
inline constexpr int kTernaryPanels = 1;
inline constexpr int kTernaryFewPanels = 1, kInt8FewPanels = 1;  // of one token, side by side
inline constexpr int kPackedTiles = 4;
inline constexpr int kGemmTokens = 4;  // tokens in one register block
inline constexpr int kF32Tokens = 4;   // the same on the exact path
inline constexpr int kFewTokens = 4;   // of up to 4 that share codes on their way from packed bytes

struct Codes {
  uint8x16_t v[4];
};
ROWMAX_INLINE Codes load_codes(const void* p) noexcept {
  const auto* q = static_cast<const std::uint8_t*>(p);
  return {{vld1q_u8(q), vld1q_u8(q + 16), vld1q_u8(q + 32), vld1q_u8(q + 48)}};
}
ROWMAX_INLINE void store_codes(void* p, Codes c) noexcept {
  auto* q = static_cast<std::uint8_t*>(p);
  ROWMAX_PARTS vst1q_u8(q + 16 * i, c.v[i]);
}
template <int kShift, int kMask>
ROWMAX_INLINE Codes shifted(Codes c) noexcept {
  ROWMAX_PARTS {
    uint8x16_t& v = c.v[i];
    if constexpr (kShift > 0) v = vshlq_n_u8(v, kShift);
    if constexpr (kShift < 0) v = vshrq_n_u8(v, -kShift);
    v = vandq_u8(v, vdupq_n_u8(kMask));
  }
  return c;
}
ROWMAX_INLINE Codes merge(Codes a, Codes b) noexcept {
  ROWMAX_PARTS a.v[i] = vorrq_u8(a.v[i], b.v[i]);
  return a;
}
// The table's byte at each index in 0 .. 15.
ROWMAX_INLINE Codes look_up(const ByteTable& table, Codes indices) noexcept {
  const uint8x16_t bytes = vld1q_u8(table.v);
  ROWMAX_PARTS indices.v[i] = vqtbl1q_u8(bytes, indices.v[i]);
  return indices;
}
ROWMAX_INLINE Codes flip_sign(Codes c) noexcept {
  ROWMAX_PARTS c.v[i] = veorq_u8(c.v[i], vdupq_n_u8(0x80));
  return c;
}

#ifdef __ARM_FEATURE_DOTPROD

constexpr int dot_bits(int /*bits*/) noexcept { return 8; }

// Sums of quads of signed bytes (codes below 128 are their own signed value). index counts the add() calls, from 0.
template <int kBits>
struct Dot {
  int32x4_t sums[4];

  using Weights = Codes;
  static ROWMAX_INLINE Weights prepare(Codes c) noexcept { return c; }
  ROWMAX_INLINE void start(simd::I32x16 from) noexcept { ROWMAX_PARTS sums[i] = from.v[i]; }
  ROWMAX_INLINE void add(const Weights& w, const std::int8_t* a, int /*index*/) noexcept {
    std::int32_t bytes;
    std::memcpy(&bytes, a, 4);
    const int8x16_t quad = vreinterpretq_s8_s32(vdupq_n_s32(bytes));
    ROWMAX_PARTS sums[i] = vdotq_s32(sums[i], vreinterpretq_s8_u8(w.v[i]), quad);
  }
  ROWMAX_INLINE simd::I32x16 value(int /*n_added*/) noexcept {
    simd::I32x16 total;
    ROWMAX_PARTS total.v[i] = sums[i];
    return total;
  }
};

// Packed codes of 2 bits times activations.
struct PackedDot {
  Dot<2> dot;

  ROWMAX_INLINE void start() noexcept { dot.start(simd::splat_i32(0)); }
  template <int j>
  ROWMAX_INLINE void add(const Codes& packed, const std::int8_t* a) noexcept {
    dot.add(shifted<-2 * j, 3>(packed), a, j);
  }
  ROWMAX_INLINE void flush() noexcept {}
  ROWMAX_INLINE simd::I32x16 total() noexcept { return dot.value(0); }
};

#else

constexpr int dot_bits(int bits) noexcept { return bits < 5 ? 5 : bits; }

// Products of signed bytes (codes below 128 are their own signed value) add up in 16 bits, kQuads16 of them before
// they could overflow: 8 * 15*127 = 15240, 8 * 31*127 = 31496, 4 * 63*127 = 32004, 2 * 128*127 = 32512.
template <int kBits>
struct Dot {
  static constexpr int kQuads16 = kBits <= 5 ? 8 : kBits == 6 ? 4 : 2;
  int32x4_t sums[8];   // register i: rows 2i and 2i + 1, two partial sums each
  int16x8_t words[8];  // products of the quads since the last flush
  simd::I32x16 start_from;

  using Weights = Codes;
  static ROWMAX_INLINE Weights prepare(Codes c) noexcept { return c; }
  ROWMAX_INLINE void start(simd::I32x16 from) noexcept {
    start_from = from;
    ROWMAX_TIMES(8) {
      sums[i] = vdupq_n_s32(0);
      words[i] = vdupq_n_s16(0);
    }
  }
  ROWMAX_INLINE void flush() noexcept {
    ROWMAX_TIMES(8) sums[i] = vpadalq_s16(sums[i], words[i]);
  }
  ROWMAX_INLINE void add(const Weights& w, const std::int8_t* a, int index) noexcept {
    std::int32_t bytes;
    std::memcpy(&bytes, a, 4);
    const int8x8_t quad = vreinterpret_s8_s32(vdup_n_s32(bytes));
    const bool fresh = index % kQuads16 == 0;
    ROWMAX_PARTS {
      const int8x16_t v = vreinterpretq_s8_u8(w.v[i]);
      words[2 * i] = fresh ? vmull_s8(vget_low_s8(v), quad) : vmlal_s8(words[2 * i], vget_low_s8(v), quad);
      words[2 * i + 1] = fresh ? vmull_s8(vget_high_s8(v), quad) : vmlal_s8(words[2 * i + 1], vget_high_s8(v), quad);
    }
    if (index % kQuads16 == kQuads16 - 1) flush();
  }
  ROWMAX_INLINE simd::I32x16 value(int n_added) noexcept {
    if (n_added % kQuads16 != 0) flush();
    simd::I32x16 total;
    ROWMAX_PARTS total.v[i] = vaddq_s32(vpaddq_s32(sums[2 * i], sums[2 * i + 1]), start_from.v[i]);
    return total;
  }
};

// Packed codes of 2 bits times activations. 16 bits hold the 32 products between flushes: 32 * 3*128 = 12288.
struct PackedDot {
  int32x4_t sums[8];
  int16x8_t words[8];

  ROWMAX_INLINE void start() noexcept {
    ROWMAX_TIMES(8) {
      sums[i] = vdupq_n_s32(0);
      words[i] = vdupq_n_s16(0);
    }
  }
  template <int j>
  ROWMAX_INLINE void add(const Codes& packed, const std::int8_t* a) noexcept {
    std::int32_t bytes;
    std::memcpy(&bytes, a, 4);
    const int8x8_t quad = vreinterpret_s8_s32(vdup_n_s32(bytes));
    const Codes codes = shifted<-2 * j, 3>(packed);
    ROWMAX_PARTS {
      const int8x16_t v = vreinterpretq_s8_u8(codes.v[i]);
      words[2 * i] = vmlal_s8(words[2 * i], vget_low_s8(v), quad);
      words[2 * i + 1] = vmlal_s8(words[2 * i + 1], vget_high_s8(v), quad);
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
ROWMAX_INLINE void store_i8(std::int8_t* p, simd::I32x16 x) noexcept {
  const int16x8_t low = vcombine_s16(vmovn_s32(x.v[0]), vmovn_s32(x.v[1]));
  const int16x8_t high = vcombine_s16(vmovn_s32(x.v[2]), vmovn_s32(x.v[3]));
  vst1q_s8(p, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
}
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
