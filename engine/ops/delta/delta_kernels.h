// The two recurrences of a gated delta net layer, over f32 states that a sequence keeps: the delta rule of its heads and
// the causal convolution before it. One table of functions per instruction set, all with the same bits: a lane is a
// value column or a channel, and every number is one chain of operations in the order below. Tokens are always taken
// one after the other, so that the same bits come out however a sequence is cut into calls; panels and channels do not
// see each other, so that it is no matter who computes which. Infinities and NaNs spread as IEEE operations have it.
#pragma once

#include <cstdint>

#include "rowmax/cpu.h"

namespace rowmax::engine {

// Value columns of a panel of a state.
inline constexpr std::int64_t kDeltaPanel = 16;
// Panels of a head in one call: multiples of this are fastest on every instruction set.
inline constexpr std::int64_t kDeltaPanelStep = 4;

constexpr std::int64_t delta_panels(std::int64_t dv) noexcept { return (dv + kDeltaPanel - 1) / kDeltaPanel; }
// Floats of one head's state: [delta_panels(dv)][dk][16]. Columns of the last panel beyond dv mean nothing.
constexpr std::int64_t delta_state_floats(std::int64_t dk, std::int64_t dv) noexcept {
  return delta_panels(dv) * dk * kDeltaPanel;
}

// One head's part of n_tok tokens: pointers to the first token's, and floats from a token to the next.
struct DeltaInputs {
  const float* q;  // [dk], normalised and scaled
  std::int64_t q_stride;
  const float* k;  // [dk], normalised
  std::int64_t k_stride;
  const float* v;  // [dv]
  std::int64_t v_stride;
  const float* decay;  // what the state is multiplied with, and how much of the correction is written: one a token each
  const float* beta;   // (delta_gates.h)
  std::int64_t gate_stride;

  // From token t on.
  DeltaInputs from(std::int64_t t) const noexcept {
    return {q + t * q_stride, q_stride, k + t * k_stride,        k_stride,
            v + t * v_stride, v_stride, decay + t * gate_stride, beta + t * gate_stride,
            gate_stride};
  }
};

// The most taps of a convolution.
inline constexpr int kMaxConvTaps = 8;

// Channels [begin, end) of a convolution over n_tok tokens; begin is a multiple of 16.
struct ConvInputs {
  const float* weights;  // [n_taps][n_channel], the oldest input's first; 1 <= n_taps <= kMaxConvTaps
  int n_taps;
  std::int64_t n_channel;
  std::int64_t begin, end;
  const float* x;  // [n_tok][x_stride]
  std::int64_t x_stride;
};

struct DeltaKernels {
  // The gated delta rule (Yang et al. 2024, arXiv 2412.06464; torch_recurrent_gated_delta_rule of transformers),
  // in place on panels [panel_begin, panel_end) of one head's state. For each token, for each column j of the panels:
  //   s'_ij = s_ij * decay                               for all i in [0, dk)
  //   m_j   = chain of fma(s'_ij, k_i, m_j)              from +0, i ascending
  //   d_j   = (v_j - m_j) * beta
  //   s_ij  = fma(k_i, d_j, s'_ij)
  //   o_j   = chain of fma(s_ij, q_i, o_j)               from +0, i ascending
  // state: panel 0 of the head. out: column 0 of the first token's output, out_stride floats from token to token; of it
  // only the panels' columns below dv are written. out overlaps no input.
  // A token and head costs 7 dk dv floating-point operations (fma: 2) in 4 instructions for 16 elements of the state; a
  // call reads and writes each panel of the state once and keeps it in the first-level cache for all of its tokens. So
  // one token is bound by memory (8 dk dv bytes) and many by arithmetic: of 128 x 128 about 2.5 us and 0.8 us a token
  // on one core with AVX-512 (bench/delta_bench.cc). A state aligned to 64 bytes is the fastest.
  void (*delta_rule)(float* state, const DeltaInputs& in, std::int64_t n_tok, std::int64_t dk, std::int64_t dv,
                     std::int64_t panel_begin, std::int64_t panel_end, float* out, std::int64_t out_stride);
  // Causal depthwise convolution and SiLU: with x[-1], x[-2], ... the inputs of earlier tokens,
  //   a       = chain of fma(weights[j][c], x[t - n_taps + 1 + j][c], a)    from +0, j ascending
  //   y[t][c] = a / (1 + e^-a)                                             simd::silu
  // state: [n_taps - 1][n_channel], the inputs before the first token, oldest first; becomes the last n_taps - 1 ones,
  // also where n_tok is less. y: [n_tok][y_stride]; it may be x, with the same stride.
  void (*conv_silu)(float* state, const ConvInputs& in, std::int64_t n_tok, float* y, std::int64_t y_stride);
  // The same with y[t][c] = a.
  void (*conv)(float* state, const ConvInputs& in, std::int64_t n_tok, float* y, std::int64_t y_stride);
};

// isa must be supported here.
const DeltaKernels& delta_kernels(Isa isa) noexcept;

// A convolution's weights as files have them, [n_channel][n_taps], to [n_taps][n_channel].
void turn_conv_weights(const float* from, std::int64_t n_channel, int n_taps, float* to) noexcept;

}  // namespace rowmax::engine
