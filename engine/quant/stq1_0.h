// STQ1_0 of Tencent's AngelSlim (Sherry): 256 ternary weights with one half as scale, value = d * (code - 1), exactly one
// zero among the four weights of a group. A group is every 16th weight of 64.
// Source: the layout that readers of Hy-MT and Hy4 files agree on (https://github.com/ggml-org/llama.cpp/pull/22836,
// block_stq1_0); the encoder follows its reference quantiser. Older files have the id 42.
#pragma once

#include <cmath>

#include "engine/quant/q2_0.h"
#include "engine/quant/tq_0.h"

namespace rowmax::engine::quant {

struct Stq10 : TernaryBlock256 {
  static constexpr std::uint32_t kId = 43;
  static constexpr const char* kName = "STQ1_0";

  struct Block {
    std::uint8_t
        qs[32];  // 4 bits a group: the zero's place in the high two, then whether the third and the second of the
                 // other weights are unlike the first
    std::uint8_t sign[8];  // a bit a group: the first is negative
    Bits16 d;              // half
  };
  static_assert(sizeof(Block) == 42);

  static std::uint16_t scale_bits(const Block& block) noexcept { return block.d.get(); }
  static void read_codes(const Block& block, std::uint8_t* codes) noexcept {
    for (int g = 0; g < 64; ++g) {
      const int slot = (block.qs[g / 2] >> (g % 2 * 4)) & 15, sign = (block.sign[g / 8] >> (g % 8)) & 1;
      const int minus[3] = {sign, sign ^ (slot & 1), sign ^ (slot >> 1 & 1)};
      for (int p = 0, other = 0; p < 4; ++p) {
        codes[place(g, p)] = static_cast<std::uint8_t>(p == slot >> 2 ? 1 : minus[other++] != 0 ? 0 : 2);
      }
    }
  }
  // The smallest of each group (the first of equals) becomes 0.
  static void encode(const float* x, Block& block) noexcept {
    float most = 0.0f;
    for (int i = 0; i < kElements; ++i) most = std::fabs(x[i]) > most ? std::fabs(x[i]) : most;
    block.d.set(base::f32_to_f16(most));
    for (int g = 0; g < 64; ++g) {
      int zero = 0, minus[4], other = 0;
      for (int p = 1; p < 4; ++p) zero = std::fabs(x[place(g, p)]) < std::fabs(x[place(g, zero)]) ? p : zero;
      for (int p = 0; p < 4; ++p) {
        if (p != zero) minus[other++] = x[place(g, p)] < 0.0f;
      }
      const int slot = zero << 2 | (minus[2] ^ minus[0]) << 1 | (minus[1] ^ minus[0]);
      block.qs[g / 2] |= static_cast<std::uint8_t>(slot << (g % 2 * 4));
      block.sign[g / 8] |= static_cast<std::uint8_t>(minus[0] << (g % 8));
    }
  }

 private:
  static int place(int group, int p) noexcept { return group / 16 * 64 + group % 16 + 16 * p; }
};

struct Stq10Type42 : Stq10 {
  static constexpr std::uint32_t kId = 42;
  static constexpr const char* kName = "STQ1_0_42";
};

}  // namespace rowmax::engine::quant
