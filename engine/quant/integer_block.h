// What the integer formats have in common. A block holds codes of kCodeBits bits; groups of kGroup elements share a
// scale and, in some formats, a minimum:
//   value[k] = scale(g) * (code[k] - kOffset)             without a minimum
//   value[k] = scale(g) * (code[k] - kOffset) + min(g)    with one
// scale(g) is the block's half `d`, or, with sub-scales, d * (a small integer); min(g) likewise from the half `m`. All
// products are exact in f32 (11 bits of a half, at most 8 of a sub-scale, at most 6 of a code beside it), so that the
// value has one rounding at most, in the last sum, on whatever path it is computed.
//
// A format is a struct of static members:
//   kId, kName; struct Block (byte-aligned); kElements, kGroup, kCodeBits, kOffset
//   kHasMin; kSubScales (sub_scale(block, g), and with kHasMin sub_min(block, g), whose product is subtracted)
//   scale_bits(block), min_bits(block): the halves d and m as bits
//   kScale, where it is not kHalf: sub_scale(block, g) is a byte that is the scale, and there is no d;
//   is_sound(block)
//   read_codes(block, codes): kElements codes in 0 .. 2^kCodeBits - 1; or, where the bits choose a value,
//   kBook, kIndexBits and read_indices(block, indices): a code is kBook.values[index] + kOffset, and d is d * kBook.unit
//   encode(values, block)
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/half.h"
#include "engine/quant/block_format.h"
#include "engine/quant/codebook.h"

namespace rowmax::engine::quant {

// A 16-bit little-endian field at any address.
struct Bits16 {
  std::uint8_t bytes[2];
  std::uint16_t get() const noexcept { return static_cast<std::uint16_t>(bytes[0] | (bytes[1] << 8)); }
  void set(std::uint16_t bits) noexcept {
    bytes[0] = static_cast<std::uint8_t>(bits & 0xFF);
    bytes[1] = static_cast<std::uint8_t>(bits >> 8);
  }
};

template <class Format>
concept HasBook = requires {
  Format::kBook;
};

template <class Format>
constexpr ScaleKind scale_kind() noexcept {
  if constexpr (requires { Format::kScale; }) {
    return Format::kScale;
  } else {
    return ScaleKind::kHalf;
  }
}

template <class Format>
float group_scale(const typename Format::Block& block, int group) noexcept {
  if constexpr (scale_kind<Format>() != ScaleKind::kHalf) {
    return byte_scale<Format::kScale>(Format::sub_scale(block, group));
  } else {
    float d = base::f16_to_f32(Format::scale_bits(block));
    if constexpr (HasBook<Format>) d *= Format::kBook.unit;
    if constexpr (Format::kSubScales) d *= static_cast<float>(Format::sub_scale(block, group));
    return d;
  }
}

template <class Format>
float group_min(const typename Format::Block& block, int group) noexcept {
  const float m = base::f16_to_f32(Format::min_bits(block));
  if constexpr (Format::kSubScales) {
    return -(m * static_cast<float>(Format::sub_min(block, group)));
  } else {
    return m;
  }
}

template <class Format>
void read_codes(const typename Format::Block& block, std::uint8_t* codes) noexcept {
  if constexpr (HasBook<Format>) {
    Format::read_indices(block, codes);
    for (int k = 0; k < Format::kElements; ++k) {
      codes[k] = static_cast<std::uint8_t>(Format::kBook.values[codes[k]] + Format::kOffset);
    }
  } else {
    Format::read_codes(block, codes);
  }
}

template <class Format>
void decode_integer_block(const typename Format::Block& block, float* out) noexcept {
  std::uint8_t codes[Format::kElements];
  read_codes<Format>(block, codes);
  for (int group = 0; group < Format::kElements / Format::kGroup; ++group) {
    const float scale = group_scale<Format>(block, group);
    [[maybe_unused]] float min = 0.0f;
    if constexpr (Format::kHasMin) min = group_min<Format>(block, group);
    for (int i = group * Format::kGroup; i < (group + 1) * Format::kGroup; ++i) {
      const float scaled = scale * static_cast<float>(codes[i] - Format::kOffset);
      if constexpr (Format::kHasMin) {
        out[i] = scaled + min;
      } else {
        out[i] = scaled;
      }
    }
  }
}

// The table row of an integer format.
template <class Format>
struct IntegerBlocks {
  using Block = typename Format::Block;
  static_assert(alignof(Block) == 1);
  static constexpr std::uint32_t kId = Format::kId;
  static constexpr const char* kName = Format::kName;
  static constexpr std::int64_t kElements = Format::kElements, kBytes = sizeof(Block);
  static constexpr UnsoundBlock unsound() noexcept {
    if constexpr (requires { Format::kUnsoundScales; }) {
      return {Format::kSoundScales, Format::kUnsoundScales};
    } else {
      return {};
    }
  }

  static void decode(const std::byte* blocks, std::int64_t n_blocks, float* out) noexcept {
    for (std::int64_t i = 0; i < n_blocks; ++i) {
      Block block;
      std::memcpy(&block, blocks + i * kBytes, sizeof block);
      decode_integer_block<Format>(block, out + i * kElements);
    }
  }
  static void encode(const float* values, std::int64_t n_blocks, std::byte* out) noexcept {
    for (std::int64_t i = 0; i < n_blocks; ++i) {
      Block block{};
      Format::encode(values + i * kElements, block);
      std::memcpy(out + i * kBytes, &block, sizeof block);
    }
  }
  static std::int64_t find_not_finite(const std::byte* blocks, std::int64_t n_blocks) noexcept {
    for (std::int64_t i = 0; i < n_blocks; ++i) {
      Block block;
      std::memcpy(&block, blocks + i * kBytes, sizeof block);
      if (!is_finite(block)) return i;
    }
    return -1;
  }

 private:
  static bool is_finite(const Block& block) noexcept {
    constexpr unsigned kExponent = 0x7C00;  // of a half: all ones for NaN and infinity
    if constexpr (scale_kind<Format>() != ScaleKind::kHalf) {
      return Format::is_sound(block);
    } else {
      bool finite = (Format::scale_bits(block) & kExponent) != kExponent;
      if constexpr (Format::kHasMin) finite = finite && (Format::min_bits(block) & kExponent) != kExponent;
      return finite;
    }
  }
};
template <class Format>
constexpr FormatInfo integer_format_row() noexcept {
  FormatInfo row = block_format_row<IntegerBlocks<Format>>();
  row.needs_importance = requires { Format::kNeedsImportance; };
  if constexpr (Format::kOffset == 1 && !Format::kHasMin && !Format::kSubScales) {
    row.half_scales = true;
    row.scale_of = [](const TensorView& tensor, std::int64_t at, std::int64_t block) noexcept {
      using Blocks = IntegerBlocks<Format>;
      typename Format::Block bytes;
      const std::int64_t index = at * (tensor.cols / Blocks::kElements) + block;
      std::memcpy(&bytes, tensor.bytes + index * Blocks::kBytes, sizeof bytes);
      return base::f16_to_f32(Format::scale_bits(bytes));
    };
  }
  return row;
}

// ---- bits that several formats share

// 32 codes of 4 bits in 16 bytes: byte j holds element j (low half) and j + 16 (high half).
inline void read_nibbles(const std::uint8_t* bytes, std::uint8_t* codes) noexcept {
  for (int j = 0; j < 16; ++j) {
    codes[j] = bytes[j] & 15;
    codes[j + 16] = bytes[j] >> 4;
  }
}
inline void write_nibbles(const std::uint8_t* codes, std::uint8_t* bytes) noexcept {
  for (int j = 0; j < 16; ++j) bytes[j] = static_cast<std::uint8_t>((codes[j] & 15) | ((codes[j + 16] & 15) << 4));
}
// The fifth bits of 32 codes in 4 bytes, element j in bit j.
inline void read_fifth_bits(const std::uint8_t* bytes, std::uint8_t* codes) noexcept {
  for (int i = 0; i < 4; ++i) {
    // Bit j of the byte to byte j: select it there, then carry it to the byte's top.
    constexpr std::uint64_t kOwnBit = 0x8040201008040201u, kTop = 0x8080808080808080u;
    const std::uint64_t selected = (bytes[i] * 0x0101010101010101u) & kOwnBit;
    const std::uint64_t fifth = ((selected + (kTop - kOwnBit)) & kTop) >> 3;
    std::uint64_t word;
    std::memcpy(&word, codes + 8 * i, 8);
    word |= fifth;
    std::memcpy(codes + 8 * i, &word, 8);
  }
}
inline void write_fifth_bits(const std::uint8_t* codes, std::uint8_t* bytes) noexcept {
  for (int j = 0; j < 32; ++j) bytes[j / 8] |= static_cast<std::uint8_t>(((codes[j] >> 4) & 1) << (j % 8));
}

}  // namespace rowmax::engine::quant
