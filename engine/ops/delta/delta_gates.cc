#include "engine/ops/delta/delta_gates.h"

#include "base/math/f64.h"

namespace rowmax::engine {
namespace {

// 1 + e^x loses what lies below 2^-53, an absolute error: the exponential that follows makes of it one of a_coef 2^-53.
double softplus(double x) noexcept { return x > 20.0 ? x : base::log_f64(1.0 + base::exp_f64(x)); }

}  // namespace

void delta_gates(const float* a, const float* b, const float* a_coef, const float* dt_bias, std::int64_t n_head,
                 float* decay, float* beta) noexcept {
  for (std::int64_t h = 0; h < n_head; ++h) {
    const double x = static_cast<double>(a[h]) + static_cast<double>(dt_bias[h]);
    decay[h] = static_cast<float>(base::exp_f64(static_cast<double>(a_coef[h]) * softplus(x)));
    beta[h] = static_cast<float>(1.0 / (1.0 + base::exp_f64(-static_cast<double>(b[h]))));
  }
}

}  // namespace rowmax::engine
