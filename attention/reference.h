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
  double score_error = 0;  // bound on the f32 error of any exponent score - maximum, in units of 2^-24
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
  std::vector<double> scores, errors;
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
    // A chain of n fused steps errs by at most n u sum|q k|, the scaling by one u more; tiny products also lose bits
    // below 2^-149. The soft cap does not widen errors (slope <= 1) and adds those of a division (which tanh does not
    // widen either, relatively), of tanh (2.5 ulp) and of a product; the bias adds one rounding.
    const double steps = static_cast<double>(q.size()) + 1;
    double error = steps * (size * std::fabs(params.scale) + 0x1p-125 * std::max(1.0, std::fabs(params.scale)));
    if (params.softcap > 0) {
      s = params.softcap * std::tanh(s / params.softcap);
      error += 8 * std::fabs(s);
    }
    s += b;
    error += bias ? std::fabs(s) + params.bias_error : 0.0;
    errors.push_back(error);
    scores.push_back(s);
    keys.push_back(j);
    highest = std::max(highest, s);
  }
  row.n_visible = static_cast<std::int64_t>(keys.size());
  if (keys.empty()) {
    row.lse = params.sink;
    return row;
  }
  highest = std::max(highest, params.sink);
  // Exponents are differences from the running maximum. The roundings of a key's differences add up to at most
  // u (highest - s), as the maximum only grows; below -86.6 the weight is 0.
  for (std::size_t i = 0; i < scores.size(); ++i) {
    row.score_error = std::max(row.score_error, errors[i] + std::min(highest - scores[i], 87.0));
  }
  if (std::isfinite(params.sink)) row.score_error = std::max(row.score_error, std::min(highest - params.sink, 87.0));
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

// The bounds are derived in docs/numerics.md ("How far from exact"); u = 2^-24. Counted generously: tiles and splits
// that hold visible keys, and a sink.
struct Roundings {
  Roundings(const Row& row, std::int64_t n_kv) {
    const double n = static_cast<double>(row.n_visible);
    const double tiles = static_cast<double>(std::min<std::int64_t>(8, n_kv / 64 + 2));  // of one split
    const double splits = static_cast<double>(n_kv / 512 + 2);
    weights = row.score_error + 2.04 * (tiles + splits + 1);
    numerator = std::min(n, 512.0) + (tiles - 1) + 2 * splits + 1;
    denominator = 4 + 2 * (tiles - 1) + 4 + 2 * splits + 2;
    underflow = (n + tiles + 2 * splits + 4) * 0x1p-149;
    lost = n * 0x1p-124;
  }
  double weights;      // relative error of any weight before it is divided by their sum, in u
  double numerator;    // roundings on the way of a weighted value into o
  double denominator;  // and of a weight into l
  double underflow;    // absolute, of o
  double lost;         // weights that count as 0, of the sum
};

// For a relative error of x u, second order included.
inline double first_order(double x) { return x * 0x1p-24 < 0.5 ? x * 0x1p-24 / (1 - x * 0x1p-24) : 2; }

// Bound on |out - exact| for an f32 result of the attend kernel.
inline double error_bound(const Row& row, std::int64_t n_kv) {
  const Roundings r(row, n_kv);
  const double relative = first_order(r.weights + r.numerator + r.denominator + 1) + 2 * r.lost;
  return std::min(relative, 2.01) * row.value_max + r.underflow;
}

// Bound on |lse - exact|.
inline double lse_bound(const Row& row, std::int64_t n_kv) {
  const Roundings r(row, n_kv);
  return first_order(r.weights + r.denominator) + r.lost + std::fabs(row.lse) * 0x1.1p-24 + 0x1p-149;
}

// Bound on |out - c| where all visible values are c: errors of scores and exponentials are the same above and below.
inline double constant_bound(const Row& row, std::int64_t n_kv) {
  const Roundings r(row, n_kv);
  return first_order(r.numerator + r.denominator + 1) * row.value_max + r.underflow;
}

}  // namespace rowmax::attention::reference
