// Formats whose stored bits choose one of a few uneven values (IQ4_NL, MXFP4, IQ2_XXS), and their scales of one byte.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

namespace rowmax::engine::quant {

// What each choice stands for, times `unit`, a power of two that the format's d is multiplied with.
struct Codebook {
  std::int8_t values[16];
  float unit = 1.0f;
};

// What the scale of a group is: the half d (times a sub-scale), or a byte that is a float by itself.
enum class ScaleKind { kHalf, kE8M0, kE4M3 };

// 2^(byte - 127) of OCP's MX specification, halved: the values that it scales are doubled. 255 is NaN.
inline float e8m0_half(int byte) noexcept {
  if (byte == 255) return std::numeric_limits<float>::quiet_NaN();
  return std::bit_cast<float>(byte < 2 ? 0x00200000u << byte : static_cast<std::uint32_t>(byte - 1) << 23);
}

// FP8 E4M3 without a sign, halved; 127 is a number as the others.
inline float e4m3_half(int byte) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(byte) << 20) * 0x1p119f;
}

template <ScaleKind kKind>
float byte_scale(int byte) noexcept {
  return kKind == ScaleKind::kE8M0 ? e8m0_half(byte) : e4m3_half(byte);
}

}  // namespace rowmax::engine::quant
