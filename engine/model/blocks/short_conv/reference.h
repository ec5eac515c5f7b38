// The gated short convolution in f64.
#pragma once

#include <cstddef>
#include <vector>

#include "engine/model/blocks/reference.h"

namespace rowmax::engine::reference {

// What a layer remembers of a sequence: the inputs of its convolution so far, [position][channel].
using ConvMemory = std::vector<Vector>;

// LFM2 Technical Report (arXiv 2511.23404), gated short convolution: (b, c, x) = W_in h; y = W_out (c * conv(b * x)). Tap j
// of n sees the input of n - 1 - j tokens ago.
inline Vector short_conv(const Layer& l, const Vector& h, ConvMemory& inputs) {
  const ShortConvSpec& s = l.layer.short_conv;
  const auto n = static_cast<std::size_t>(s.n_channel), taps = static_cast<std::size_t>(s.conv_width);
  const Vector runs = times(l.weight(W::kShortConvIn), h);
  Vector input(n, 1.0), y(n);
  for (std::size_t run = 0; run < 3; ++run) {
    for (std::size_t c = 0; run != s.gate_run && c < n; ++c) input[c] *= runs[run * n + c];
  }
  inputs.push_back(input);
  for (std::size_t c = 0; c < n; ++c) {
    for (std::size_t back = 0; back < taps && back < inputs.size(); ++back) {
      y[c] += l.weight(W::kShortConv)[c * taps + taps - 1 - back] * inputs[inputs.size() - 1 - back][c];
    }
    y[c] *= runs[s.gate_run * n + c];
  }
  return times(l.weight(W::kShortConvOutput), y);
}

}  // namespace rowmax::engine::reference
