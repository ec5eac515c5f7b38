// Attention in f64, one token after the other with its full row of scores.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "engine/model/blocks/reference.h"

namespace rowmax::engine::reference {

// What a layer remembers of a sequence, [position][n_kv_head * head_dim].
struct KvMemory {
  std::vector<Vector> keys, values;
};

// Peng et al. 2023, 3.4: how much of pair i is interpolated.
inline double yarn_share(const RopeSpec& r, double denominator, double i) {
  const auto index = [&](double turns) {
    return denominator * std::log(r.yarn->original_context / (turns * 2 * std::acos(-1.0))) / (2 * std::log(r.base));
  };
  double low = index(r.yarn->beta_fast), high = index(r.yarn->beta_slow);
  if (r.yarn->whole_pairs) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(r.n_rot - 1));
  return std::clamp((i - low) / std::max(high - low, 0.001), 0.0, 1.0);
}

inline void rope(const ModelSpec& spec, const AttentionSpec& a, std::int64_t position, Vector& heads) {
  if (a.rope < 0) return;
  const RopeSpec& r = spec.ropes[static_cast<std::size_t>(spec.ropes_exchanged ? 1 - a.rope : a.rope)];
  const double denominator = static_cast<double>(r.denominator == 0 ? r.n_rot : r.denominator);
  const auto half = static_cast<std::size_t>(r.n_rot / 2), d = static_cast<std::size_t>(a.head_dim);
  for (std::size_t begin = 0; begin < heads.size(); begin += d) {
    for (std::size_t i = 0; i < half; ++i) {
      double frequency = r.scale * std::pow(r.base, -2.0 * static_cast<double>(i) / denominator);
      // LongRoPE: the tests' sessions are longer than what their models had at first.
      const bool longer = r.long_rope && !r.long_rope->long_divisors.empty();
      const std::vector<float>& divisors = longer ? r.long_rope->long_divisors : r.divisors;
      if (!divisors.empty()) frequency /= static_cast<double>(divisors[i]);
      double magnitude = r.long_rope ? r.long_rope->magnitude : 1;
      if (r.yarn) {
        const double share = yarn_share(r, denominator, static_cast<double>(i));
        frequency = frequency / r.yarn->factor * share + frequency * (1 - share);
        magnitude = r.yarn->magnitude;
      }
      const double angle = static_cast<double>(position) * frequency;
      const bool halves = r.pairing == RopePairing::kHalves;
      const std::size_t first = begin + static_cast<std::size_t>(a.rope_first);
      double& x = heads[first + (halves ? i : 2 * i)];
      double& y = heads[first + (halves ? i + half : 2 * i + 1)];
      const double c = magnitude * std::cos(angle), s = magnitude * std::sin(angle);
      const double turned = x * c - y * s;
      y = y * c + x * s;
      x = turned;
    }
  }
}
inline Vector qk_norm(const Layer& l, W id, const Vector& heads) {
  const AttentionSpec& a = l.layer.attention;
  if (a.qk_norm == QkNorm::kNone) return heads;
  return l.normed(heads, l.weight(id),
                  a.qk_norm == QkNorm::kWidth ? heads.size() : static_cast<std::size_t>(a.head_dim));
}
// Norm and RoPE of q or k.
inline Vector finished(const Layer& l, W id, std::int64_t position, Vector heads) {
  const AttentionSpec& a = l.layer.attention;
  if (!a.norm_after_rope) heads = qk_norm(l, id, heads);
  rope(l.spec, a, position, heads);
  return a.norm_after_rope ? qk_norm(l, id, heads) : heads;
}

// K/V heads in the order that a changed fact gives them.
inline Vector ordered(const AttentionSpec& a, const Vector& heads) {
  const auto d = static_cast<std::size_t>(a.head_dim), n = static_cast<std::size_t>(a.n_kv_head);
  Vector out(heads.size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::size_t to = a.kv_reversed ? n - 1 - i / d : i / d;
    out[i] = heads[(to + static_cast<std::size_t>(a.kv_shift)) % n * d + i % d];
  }
  return out;
}

// memory: of all layers of the model, of which this one is `layer`; it may read an earlier one's.
inline Vector attention(const Layer& l, std::size_t layer, std::int64_t position, const Vector& x,
                        std::vector<KvMemory>& memory) {
  const AttentionSpec& a = l.layer.attention;
  const auto d = static_cast<std::size_t>(a.head_dim), n_head = static_cast<std::size_t>(a.n_head);
  const auto bias = [&](W id) { return a.biases ? id : W::kCount; };
  Vector q = l.linear(W::kAttnQ, W::kAttnQScale, bias(W::kAttnQBias), x), gate;
  if (a.output_gate) {
    Vector heads;
    for (std::size_t i = 0; i < n_head * d; ++i) {
      const std::size_t h = i / d;
      heads.push_back(q[a.gate_flat ? i : i + h * d]);
      gate.push_back(q[a.gate_flat ? i + n_head * d : i + (h + 1) * d]);
    }
    q = heads;
  }
  q = finished(l, W::kAttnQNorm, position, q);
  const TemperatureSpec& t = a.temperature;
  const double steps = std::floor((static_cast<double>(position) + t.offset) / t.length);
  for (double& value : q) value *= 1 + t.scale * std::log(1 + steps);
  if (a.kv_layer < 0) {
    Vector k = l.linear(W::kAttnK, W::kAttnKScale, bias(W::kAttnKBias), x);
    Vector v = a.v_is_k ? k : l.linear(W::kAttnV, W::kAttnVScale, bias(W::kAttnVBias), x);
    if (a.kv_exchanged) std::swap(k, v);
    k = ordered(a, k);
    v = ordered(a, v);
    memory[layer].keys.push_back(finished(l, W::kAttnKNorm, position, k));
    memory[layer].values.push_back(a.v_norm ? l.rms_normed(v, {}, d) : v);
  }
  const std::size_t owner = a.kv_layer < 0 ? layer : static_cast<std::size_t>(a.kv_layer);
  Vector out(n_head * d);
  for (std::size_t h = 0; h < n_head; ++h) {
    const auto n_kv = static_cast<std::size_t>(a.n_kv_head);
    const std::size_t kv = (a.heads_interleaved ? h % n_kv : h / (n_head / n_kv)) * d;
    std::vector<double> scores;
    double sum = a.sinks ? std::exp(l.weight(W::kAttnSinks)[h]) : 0;
    for (std::int64_t j = 0; j <= position; ++j) {
      const bool visible = a.window == 0 || position - j < a.window;
      double score = 0;
      for (std::size_t i = 0; i < d; ++i)
        score += q[h * d + i] * memory[owner].keys[static_cast<std::size_t>(j)][kv + i];
      score *= static_cast<double>(a.scale);
      const double cap = static_cast<double>(l.spec.attention_softcap);
      if (cap > 0) score = cap * std::tanh(score / cap);
      scores.push_back(visible ? std::exp(score) : 0);
      sum += scores.back();
    }
    for (std::size_t j = 0; j < scores.size(); ++j) {
      for (std::size_t i = 0; i < d; ++i) out[h * d + i] += scores[j] / sum * memory[owner].values[j][kv + i];
    }
  }
  for (std::size_t i = 0; i < gate.size() && !a.gate_unused; ++i) out[i] *= sigmoid(gate[i]);
  if (a.sub_norm) out = l.normed(out, l.weight(W::kAttnSubNorm), out.size());
  return l.linear(W::kAttnOutput, W::kAttnOutputScale, bias(W::kAttnOutputBias), out);
}

}  // namespace rowmax::engine::reference
