// Weights of 4 bits that are FP4 E2M1 (0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives), with scales of one byte. The
// values are kept doubled, the scales halved.
//   MXFP4  32 weights, a power of two as scale (E8M0)
//   NVFP4  64 weights in four groups, scales of FP8 (E4M3)
// Source: OCP Microscaling Formats (MX) 1.0; ggml-common.h, ggml-impl.h and ggml-quants.c of
// https://github.com/ggml-org/ggml (block_mxfp4, block_nvfp4); the encoders give the bytes of its reference quantisers.
#pragma once

#include <cmath>

#include "engine/quant/fit.h"
#include "engine/quant/integer_block.h"

namespace rowmax::engine::quant {

struct Fp4 {
  static constexpr int kIndexBits = 4;
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
  static constexpr int kElements = 32, kGroup = 32, kCodeBits = 5, kOffset = 16;
  static constexpr ScaleKind kScale = ScaleKind::kE8M0;

  struct Block {
    std::uint8_t e;       // the scale's exponent
    std::uint8_t qs[16];  // element j in the low half of byte j, j + 16 in the high half
  };
  static_assert(sizeof(Block) == 17);

  // 4 and 6 times 2^126 are beyond f32, and so are 2 to 6 times 2^127.
  static bool is_sound(const Block& block) noexcept {
    if (block.e < 253) return true;
    const int most = block.e == 253 ? 5 : 3;  // of the code without its sign: 3 and 1.5
    for (const std::uint8_t byte : block.qs) {
      if ((byte & 7) > most || (byte >> 4 & 7) > most) return false;
    }
    return block.e != 255;
  }
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

struct Nvfp4 : Fp4 {
  static constexpr std::uint32_t kId = 40;
  static constexpr const char* kName = "NVFP4";
  // Six bits with this offset, as the codes of Q6_K: what is done with them is shared.
  static constexpr int kElements = 64, kGroup = 16, kCodeBits = 6, kOffset = 32;
  static constexpr ScaleKind kScale = ScaleKind::kE4M3;

  struct Block {
    std::uint8_t d[4];    // of the groups
    std::uint8_t qs[32];  // 8 bytes a group: element j in the low half of byte j, j + 8 in the high half
  };
  static_assert(sizeof(Block) == 36);

  static constexpr const char *kSoundScales = "scales without a sign", *kUnsoundScales = "one below 0";
  static bool is_sound(const Block& block) noexcept {
    return ((block.d[0] | block.d[1] | block.d[2] | block.d[3]) & 128) == 0;
  }
  // As ggml reads them: without the sign, and 0 for 127, which would be NaN.
  static int sub_scale(const Block& block, int g) noexcept { return block.d[g] == 127 ? 0 : block.d[g] & 127; }
  static void read_indices(const Block& block, std::uint8_t* indices) noexcept {
    for (int i = 0; i < 32; ++i) {
      indices[i / 8 * 16 + i % 8] = block.qs[i] & 15;
      indices[i / 8 * 16 + i % 8 + 8] = block.qs[i] >> 4;
    }
  }
  static void encode(const float* x, Block& block) noexcept {
    for (int g = 0; g < 4; ++g) {
      block.d[g] = to_e4m3(absmax(x + 16 * g, 16) / 6.0f);
      const float scale = e4m3_half(block.d[g]);
      for (int i = 0; i < 8; ++i) {
        const float* at = x + 16 * g + i;
        block.qs[8 * g + i] = static_cast<std::uint8_t>(nearest(at[0], scale) | nearest(at[8], scale) << 4);
      }
    }
  }

 private:
  // Half away from 0; from 256 on the largest, 448, as the reference has it.
  static std::uint8_t to_e4m3(float x) noexcept {
    constexpr int kMost = 126, kSaturated = 15 << 3;
    if (!(x > 0.0f)) return 0;
    if (x < 0x1p-6f) return static_cast<std::uint8_t>(round_code(x * 0x1p9f, 0, 7));
    const std::uint32_t rounded = (std::bit_cast<std::uint32_t>(x) + (1u << 19)) >> 20;  // exponent and 3 bits
    const int byte = static_cast<int>(rounded) - ((127 - 7) << 3);
    return static_cast<std::uint8_t>(byte < kSaturated ? byte : kMost);
  }
};

}  // namespace rowmax::engine::quant
