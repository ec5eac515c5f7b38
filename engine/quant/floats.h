// F32, F16 and BF16: one element a block, little-endian.
#pragma once

#include <cstring>

#include "base/half.h"
#include "engine/quant/block_format.h"

namespace rowmax::engine::quant {

struct F32 {
  static constexpr std::uint32_t kId = 0;
  static constexpr const char* kName = "F32";
  using Stored = float;
  static constexpr int kMantissaBits = 23;
  static float decode(float x) noexcept { return x; }
  static float encode(float x) noexcept { return x; }
};
struct F16 {
  static constexpr std::uint32_t kId = 1;
  static constexpr const char* kName = "F16";
  using Stored = std::uint16_t;
  static constexpr int kMantissaBits = 10;
  static float decode(std::uint16_t bits) noexcept { return base::f16_to_f32(bits); }
  static std::uint16_t encode(float x) noexcept { return base::f32_to_f16(x); }
};
struct BF16 {
  static constexpr std::uint32_t kId = 30;
  static constexpr const char* kName = "BF16";
  using Stored = std::uint16_t;
  static constexpr int kMantissaBits = 7;
  static float decode(std::uint16_t bits) noexcept { return base::bf16_to_f32(bits); }
  static std::uint16_t encode(float x) noexcept { return base::f32_to_bf16(x); }
};

// The table row of a float format.
template <class Format>
struct FloatBlocks {
  using Stored = typename Format::Stored;
  static constexpr std::uint32_t kId = Format::kId;
  static constexpr const char* kName = Format::kName;
  static constexpr std::int64_t kElements = 1, kBytes = sizeof(Stored);
  static constexpr UnsoundBlock unsound() noexcept { return {}; }

  static Stored load(const std::byte* bytes) noexcept {
    Stored stored;
    std::memcpy(&stored, bytes, sizeof stored);
    return stored;
  }
  static void decode(const std::byte* blocks, std::int64_t n_blocks, float* out) noexcept {
    for (std::int64_t i = 0; i < n_blocks; ++i) out[i] = Format::decode(load(blocks + i * kBytes));
  }
  static void encode(const float* values, std::int64_t n_blocks, std::byte* out) noexcept {
    for (std::int64_t i = 0; i < n_blocks; ++i) {
      const Stored stored = Format::encode(values[i]);
      std::memcpy(out + i * kBytes, &stored, sizeof stored);
    }
  }
  // Several numbers a word: one added to an exponent of all ones, without its sign, carries to where the sign was and no
  // further.
  static std::int64_t find_not_finite(const std::byte* blocks, std::int64_t n_blocks) noexcept {
    constexpr std::int64_t kWords = 32, kStep = kWords * 8 / kBytes;  // a step's words are a loop for vectors
    std::int64_t first = 0;
    for (; first + kStep <= n_blocks; first += kStep) {
      std::uint64_t carries = 0;
      for (std::int64_t i = 0; i < kWords; ++i) {
        std::uint64_t word;
        std::memcpy(&word, blocks + first * kBytes + i * 8, sizeof word);
        carries |= (word & kExponents) + kOnes;
      }
      if ((carries & kSigns) != 0) break;
    }
    for (std::int64_t i = first; i < n_blocks; ++i) {
      std::uint64_t bits = 0;
      std::memcpy(&bits, blocks + i * kBytes, kBytes);
      if ((((bits & kExponents) + kOnes) & kSign) != 0) return i;
    }
    return -1;
  }

 private:
  static constexpr int kBits = 8 * kBytes;
  static constexpr std::uint64_t kAll = ~std::uint64_t{0} / ((std::uint64_t{1} << kBits) - 1);  // 1 in each number
  static constexpr std::uint64_t kSign = std::uint64_t{1} << (kBits - 1), kSigns = kAll * kSign;
  static constexpr std::uint64_t kOnes = kAll << Format::kMantissaBits, kExponents = kSigns - kOnes;
};
template <class Format>
constexpr FormatInfo float_format_row() noexcept {
  return block_format_row<FloatBlocks<Format>>();
}

}  // namespace rowmax::engine::quant
