// The ternary formats of ik_llama.cpp: a scale for each row, then blocks of 64 weights, value = scale * (code - 1).
//   IQ1_BN     13 bytes a block, digits in base 3 (base3.h); the scale is a half
//   IQ2_BN     16 bytes a block, 2 bits a code; the scale is an f32
//   IQ2_BN_R4  IQ2_BN with four rows mixed: their four scales, then 64 bytes for each 64 columns
// Source: ggml-common.h, ggml.c and iqk_quantize.cpp of https://github.com/ikawrakow/ik_llama.cpp.
#pragma once

#include "base/half.h"
#include "engine/quant/base3.h"
#include "engine/quant/ternary_rows.h"

namespace rowmax::engine::quant {

struct IqBnRows {
  static constexpr int kElements = 64, kTailBytes = 0;
  static constexpr bool kOnlyByName = false;
};

struct Iq1Bn : IqBnRows {
  static constexpr std::uint32_t kId = 134;
  static constexpr const char* kName = "IQ1_BN";
  static constexpr int kHeadBytes = 2, kBytes = 13, kRowGroup = 1;
  static constexpr bool kPairs = false;
  static constexpr int kLast = 12;  // the byte with every 16th weight

  static std::int64_t row_at(std::int64_t cols, std::int64_t row) noexcept {
    return row * (kHeadBytes + cols / kElements * kBytes);
  }
  static float scale(const TensorView& tensor, std::int64_t row) noexcept {
    return base::f16_to_f32(load_as<std::uint16_t>(tensor.bytes + row_at(tensor.cols, row)));
  }
  static void set_scale(const TensorTarget& tensor, std::int64_t row, float scale) noexcept {
    const std::uint16_t half = base::f32_to_f16(scale);
    std::memcpy(tensor.bytes + row_at(tensor.cols, row), &half, sizeof half);
  }
  // Weights 16i .. 16i+14 are the digits of bytes 3i .. 3i+2, the least significant one first; weight 16i+15 is digit i
  // of the last byte.
  static void read_codes(const TensorView& tensor, std::int64_t row, std::int64_t block, std::uint8_t* codes) noexcept {
    std::uint8_t bytes[kBytes];
    std::memcpy(bytes, tensor.bytes + row_at(tensor.cols, row) + kHeadBytes + block * kBytes, kBytes);
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < 15; ++j) codes[16 * i + j] = base3_digit(bytes[3 * i + j / 5], 4 - j % 5);
      codes[16 * i + 15] = base3_digit(bytes[kLast], 4 - i);
    }
  }
  static void write_codes(const std::uint8_t* codes, const TensorTarget& tensor, std::int64_t row,
                          std::int64_t block) noexcept {
    std::uint8_t bytes[kBytes], digits[5];
    for (int b = 0; b < kLast; ++b) {
      for (int j = 0; j < 5; ++j) digits[4 - j] = codes[16 * (b / 3) + 5 * (b % 3) + j];
      bytes[b] = base3_byte(digits, 1, 5);
    }
    digits[0] = 0;
    for (int i = 0; i < 4; ++i) digits[4 - i] = codes[16 * i + 15];
    bytes[kLast] = base3_byte(digits, 1, 5);
    std::memcpy(tensor.bytes + row_at(tensor.cols, row) + kHeadBytes + block * kBytes, bytes, kBytes);
  }
};

struct Iq2Bn : IqBnRows {
  static constexpr std::uint32_t kId = 135;
  static constexpr const char* kName = "IQ2_BN";
  static constexpr int kHeadBytes = 4, kBytes = 16, kRowGroup = 1;
  static constexpr bool kPairs = true;

  static std::int64_t row_at(std::int64_t cols, std::int64_t row) noexcept { return row * (kHeadBytes + cols / 4); }
  static float scale(const TensorView& tensor, std::int64_t row) noexcept {
    return load_as<float>(tensor.bytes + row_at(tensor.cols, row));
  }
  static void set_scale(const TensorTarget& tensor, std::int64_t row, float scale) noexcept {
    std::memcpy(tensor.bytes + row_at(tensor.cols, row), &scale, sizeof scale);
  }
  // Byte j holds weights j, 16 + j, 32 + j, 48 + j in bits 1:0, 3:2, 5:4, 7:6.
  static void read_codes(const TensorView& tensor, std::int64_t row, std::int64_t block, std::uint8_t* codes) noexcept {
    const std::byte* bytes = tensor.bytes + row_at(tensor.cols, row) + kHeadBytes + block * kBytes;
    for (int e = 0; e < kElements; ++e) {
      codes[e] = static_cast<std::uint8_t>((std::to_integer<unsigned>(bytes[e % 16]) >> (2 * (e / 16))) & 3);
    }
  }
  static void write_codes(const std::uint8_t* codes, const TensorTarget& tensor, std::int64_t row,
                          std::int64_t block) noexcept {
    std::byte* bytes = tensor.bytes + row_at(tensor.cols, row) + kHeadBytes + block * kBytes;
    for (int e = 0; e < kElements; ++e) bytes[e % 16] |= static_cast<std::byte>(codes[e] << (2 * (e / 16)));
  }
};

struct Iq2BnR4 : IqBnRows {
  static constexpr std::uint32_t kId = 335;
  static constexpr const char* kName = "IQ2_BN_R4";
  static constexpr int kHeadBytes = 4, kBytes = 16, kRowGroup = 4;
  static constexpr bool kPairs = true;

  static std::int64_t group_at(std::int64_t cols, std::int64_t row) noexcept { return row / 4 * (16 + cols); }
  static float scale(const TensorView& tensor, std::int64_t row) noexcept {
    return load_as<float>(tensor.bytes + group_at(tensor.cols, row) + 4 * (row % 4));
  }
  static void set_scale(const TensorTarget& tensor, std::int64_t row, float scale) noexcept {
    std::memcpy(tensor.bytes + group_at(tensor.cols, row) + 4 * (row % 4), &scale, sizeof scale);
  }
  // Weight 16l + 4m + i of row k of the four is in bits 2m, 2m+1 of byte 16l + 4k + i.
  static int byte_of(std::int64_t row, int e) noexcept { return e / 16 * 16 + 4 * static_cast<int>(row % 4) + e % 4; }
  static void read_codes(const TensorView& tensor, std::int64_t row, std::int64_t block, std::uint8_t* codes) noexcept {
    const std::byte* bytes = tensor.bytes + group_at(tensor.cols, row) + 16 + block * kElements;
    for (int e = 0; e < kElements; ++e) {
      codes[e] = static_cast<std::uint8_t>((std::to_integer<unsigned>(bytes[byte_of(row, e)]) >> (e % 16 / 4 * 2)) & 3);
    }
  }
  static void write_codes(const std::uint8_t* codes, const TensorTarget& tensor, std::int64_t row,
                          std::int64_t block) noexcept {
    std::byte* bytes = tensor.bytes + group_at(tensor.cols, row) + 16 + block * kElements;
    for (int e = 0; e < kElements; ++e) bytes[byte_of(row, e)] |= static_cast<std::byte>(codes[e] << (e % 16 / 4 * 2));
  }
};

}  // namespace rowmax::engine::quant
