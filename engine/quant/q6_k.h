// Q6_K: 256 weights of 6 bits in sixteen groups of 16, value = d * scale[g] * (code - 32), scale in -128 .. 127.
// Source: ggml-common.h and ggml-quants.c of https://github.com/ggml-org/ggml (block_q6_K).
#pragma once

#include "engine/quant/fit.h"
#include "engine/quant/integer_block.h"

namespace rowmax::engine::quant {

struct Q6K {
  static constexpr std::uint32_t kId = 14;
  static constexpr const char* kName = "Q6_K";
  static constexpr int kElements = 256, kGroup = 16, kCodeBits = 6, kOffset = 32;
  static constexpr bool kHasMin = false, kSubScales = true;

  struct Block {
    std::uint8_t ql[128];    // the low four bits; where: see place()
    std::uint8_t qh[64];     // the high two
    std::int8_t scales[16];  // one for each 16 weights, in order
    Bits16 d;                // half
  };
  static_assert(sizeof(Block) == 210);

  // Each half of 128 weights has 64 bytes of ql and 32 of qh, and is four quarters of 32: quarters 0 and 1 are the low
  // halves of ql bytes 0..31 and 32..63, quarters 2 and 3 their high halves; quarter q has bits 2q, 2q+1 of qh.
  struct Place {
    int low_byte, low_shift, high_byte, high_shift;
  };
  static Place place(int k) noexcept {
    const int half = k / 128, quarter = k % 128 / 32, i = k % 32;
    return {64 * half + 32 * (quarter % 2) + i, quarter / 2 * 4, 32 * half + i, 2 * quarter};
  }

  static std::uint16_t scale_bits(const Block& block) noexcept { return block.d.get(); }
  static int sub_scale(const Block& block, int g) noexcept { return block.scales[g]; }
  static void read_codes(const Block& block, std::uint8_t* codes) noexcept {
    for (int first = 0; first < kElements; first += 32) {
      const Place at = place(first);
      for (int i = 0; i < 32; ++i) {
        const int low = (block.ql[at.low_byte + i] >> at.low_shift) & 15;
        const int high = (block.qh[at.high_byte + i] >> at.high_shift) & 3;
        codes[first + i] = static_cast<std::uint8_t>(low | (high << 4));
      }
    }
  }
  static void encode(const float* x, Block& block) noexcept {
    float fits[16];
    for (int g = 0; g < 16; ++g) fits[g] = fit_scale(x + 16 * g, 16, 64);
    block.d.set(base::f32_to_f16(signed_absmax(fits, 16) / -128.0f));
    const float d = base::f16_to_f32(block.d.get());
    for (int g = 0; g < 16; ++g) {
      block.scales[g] = static_cast<std::int8_t>(d != 0.0f ? round_code(fits[g] / d, -128, 127) : 0);
      const float scale = d * static_cast<float>(block.scales[g]);
      for (int k = 16 * g; k < 16 * g + 16; ++k) {
        const int code = 32 + (scale != 0.0f ? round_code(x[k] / scale, -32, 31) : 0);
        const Place at = place(k);
        block.ql[at.low_byte] |= static_cast<std::uint8_t>((code & 15) << at.low_shift);
        block.qh[at.high_byte] |= static_cast<std::uint8_t>((code >> 4) << at.high_shift);
      }
    }
  }
};

}  // namespace rowmax::engine::quant
