// Q4_0: 32 weights of 4 bits, value = d * (code - 8).
// Source: ggml-common.h and ggml-quants.c of https://github.com/ggml-org/ggml (block_q4_0); the encoder gives the
// bytes of its reference quantiser.
#pragma once

#include <algorithm>

#include "engine/quant/fit.h"
#include "engine/quant/integer_block.h"

namespace rowmax::engine::quant {

struct Q40 {
  static constexpr std::uint32_t kId = 2;
  static constexpr const char* kName = "Q4_0";
  static constexpr int kElements = 32, kGroup = 32, kCodeBits = 4, kOffset = 8;
  static constexpr bool kHasMin = false, kSubScales = false;

  struct Block {
    Bits16 d;             // half
    std::uint8_t qs[16];  // element j in the low half of byte j, j + 16 in the high half
  };
  static_assert(sizeof(Block) == 18);

  static std::uint16_t scale_bits(const Block& block) noexcept { return block.d.get(); }
  static void read_codes(const Block& block, std::uint8_t* codes) noexcept { read_nibbles(block.qs, codes); }
  static void encode(const float* x, Block& block) noexcept {
    const float d = signed_absmax(x, kElements) / -8.0f;
    const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
    block.d.set(base::f32_to_f16(d));
    std::uint8_t codes[kElements];
    for (int i = 0; i < kElements; ++i) codes[i] = code_below(x[i] * inverse + 8.5f, 15);
    write_nibbles(codes, block.qs);
  }
};

}  // namespace rowmax::engine::quant
