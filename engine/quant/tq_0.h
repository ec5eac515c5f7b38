// TQ1_0 and TQ2_0 of ggml: 256 ternary weights with one half as scale, value = d * (code - 1).
// Source: ggml-common.h and ggml-quants.c of https://github.com/ggml-org/llama.cpp (block_tq1_0, block_tq2_0); the
// encoders give the bytes of its reference quantisers.
#pragma once

#include "engine/quant/base3.h"
#include "engine/quant/q2_0.h"

namespace rowmax::engine::quant {

struct TernaryBlock256 {
  static constexpr int kElements = 256, kGroup = 32, kCodeBits = 2, kOffset = 1;
  static constexpr bool kHasMin = false, kSubScales = false;
};

struct Tq10 : TernaryBlock256 {
  static constexpr std::uint32_t kId = 34;
  static constexpr const char* kName = "TQ1_0";

  struct Block {
    std::uint8_t qs[48];  // five digits a byte: 32 bytes for weights 0 .. 159, 16 for 160 .. 239
    std::uint8_t qh[4];   // four digits a byte: the last 16
    Bits16 d;             // half
  };
  static_assert(sizeof(Block) == 54);

  static std::uint16_t scale_bits(const Block& block) noexcept { return block.d.get(); }
  static void read_codes(const Block& block, std::uint8_t* codes) noexcept {
    read_base3(block.qs, 32, 5, codes);
    read_base3(block.qs + 32, 16, 5, codes + 160);
    read_base3(block.qh, 4, 4, codes + 240);
  }
  static void encode(const float* x, Block& block) noexcept {
    std::uint8_t codes[kElements];
    block.d.set(base::f32_to_f16(ternary_codes(x, kElements, codes)));
    write_base3(codes, 32, 5, block.qs);
    write_base3(codes + 160, 16, 5, block.qs + 32);
    write_base3(codes + 240, 4, 4, block.qh);
  }
};

struct Tq20 : TernaryBlock256 {
  static constexpr std::uint32_t kId = 35;
  static constexpr const char* kName = "TQ2_0";

  struct Block {
    std::uint8_t qs[64];  // byte m of half h holds weights 128h + m + 32n in bits 2n, 2n + 1
    Bits16 d;             // half
  };
  static_assert(sizeof(Block) == 66);

  static std::uint16_t scale_bits(const Block& block) noexcept { return block.d.get(); }
  static void read_codes(const Block& block, std::uint8_t* codes) noexcept {
    for (int j = 0; j < kElements; ++j) codes[j] = (block.qs[j / 128 * 32 + j % 32] >> (2 * (j % 128 / 32))) & 3;
  }
  static void encode(const float* x, Block& block) noexcept {
    std::uint8_t codes[kElements];
    block.d.set(base::f32_to_f16(ternary_codes(x, kElements, codes)));
    for (int j = 0; j < kElements; ++j) {
      block.qs[j / 128 * 32 + j % 32] |= static_cast<std::uint8_t>(codes[j] << (2 * (j % 128 / 32)));
    }
  }
};

}  // namespace rowmax::engine::quant
