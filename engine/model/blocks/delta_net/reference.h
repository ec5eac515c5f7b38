// The gated delta net in f64, its state as a matrix.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "engine/model/blocks/reference.h"

namespace rowmax::engine::reference {

// What a layer remembers of a sequence.
struct DeltaMemory {
  std::vector<Vector> inputs;  // of the convolution, [position][channel]
  Vector state;                // [value head][key_dim][value_dim]
};

// To the nearest number with so many bits, of equals the even one; none below 2^least counts.
inline double rounded(double x, int bits, int least) {
  if (x == 0) return x;
  const int step = std::max(std::ilogb(x), least) - bits + 1;
  return std::ldexp(std::nearbyint(std::ldexp(x, -step)), step);
}
inline double rounded(StateType type, double x) {
  return type == StateType::kF16 ? rounded(x, 11, -14) : type == StateType::kBf16 ? rounded(x, 8, -126) : x;
}

// Value head h reads key head h mod n_key_head, or, grouped, h / (value heads of a key head).
inline Vector delta_net(const Layer& l, const Vector& x, DeltaMemory& memory) {
  const DeltaNetSpec& s = l.layer.delta;
  const auto n_k = static_cast<std::size_t>(s.n_key_head), n_v = static_cast<std::size_t>(s.n_value_head);
  const auto dk = static_cast<std::size_t>(s.key_dim), dv = static_cast<std::size_t>(s.value_dim);
  const auto taps = static_cast<std::size_t>(s.conv_width);
  std::vector<Vector>& inputs = memory.inputs;
  inputs.push_back(times(l.weight(W::kDeltaQkv), x));
  Vector qkv(inputs.back().size());
  std::vector<std::size_t> stored(qkv.size());  // the channel of each row of the convolution's weights
  const std::size_t first[] = {0, n_k * dk, 2 * n_k * dk, qkv.size()};
  std::size_t row = 0;
  for (const std::uint8_t part : s.conv_order) {
    for (std::size_t c = first[part]; c < first[part + 1]; ++c) stored[c] = row++;
  }
  for (std::size_t c = 0; c < qkv.size(); ++c) {
    for (std::size_t back = 0; back < taps && back < inputs.size(); ++back) {
      qkv[c] += l.weight(W::kDeltaConv)[stored[c] * taps + taps - 1 - back] * inputs[inputs.size() - 1 - back][c];
    }
    if (s.conv_silu) qkv[c] = silu(qkv[c]);
  }
  const Vector z = times(l.weight(W::kDeltaGate), x), a = times(l.weight(W::kDeltaAlpha), x),
               b = times(l.weight(W::kDeltaBeta), x);
  Vector& state = memory.state;
  state.resize(n_v * dk * dv);
  Vector out(n_v * dv);
  for (std::size_t h = 0; h < n_v; ++h) {
    const std::size_t key_head = s.grouped ? h / (n_v / n_k) : h % n_k;
    const auto unit = [&](std::size_t begin) {
      double sum = 1e-6;
      for (std::size_t i = 0; i < dk; ++i) sum += qkv[begin + i] * qkv[begin + i];
      Vector y;
      for (std::size_t i = 0; i < dk; ++i) y.push_back(qkv[begin + i] / std::sqrt(sum));
      return y;
    };
    const Vector q = unit(key_head * dk), k = unit((n_k + key_head) * dk);
    const double step = std::log1p(std::exp(a[h] + l.weight(W::kDeltaDecayBias)[h]));
    const double decay = std::exp(l.weight(W::kDeltaDecay)[h] * step), beta = sigmoid(b[h]);
    double* m = state.data() + h * dk * dv;
    Vector head(dv);
    for (std::size_t j = 0; j < dv; ++j) {
      double seen = 0;
      for (std::size_t i = 0; i < dk; ++i) seen += k[i] * (m[i * dv + j] *= decay);
      const double wrong = (qkv[2 * n_k * dk + h * dv + j] - seen) * beta;
      for (std::size_t i = 0; i < dk; ++i) {
        m[i * dv + j] += k[i] * wrong;
        head[j] += q[i] / std::sqrt(static_cast<double>(dk)) * m[i * dv + j];
      }
    }
    for (std::size_t i = 0; i < dk * dv; ++i) m[i] = rounded(s.state, m[i]);
    head = l.rms_normed(head, l.weight(W::kDeltaNorm), dv);
    // Columns of the output product may lie by key head where value heads do not.
    const std::size_t to = s.output_grouped ? h % n_k * (n_v / n_k) + h / n_k : h;
    for (std::size_t j = 0; j < dv; ++j) {
      out[to * dv + j] = head[j] * (s.gate_sigmoid ? sigmoid(z[h * dv + j]) : silu(z[h * dv + j]));
    }
  }
  return times(l.weight(W::kDeltaOutput), out);
}

}  // namespace rowmax::engine::reference
