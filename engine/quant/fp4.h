// Weights of 4 bits that are FP4 E2M1 (0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives), with scales of one byte. The
// values are kept doubled, the scales halved.
//   MXFP4  32 weights, a power of two as scale (E8M0)
// Source: OCP Microscaling Formats (MX) 1.0; ggml-common.h and ggml-quants.c of https://github.com/ggml-org/ggml
// (block_mxfp4); the encoder gives the bytes of its reference quantiser.
#pragma once

#include <cmath>

#include "engine/quant/integer_block.h"

namespace rowmax::engine::quant {

struct Fp4 {
  static constexpr int kIndexBits = 4, kCodeBits = 5, kOffset = 16;
  static constexpr Codebook kBook{{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}};
  static constexpr bool kHasMin = false, kSubScales = true;

  // The first of the values nearest to x.
  static std::uint8_t nearest(float x, float scale) noexcept {
    int best = 0;
    float least = std::fabs(x);
    for (int i = 1; i < 16; ++i) {
      const float miss = std::fabs(static_cast<float>(kBook.values[i]) * scale - x);
      if (miss < least) {
        least = miss;
        best = i;
      }
    }
    return static_cast<std::uint8_t>(best);
  }
  static float absmax(const float* x, int n) noexcept {
    float most = 0.0f;
    for (int i = 0; i < n; ++i) most = std::fabs(x[i]) > most ? std::fabs(x[i]) : most;
    return most;
  }
};

struct Mxfp4 : Fp4 {
  static constexpr std::uint32_t kId = 39;
  static constexpr const char* kName = "MXFP4";
  static constexpr int kElements = 32, kGroup = 32;
  static constexpr ScaleKind kScale = ScaleKind::kE8M0;

  struct Block {
    std::uint8_t e;       // the scale's exponent
    std::uint8_t qs[16];  // element j in the low half of byte j, j + 16 in the high half
  };
  static_assert(sizeof(Block) == 17);

  static int sub_scale(const Block& block, int /*g*/) noexcept { return block.e; }
  static void read_indices(const Block& block, std::uint8_t* indices) noexcept { read_nibbles(block.qs, indices); }
  // The largest magnitude becomes 4 to 8, of which what is above 6 is cut.
  static void encode(const float* x, Block& block) noexcept {
    constexpr int kBelow = 2, kLeast = 0, kMost = 254;
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(absmax(x, kElements));
    const int exponent = static_cast<int>(bits >> 23) - kBelow;  // of a denormal number: 0, the least, either way
    block.e = static_cast<std::uint8_t>(exponent < kLeast ? kLeast : exponent > kMost ? kMost : exponent);
    std::uint8_t indices[kElements];
    for (int i = 0; i < kElements; ++i) indices[i] = nearest(x[i], e8m0_half(block.e));
    write_nibbles(indices, block.qs);
  }
};

}  // namespace rowmax::engine::quant
