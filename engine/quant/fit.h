// Scales for the encoders. All results are finite for finite input and depend on the values alone.
#pragma once

#include <cstdint>

namespace rowmax::engine::quant {

// x rounded half away from zero and cut to [low, high]; NaN gives low.
inline int round_code(float x, int low, int high) noexcept {
  if (!(x > static_cast<float>(low))) return low;
  if (x >= static_cast<float>(high)) return high;
  return static_cast<int>(x < 0 ? x - 0.5f : x + 0.5f);
}

// x with its fraction cut off, in [0, high]; NaN gives 0.
inline std::uint8_t code_below(float x, int high) noexcept {
  if (!(x > 0.0f)) return 0;
  return static_cast<std::uint8_t>(x >= static_cast<float>(high) ? high : static_cast<int>(x));
}

// The element of largest magnitude, with its sign (the first of equals); 0 for all zero.
float signed_absmax(const float* x, int n) noexcept;

// A scale s for x[i] ~ s * q[i] with integers q in [-n_codes/2, n_codes/2 - 1], of small squared error.
float fit_scale(const float* x, int n, int n_codes) noexcept;

struct AffineFit {
  float scale = 0.0f;
  float offset = 0.0f;  // >= 0
};
// x[i] ~ scale * q[i] - offset with q in [0, n_codes - 1], scale and offset not negative, of small squared error.
AffineFit fit_affine(const float* x, int n, int n_codes) noexcept;

}  // namespace rowmax::engine::quant
