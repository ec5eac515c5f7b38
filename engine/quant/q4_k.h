// Q4_K: 256 weights of 4 bits in eight groups of 32, value = d * scale[g] * code - dmin * min[g].
// Source: ggml-common.h and ggml-quants.c of https://github.com/ggml-org/ggml (block_q4_K).
#pragma once

#include "engine/quant/k_scales.h"

namespace rowmax::engine::quant {

struct Q4K {
  static constexpr std::uint32_t kId = 12;
  static constexpr const char* kName = "Q4_K";
  static constexpr int kElements = 256, kGroup = 32, kCodeBits = 4, kOffset = 0;
  static constexpr bool kHasMin = true, kSubScales = true;

  struct Block {
    Bits16 d, dmin;  // halves
    KScales scales;
    std::uint8_t qs[128];  // 32 bytes for each 64 weights: low halves are the first 32, high halves the next
  };
  static_assert(sizeof(Block) == 144);

  static std::uint16_t scale_bits(const Block& block) noexcept { return block.d.get(); }
  static std::uint16_t min_bits(const Block& block) noexcept { return block.dmin.get(); }
  static int sub_scale(const Block& block, int g) noexcept { return block.scales.scale(g); }
  static int sub_min(const Block& block, int g) noexcept { return block.scales.min(g); }
  static void read_codes(const Block& block, std::uint8_t* codes) noexcept {
    for (int i = 0; i < 128; ++i) {
      codes[i / 32 * 64 + i % 32] = block.qs[i] & 15;
      codes[i / 32 * 64 + i % 32 + 32] = block.qs[i] >> 4;
    }
  }
  static void encode(const float* x, Block& block) noexcept {
    std::uint8_t codes[kElements];
    encode_k_groups(x, 16, block, codes);
    for (int i = 0; i < 128; ++i) {
      const std::uint8_t* pair = codes + i / 32 * 64 + i % 32;
      block.qs[i] = static_cast<std::uint8_t>(pair[0] | (pair[32] << 4));
    }
  }
};

}  // namespace rowmax::engine::quant
