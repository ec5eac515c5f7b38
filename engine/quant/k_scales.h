// What Q4_K and Q5_K share: eight groups of 32, each with a 6-bit scale and a 6-bit minimum in 12 bytes.
#pragma once

#include <algorithm>

#include "engine/quant/fit.h"
#include "engine/quant/integer_block.h"

namespace rowmax::engine::quant {

struct KScales {
  std::uint8_t bytes[12];

  // Groups 0 to 3: the low six bits of bytes j and j + 4. Groups 4 to 7: the low (scale) and high (minimum) halves of
  // byte j + 4, with the top two bits of bytes j - 4 and j above them.
  int scale(int j) const noexcept { return j < 4 ? bytes[j] & 63 : (bytes[j + 4] & 15) | ((bytes[j - 4] >> 6) << 4); }
  int min(int j) const noexcept { return j < 4 ? bytes[j + 4] & 63 : (bytes[j + 4] >> 4) | ((bytes[j] >> 6) << 4); }
  void set(const std::uint8_t* scales, const std::uint8_t* mins) noexcept {
    for (int j = 0; j < 4; ++j) {
      bytes[j] = static_cast<std::uint8_t>(scales[j] | ((scales[j + 4] >> 4) << 6));
      bytes[j + 4] = static_cast<std::uint8_t>(mins[j] | ((mins[j + 4] >> 4) << 6));
      bytes[j + 8] = static_cast<std::uint8_t>((scales[j + 4] & 15) | ((mins[j + 4] & 15) << 4));
    }
  }
};

// Chooses d, dmin, the sub-scales and the codes of 256 values for n_codes codes.
template <class Block>
void encode_k_groups(const float* x, int n_codes, Block& block, std::uint8_t* codes) noexcept {
  AffineFit fits[8];
  float most_scale = 0.0f, most_offset = 0.0f;
  for (int g = 0; g < 8; ++g) {
    fits[g] = fit_affine(x + 32 * g, 32, n_codes);
    most_scale = std::max(most_scale, fits[g].scale);
    most_offset = std::max(most_offset, fits[g].offset);
  }
  block.d.set(base::f32_to_f16(most_scale / 63.0f));
  block.dmin.set(base::f32_to_f16(most_offset / 63.0f));
  const float d = base::f16_to_f32(block.d.get()), dmin = base::f16_to_f32(block.dmin.get());
  std::uint8_t scales[8], mins[8];
  for (int g = 0; g < 8; ++g) {
    scales[g] = static_cast<std::uint8_t>(d > 0.0f ? round_code(fits[g].scale / d, 0, 63) : 0);
    mins[g] = static_cast<std::uint8_t>(dmin > 0.0f ? round_code(fits[g].offset / dmin, 0, 63) : 0);
    const float scale = d * static_cast<float>(scales[g]), offset = dmin * static_cast<float>(mins[g]);
    for (int i = 32 * g; i < 32 * g + 32; ++i) {
      codes[i] = static_cast<std::uint8_t>(scale > 0.0f ? round_code((x[i] + offset) / scale, 0, n_codes - 1) : 0);
    }
  }
  block.scales.set(scales, mins);
}

}  // namespace rowmax::engine::quant
