// What a model computes, in f64, written from the definitions alone: one token after the other, full score rows, the
// delta rule's state as a matrix. It shares the ModelSpec with the engine and nothing that computes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

#include "engine/model/spec.h"
#include "engine/model/weight_table.h"

namespace rowmax::engine::reference {

using Vector = std::vector<double>;

// Weights as files have them, row-major; a weight that a layer lacks is not in the map.
struct Weights {
  Vector embedding, output_norm, output;
  std::vector<std::map<W, Vector>> layers;
};

inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
inline double silu(double x) { return x * sigmoid(x); }
inline double activate(FfnActivation kind, double x) {
  if (kind == FfnActivation::kSilu) return silu(x);
  if (kind == FfnActivation::kReluSquared) return x > 0 ? x * x : 0;
  if (kind == FfnActivation::kRelu) return x > 0 ? x : 0;
  if (kind == FfnActivation::kGeluErf) return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
  if (kind == FfnActivation::kGeluQuick) return x * sigmoid(1.702 * x);
  if (kind == FfnActivation::kSigmoid) return sigmoid(x);
  if (kind == FfnActivation::kIdentity) return x;
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
}
// To the nearest number with so many bits, of equals the even one; none below 2^least counts.
inline double rounded(double x, int bits, int least) {
  if (x == 0) return x;
  const int step = std::max(std::ilogb(x), least) - bits + 1;
  return std::ldexp(std::nearbyint(std::ldexp(x, -step)), step);
}
inline double rounded(StateType type, double x) {
  return type == StateType::kF16 ? rounded(x, 11, -14) : type == StateType::kBf16 ? rounded(x, 8, -126) : x;
}

class Model {
 public:
  Model(const ModelSpec& spec, const Weights& weights)
      : spec_(spec),
        weights_(weights),
        keys_(spec.layers.size()),
        values_(spec.layers.size()),
        inputs_(spec.layers.size()),
        states_(spec.layers.size()) {}

  // Logits of the next token of the sequence.
  Vector next(TokenId token) {
    const auto n = static_cast<std::size_t>(spec_.shape.n_embd);
    Vector stream(weights_.embedding.begin() + token * spec_.shape.n_embd,
                  weights_.embedding.begin() + (token + 1) * spec_.shape.n_embd);
    for (double& x : stream) x *= static_cast<double>(spec_.embedding_scale);
    std::vector<std::size_t> order = spec_.layer_order;
    for (std::size_t layer = order.size(); layer < spec_.layers.size(); ++layer) order.push_back(layer);
    const bool norm_first = spec_.norm_place == NormPlace::kInput;
    for (const std::size_t layer : order) {
      const LayerSpec& l = spec_.layers[layer];
      const auto add_block = [&](W norm, W post_norm, bool skip, const auto& block) {
        Vector y = block(norm_first ? normed(stream, weight(layer, norm), n) : stream);
        if (!norm_first) y = normed(y, weight(layer, norm), n);
        if (l.post_norms) y = normed(y, weight(layer, post_norm), n);
        for (double& value : y) value *= skip ? 0 : static_cast<double>(spec_.residual_scale);
        add(stream, y);
      };
      add_block(W::kAttnNorm, W::kPostAttnNorm, l.skip_mixer,
                [&](const Vector& x) { return l.mixer == MixerKind::kAttention ? attend(layer, x) : delta(layer, x); });
      add_block(W::kFfnNorm, W::kPostFfnNorm, l.skip_ffn,
                [&](const Vector& x) { return l.ffn.kind == FfnKind::kDense ? dense(layer, x) : experts(layer, x); });
    }
    Vector logits = times(weights_.output, normed(stream, weights_.output_norm, n));
    const double cap = static_cast<double>(spec_.final_softcap);
    if (cap > 0) {
      for (double& x : logits) x = cap * std::tanh(x / cap);
    }
    ++position_;
    return logits;
  }

  // The least distance between what an expert (or group) was chosen by and what one was passed over by: where it is as
  // small as a rounding, another choice is no error.
  double margin() const { return margin_; }

 private:
  const ModelSpec& spec_;
  const Weights& weights_;
  std::int64_t position_ = 0;
  std::vector<std::vector<Vector>> keys_, values_;  // [layer][position][n_kv_head * head_dim]
  std::vector<std::vector<Vector>> inputs_;         // of convolutions, [layer][position][channel]
  std::vector<Vector> states_;                      // [layer][value head][key_dim][value_dim]
  double margin_ = std::numeric_limits<double>::infinity();

  const Vector& weight(std::size_t layer, W id) const { return weights_.layers[layer].at(id); }
  bool has(std::size_t layer, W id) const { return weights_.layers[layer].contains(id); }

  static void add(Vector& x, const Vector& y) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  }
  static Vector times(const Vector& matrix, const Vector& x, std::size_t from = 0, std::size_t n_row = 0) {
    if (n_row == 0) n_row = matrix.size() / x.size();
    Vector y(n_row);
    for (std::size_t row = 0; row < n_row; ++row) {
      y[row] = std::inner_product(x.begin(), x.end(),
                                  matrix.begin() + static_cast<std::ptrdiff_t>((from + row) * x.size()), 0.0);
    }
    return y;
  }
  Vector linear(std::size_t layer, W matrix, W scale, W bias, const Vector& x) const {
    Vector y = times(weight(layer, matrix), x);
    if (scale != W::kCount && has(layer, scale)) {
      for (double& value : y) value *= weight(layer, scale)[0];
    }
    if (bias != W::kCount && has(layer, bias)) add(y, weight(layer, bias));
    return y;
  }
  // The norm of each run of n numbers; the weights of all runs, or of one.
  Vector normed(const Vector& x, const Vector& weights, std::size_t n) const {
    return normed(x, weights, n, spec_.norm_kind);
  }
  Vector normed(const Vector& x, const Vector& weights, std::size_t n, NormKind kind) const {
    Vector y = x;
    for (std::size_t begin = 0; begin < x.size(); begin += n) {
      double mean = 0, sum = 0;
      for (std::size_t i = begin; i < begin + n; ++i) mean += x[i] / static_cast<double>(n);
      if (kind == NormKind::kRms) mean = 0;
      for (std::size_t i = begin; i < begin + n; ++i) sum += (x[i] - mean) * (x[i] - mean);
      const double root = std::sqrt(sum / static_cast<double>(n) + static_cast<double>(spec_.rms_norm_eps));
      for (std::size_t i = begin; i < begin + n; ++i) {
        y[i] = (x[i] - mean) / root * (weights.empty() ? 1 : weights[i % weights.size()]);
      }
    }
    return y;
  }

  void rope(const AttentionSpec& a, Vector& heads) const {
    if (a.rope < 0) return;
    const RopeSpec& r = spec_.ropes[static_cast<std::size_t>(spec_.ropes_exchanged ? 1 - a.rope : a.rope)];
    const double denominator = static_cast<double>(r.denominator == 0 ? r.n_rot : r.denominator);
    const auto half = static_cast<std::size_t>(r.n_rot / 2), d = static_cast<std::size_t>(a.head_dim);
    for (std::size_t begin = 0; begin < heads.size(); begin += d) {
      for (std::size_t i = 0; i < half; ++i) {
        double frequency = r.scale * std::pow(r.base, -2.0 * static_cast<double>(i) / denominator);
        if (!r.divisors.empty()) frequency /= static_cast<double>(r.divisors[i]);
        const double angle = static_cast<double>(position_) * frequency;
        const bool halves = r.pairing == RopePairing::kHalves;
        double& x = heads[begin + (halves ? i : 2 * i)];
        double& y = heads[begin + (halves ? i + half : 2 * i + 1)];
        const double turned = x * std::cos(angle) - y * std::sin(angle);
        y = y * std::cos(angle) + x * std::sin(angle);
        x = turned;
      }
    }
  }
  Vector qk_norm(const AttentionSpec& a, std::size_t layer, W id, const Vector& heads) const {
    if (a.qk_norm == QkNorm::kNone) return heads;
    return normed(heads, weight(layer, id),
                  a.qk_norm == QkNorm::kWidth ? heads.size() : static_cast<std::size_t>(a.head_dim));
  }
  Vector finished(const AttentionSpec& a, std::size_t layer, W id, Vector heads) const {
    if (!a.norm_after_rope) heads = qk_norm(a, layer, id, heads);
    rope(a, heads);
    return a.norm_after_rope ? qk_norm(a, layer, id, heads) : heads;
  }

  static Vector ordered(const AttentionSpec& a, const Vector& heads) {
    const auto d = static_cast<std::size_t>(a.head_dim), n = static_cast<std::size_t>(a.n_kv_head);
    Vector out(heads.size());
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::size_t to = a.kv_reversed ? n - 1 - i / d : i / d;
      out[i] = heads[(to + static_cast<std::size_t>(a.kv_shift)) % n * d + i % d];
    }
    return out;
  }

  Vector attend(std::size_t layer, const Vector& x) {
    const AttentionSpec& a = spec_.layers[layer].attention;
    const auto d = static_cast<std::size_t>(a.head_dim), n_head = static_cast<std::size_t>(a.n_head);
    const auto bias = [&](W id) { return a.biases ? id : W::kCount; };
    Vector q = linear(layer, W::kAttnQ, W::kAttnQScale, bias(W::kAttnQBias), x), gate;
    if (a.output_gate) {
      Vector heads;
      for (std::size_t i = 0; i < n_head * d; ++i) {
        const std::size_t h = i / d;
        heads.push_back(q[a.gate_flat ? i : i + h * d]);
        gate.push_back(q[a.gate_flat ? i + n_head * d : i + (h + 1) * d]);
      }
      q = heads;
    }
    q = finished(a, layer, W::kAttnQNorm, q);
    const TemperatureSpec& t = a.temperature;
    const double steps = std::floor((static_cast<double>(position_) + t.offset) / t.length);
    for (double& value : q) value *= 1 + t.scale * std::log(1 + steps);
    if (a.kv_layer < 0) {
      Vector k = linear(layer, W::kAttnK, W::kAttnKScale, bias(W::kAttnKBias), x);
      Vector v = a.v_is_k ? k : linear(layer, W::kAttnV, W::kAttnVScale, bias(W::kAttnVBias), x);
      if (a.kv_exchanged) std::swap(k, v);
      k = ordered(a, k);
      v = ordered(a, v);
      keys_[layer].push_back(finished(a, layer, W::kAttnKNorm, k));
      values_[layer].push_back(a.v_norm ? normed(v, {}, d, NormKind::kRms) : v);
    }
    const std::size_t owner = a.kv_layer < 0 ? layer : static_cast<std::size_t>(a.kv_layer);
    Vector out(n_head * d);
    for (std::size_t h = 0; h < n_head; ++h) {
      const auto n_kv = static_cast<std::size_t>(a.n_kv_head);
      const std::size_t kv = (a.heads_interleaved ? h % n_kv : h / (n_head / n_kv)) * d;
      std::vector<double> scores;
      double sum = a.sinks ? std::exp(weight(layer, W::kAttnSinks)[h]) : 0;
      for (std::int64_t j = 0; j <= position_; ++j) {
        const bool visible = a.window == 0 || position_ - j < a.window;
        double score = 0;
        for (std::size_t i = 0; i < d; ++i) score += q[h * d + i] * keys_[owner][static_cast<std::size_t>(j)][kv + i];
        score *= static_cast<double>(a.scale);
        const double cap = static_cast<double>(spec_.attention_softcap);
        if (cap > 0) score = cap * std::tanh(score / cap);
        scores.push_back(visible ? std::exp(score) : 0);
        sum += scores.back();
      }
      for (std::size_t j = 0; j < scores.size(); ++j) {
        for (std::size_t i = 0; i < d; ++i) out[h * d + i] += scores[j] / sum * values_[owner][j][kv + i];
      }
    }
    for (std::size_t i = 0; i < gate.size() && !a.gate_unused; ++i) out[i] *= sigmoid(gate[i]);
    if (a.sub_norm) out = normed(out, weight(layer, W::kAttnSubNorm), out.size());
    return linear(layer, W::kAttnOutput, W::kAttnOutputScale, bias(W::kAttnOutputBias), out);
  }

  // Value head h reads key head h mod n_key_head, or, grouped, h / (value heads of a key head).
  Vector delta(std::size_t layer, const Vector& x) {
    const DeltaNetSpec& s = spec_.layers[layer].delta;
    const auto n_k = static_cast<std::size_t>(s.n_key_head), n_v = static_cast<std::size_t>(s.n_value_head);
    const auto dk = static_cast<std::size_t>(s.key_dim), dv = static_cast<std::size_t>(s.value_dim);
    const auto taps = static_cast<std::size_t>(s.conv_width);
    std::vector<Vector>& inputs = inputs_[layer];
    inputs.push_back(times(weight(layer, W::kDeltaQkv), x));
    Vector qkv(inputs.back().size());
    std::vector<std::size_t> stored(qkv.size());  // the channel of each row of the convolution's weights
    const std::size_t first[] = {0, n_k * dk, 2 * n_k * dk, qkv.size()};
    std::size_t row = 0;
    for (const std::uint8_t part : s.conv_order) {
      for (std::size_t c = first[part]; c < first[part + 1]; ++c) stored[c] = row++;
    }
    for (std::size_t c = 0; c < qkv.size(); ++c) {
      for (std::size_t back = 0; back < taps && back < inputs.size(); ++back) {
        qkv[c] +=
            weight(layer, W::kDeltaConv)[stored[c] * taps + taps - 1 - back] * inputs[inputs.size() - 1 - back][c];
      }
      if (s.conv_silu) qkv[c] = silu(qkv[c]);
    }
    const Vector z = times(weight(layer, W::kDeltaGate), x), a = times(weight(layer, W::kDeltaAlpha), x),
                 b = times(weight(layer, W::kDeltaBeta), x);
    Vector& state = states_[layer];
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
      const double step = std::log1p(std::exp(a[h] + weight(layer, W::kDeltaDecayBias)[h]));
      const double decay = std::exp(weight(layer, W::kDeltaDecay)[h] * step), beta = sigmoid(b[h]);
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
      head = normed(head, weight(layer, W::kDeltaNorm), dv, NormKind::kRms);
      // Columns of the output product may lie by key head where value heads do not.
      const std::size_t to = s.output_grouped ? h % n_k * (n_v / n_k) + h / n_k : h;
      for (std::size_t j = 0; j < dv; ++j) {
        out[to * dv + j] = head[j] * (s.gate_sigmoid ? sigmoid(z[h * dv + j]) : silu(z[h * dv + j]));
      }
    }
    return times(weight(layer, W::kDeltaOutput), out);
  }

  Vector dense(std::size_t layer, const Vector& x) const {
    const FfnSpec& f = spec_.layers[layer].ffn;
    Vector gate = linear(layer, W::kFfnGate, W::kFfnGateScale, W::kCount, x);
    Vector up = linear(layer, W::kFfnUp, W::kFfnUpScale, W::kCount, x);
    if (f.up_gates) std::swap(gate, up);
    for (std::size_t i = 0; i < gate.size(); ++i) gate[i] = activate(f.activation, gate[i]) * up[i];
    if (f.sub_norm) gate = normed(gate, weight(layer, W::kFfnSubNorm), gate.size());
    return linear(layer, W::kFfnDown, W::kFfnDownScale, W::kCount, gate);
  }

  // Numbers of the k largest; the lower of equals first.
  std::vector<std::size_t> largest(const Vector& scores, std::size_t k) {
    std::vector<std::size_t> order(scores.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return scores[i] > scores[j]; });
    if (k < order.size()) margin_ = std::min(margin_, scores[order[k - 1]] - scores[order[k]]);
    order.resize(k);
    return order;
  }

  Vector experts(std::size_t layer, const Vector& x) {
    const FfnSpec& f = spec_.layers[layer].ffn;
    const auto n_expert = static_cast<std::size_t>(f.n_expert), n_ff = static_cast<std::size_t>(f.n_ff);
    Vector p = times(weight(layer, W::kRouter), x);
    double total = 0;
    for (double& value : p) {
      value = f.expert_gate == ExpertGate::kSigmoid ? sigmoid(value) : std::exp(value);
      total += value;
    }
    if (f.expert_gate == ExpertGate::kSoftmax) {
      for (double& value : p) value /= total;
    }
    Vector scores = p;
    if (f.choice_bias) add(scores, weight(layer, W::kRouterBias));
    const std::size_t n_group = static_cast<std::size_t>(f.n_group), size = n_expert / n_group;
    if (n_group > 1) {
      Vector groups;
      for (std::size_t g = 0; g < n_group; ++g) {
        Vector group(scores.begin() + static_cast<std::ptrdiff_t>(g * size),
                     scores.begin() + static_cast<std::ptrdiff_t>((g + 1) * size));
        std::sort(group.rbegin(), group.rend());
        groups.push_back(group[0] + (size > 1 ? group[1] : 0));
      }
      std::vector<bool> open(n_group);
      for (const std::size_t g : largest(groups, static_cast<std::size_t>(f.n_group_used))) open[g] = true;
      for (std::size_t e = 0; e < n_expert; ++e) {
        if (!open[e / size]) scores[e] = -std::numeric_limits<double>::infinity();
      }
    }
    const std::vector<std::size_t> chosen = largest(scores, static_cast<std::size_t>(f.n_used));
    double sum = 0;
    for (const std::size_t e : chosen) sum += p[e];
    Vector out(x.size());
    const auto ffn = [&](const Vector& gate_w, const Vector& up_w, const Vector& down_w, std::size_t e, std::size_t n,
                         double factor) {
      Vector gate = times(gate_w, x, e * n, n);
      Vector up = times(up_w, x, e * n, n);
      if (f.up_gates) std::swap(gate, up);
      for (std::size_t i = 0; i < n; ++i) gate[i] = activate(f.activation, gate[i]) * up[i];
      Vector y = times(down_w, gate, e * x.size(), x.size());
      for (double& value : y) value *= factor;
      add(out, y);
    };
    for (const std::size_t e : chosen) {
      ffn(weight(layer, W::kExpertGate), weight(layer, W::kExpertUp), weight(layer, W::kExpertDown),
          (e + static_cast<std::size_t>(f.expert_shift)) % n_expert, n_ff,
          p[e] / (f.renormalise ? sum : 1) * static_cast<double>(f.expert_scale));
    }
    if (f.n_shared > 0) {
      ffn(weight(layer, W::kSharedGate), weight(layer, W::kSharedUp), weight(layer, W::kSharedDown), 0,
          static_cast<std::size_t>(f.n_shared),
          f.shared_gate ? sigmoid(times(weight(layer, W::kSharedRouter), x)[0]) : 1);
    }
    return out;
  }
};

}  // namespace rowmax::engine::reference
