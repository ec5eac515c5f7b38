// I2_S of bitnet.cpp (type 36 there; in old files of ggml the number of a removed 4-bit repack): codes of 2 bits and
// one f32 scale for the whole tensor, 4 little-endian bytes behind the codes. 28 more bytes follow; they may hold
// anything. Three layouts exist and a file does not say which it holds. All take the same bytes:
//   I2_S       128 weights in 32 bytes: byte p holds weights p, 32 + p, 64 + p, 96 + p in bits 7:6, 5:4, 3:2, 1:0.
//              What the published files are.
//   I2_S_64    64 weights in 16 bytes, in the same manner: written by a quantiser that was built for ARM.
//   I2_S_ROW4  rows in groups of four: byte c of a group holds column c of its four rows, the first in bits 7:6.
//              Written by a bitnet.cpp built without ACT_PARALLEL.
// Source: the x86 and NEON code of https://github.com/microsoft/BitNet (src/ggml-bitnet-mad.cpp).
#pragma once

#include "engine/quant/ternary_rows.h"

namespace rowmax::engine::quant {

struct I2STensor {
  static constexpr std::uint32_t kId = 36;
  static constexpr int kHeadBytes = 0, kTailBytes = 32;
  static constexpr bool kPairs = true;

  static float scale(const TensorView& tensor, std::int64_t /*row*/) noexcept {
    return load_as<float>(tensor.bytes + tensor.rows * tensor.cols / 4);
  }
  static void set_scale(const TensorTarget& tensor, std::int64_t /*row*/, float scale) noexcept {
    std::memcpy(tensor.bytes + tensor.rows * tensor.cols / 4, &scale, sizeof scale);
  }
};

template <int kQuarter>  // bytes of a block, each with four weights that lie this far apart
struct I2SBlocks : I2STensor {
  static constexpr int kElements = 4 * kQuarter, kBytes = kQuarter, kRowGroup = 1;

  static void read_codes(const TensorView& tensor, std::int64_t row, std::int64_t block, std::uint8_t* codes) noexcept {
    const std::byte* bytes = tensor.bytes + row * (tensor.cols / 4) + block * kBytes;
    for (int p = 0; p < kQuarter; ++p) {
      const auto byte = std::to_integer<unsigned>(bytes[p]);
      codes[p] = static_cast<std::uint8_t>(byte >> 6);
      codes[kQuarter + p] = static_cast<std::uint8_t>((byte >> 4) & 3);
      codes[2 * kQuarter + p] = static_cast<std::uint8_t>((byte >> 2) & 3);
      codes[3 * kQuarter + p] = static_cast<std::uint8_t>(byte & 3);
    }
  }
  static void write_codes(const std::uint8_t* codes, const TensorTarget& tensor, std::int64_t row,
                          std::int64_t block) noexcept {
    std::byte* bytes = tensor.bytes + row * (tensor.cols / 4) + block * kBytes;
    for (int p = 0; p < kQuarter; ++p) {
      bytes[p] = static_cast<std::byte>(codes[p] << 6 | codes[kQuarter + p] << 4 | codes[2 * kQuarter + p] << 2 |
                                        codes[3 * kQuarter + p]);
    }
  }
};

struct I2S : I2SBlocks<32> {
  static constexpr const char* kName = "I2_S";
  static constexpr bool kOnlyByName = false;
};
struct I2S64 : I2SBlocks<16> {
  static constexpr const char* kName = "I2_S_64";
  static constexpr bool kOnlyByName = true;
};

struct I2SRow4 : I2STensor {
  static constexpr const char* kName = "I2_S_ROW4";
  static constexpr bool kOnlyByName = true;
  static constexpr int kElements = 32, kBytes = 8, kRowGroup = 4;

  static void read_codes(const TensorView& tensor, std::int64_t row, std::int64_t block, std::uint8_t* codes) noexcept {
    const std::byte* bytes = tensor.bytes + row / 4 * tensor.cols + block * kElements;
    for (int c = 0; c < kElements; ++c) {
      codes[c] = static_cast<std::uint8_t>((std::to_integer<unsigned>(bytes[c]) >> (6 - 2 * (row % 4))) & 3);
    }
  }
  static void write_codes(const std::uint8_t* codes, const TensorTarget& tensor, std::int64_t row,
                          std::int64_t block) noexcept {
    std::byte* bytes = tensor.bytes + row / 4 * tensor.cols + block * kElements;
    for (int c = 0; c < kElements; ++c) bytes[c] |= static_cast<std::byte>(codes[c] << (6 - 2 * (row % 4)));
  }
};

}  // namespace rowmax::engine::quant
