// Q3_K: 256 weights of 3 bits in sixteen groups of 16, value = d * (scale[g] - 32) * (code - 4), scale of 6 bits.
// Source: ggml-common.h and ggml-quants.c of https://github.com/ggml-org/ggml (block_q3_K).
#pragma once

#include "engine/quant/fit.h"
#include "engine/quant/integer_block.h"

namespace rowmax::engine::quant {

struct Q3K {
  static constexpr std::uint32_t kId = 11;
  static constexpr const char* kName = "Q3_K";
  static constexpr int kElements = 256, kGroup = 16, kCodeBits = 3, kOffset = 4;
  static constexpr bool kHasMin = false, kSubScales = true;

  struct Block {
    std::uint8_t hmask[32];   // the third bits: bit b of byte i belongs to element 32 * b + i
    std::uint8_t qs[64];      // the low two: 32 bytes for each 128 weights, bits 2q, 2q+1 are those of the q-th 32
    std::uint8_t scales[12];  // byte g % 8 has the low four bits of scales g and g + 8, byte 8 + g % 4 the high two at
                              // 2 * (g / 4)
    Bits16 d;                 // half
  };
  static_assert(sizeof(Block) == 110);

  static std::uint16_t scale_bits(const Block& block) noexcept { return block.d.get(); }
  static int sub_scale(const Block& block, int g) noexcept {
    const int low = (block.scales[g % 8] >> (g / 8 * 4)) & 15, high = (block.scales[8 + g % 4] >> (g / 4 * 2)) & 3;
    return (low | (high << 4)) - 32;
  }
  static void read_codes(const Block& block, std::uint8_t* codes) noexcept {
    for (int k = 0; k < kElements; ++k) {
      const int low = (block.qs[k / 128 * 32 + k % 32] >> (k % 128 / 32 * 2)) & 3;
      const int high = (block.hmask[k % 32] >> (k / 32)) & 1;
      codes[k] = static_cast<std::uint8_t>(low | (high << 2));
    }
  }
  static void encode(const float* x, Block& block) noexcept {
    float fits[16];
    for (int g = 0; g < 16; ++g) fits[g] = fit_scale(x + 16 * g, 16, 8);
    block.d.set(base::f32_to_f16(signed_absmax(fits, 16) / -32.0f));
    const float d = base::f16_to_f32(block.d.get());
    for (int g = 0; g < 16; ++g) {
      const int sub = d != 0.0f ? round_code(fits[g] / d, -32, 31) : 0;
      block.scales[g % 8] |= static_cast<std::uint8_t>(((sub + 32) & 15) << (g / 8 * 4));
      block.scales[8 + g % 4] |= static_cast<std::uint8_t>(((sub + 32) >> 4) << (g / 4 * 2));
      const float scale = d * static_cast<float>(sub);
      for (int k = 16 * g; k < 16 * g + 16; ++k) {
        const int code = 4 + (scale != 0.0f ? round_code(x[k] / scale, -4, 3) : 0);
        block.qs[k / 128 * 32 + k % 32] |= static_cast<std::uint8_t>((code & 3) << (k % 128 / 32 * 2));
        block.hmask[k % 32] |= static_cast<std::uint8_t>((code >> 2) << (k / 32));
      }
    }
  }
};

}  // namespace rowmax::engine::quant
