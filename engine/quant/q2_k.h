// Q2_K: 256 weights of 2 bits in sixteen groups of 16, value = d * scale[g] * code - dmin * min[g], both of 4 bits.
// Source: ggml-common.h and ggml-quants.c of https://github.com/ggml-org/ggml (block_q2_K).
#pragma once

#include <algorithm>

#include "engine/quant/fit.h"
#include "engine/quant/integer_block.h"

namespace rowmax::engine::quant {

struct Q2K {
  static constexpr std::uint32_t kId = 10;
  static constexpr const char* kName = "Q2_K";
  static constexpr int kElements = 256, kGroup = 16, kCodeBits = 2, kOffset = 0;
  static constexpr bool kHasMin = true, kSubScales = true;

  struct Block {
    std::uint8_t scales[16];  // of each 16 weights, in order: low half the scale, high half the minimum
    std::uint8_t qs[64];      // 32 bytes for each 128 weights: bits 2q, 2q+1 are those of the q-th 32
    Bits16 d, dmin;           // halves
  };
  static_assert(sizeof(Block) == 84);

  static std::uint16_t scale_bits(const Block& block) noexcept { return block.d.get(); }
  static std::uint16_t min_bits(const Block& block) noexcept { return block.dmin.get(); }
  static int sub_scale(const Block& block, int g) noexcept { return block.scales[g] & 15; }
  static int sub_min(const Block& block, int g) noexcept { return block.scales[g] >> 4; }
  static void read_codes(const Block& block, std::uint8_t* codes) noexcept {
    for (int k = 0; k < kElements; ++k) {
      codes[k] = (block.qs[k / 128 * 32 + k % 32] >> (k % 128 / 32 * 2)) & 3;
    }
  }
  static void encode(const float* x, Block& block) noexcept {
    AffineFit fits[16];
    float most_scale = 0.0f, most_offset = 0.0f;
    for (int g = 0; g < 16; ++g) {
      fits[g] = fit_affine(x + 16 * g, 16, 4);
      most_scale = std::max(most_scale, fits[g].scale);
      most_offset = std::max(most_offset, fits[g].offset);
    }
    block.d.set(base::f32_to_f16(most_scale / 15.0f));
    block.dmin.set(base::f32_to_f16(most_offset / 15.0f));
    const float d = base::f16_to_f32(block.d.get()), dmin = base::f16_to_f32(block.dmin.get());
    for (int g = 0; g < 16; ++g) {
      const int min = dmin > 0.0f ? round_code(fits[g].offset / dmin, 0, 15) : 0;
      const float offset = dmin * static_cast<float>(min);
      const int sub = d > 0.0f ? best_sub_scale(x + 16 * g, d, offset, fits[g].scale / d) : 0;
      block.scales[g] = static_cast<std::uint8_t>(sub | (min << 4));
      const float scale = d * static_cast<float>(sub);
      for (int k = 16 * g; k < 16 * g + 16; ++k) {
        const int code = code_of(x[k], scale, offset);
        block.qs[k / 128 * 32 + k % 32] |= static_cast<std::uint8_t>(code << (k % 128 / 32 * 2));
      }
    }
  }

 private:
  static int code_of(float x, float scale, float offset) noexcept {
    return scale > 0.0f ? round_code((x + offset) / scale, 0, 3) : 0;
  }
  // Four bits are few: once the minimum is rounded, the sub-scale beside the nearest one may fit better.
  static int best_sub_scale(const float* x, float d, float offset, float wanted) noexcept {
    const int nearest = round_code(wanted, 0, 15);
    int best = nearest;
    double least = -1.0;
    for (int sub = std::max(nearest - 1, 0); sub <= std::min(nearest + 1, 15); ++sub) {
      const float scale = d * static_cast<float>(sub);
      double error = 0.0;
      for (int i = 0; i < kGroup; ++i) {
        const float value = scale * static_cast<float>(code_of(x[i], scale, offset)) - offset;
        const double miss = static_cast<double>(x[i]) - static_cast<double>(value);
        error += miss * miss;
      }
      if (least < 0.0 || error < least || (error == least && sub == nearest)) {
        least = error;
        best = sub;
      }
    }
    return best;
  }
};

}  // namespace rowmax::engine::quant
