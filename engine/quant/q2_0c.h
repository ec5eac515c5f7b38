// Q2_0C, "SEQ", of Tencent's 2-bit models (Hy-MT): 512 weights with one half as scale, in 130 bytes, value = d * (2 * code - 3).
// Sources: block_q2_0c of https://github.com/ggml-org/llama.cpp/pull/19357; readers of the published files that agree with
// it and with one another: https://github.com/sdcb/HyMT2Sharp (Q2_0C), https://github.com/onnxruntime/mobius
// (_tencent_q1_0.py). Files of Hy-MT2 have the id 40, those of Hy-MT1.5 41, which elsewhere are NVFP4 and Q1_0: sizes tell.
// No quantiser of it is public; the encoder takes of a few scales the one with the least error.
#pragma once

#include "engine/quant/q2_0.h"

namespace rowmax::engine::quant {

struct Q20C : Q20Blocks<512> {
  static constexpr std::uint32_t kId = 40;
  static constexpr const char* kName = "Q2_0C";
  static constexpr bool kHasMin = true;

  // As 2d (code - 1) - d, whose parts are halves.
  static constexpr const char *kSoundScales = "a scale of at most 32752",
                              *kUnsoundScales = "a larger one, infinity or NaN";
  static std::uint16_t scale_bits(const Block& block) noexcept {
    return base::f32_to_f16(2.0f * base::f16_to_f32(block.d.get()));
  }
  static std::uint16_t min_bits(const Block& block) noexcept {
    return static_cast<std::uint16_t>(block.d.get() ^ 0x8000);
  }
  static void encode(const float* x, Block& block) noexcept {
    constexpr float kMost = 32752.0f;
    constexpr int kSteps = 16, kLeast = 4;
    const float absmax = signed_absmax(x, kElements);
    const float step = (absmax < 0 ? -absmax : absmax) / (3 * kSteps);
    double least = 0;
    for (int s = kSteps; s >= kLeast; --s) {
      const float wanted = static_cast<float>(s) * step;
      Block tried{};
      tried.d.set(base::f32_to_f16(wanted < kMost ? wanted : kMost));
      const float d = base::f16_to_f32(tried.d.get());
      double error = 0;
      for (int j = 0; j < kElements; ++j) {
        const int code = d > 0 ? code_below(x[j] / (2 * d) + 2, 3) : 0;
        tried.qs[j / 4] |= static_cast<std::uint8_t>(code << (2 * (j % 4)));
        const double miss = static_cast<double>(x[j]) - static_cast<double>(d) * (2 * code - 3);
        error += miss * miss;
      }
      if (s < kSteps && !(error < least)) continue;
      least = error;
      block = tried;
    }
  }
};

struct Q20CType41 : Q20C {
  static constexpr std::uint32_t kId = 41;
  static constexpr const char* kName = "Q2_0C_41";
};

}  // namespace rowmax::engine::quant
