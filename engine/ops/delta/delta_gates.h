// The gates of a gated delta net: how much of its state a head keeps, and how much it writes.
#pragma once

#include <cstdint>

namespace rowmax::engine {

// For each value head h of a token:
//   decay[h] = exp(a_coef[h] * softplus(a[h] + dt_bias[h]))        softplus(x) = x above 20, else log(1 + e^x)
//   beta[h]  = 1 / (1 + exp(-b[h]))
// a and b are the layer's projections of the token; a_coef = -exp(A_log) and dt_bias come from the file. Yang et al.
// 2024, arXiv 2412.06464; the cut at 20 is that of torch's softplus (from there on the two differ by less than e^-20).
// Computed in f64 with the functions of base/math/f64.h and rounded once, so that all machines have the same bits and
// a state that is multiplied by thousands of decays has no drift from them. About 0.1 us a head.
void delta_gates(const float* a, const float* b, const float* a_coef, const float* dt_bias, std::int64_t n_head,
                 float* decay, float* beta) noexcept;

}  // namespace rowmax::engine
