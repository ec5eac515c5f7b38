// IEEE 754 half (f16), bfloat16 and OCP fp8 E4M3 as bits, converted exactly (to f32) and with round-to-nearest-even
// (from f32). Everything lies in an unnamed namespace: ISA-specific translation units include this, and none of their
// copies may become the one that the linker keeps for all.
#pragma once

#include <bit>
#include <cstdint>

namespace rowmax::base {
namespace {

inline float f16_to_f32(std::uint16_t half) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t magnitude = half & 0x7FFFu;
  if (magnitude >= 0x7C00u)
    return std::bit_cast<float>(sign | 0x7F800000u | ((magnitude & 0x3FFu) << 13) |
                                (magnitude > 0x7C00u ? 0x400000u : 0u));
  if (magnitude >= 0x0400u) return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000u));
  // Subnormal: magnitude * 2^-24, exact in f32.
  const float value = static_cast<float>(magnitude) * 0x1p-24f;
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(value));
}

inline std::uint16_t f32_to_f16(float value) noexcept {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint16_t sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return sign | 0x7E00u | static_cast<std::uint16_t>((magnitude >> 13) & 0x3FFu);
  if (magnitude >= 0x477FF000u) return sign | 0x7C00u;  // rounds to 65520 or more: infinity
  if (magnitude >= 0x38800000u) {                       // normal
    const std::uint32_t rounded = magnitude + 0xFFFu + ((magnitude >> 13) & 1u);
    return sign | static_cast<std::uint16_t>((rounded - 0x38000000u) >> 13);
  }
  if (magnitude < 0x33000000u) return sign;              // below half of the smallest subnormal
  const std::uint32_t shift = 126u - (magnitude >> 23);  // 14..24
  const std::uint32_t mantissa = (magnitude & 0x7FFFFFu) | 0x800000u;
  const std::uint32_t quotient = mantissa >> shift;
  const std::uint32_t rest = mantissa & ((1u << shift) - 1u);
  const std::uint32_t half_way = 1u << (shift - 1u);
  const std::uint32_t up = (rest > half_way || (rest == half_way && (quotient & 1u))) ? 1u : 0u;
  return sign | static_cast<std::uint16_t>(quotient + up);
}

inline float bf16_to_f32(std::uint16_t value) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16);
}

inline std::uint16_t f32_to_bf16(float value) noexcept {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

// An E4M3 code as the f16 that is 2^8 times smaller: the exponents' biases are 7 and 15, so the bits only move. NaN
// (0x7F, 0xFF) becomes a quiet NaN; the format has no infinities.
inline std::uint16_t f8e4m3_to_f16_scaled(std::uint8_t code) noexcept {
  const unsigned magnitude = code & 0x7Fu;
  return static_cast<std::uint16_t>((code & 0x80u) << 8 | (magnitude == 0x7Fu ? 0x7E00u : magnitude << 7));
}
inline float f8e4m3_to_f32(std::uint8_t code) noexcept { return f16_to_f32(f8e4m3_to_f16_scaled(code)) * 256.0f; }

}  // namespace
}  // namespace rowmax::base
