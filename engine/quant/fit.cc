#include "engine/quant/fit.h"

#include <algorithm>

namespace rowmax::engine::quant {
namespace {

double squared(double x) { return x * x; }

double scale_error(const float* x, int n, int half, float scale) {
  double error = 0;
  for (int i = 0; i < n; ++i) {
    const int q = scale != 0.0f ? round_code(x[i] / scale, -half, half - 1) : 0;
    error += squared(static_cast<double>(x[i]) - static_cast<double>(scale) * q);
  }
  return error;
}

double affine_error(const float* x, int n, int max_code, AffineFit fit) {
  double error = 0;
  for (int i = 0; i < n; ++i) {
    const int q = fit.scale > 0.0f ? round_code((x[i] + fit.offset) / fit.scale, 0, max_code) : 0;
    error += squared(static_cast<double>(x[i]) - (static_cast<double>(fit.scale) * q - fit.offset));
  }
  return error;
}

// The best scale and offset (by least squares) for the codes that `fit` gives; offset kept from going below zero.
AffineFit refit(const float* x, int n, int max_code, AffineFit fit) {
  double sum_q = 0, sum_qq = 0, sum_x = 0, sum_qx = 0;
  for (int i = 0; i < n; ++i) {
    const double q = fit.scale > 0.0f ? round_code((x[i] + fit.offset) / fit.scale, 0, max_code) : 0;
    sum_q += q;
    sum_qq += q * q;
    sum_x += static_cast<double>(x[i]);
    sum_qx += q * static_cast<double>(x[i]);
  }
  const double determinant = n * sum_qq - sum_q * sum_q;
  if (!(determinant > 0)) return fit;
  double scale = (n * sum_qx - sum_q * sum_x) / determinant;
  double offset = -(sum_x - scale * sum_q) / n;
  if (offset < 0) {
    offset = 0;
    scale = sum_qx / sum_qq;
  }
  if (!(scale > 0)) return fit;
  return {static_cast<float>(scale), static_cast<float>(offset)};
}

}  // namespace

float signed_absmax(const float* x, int n) noexcept {
  float best = 0.0f, magnitude = 0.0f;
  for (int i = 0; i < n; ++i) {
    const float a = x[i] < 0 ? -x[i] : x[i];
    if (a > magnitude) {
      magnitude = a;
      best = x[i];
    }
  }
  return best;
}

float fit_scale(const float* x, int n, int n_codes) noexcept {
  const int half = n_codes / 2;
  const float most = signed_absmax(x, n);
  if (most == 0.0f) return 0.0f;
  // The largest magnitude on the code that has no positive partner, then scales around that.
  float best = most / static_cast<float>(-half);
  double error = scale_error(x, n, half, best);
  for (int step = -9; step <= 9; ++step) {
    const float scale = most / (static_cast<float>(-half) + 0.1f * static_cast<float>(step));
    const double candidate = scale_error(x, n, half, scale);
    if (candidate < error) {
      error = candidate;
      best = scale;
    }
  }
  return best;
}

AffineFit fit_affine(const float* x, int n, int n_codes) noexcept {
  const int max_code = n_codes - 1;
  const float low = std::min(*std::min_element(x, x + n), 0.0f);
  const float high = *std::max_element(x, x + n);
  AffineFit best{0.0f, -low};
  if (!(high > low)) return best;
  best.scale = (high - low) / static_cast<float>(max_code);
  double error = affine_error(x, n, max_code, best);
  for (int step = -10; step <= 10; ++step) {
    AffineFit fit{(high - low) / (static_cast<float>(max_code) + 0.1f * static_cast<float>(step)), -low};
    for (int round = 0; round < 2; ++round) {
      fit = refit(x, n, max_code, fit);
      const double candidate = affine_error(x, n, max_code, fit);
      if (candidate < error) {
        error = candidate;
        best = fit;
      }
    }
  }
  return best;
}

}  // namespace rowmax::engine::quant
