// IQ4_NL and IQ4_XS: weights of 4 bits that choose one of sixteen uneven values; groups of 32 share a scale.
//   IQ4_NL  32 weights, value = d * kIq4Values[q]
//   IQ4_XS  256 weights in eight groups, value = d * (scale[g] - 32) * kIq4Values[q], scale of 6 bits
// Source: ggml-common.h and ggml-quants.c of https://github.com/ggml-org/ggml (block_iq4_nl, block_iq4_xs,
// kvalues_iq4nl).
#pragma once

#include "engine/quant/fit.h"
#include "engine/quant/integer_block.h"

namespace rowmax::engine::quant {

// Uneven steps, fitted to bell-shaped weights.
inline constexpr Codebook kIq4Book{{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}};
inline constexpr const std::int8_t (&kIq4Values)[16] = kIq4Book.values;

// The index of the value nearest to x (of two, the lower); 0 for NaN.
inline int nearest_iq4(float x) noexcept {
  int at = 0;
  while (at < 15 && 2.0f * x > static_cast<float>(kIq4Values[at] + kIq4Values[at + 1])) ++at;
  return at;
}

// A scale s for x[i] ~ s * kIq4Values[q[i]], of small squared error.
inline float fit_iq4_scale(const float* x, int n) noexcept {
  const float most = signed_absmax(x, n);
  if (most == 0.0f) return 0.0f;
  const auto error_of = [&](float scale, double& fitted) {
    double error = 0.0, sum_vv = 0.0, sum_vx = 0.0;
    for (int i = 0; i < n; ++i) {
      const double v = kIq4Values[scale != 0.0f ? nearest_iq4(x[i] / scale) : 8], value = static_cast<double>(x[i]);
      const double miss = value - static_cast<double>(scale) * v;
      error += miss * miss;
      sum_vv += v * v;
      sum_vx += v * value;
    }
    fitted = sum_vx / sum_vv;  // the best scale for the same choice of values
    return error;
  };
  // The largest magnitude on the largest value, then scales around that, each refined once.
  float best = most / static_cast<float>(kIq4Values[0]);
  double fitted = 0.0, least = error_of(best, fitted);
  for (int step = -7; step <= 7; ++step) {
    float scale = most / (static_cast<float>(kIq4Values[0]) + 2.0f * static_cast<float>(step));
    for (int round = 0; round < 2; ++round) {
      const double error = error_of(scale, fitted);
      if (error < least) {
        least = error;
        best = scale;
      }
      scale = static_cast<float>(fitted);
    }
  }
  return best;
}

// 32 weights with their scale.
inline void write_iq4(const float* x, float scale, std::uint8_t* qs) noexcept {
  std::uint8_t indices[32];
  for (int i = 0; i < 32; ++i) {
    indices[i] = static_cast<std::uint8_t>(scale != 0.0f ? nearest_iq4(x[i] / scale) : 0);
  }
  write_nibbles(indices, qs);
}

struct Iq4Nl {
  static constexpr std::uint32_t kId = 20;
  static constexpr const char* kName = "IQ4_NL";
  static constexpr int kElements = 32, kGroup = 32, kCodeBits = 8, kOffset = 128;
  static constexpr int kIndexBits = 4;
  static constexpr const Codebook& kBook = kIq4Book;
  static constexpr bool kHasMin = false, kSubScales = false;

  struct Block {
    Bits16 d;  // half
    std::uint8_t qs[16];
  };
  static_assert(sizeof(Block) == 18);

  static std::uint16_t scale_bits(const Block& block) noexcept { return block.d.get(); }
  static void read_indices(const Block& block, std::uint8_t* indices) noexcept { read_nibbles(block.qs, indices); }
  static void encode(const float* x, Block& block) noexcept {
    block.d.set(base::f32_to_f16(fit_iq4_scale(x, 32)));
    write_iq4(x, base::f16_to_f32(block.d.get()), block.qs);
  }
};

struct Iq4Xs {
  static constexpr std::uint32_t kId = 23;
  static constexpr const char* kName = "IQ4_XS";
  static constexpr int kElements = 256, kGroup = 32, kCodeBits = 8, kOffset = 128;
  static constexpr int kIndexBits = 4;
  static constexpr const Codebook& kBook = kIq4Book;
  static constexpr bool kHasMin = false, kSubScales = true;

  struct Block {
    Bits16 d;                  // half
    Bits16 scales_h;           // the high two bits of scale g at 2 * g
    std::uint8_t scales_l[4];  // the low four: scale g in the half g % 2 of byte g / 2
    std::uint8_t qs[128];      // 16 bytes a group
  };
  static_assert(sizeof(Block) == 136);

  static std::uint16_t scale_bits(const Block& block) noexcept { return block.d.get(); }
  static int sub_scale(const Block& block, int g) noexcept {
    const int low = (block.scales_l[g / 2] >> (g % 2 * 4)) & 15, high = (block.scales_h.get() >> (2 * g)) & 3;
    return (low | (high << 4)) - 32;
  }
  static void read_indices(const Block& block, std::uint8_t* indices) noexcept {
    for (int first = 0; first < kElements; first += 32) read_nibbles(block.qs + first / 2, indices + first);
  }
  static void encode(const float* x, Block& block) noexcept {
    float fits[8];
    for (int g = 0; g < 8; ++g) fits[g] = fit_iq4_scale(x + 32 * g, 32);
    block.d.set(base::f32_to_f16(signed_absmax(fits, 8) / -32.0f));
    const float d = base::f16_to_f32(block.d.get());
    int high = 0;
    for (int g = 0; g < 8; ++g) {
      const int sub = d != 0.0f ? round_code(fits[g] / d, -32, 31) : 0;
      block.scales_l[g / 2] |= static_cast<std::uint8_t>(((sub + 32) & 15) << (g % 2 * 4));
      high |= ((sub + 32) >> 4) << (2 * g);
      write_iq4(x + 32 * g, d * static_cast<float>(sub), block.qs + 16 * g);
    }
    block.scales_h.set(static_cast<std::uint16_t>(high));
  }
};

}  // namespace rowmax::engine::quant
