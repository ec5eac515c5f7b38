// Operations on single rows of activations: norms, RoPE, gates, residuals, routing, cache writes. One table of functions per
// instruction set, all with the same bits. A row never depends on its neighbours, so batches and threads cannot matter.
#pragma once

#include <cstdint>

#include "rowmax/cpu.h"

namespace rowmax::engine {

struct RowKernels {
  // y[i] = (x[i] / sqrt(mean(x^2) + eps)) * weight[i]. The sum of squares: lane i mod 16, fma, ascending, then the tree
  // of reduce_add. y may be x. Zhang & Sennrich 2019.
  void (*rms_norm)(const float* x, const float* weight, float eps, std::int64_t n, float* y);
  // x[i] = x[i] * (scale / sqrt(sum(x^2) + eps)), the sum in the order of rms_norm. With scale 1 the `l2norm` of gated
  // delta nets (Yang et al. 2024, arXiv 2412.06464): eps is added to the sum, no floor of the norm.
  void (*l2_norm)(float* x, float eps, float scale, std::int64_t n);
  // In place on one head: the first 2 * n_pair dimensions turn by the angles whose cos and sin are given, [n_pair].
  // Pair i is (i, i + n_pair) for halves and (2i, 2i + 1) for adjacent. Su et al. 2021.
  void (*rope_halves)(float* x, const float* cos, const float* sin, std::int64_t n_pair);
  void (*rope_adjacent)(float* x, const float* cos, const float* sin, std::int64_t n_pair);
  // gate[i] = act(gate[i]) * up[i]
  void (*gate_silu)(float* gate, const float* up, std::int64_t n);
  void (*gate_gelu_tanh)(float* gate, const float* up, std::int64_t n);
  // act(x) = max(x, 0)^2, in the order (act * act) * up; NaN stays NaN. BitNet b1.58 2B4T, arXiv 2504.12285.
  void (*gate_relu_squared)(float* gate, const float* up, std::int64_t n);
  // act(x) = max(x, 0), x, x Phi(x) (its erf in f64, rounded once) and x / (1 + e^(-1.702 x)).
  void (*gate_relu)(float* gate, const float* up, std::int64_t n);
  void (*gate_identity)(float* gate, const float* up, std::int64_t n);
  void (*gate_gelu_erf)(float* gate, const float* up, std::int64_t n);
  void (*gate_gelu_quick)(float* gate, const float* up, std::int64_t n);
  // gate[i] = min(gate[i], limit), up[i] = min(max(up[i], -limit), limit) + offset; NaN stays NaN. limit is above 0, or +inf
  // for none.
  void (*limit_gate)(float* gate, float* up, float limit, float offset, std::int64_t n);
  // act(x) = 1 / (1 + e^-x): gates on outputs (Qiu et al. 2025, arXiv 2505.06708) and on shared experts.
  void (*gate_sigmoid)(float* gate, const float* up, std::int64_t n);
  // x[i] = x[i] * sigmoid(x[i]), as x / (1 + e^-x)
  void (*silu)(float* x, std::int64_t n);
  // In place: x[i] = e^(x[i] - m) / sum(e^(x - m)), m = max(x); the sum in the order of rms_norm (plain additions). A
  // NaN or +inf anywhere makes all of x NaN, and so does a row of -inf alone; -inf among finite numbers gives 0.
  void (*softmax)(float* x, std::int64_t n);
  // x[i] += y[i]
  void (*add)(float* x, const float* y, std::int64_t n);
  // x[i] += y[i] * factor, rounded once
  void (*add_scaled)(float* x, const float* y, float factor, std::int64_t n);
  // x[i] *= factor
  void (*scale)(float* x, float factor, std::int64_t n);
  // x[i] = cap * tanh(x[i] / cap)
  void (*softcap)(float* x, float cap, std::int64_t n);
  // Round to nearest even to IEEE half; out[i * out_stride].
  void (*to_f16)(const float* x, std::int64_t n, std::uint16_t* out, std::int64_t out_stride);
  // Blocks of 34 bytes for each 32 numbers (n is a multiple): the half d nearest to the largest |x| / 127, then 32 codes,
  // x / d rounded to nearest even and kept within +-127. A number that is not finite, or a d past the halves, makes all
  // of the block's numbers NaN when they are read again.
  void (*to_q8_0)(const float* x, std::int64_t n, std::uint8_t* out);
  // Whether every value is finite.
  bool (*all_finite)(const float* x, std::int64_t n);
  // y[i] = x[i] * w[i]; y may be x.
  void (*multiply)(const float* x, const float* w, std::int64_t n, float* y);
  // In place, on each run of `block` numbers (a power of two that divides n): x = H x / sqrt(block), H the Hadamard
  // matrix in natural (Sylvester's) order, H[r][c] = (-1)^popcount(r & c). For h = 1, 2, 4, ... block / 2, ascending:
  //   (x[i], x[i + h]) = (x[i] + x[i + h], x[i] - x[i + h])    for all i with bit h clear
  // and last every number times the float nearest to 1 / sqrt(block).
  void (*hadamard)(float* x, std::int64_t n, std::int64_t block);
};

// isa must be supported here.
const RowKernels& row_kernels(Isa isa) noexcept;

}  // namespace rowmax::engine
