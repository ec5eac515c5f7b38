// Q2_0: ternary weights (and +2) in blocks with one half as scale, value = d * (code - 1), codes 0 .. 3. One type id,
// 42, stands for two layouts:
//   Q2_0       64 weights, 18 bytes: as in ggml since June 2026
//   Q2_0_128   128 weights, 34 bytes: the first published Bonsai files, from PrismML's fork. The fork's later name for
//              the same layout is PQ2_0, type 142.
// The sizes of a file's tensors tell the two apart (engine/io).
// Sources: ggml-common.h of https://github.com/ggml-org/llama.cpp and of https://github.com/PrismML-Eng/llama.cpp
// (block_q2_0, block_pq2_0).
#pragma once

#include <algorithm>
#include <cstring>

#include "engine/quant/fit.h"
#include "engine/quant/integer_block.h"

namespace rowmax::engine::quant {

// Codes of ternary weights, by ggml's rule: d = max |x|, code = round(x / d) + 1, half away from zero. Returns d.
inline float ternary_codes(const float* x, int n, std::uint8_t* codes) noexcept {
  const float most = signed_absmax(x, n);
  const float d = most < 0 ? -most : most;
  const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
  for (int i = 0; i < n; ++i) codes[i] = static_cast<std::uint8_t>(1 + round_code(x[i] * inverse, -1, 1));
  return d;
}

template <int kWeights>
struct Q20Blocks {
  static constexpr int kElements = kWeights, kGroup = 32, kCodeBits = 2, kOffset = 1;
  static constexpr bool kHasMin = false, kSubScales = false;

  struct Block {
    Bits16 d;                       // half
    std::uint8_t qs[kWeights / 4];  // element j in bits 2(j % 4), 2(j % 4) + 1 of byte j / 4
  };
  static_assert(sizeof(Block) == 2 + kWeights / 4);

  static std::uint16_t scale_bits(const Block& block) noexcept { return block.d.get(); }
  static void read_codes(const Block& block, std::uint8_t* codes) noexcept {
    for (int i = 0; i < kElements / 4; ++i) {  // the pairs of a byte moved into four bytes
      std::uint32_t word = block.qs[i];
      word = (word | word << 12) & 0x000F000Fu;
      word = (word | word << 6) & 0x03030303u;
      std::memcpy(codes + 4 * i, &word, sizeof word);
    }
  }
  static void encode(const float* x, Block& block) noexcept {
    std::uint8_t codes[kElements];
    block.d.set(base::f32_to_f16(ternary_codes(x, kElements, codes)));
    for (int j = 0; j < kElements; ++j) block.qs[j / 4] |= static_cast<std::uint8_t>(codes[j] << (2 * (j % 4)));
  }
};

struct Q20 : Q20Blocks<64> {
  static constexpr std::uint32_t kId = 42;
  static constexpr const char* kName = "Q2_0";
};
struct Q20G128 : Q20Blocks<128> {
  static constexpr std::uint32_t kId = 42;
  static constexpr const char* kName = "Q2_0_128";
};
struct Pq20 : Q20Blocks<128> {
  static constexpr std::uint32_t kId = 142;
  static constexpr const char* kName = "PQ2_0";
};

}  // namespace rowmax::engine::quant
