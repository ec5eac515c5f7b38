// Masked attention in fp64, written from the definition of the mathematics alone: no tiles, no online softmax, nothing
// shared with the kernels or the mask plans. For tests.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

namespace rowmax::attention::reference {

struct Row {
  std::vector<double> out;
  std::vector<double> weights;  // [n_kv]; 0 where hidden
  double lse = -std::numeric_limits<double>::infinity();
  double score_error = 0;  // bound on the f32 error of any visible score, in units of 2^-24 (see below)
  double value_max = 0;    // largest |v| a weight multiplies
  std::int64_t n_visible = 0;
};

struct Params {
  double scale = 1;
  double softcap = 0;
  double sink = -std::numeric_limits<double>::infinity();  // one more logit, without a value
  double bias_error = 0;  // of a bias that f32 adds up from several terms, in units of 2^-24
};

// q[k_dim]; key(j)[k_dim], value(j)[v_dim]; visible(j); bias(j).
inline Row attend_row(const std::vector<double>& q, std::int64_t n_kv, std::int64_t v_dim, const Params& params,
                      const std::function<bool(std::int64_t)>& visible,
                      const std::function<const double*(std::int64_t)>& key,
                      const std::function<const double*(std::int64_t)>& value,
                      const std::function<double(std::int64_t)>& bias) {
  Row row;
  row.out.assign(static_cast<std::size_t>(v_dim), 0.0);
  row.weights.assign(static_cast<std::size_t>(n_kv), 0.0);
  std::vector<double> scores;
  std::vector<std::int64_t> keys;
  double highest = -std::numeric_limits<double>::infinity();
  for (std::int64_t j = 0; j < n_kv; ++j) {
    if (!visible(j)) continue;
    const double b = bias ? bias(j) : 0.0;
    if (b == -std::numeric_limits<double>::infinity()) continue;
    const double* k = key(j);
    double dot = 0;
    double size = 0;
    for (std::size_t d = 0; d < q.size(); ++d) {
      dot += q[d] * k[d];
      size += std::fabs(q[d] * k[d]);
    }
    double s = dot * params.scale;
    // A chain of n fused steps errs by at most n u sum|q k|, the scaling by one more u; the soft cap is a contraction
    // (slope <= 1) and adds the errors of a division, tanh (2.5 ulp) and a product; the bias adds one rounding.
    double error = (static_cast<double>(q.size()) + 1) * size * std::fabs(params.scale);
    if (params.softcap > 0) {
      s = params.softcap * std::tanh(s / params.softcap);
      error += 8 * std::fabs(s);
    }
    s += b;
    error += bias ? std::fabs(s) + params.bias_error : 0.0;
    // s - m and the differences of successive maxima, which telescope: at most twice 2 max|s| u together.
    error += 4 * std::fabs(s);
    row.score_error = std::max(row.score_error, error);
    scores.push_back(s);
    keys.push_back(j);
    highest = std::max(highest, s);
  }
  row.n_visible = static_cast<std::int64_t>(keys.size());
  if (keys.empty()) {
    row.lse = params.sink;
    return row;
  }
  if (std::isfinite(params.sink)) row.score_error = std::max(row.score_error, 4 * std::fabs(params.sink));
  highest = std::max(highest, params.sink);
  double sum = std::exp(params.sink - highest);
  for (double s : scores) sum += std::exp(s - highest);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const double weight = std::exp(scores[i] - highest) / sum;
    row.weights[static_cast<std::size_t>(keys[i])] = weight;
    const double* v = value(keys[i]);
    for (std::int64_t d = 0; d < v_dim; ++d) {
      row.out[static_cast<std::size_t>(d)] += weight * v[d];
      row.value_max = std::max(row.value_max, std::fabs(v[d]));
    }
  }
  row.lse = highest + std::log(sum);
  return row;
}

// Bound on |out - exact| / max|v| for an f32 result of the attend kernel (u = 2^-24). Each weight p = exp(s - base) has
// a relative error of at most 2 * score_error u (its score and the shared maximum, which cancels in p / l up to its own
// rounding, counted once more) + 2.04 u (exp at 1.02 ulp). Sums: l is 3 + 4 additions a tile and lane-wise additions
// over tiles, o a chain of at most 64 fused steps a tile; every tile and every split adds one rescaling (exp, product)
// on both. n_tiles tiles, n_splits splits; the final division one u. Errors of numerator and denominator add.
inline double error_bound(const Row& row, std::int64_t n_kv) {
  const double u = 0x1p-24;
  const double n_tiles = static_cast<double>(n_kv / 64 + 2);
  const double n_splits = static_cast<double>(n_kv / 512 + 2);
  const double rescale = 4;  // exp 2.04 u, product u, and the rounding of the exponent's difference
  const double scores = 2 * row.score_error;
  const double numerator = 2.04 + 64 * n_tiles + rescale * n_tiles + (rescale + 1) * n_splits;
  const double denominator = 2.04 + 8 + (rescale + 1) * n_tiles + (rescale + 1) * n_splits;
  const double total = (2 * scores + numerator + denominator + 2) * u;
  return total * (1 + total) * row.value_max + std::numeric_limits<float>::denorm_min();
}

}  // namespace rowmax::attention::reference
