// The algorithms of delta_kernels.h over sixteen virtual lanes; included by one file per ISA.
#pragma once

#include "engine/ops/delta/delta_kernels.h"
#include "engine/ops/lanes.h"

namespace rowmax::engine {
namespace {

// Arrays of vectors must stay in registers: g++ -O2 does not unroll loops over them by itself.
#define ROWMAX_UNROLL _Pragma("GCC unroll 16")

// Panels side by side, so that there are enough chains to hide the latency of fma; their state (8 KiB each of 128 keys)
// must fit the first-level cache, and what a panel needs of vectors the registers.
constexpr int kPanelsAtOnce = simd::kRegisters / simd::kRegistersPerVector >= 32 ? 4 : 2;

// One token's pass over the state of panels at `state`, with the correction d: the rest of this token's rule (s and o)
// and, where there is a next token, the begin of its own (s' and m). The same operations as one pass for each half,
// with half the traffic. What lies in memory between two passes is s', not s; before the first pass it is s.
template <bool kFirst, bool kLast, int kPanels>
ROWMAX_INLINE void delta_pass(float* state, std::int64_t dk, float decay, const float* k, const float* q,
                              const F32x16 (&d)[kPanels], F32x16 (&o)[kPanels], float next_decay, const float* next_k,
                              F32x16 (&m)[kPanels]) {
  const std::int64_t panel = dk * kDeltaPanel;
  ROWMAX_UNROLL for (int p = 0; p < kPanels; ++p) o[p] = m[p] = simd::splat(0.0f);
  for (std::int64_t i = 0; i < dk; ++i) {
    // All loads before all stores: panels are often a multiple of 4 KiB apart, where a load that follows a store waits.
    float* at = state + i * kDeltaPanel;
    F32x16 s[kPanels];
    ROWMAX_UNROLL for (int p = 0; p < kPanels; ++p) s[p] = simd::load(at + p * panel);
    if constexpr (kLast) {  // the panels that come next: of one token a fifth of the time is waiting for them
      ROWMAX_UNROLL for (int p = 0; p < kPanels; ++p) __builtin_prefetch(at + (kPanels + p) * panel);
    }
    ROWMAX_UNROLL for (int p = 0; p < kPanels; ++p) {
      if constexpr (kFirst) s[p] = simd::mul(s[p], simd::splat(decay));
      s[p] = simd::fma(simd::splat(k[i]), d[p], s[p]);
      o[p] = simd::fma(s[p], simd::splat(q[i]), o[p]);
      if constexpr (!kLast) {
        s[p] = simd::mul(s[p], simd::splat(next_decay));
        m[p] = simd::fma(s[p], simd::splat(next_k[i]), m[p]);
      }
    }
    ROWMAX_UNROLL for (int p = 0; p < kPanels; ++p) simd::store(at + p * panel, s[p]);
  }
}

// kPanels panels from column `first` on, `lanes` columns of the last.
template <int kPanels>
ROWMAX_INLINE void delta_panels_at_once(float* state, const DeltaInputs& in, std::int64_t n_tok, std::int64_t dk,
                                        std::int64_t first, int lanes, float* out, std::int64_t out_stride) {
  const auto lanes_of = [&](int p) { return p + 1 < kPanels ? 16 : lanes; };
  F32x16 m[kPanels], d[kPanels], o[kPanels];
  ROWMAX_UNROLL for (int p = 0; p < kPanels; ++p) m[p] = simd::splat(0.0f);
  for (std::int64_t i = 0; i < dk; ++i) {
    ROWMAX_UNROLL for (int p = 0; p < kPanels; ++p) {
      const F32x16 s = simd::load(state + (p * dk + i) * kDeltaPanel);
      m[p] = simd::fma(simd::mul(s, simd::splat(in.decay[0])), simd::splat(in.k[i]), m[p]);
    }
  }
  for (std::int64_t t = 0; t < n_tok; ++t) {
    const float* v = in.v + t * in.v_stride + first;
    const float *k = in.k + t * in.k_stride, *q = in.q + t * in.q_stride, *decay = in.decay + t * in.gate_stride;
    const F32x16 beta = simd::splat(in.beta[t * in.gate_stride]);
    ROWMAX_UNROLL for (int p = 0; p < kPanels; ++p) {
      d[p] = simd::mul(simd::sub(load_lanes(v + p * kDeltaPanel, lanes_of(p)), m[p]), beta);
    }
    const bool last = t + 1 == n_tok;
    if (t == 0 && last) {
      delta_pass<true, true>(state, dk, decay[0], k, q, d, o, 0.0f, nullptr, m);
    } else if (last) {
      delta_pass<false, true>(state, dk, 0.0f, k, q, d, o, 0.0f, nullptr, m);
    } else if (t == 0) {
      delta_pass<true, false>(state, dk, decay[0], k, q, d, o, decay[in.gate_stride], k + in.k_stride, m);
    } else {
      delta_pass<false, false>(state, dk, 0.0f, k, q, d, o, decay[in.gate_stride], k + in.k_stride, m);
    }
    float* y = out + t * out_stride + first;
    ROWMAX_UNROLL for (int p = 0; p < kPanels; ++p) store_lanes(y + p * kDeltaPanel, o[p], lanes_of(p));
  }
}

void delta_rule(float* state, const DeltaInputs& in, std::int64_t n_tok, std::int64_t dk, std::int64_t dv,
                std::int64_t panel_begin, std::int64_t panel_end, float* out, std::int64_t out_stride) {
  if (n_tok < 1) return;
  const auto lanes_of = [&](std::int64_t panel) {
    const std::int64_t left = dv - panel * kDeltaPanel;
    return left < 16 ? static_cast<int>(left) : 16;
  };
  std::int64_t panel = panel_begin;
  const auto run = [&]<int kPanels>() ROWMAX_INLINE_LAMBDA {
    for (; panel + kPanels <= panel_end; panel += kPanels) {
      delta_panels_at_once<kPanels>(state + panel * dk * kDeltaPanel, in, n_tok, dk, panel * kDeltaPanel,
                                    lanes_of(panel + kPanels - 1), out, out_stride);
    }
  };
  run.template operator()<kPanelsAtOnce>();
  if constexpr (kPanelsAtOnce > 2) run.template operator()<2>();
  if constexpr (kPanelsAtOnce > 1) run.template operator()<1>();
}

// The number of taps is the compiler's to know, so that weights and inputs lie in registers.
template <int kTaps, bool kSilu>
void conv_channels(float* state, const ConvInputs& in, std::int64_t n_tok, float* y, std::int64_t y_stride) {
  constexpr int kOld = kTaps - 1;
  for (std::int64_t c = in.begin; c < in.end; c += 16) {
    const int lanes = in.end - c < 16 ? static_cast<int>(in.end - c) : 16;
    F32x16 weights[kTaps], inputs[kTaps];  // inputs: of tokens t - kOld .. t, kept because y may be x
    ROWMAX_UNROLL for (int j = 0; j < kTaps; ++j) weights[j] = load_lanes(in.weights + j * in.n_channel + c, lanes);
    ROWMAX_UNROLL for (int j = 0; j < kOld; ++j) inputs[j] = load_lanes(state + j * in.n_channel + c, lanes);
    for (std::int64_t t = 0; t < n_tok; ++t) {
      inputs[kOld] = load_lanes(in.x + t * in.x_stride + c, lanes);
      F32x16 a = simd::splat(0.0f);
      ROWMAX_UNROLL for (int j = 0; j < kTaps; ++j) a = simd::fma(weights[j], inputs[j], a);
      ROWMAX_UNROLL for (int j = 0; j < kOld; ++j) inputs[j] = inputs[j + 1];
      store_lanes(y + t * y_stride + c, kSilu ? simd::silu(a) : a, lanes);
    }
    ROWMAX_UNROLL for (int j = 0; j < kOld; ++j) store_lanes(state + j * in.n_channel + c, inputs[j], lanes);
  }
}

template <bool kSilu>
void convolve(float* state, const ConvInputs& in, std::int64_t n_tok, float* y, std::int64_t y_stride) {
  static_assert(kMaxConvTaps == 8);
  constexpr decltype(&conv_channels<1, kSilu>) kByTaps[] = {
      conv_channels<1, kSilu>, conv_channels<2, kSilu>, conv_channels<3, kSilu>, conv_channels<4, kSilu>,
      conv_channels<5, kSilu>, conv_channels<6, kSilu>, conv_channels<7, kSilu>, conv_channels<8, kSilu>};
  kByTaps[in.n_taps - 1](state, in, n_tok, y, y_stride);
}

constexpr DeltaKernels kDeltaKernels = {.delta_rule = delta_rule, .conv_silu = convolve<true>, .conv = convolve<false>};

#undef ROWMAX_UNROLL

}  // namespace
}  // namespace rowmax::engine
