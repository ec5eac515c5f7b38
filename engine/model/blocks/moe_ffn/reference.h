// The mixture of experts in f64: which are chosen, and their sum with the shared one's.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "engine/model/blocks/reference.h"

namespace rowmax::engine::reference {

// Numbers of the k largest; the lower of equals first.
inline std::vector<std::size_t> largest(const Vector& scores, std::size_t k, double& margin) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return scores[i] > scores[j]; });
  if (k < order.size()) margin = std::min(margin, scores[order[k - 1]] - scores[order[k]]);
  order.resize(k);
  return order;
}

// margin becomes the least distance so far between what an expert (or group) was chosen by and what one was passed over by:
// where that is as small as a rounding, another choice is no error.
// x: what the layer's norm gives of the stream.
inline Vector moe_ffn(const Layer& l, const Vector& x, const Vector& stream, double& margin) {
  const FfnSpec& f = l.layer.ffn;
  const auto n_expert = static_cast<std::size_t>(f.n_expert), n_ff = static_cast<std::size_t>(f.n_ff);
  const Vector seen = f.beside ? l.normed(stream, l.weight(W::kExpertsNorm), stream.size()) : x;
  Vector routed = seen;
  if (f.router_norm) {
    routed = l.normed(stream, l.weight(W::kRouterNorm), stream.size());
    for (double& value : routed) value /= std::sqrt(static_cast<double>(stream.size()));
  }
  Vector p = times(l.weight(W::kRouter), routed);
  if (f.biases) add(p, l.weight(W::kRouterLogitBias));
  double total = 0;
  for (double& value : p) {
    value = f.expert_gate == ExpertGate::kSigmoid ? sigmoid(value) : std::exp(value);
    total += value;
  }
  if (f.expert_gate == ExpertGate::kSoftmax) {
    for (double& value : p) value /= total;
  }
  Vector scores = p;
  if (f.choice_bias) add(scores, l.weight(W::kRouterBias));
  const std::size_t n_group = static_cast<std::size_t>(f.n_group), size = n_expert / n_group;
  if (n_group > 1) {
    Vector groups;
    for (std::size_t g = 0; g < n_group; ++g) {
      Vector group(scores.begin() + static_cast<std::ptrdiff_t>(g * size),
                   scores.begin() + static_cast<std::ptrdiff_t>((g + 1) * size));
      std::sort(group.rbegin(), group.rend());
      groups.push_back(group[0] + (size > 1 && f.n_group_best == 2 ? group[1] : 0));
    }
    std::vector<bool> open(n_group);
    for (const std::size_t g : largest(groups, static_cast<std::size_t>(f.n_group_used), margin)) open[g] = true;
    for (std::size_t e = 0; e < n_expert; ++e) {
      if (!open[e / size]) scores[e] = -std::numeric_limits<double>::infinity();
    }
  }
  const std::vector<std::size_t> chosen = largest(scores, static_cast<std::size_t>(f.n_used), margin);
  double sum = static_cast<double>(f.sum_offset);
  for (const std::size_t e : chosen) sum += p[e];
  Vector out(x.size());
  const auto ffn = [&](const Vector& input, std::array<W, 3> ids, std::size_t e, std::size_t n, double factor) {
    const bool routed_one = ids[0] == W::kExpertGate;
    const auto product = [&](W id, W bias, const Vector& of, std::size_t rows) {
      Vector y = times(l.weight(id), of, e * rows, rows);
      for (std::size_t i = 0; f.biases && routed_one && i < rows; ++i) y[i] += l.weight(bias)[e * rows + i];
      return y;
    };
    Vector gate = product(ids[0], W::kExpertGateBias, input, n);
    Vector up = product(ids[1], W::kExpertUpBias, input, n);
    if (f.up_gates) std::swap(gate, up);
    for (std::size_t i = 0; i < n; ++i) gate[i] = gated(f, gate[i], up[i]);
    Vector y = product(ids[2], W::kExpertDownBias, gate, x.size());
    for (double& value : y) value *= factor;
    return y;
  };
  for (const std::size_t e : chosen) {
    const std::size_t tensor = (e + static_cast<std::size_t>(f.expert_shift)) % n_expert;
    const double own = f.expert_factors ? l.weight(W::kExpertFactors)[tensor] : 1;
    add(out, ffn(seen, {W::kExpertGate, W::kExpertUp, W::kExpertDown}, tensor, n_ff,
                 p[e] / (f.renormalise ? sum : 1) * static_cast<double>(f.expert_scale) * own));
  }
  if (f.branch_norms) out = l.normed(out, l.weight(W::kPostExpertsNorm), out.size());
  if (f.n_shared == 0) return out;
  const std::array<W, 3> dense{W::kFfnGate, W::kFfnUp, W::kFfnDown};
  const std::array<W, 3> shared{W::kSharedGate, W::kSharedUp, W::kSharedDown};
  Vector y = ffn(x, f.beside ? dense : shared, 0, static_cast<std::size_t>(f.n_shared),
                 f.shared_gate ? sigmoid(times(l.weight(W::kSharedRouter), x)[0]) : 1);
  if (f.branch_norms) y = l.normed(y, l.weight(W::kPostDenseNorm), y.size());
  add(out, y);
  return out;
}

}  // namespace rowmax::engine::reference
