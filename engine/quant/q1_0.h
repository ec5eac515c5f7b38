// Q1_0: 128 weights of one bit, value = d where the bit is set, -d where it is not. Codes are the bit doubled, 0 or 2.
// Source: ggml-common.h and ggml-quants.c of https://github.com/ggml-org/llama.cpp (block_q1_0); the encoder follows
// its reference quantiser: d is the mean magnitude.
#pragma once

#include <cstring>

#include "engine/quant/integer_block.h"

namespace rowmax::engine::quant {

struct Q10 {
  static constexpr std::uint32_t kId = 41;
  static constexpr const char* kName = "Q1_0";
  static constexpr int kElements = 128, kGroup = 32, kCodeBits = 1, kOffset = 1;
  static constexpr bool kHasMin = false, kSubScales = false;

  struct Block {
    Bits16 d;             // half
    std::uint8_t qs[16];  // element j in bit j % 8 of byte j / 8
  };
  static_assert(sizeof(Block) == 18);

  static std::uint16_t scale_bits(const Block& block) noexcept { return block.d.get(); }
  static void read_codes(const Block& block, std::uint8_t* codes) noexcept {
    for (int i = 0; i < kElements / 8; ++i) {  // byte j of the word: bit j alone, then 0x80 where it is set, then 2
      const std::uint64_t bits = block.qs[i] * 0x0101010101010101u & 0x8040201008040201u;
      const std::uint64_t word = ((bits + 0x7F7F7F7F7F7F7F7Fu) >> 6) & 0x0202020202020202u;
      std::memcpy(codes + 8 * i, &word, sizeof word);
    }
  }
  static void encode(const float* x, Block& block) noexcept {
    float sum = 0.0f;
    for (int j = 0; j < kElements; ++j) sum += x[j] < 0 ? -x[j] : x[j];
    block.d.set(base::f32_to_f16(sum / static_cast<float>(kElements)));
    for (int j = 0; j < kElements; ++j) block.qs[j / 8] |= static_cast<std::uint8_t>((x[j] >= 0.0f) << (j % 8));
  }
};

}  // namespace rowmax::engine::quant
