// Q8_0: 32 weights of 8 bits, value = d * q with q in -128 .. 127.
// Source: ggml-common.h and ggml-quants.c of https://github.com/ggml-org/ggml (block_q8_0); the encoder gives the
// bytes of its reference quantiser.
#pragma once

#include "engine/quant/fit.h"
#include "engine/quant/integer_block.h"

namespace rowmax::engine::quant {

struct Q80 {
  static constexpr std::uint32_t kId = 8;
  static constexpr const char* kName = "Q8_0";
  static constexpr int kElements = 32, kGroup = 32, kCodeBits = 8, kOffset = 128;
  static constexpr bool kHasMin = false, kSubScales = false;

  struct Block {
    Bits16 d;            // half
    std::int8_t qs[32];  // in order
  };
  static_assert(sizeof(Block) == 34);

  static std::uint16_t scale_bits(const Block& block) noexcept { return block.d.get(); }
  static void read_codes(const Block& block, std::uint8_t* codes) noexcept {
    for (int i = 0; i < kElements; ++i) codes[i] = static_cast<std::uint8_t>(block.qs[i] + 128);
  }
  static void encode(const float* x, Block& block) noexcept {
    const float most = signed_absmax(x, kElements);
    const float d = (most < 0 ? -most : most) / 127.0f;
    const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
    block.d.set(base::f32_to_f16(d));
    for (int i = 0; i < kElements; ++i) block.qs[i] = static_cast<std::int8_t>(round_code(x[i] * inverse, -127, 127));
  }
};

}  // namespace rowmax::engine::quant
