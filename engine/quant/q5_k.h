// Q5_K: 256 weights of 5 bits in eight groups of 32, value = d * scale[g] * code - dmin * min[g].
// Source: ggml-common.h and ggml-quants.c of https://github.com/ggml-org/ggml (block_q5_K).
#pragma once

#include "engine/quant/k_scales.h"

namespace rowmax::engine::quant {

struct Q5K {
  static constexpr std::uint32_t kId = 13;
  static constexpr const char* kName = "Q5_K";
  static constexpr int kElements = 256, kGroup = 32, kCodeBits = 5, kOffset = 0;
  static constexpr bool kHasMin = true, kSubScales = true;

  struct Block {
    Bits16 d, dmin;  // halves
    KScales scales;
    std::uint8_t qh[32];   // the fifth bits: bit g of byte i belongs to element 32 * g + i
    std::uint8_t qs[128];  // the low four, as in Q4_K
  };
  static_assert(sizeof(Block) == 176);

  static std::uint16_t scale_bits(const Block& block) noexcept { return block.d.get(); }
  static std::uint16_t min_bits(const Block& block) noexcept { return block.dmin.get(); }
  static int sub_scale(const Block& block, int g) noexcept { return block.scales.scale(g); }
  static int sub_min(const Block& block, int g) noexcept { return block.scales.min(g); }
  static void read_codes(const Block& block, std::uint8_t* codes) noexcept {
    for (int group = 0; group < 8; ++group) {
      const std::uint8_t* low = block.qs + group / 2 * 32;
      for (int i = 0; i < 32; ++i) {
        const int nibble = (low[i] >> (group % 2 * 4)) & 15;
        codes[32 * group + i] = static_cast<std::uint8_t>(nibble | (((block.qh[i] >> group) & 1) << 4));
      }
    }
  }
  static void encode(const float* x, Block& block) noexcept {
    std::uint8_t codes[kElements];
    encode_k_groups(x, 32, block, codes);
    for (int k = 0; k < kElements; ++k) {
      const int group = k / 32, i = k % 32;
      block.qs[group / 2 * 32 + i] |= static_cast<std::uint8_t>((codes[k] & 15) << (group % 2 * 4));
      block.qh[i] |= static_cast<std::uint8_t>((codes[k] >> 4) << group);
    }
  }
};

}  // namespace rowmax::engine::quant
