// AMX tile registers: what the AMX kernels share. Included after dot_avx512.h.
//
// A product of tiles adds to [tokens x 16 rows] sums of 32 bits: activations [tokens x up to 64 bytes of k] times codes
// [up to 16 quads x 64 bytes], a quad being 4 k of 16 rows as unpack.h writes it. All bytes are signed; sums are exact.
// Measured (family 6, model 167): a product takes 16 cycles for 16 tokens whatever its k, a load 8 for 16 rows, a store
// 16 whatever its rows, a configuration 300.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "engine/ops/matmul/panel.h"

namespace rowmax::engine::panel {
namespace {

inline constexpr int kAmxTokens = 16;  // of a tile

// The operand of LDTILECFG.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1, start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};

  ROWMAX_INLINE void set(int tile, int n_rows, int n_row_bytes) noexcept {
    rows[tile] = static_cast<std::uint8_t>(n_rows);
    row_bytes[tile] = static_cast<std::uint16_t>(n_row_bytes);
  }
};

// The intrinsic of g++ 12 tells the compiler of the first 8 bytes only.
ROWMAX_INLINE void configure(const TileConfig& config) noexcept { asm volatile("ldtilecfg %0" ::"m"(config)); }
// The intrinsics of g++ 12 want tiles as literals.
template <int kTo>
ROWMAX_INLINE void load_tile(const void* from, std::int64_t stride) noexcept {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(kTo));
}
template <int kFrom>
ROWMAX_INLINE void store_tile(void* to, std::int64_t stride) noexcept {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride), "i"(kFrom) : "memory");
}
template <int kTile_>
ROWMAX_INLINE void zero_tile() noexcept {
  asm volatile("tilezero %%tmm%c0" ::"i"(kTile_));
}
// Adds rows of pairs of bfloat16 in tile kA times pairs in kB.
template <int kTo, int kA, int kB>
ROWMAX_INLINE void multiply_bf16() noexcept {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kTo), "i"(kA), "i"(kB));
}
// What has been written so far is in memory: g++ does not know that tile loads read.
ROWMAX_INLINE void written() noexcept { asm volatile("" ::: "memory"); }

}  // namespace
}  // namespace rowmax::engine::panel
