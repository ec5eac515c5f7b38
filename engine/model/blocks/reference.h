// What the definitions of the blocks have in common: numbers in f64, products and norms written from their definitions, and a
// layer as its block is shown it. Each block's own definition lies beside it (attention/reference.h, ...). They share the
// ModelSpec with the engine and nothing that computes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <numeric>
#include <vector>

#include "engine/model/spec.h"
#include "engine/model/weight_table.h"

namespace rowmax::engine::reference {

using Vector = std::vector<double>;
// Of a layer, as files have them, row-major; a weight that the layer lacks is not in the map.
using LayerWeights = std::map<W, Vector>;

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

// What the product behind it sees.
inline double gated(const FfnSpec& f, double gate, double up) {
  const double limit = static_cast<double>(f.gate_limit);
  if (limit > 0) gate = std::min(gate, limit), up = std::clamp(up, -limit, limit);
  return activate(f.activation, gate) * (up + static_cast<double>(f.up_offset));
}

inline void add(Vector& x, const Vector& y) {
  for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
}
inline Vector times(const Vector& matrix, const Vector& x, std::size_t from = 0, std::size_t n_row = 0) {
  if (n_row == 0) n_row = matrix.size() / x.size();
  Vector y(n_row);
  for (std::size_t row = 0; row < n_row; ++row) {
    y[row] = std::inner_product(x.begin(), x.end(),
                                matrix.begin() + static_cast<std::ptrdiff_t>((from + row) * x.size()), 0.0);
  }
  return y;
}
// The norm of each run of n numbers; the weights of all runs, or of one.
inline Vector normed(const Vector& x, const Vector& weights, std::size_t n, NormKind kind, double eps) {
  Vector y = x;
  for (std::size_t begin = 0; begin < x.size(); begin += n) {
    double mean = 0, sum = 0;
    for (std::size_t i = begin; i < begin + n; ++i) mean += x[i] / static_cast<double>(n);
    if (kind == NormKind::kRms) mean = 0;
    for (std::size_t i = begin; i < begin + n; ++i) sum += (x[i] - mean) * (x[i] - mean);
    const double root = std::sqrt(sum / static_cast<double>(n) + eps);
    for (std::size_t i = begin; i < begin + n; ++i) {
      y[i] = (x[i] - mean) / root * (weights.empty() ? 1 : weights[i % weights.size()]);
    }
  }
  return y;
}

struct Layer {
  const ModelSpec& spec;
  const LayerSpec& layer;
  const LayerWeights& weights;

  const Vector& weight(W id) const { return weights.at(id); }
  // The matrix's product with its scale and bias, where it has them (kCount: never), of its input or of the norm of it.
  Vector linear(W matrix, W scale, W bias, const Vector& x) const {
    static const std::map<W, W> norms = {{W::kAttnQ, W::kAttnQNormIn},     {W::kAttnK, W::kAttnKNormIn},
                                         {W::kAttnV, W::kAttnVNormIn},     {W::kAttnOutput, W::kAttnOutputNormIn},
                                         {W::kFfnGate, W::kFfnGateNormIn}, {W::kFfnUp, W::kFfnUpNormIn},
                                         {W::kFfnDown, W::kFfnDownNormIn}};
    const bool norm_first = layer.product_norms && norms.contains(matrix);
    Vector y = times(weight(matrix), norm_first ? normed(x, weight(norms.at(matrix)), x.size()) : x);
    if (weights.contains(scale)) {
      for (double& value : y) value *= weight(scale)[0];
    }
    if (weights.contains(bias)) add(y, weight(bias));
    return y;
  }
  // Of the model's kind.
  Vector normed(const Vector& x, const Vector& norm, std::size_t n) const {
    return reference::normed(x, norm, n, spec.norm_kind, static_cast<double>(spec.rms_norm_eps));
  }
  // RMSNorm, whatever the model's norms are.
  Vector rms_normed(const Vector& x, const Vector& norm, std::size_t n) const {
    return reference::normed(x, norm, n, NormKind::kRms, static_cast<double>(spec.rms_norm_eps));
  }
};

}  // namespace rowmax::engine::reference
