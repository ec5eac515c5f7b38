// PTQ1_0 of PrismML's fork: 128 ternary weights in base 3 with one half as scale, value = d * (code - 1).
// Source: the layout that readers of Ternary-Bonsai-2 files agree on (https://github.com/PrismML-Eng/llama.cpp,
// block_ptq1_0): TQ1_0's packing in a block half as long.
#pragma once

#include "engine/quant/base3.h"
#include "engine/quant/q2_0.h"

namespace rowmax::engine::quant {

struct Ptq10 {
  static constexpr std::uint32_t kId = 143;
  static constexpr const char* kName = "PTQ1_0";
  static constexpr int kElements = 128, kGroup = 32, kCodeBits = 2, kOffset = 1;
  static constexpr bool kHasMin = false, kSubScales = false;

  struct Block {
    std::uint8_t qs[24];  // five digits a byte: 16 bytes for weights 0 .. 79, 8 for 80 .. 119
    std::uint8_t qh[2];   // four digits a byte: the last 8
    Bits16 d;             // half
  };
  static_assert(sizeof(Block) == 28);

  static std::uint16_t scale_bits(const Block& block) noexcept { return block.d.get(); }
  static void read_codes(const Block& block, std::uint8_t* codes) noexcept {
    read_base3(block.qs, 16, 5, codes);
    read_base3(block.qs + 16, 8, 5, codes + 80);
    read_base3(block.qh, 2, 4, codes + 120);
  }
  static void encode(const float* x, Block& block) noexcept {
    std::uint8_t codes[kElements];
    block.d.set(base::f32_to_f16(ternary_codes(x, kElements, codes)));
    write_base3(codes, 16, 5, block.qs);
    write_base3(codes + 80, 8, 5, block.qs + 16);
    write_base3(codes + 120, 2, 4, block.qh);
  }
};

}  // namespace rowmax::engine::quant
