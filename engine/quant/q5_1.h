// Q5_1: 32 weights of 5 bits, value = d * code + m.
// Source: ggml-common.h and ggml-quants.c of https://github.com/ggml-org/ggml (block_q5_1); the encoder gives the
// bytes of its reference quantiser.
#pragma once

#include <algorithm>

#include "engine/quant/fit.h"
#include "engine/quant/integer_block.h"

namespace rowmax::engine::quant {

struct Q51 {
  static constexpr std::uint32_t kId = 7;
  static constexpr const char* kName = "Q5_1";
  static constexpr int kElements = 32, kGroup = 32, kCodeBits = 5, kOffset = 0;
  static constexpr bool kHasMin = true, kSubScales = false;

  struct Block {
    Bits16 d, m;          // halves
    std::uint8_t qh[4];   // the fifth bits, element j in bit j
    std::uint8_t qs[16];  // the low four, as in Q4_0
  };
  static_assert(sizeof(Block) == 24);

  static std::uint16_t scale_bits(const Block& block) noexcept { return block.d.get(); }
  static std::uint16_t min_bits(const Block& block) noexcept { return block.m.get(); }
  static void read_codes(const Block& block, std::uint8_t* codes) noexcept {
    read_nibbles(block.qs, codes);
    read_fifth_bits(block.qh, codes);
  }
  static void encode(const float* x, Block& block) noexcept {
    const float low = *std::min_element(x, x + kElements);
    const float d = (*std::max_element(x, x + kElements) - low) / 31.0f;
    const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
    block.d.set(base::f32_to_f16(d));
    block.m.set(base::f32_to_f16(low));
    std::uint8_t codes[kElements];
    for (int i = 0; i < kElements; ++i) codes[i] = code_below((x[i] - low) * inverse + 0.5f, 31);
    write_nibbles(codes, block.qs);
    write_fifth_bits(codes, block.qh);
  }
};

}  // namespace rowmax::engine::quant
