// Codes of 16 rows x 4 k and their exact integer dot product with 4 activations: plain C++. See int8_kernel.h.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/simd/simd.h"
#include "engine/ops/matmul/panel.h"

namespace rowmax::engine::panel {
namespace {

inline constexpr bool kUnsignedBytes = false;
inline constexpr bool kSplitChains = false;
inline constexpr int kTernaryPanels = 1;
inline constexpr int kTernaryFewPanels = 1, kInt8FewPanels = 1;  // of one token, side by side
inline constexpr int kPackedTiles = 4096;
inline constexpr int kGemmTokens = 4;                                                // tokens that lie together
inline constexpr int kBlockTokens = kGemmTokens, kTernaryBlockTokens = kGemmTokens;  // in one register block
inline constexpr int kF32Tokens = 4, kF32Panels = 1;  // the same on the exact path, tokens by panels
inline constexpr int kFewTokens = 1;                  // of up to 4 that share codes on their way from packed bytes
inline constexpr int kTernaryFewTokens = 4;           // the same of ternary panels

struct Codes {
  std::uint8_t v[64];
};
ROWMAX_INLINE Codes load_codes(const void* p) noexcept {
  Codes c;
  std::memcpy(c.v, p, 64);
  return c;
}
ROWMAX_INLINE void store_codes(void* p, Codes c) noexcept { std::memcpy(p, c.v, 64); }
template <int kShift, int kMask>
ROWMAX_INLINE Codes shifted(Codes c) noexcept {
  for (std::uint8_t& byte : c.v) {
    const int moved = kShift > 0 ? byte << (kShift > 0 ? kShift : 0) : byte >> (kShift < 0 ? -kShift : 0);
    byte = static_cast<std::uint8_t>(moved & kMask);
  }
  return c;
}
ROWMAX_INLINE Codes merge(Codes a, Codes b) noexcept {
  for (int i = 0; i < 64; ++i) a.v[i] |= b.v[i];
  return a;
}
// The table's byte at each index in 0 .. 15.
ROWMAX_INLINE Codes look_up(const ByteTable& table, Codes indices) noexcept {
  for (std::uint8_t& byte : indices.v) byte = table.v[byte];
  return indices;
}
ROWMAX_INLINE Codes flip_sign(Codes c) noexcept {
  for (std::uint8_t& byte : c.v) byte ^= 0x80;
  return c;
}

constexpr int dot_bits(int bits) noexcept { return bits < 8 ? 4 : bits; }

template <int kBits>
struct Dot {
  simd::I32x16 sum;

  using Weights = Codes;
  static ROWMAX_INLINE Weights prepare(Codes c) noexcept { return c; }
  ROWMAX_INLINE void start(simd::I32x16 from) noexcept { sum = from; }
  ROWMAX_INLINE void add(const Weights& w, const std::int8_t* a, int /*index*/) noexcept {
    for (int r = 0; r < 16; ++r) {
      for (int i = 0; i < 4; ++i) {
        const std::uint8_t byte = w.v[4 * r + i];
        sum.v[r] += (kBits == 8 ? static_cast<std::int8_t>(byte) : static_cast<int>(byte)) * a[i];
      }
    }
  }
  ROWMAX_INLINE simd::I32x16 value(int /*n_added*/) noexcept { return sum; }
};

// Packed codes of 2 bits times activations.
struct PackedDot {
  simd::I32x16 sum;

  ROWMAX_INLINE void start() noexcept { sum = simd::splat_i32(0); }
  template <int j>
  ROWMAX_INLINE void add(const Codes& packed, const std::int8_t* a) noexcept {
    for (int r = 0; r < 16; ++r) {
      for (int i = 0; i < 4; ++i) sum.v[r] += ((packed.v[4 * r + i] >> (2 * j)) & 3) * a[i];
    }
  }
  ROWMAX_INLINE void flush() noexcept {}
  ROWMAX_INLINE simd::I32x16 total() noexcept { return sum; }
};

ROWMAX_INLINE simd::I32x16 load_u8(const std::uint8_t* p) noexcept {
  simd::I32x16 x;
  for (int i = 0; i < 16; ++i) x.v[i] = p[i];
  return x;
}
ROWMAX_INLINE simd::I32x16 load_i8(const std::uint8_t* p) noexcept {
  simd::I32x16 x;
  for (int i = 0; i < 16; ++i) x.v[i] = static_cast<std::int8_t>(p[i]);
  return x;
}
// Lanes in -128 .. 127.
ROWMAX_INLINE void store_i8(std::int8_t* p, simd::I32x16 x) noexcept {
  for (int i = 0; i < 16; ++i) p[i] = static_cast<std::int8_t>(x.v[i]);
}
ROWMAX_INLINE std::int32_t sum_lanes(simd::I32x16 x) noexcept {
  std::int32_t sum = 0;
  for (int i = 0; i < 16; ++i) sum += x.v[i];
  return sum;
}
// The largest of both vectors' lanes.
ROWMAX_INLINE std::int32_t max_lanes(simd::I32x16 x, simd::I32x16 y) noexcept {
  std::int32_t most = x.v[0];
  for (int i = 0; i < 16; ++i) {
    most = x.v[i] > most ? x.v[i] : most;
    most = y.v[i] > most ? y.v[i] : most;
  }
  return most;
}
ROWMAX_INLINE void prefetch(const std::byte*) noexcept {}

}  // namespace
}  // namespace rowmax::engine::panel
