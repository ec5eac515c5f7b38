// The algorithms of row_kernels.h over sixteen virtual lanes; included by one file per ISA.
#pragma once

#include <cstring>

#include "base/half.h"
#include "base/math/f64.h"
#include "engine/ops/lanes.h"
#include "engine/ops/rows/hadamard_body.h"
#include "engine/ops/rows/row_kernels.h"

namespace rowmax::engine {
namespace {

// Lane i mod 16, fma, ascending; then the tree.
ROWMAX_INLINE float sum_of_squares(const float* x, std::int64_t n) {
  F32x16 squares = simd::splat(0.0f);
  for_lanes(n, [&](std::int64_t i, int lanes) {
    const F32x16 v = load_lanes(x + i, lanes);
    squares = simd::fma(v, v, squares);
  });
  return simd::reduce_add(squares);
}

void rms_norm(const float* x, const float* weight, float eps, std::int64_t n, float* y) {
  const float mean = sum_of_squares(x, n) / static_cast<float>(n);
  const F32x16 factor = simd::div(simd::splat(1.0f), simd::sqrt(simd::splat(mean + eps)));
  for_lanes(n, [&](std::int64_t i, int lanes) {
    const F32x16 scaled = simd::mul(load_lanes(x + i, lanes), factor);
    store_lanes(y + i, simd::mul(scaled, load_lanes(weight + i, lanes)), lanes);
  });
}

void l2_norm(float* x, float eps, float scale, std::int64_t n) {
  const F32x16 factor = simd::div(simd::splat(scale), simd::sqrt(simd::splat(sum_of_squares(x, n) + eps)));
  for_lanes(n,
            [&](std::int64_t i, int lanes) { store_lanes(x + i, simd::mul(load_lanes(x + i, lanes), factor), lanes); });
}

void rope_halves(float* x, const float* cos, const float* sin, std::int64_t n_pair) {
  float* second = x + n_pair;
  for_lanes(n_pair, [&](std::int64_t i, int lanes) {
    const F32x16 a = load_lanes(x + i, lanes), b = load_lanes(second + i, lanes);
    const F32x16 c = load_lanes(cos + i, lanes), s = load_lanes(sin + i, lanes);
    store_lanes(x + i, simd::fma(a, c, simd::neg(simd::mul(b, s))), lanes);
    store_lanes(second + i, simd::fma(b, c, simd::mul(a, s)), lanes);
  });
}

void rope_adjacent(float* x, const float* cos, const float* sin, std::int64_t n_pair) {
  for (std::int64_t i = 0; i < n_pair; ++i) {
    const float a = x[2 * i], b = x[2 * i + 1];
    const float bs = b * sin[i], as = a * sin[i];
    x[2 * i] = __builtin_fmaf(a, cos[i], -bs);
    x[2 * i + 1] = __builtin_fmaf(b, cos[i], as);
  }
}

void gate_silu(float* gate, const float* up, std::int64_t n) {
  for_lanes(n, [&](std::int64_t i, int lanes) {
    store_lanes(gate + i, simd::mul(simd::silu(load_lanes(gate + i, lanes)), load_lanes(up + i, lanes)), lanes);
  });
}

void gate_gelu_tanh(float* gate, const float* up, std::int64_t n) {
  for_lanes(n, [&](std::int64_t i, int lanes) {
    store_lanes(gate + i, simd::mul(simd::gelu_tanh(load_lanes(gate + i, lanes)), load_lanes(up + i, lanes)), lanes);
  });
}

void gate_relu_squared(float* gate, const float* up, std::int64_t n) {
  for_lanes(n, [&](std::int64_t i, int lanes) {
    const F32x16 g = load_lanes(gate + i, lanes), zero = simd::splat(0.0f);
    const F32x16 r = simd::select(simd::less(g, zero), zero, g);
    store_lanes(gate + i, simd::mul(simd::mul(r, r), load_lanes(up + i, lanes)), lanes);
  });
}

void gate_relu(float* gate, const float* up, std::int64_t n) {
  for_lanes(n, [&](std::int64_t i, int lanes) {
    const F32x16 g = load_lanes(gate + i, lanes), zero = simd::splat(0.0f);
    store_lanes(gate + i, simd::mul(simd::select(simd::less(g, zero), zero, g), load_lanes(up + i, lanes)), lanes);
  });
}

void gate_identity(float* gate, const float* up, std::int64_t n) {
  for_lanes(n, [&](std::int64_t i, int lanes) {
    store_lanes(gate + i, simd::mul(load_lanes(gate + i, lanes), load_lanes(up + i, lanes)), lanes);
  });
}

// No model here is known to want it fast.
void gate_gelu_erf(float* gate, const float* up, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const double x = static_cast<double>(gate[i]);
    gate[i] = static_cast<float>(0.5 * x * (1.0 + base::erf_f64(x * 0x1.6a09e667f3bcdp-1))) * up[i];
  }
}

void gate_gelu_quick(float* gate, const float* up, std::int64_t n) {
  for_lanes(n, [&](std::int64_t i, int lanes) {
    const F32x16 g = load_lanes(gate + i, lanes);
    const F32x16 act = simd::mul(g, simd::sigmoid(simd::mul(g, simd::splat(1.702f))));
    store_lanes(gate + i, simd::mul(act, load_lanes(up + i, lanes)), lanes);
  });
}

void limit_gate(float* gate, float* up, float limit, float offset, std::int64_t n) {
  const F32x16 high = simd::splat(limit), low = simd::splat(-limit), add = simd::splat(offset);
  for_lanes(n, [&](std::int64_t i, int lanes) {
    const F32x16 g = load_lanes(gate + i, lanes);
    store_lanes(gate + i, simd::select(simd::less(high, g), high, g), lanes);
    F32x16 u = load_lanes(up + i, lanes);
    u = simd::select(simd::less(high, u), high, u);
    u = simd::select(simd::less(u, low), low, u);
    store_lanes(up + i, simd::add(u, add), lanes);
  });
}

void gate_sigmoid(float* gate, const float* up, std::int64_t n) {
  for_lanes(n, [&](std::int64_t i, int lanes) {
    store_lanes(gate + i, simd::mul(simd::sigmoid(load_lanes(gate + i, lanes)), load_lanes(up + i, lanes)), lanes);
  });
}

void silu(float* x, std::int64_t n) {
  for_lanes(n, [&](std::int64_t i, int lanes) { store_lanes(x + i, simd::silu(load_lanes(x + i, lanes)), lanes); });
}

void softmax(float* x, std::int64_t n) {
  // Lanes beyond the row take no part: -inf in the maximum, 0 in the sum.
  const auto or_else = [](F32x16 v, float other, int lanes) {
    return lanes == 16 ? v : simd::select(simd::mask_from_bits((1u << lanes) - 1u), v, simd::splat(other));
  };
  F32x16 most = simd::splat(-__builtin_inff());
  for_lanes(n, [&](std::int64_t i, int lanes) {
    most = simd::max(most, or_else(load_lanes(x + i, lanes), -__builtin_inff(), lanes));
  });
  // A NaN that max() drops comes back by way of the sum.
  const F32x16 shift = simd::splat(simd::reduce_max(most));
  F32x16 sums = simd::splat(0.0f);
  for_lanes(n, [&](std::int64_t i, int lanes) {
    const F32x16 e = simd::exp(simd::sub(load_lanes(x + i, lanes), shift));
    store_lanes(x + i, e, lanes);
    sums = simd::add(sums, or_else(e, 0.0f, lanes));
  });
  const F32x16 total = simd::splat(simd::reduce_add(sums));
  for_lanes(n,
            [&](std::int64_t i, int lanes) { store_lanes(x + i, simd::div(load_lanes(x + i, lanes), total), lanes); });
}

void add(float* x, const float* y, std::int64_t n) {
  for_lanes(n, [&](std::int64_t i, int lanes) {
    store_lanes(x + i, simd::add(load_lanes(x + i, lanes), load_lanes(y + i, lanes)), lanes);
  });
}

void add_scaled(float* x, const float* y, float factor, std::int64_t n) {
  for_lanes(n, [&](std::int64_t i, int lanes) {
    const F32x16 sum = simd::fma(load_lanes(y + i, lanes), simd::splat(factor), load_lanes(x + i, lanes));
    store_lanes(x + i, sum, lanes);
  });
}

void scale(float* x, float factor, std::int64_t n) {
  for_lanes(n, [&](std::int64_t i, int lanes) {
    store_lanes(x + i, simd::mul(load_lanes(x + i, lanes), simd::splat(factor)), lanes);
  });
}

void softcap(float* x, float cap, std::int64_t n) {
  for_lanes(n, [&](std::int64_t i, int lanes) {
    const F32x16 t = simd::tanh(simd::div(load_lanes(x + i, lanes), simd::splat(cap)));
    store_lanes(x + i, simd::mul(t, simd::splat(cap)), lanes);
  });
}

void to_f16(const float* x, std::int64_t n, std::uint16_t* out, std::int64_t out_stride) {
  for_lanes(n, [&](std::int64_t i, int lanes) {
    if (lanes == 16 && out_stride == 1) {
      simd::store_f16(out + i, simd::load(x + i));
      return;
    }
    std::uint16_t halves[16];
    simd::store_f16(halves, load_lanes(x + i, lanes));
    for (int lane = 0; lane < lanes; ++lane) out[(i + lane) * out_stride] = halves[lane];
  });
}

void to_q8_0(const float* x, std::int64_t n, std::uint8_t* out) {
  constexpr std::uint16_t kNan = 0x7E00, kExponent = 0x7C00;
  const F32x16 most = simd::splat(127.0f);
  for (std::int64_t i = 0; i < n; i += 32, out += 34) {
    const F32x16 halves[2] = {simd::load(x + i), simd::load(x + i + 16)};
    const bool nan = (simd::mask_bits(simd::is_nan(halves[0])) | simd::mask_bits(simd::is_nan(halves[1]))) != 0;
    const float largest = simd::reduce_max(simd::max(simd::abs(halves[0]), simd::abs(halves[1])));
    std::uint16_t d = nan ? kNan : base::f32_to_f16(largest / 127.0f);
    if ((d & kExponent) == kExponent) d = kNan;
    std::memcpy(out, &d, sizeof d);
    if (d == kNan || d == 0) {
      std::memset(out + 2, 0, 32);
      continue;
    }
    const F32x16 scale = simd::splat(base::f16_to_f32(d));
    std::int32_t codes[32];
    for (int half = 0; half < 2; ++half) {
      const F32x16 code = simd::div(halves[half], scale);
      // The half may be smaller than what it stands for.
      simd::store_i32(codes + 16 * half,
                      simd::round_to_i32(simd::min(simd::max(code, simd::sub(simd::splat(0.0f), most)), most)));
    }
    for (int k = 0; k < 32; ++k) out[2 + k] = static_cast<std::uint8_t>(codes[k]);
  }
}

void multiply(const float* x, const float* w, std::int64_t n, float* y) {
  for_lanes(n, [&](std::int64_t i, int lanes) {
    store_lanes(y + i, simd::mul(load_lanes(x + i, lanes), load_lanes(w + i, lanes)), lanes);
  });
}

bool all_finite(const float* x, std::int64_t n) {
  // x - x is 0 for finite x and NaN otherwise.
  F32x16 sum = simd::splat(0.0f);
  for_lanes(n, [&](std::int64_t i, int lanes) {
    const F32x16 v = load_lanes(x + i, lanes);
    sum = simd::add(sum, simd::sub(v, v));
  });
  return simd::mask_bits(simd::is_nan(sum)) == 0;
}

constexpr RowKernels kRowKernels = {.rms_norm = rms_norm,
                                    .l2_norm = l2_norm,
                                    .rope_halves = rope_halves,
                                    .rope_adjacent = rope_adjacent,
                                    .gate_silu = gate_silu,
                                    .gate_gelu_tanh = gate_gelu_tanh,
                                    .gate_relu_squared = gate_relu_squared,
                                    .gate_relu = gate_relu,
                                    .gate_identity = gate_identity,
                                    .gate_gelu_erf = gate_gelu_erf,
                                    .gate_gelu_quick = gate_gelu_quick,
                                    .limit_gate = limit_gate,
                                    .gate_sigmoid = gate_sigmoid,
                                    .silu = silu,
                                    .softmax = softmax,
                                    .add = add,
                                    .add_scaled = add_scaled,
                                    .scale = scale,
                                    .softcap = softcap,
                                    .to_f16 = to_f16,
                                    .to_q8_0 = to_q8_0,
                                    .all_finite = all_finite,
                                    .multiply = multiply,
                                    .hadamard = hadamard};

}  // namespace
}  // namespace rowmax::engine
