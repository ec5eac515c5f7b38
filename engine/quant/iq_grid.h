// The grids of the IQ types: which eight (or four) magnitudes stand beside one another.
// Source: iq2xxs_grid, iq2xs_grid, iq2s_grid, iq3xxs_grid, iq3s_grid and iq1s_grid in ggml-common.h of
// https://github.com/ggml-org/ggml, here as places in each format's list of magnitudes.
#pragma once

#include <cstdint>

namespace rowmax::engine::quant {

extern const std::uint16_t kIq2XxsGrid[256], kIq2XsGrid[512], kIq2SGrid[1024];
extern const std::uint16_t kIq3XxsGrid[256], kIq3SGrid[512];
extern const std::uint16_t kIq1SGrid[2048];

// Places of 2 bits of an entry of eight, or of 3 bits of two entries of four, one a byte.
inline std::uint64_t spread_pairs(std::uint32_t entry) noexcept {
  std::uint64_t x = (entry & 0xFF) | static_cast<std::uint64_t>(entry >> 8) << 32;
  x = (x | x << 12) & 0x000F000F000F000Fu;
  return (x | x << 6) & 0x0303030303030303u;
}
inline std::uint64_t spread_triples(std::uint32_t first, std::uint32_t second) noexcept {
  std::uint64_t x = first | static_cast<std::uint64_t>(second) << 32;
  x = (x | x << 10) & 0x003F003F003F003Fu;
  return (x | x << 5) & 0x0707070707070707u;
}
// Bit i of a byte as byte i, 0 or 1.
inline std::uint64_t spread_bits(std::uint32_t byte) noexcept {
  constexpr std::uint64_t kOwnBit = 0x8040201008040201u, kTop = 0x8080808080808080u;
  const std::uint64_t selected = (byte * 0x0101010101010101u) & kOwnBit;
  return ((selected + (kTop - kOwnBit)) & kTop) >> 7;
}

struct NearestEntry {
  int index = 0;
  float error = 0.0f;  // squared
};
// The entry whose levels are nearest to x, the first of equals; of n entries of 16 / kBits elements of kBits bits (eight
// of two, four of three).
template <int kBits>
NearestEntry nearest_entry(const std::uint16_t* grid, int n, const float* levels, const float* x) noexcept;
extern template NearestEntry nearest_entry<2>(const std::uint16_t*, int, const float*, const float*) noexcept;
extern template NearestEntry nearest_entry<3>(const std::uint16_t*, int, const float*, const float*) noexcept;

}  // namespace rowmax::engine::quant
