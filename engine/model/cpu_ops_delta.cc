// Gated delta net: convolution, recurrence, gate.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

#include "base/half.h"
#include "engine/model/cpu_ops.h"
#include "engine/model/for_rows.h"
#include "engine/model/recurrent_layout.h"
#include "engine/ops/delta/delta_gates.h"
#include "engine/ops/delta/delta_kernels.h"

namespace rowmax::engine {
namespace {

// As transformers has it, whatever the model's own eps (modeling_qwen3_5.py, l2norm).
constexpr float kUnitEps = 1e-6f;

void round_state(StateType type, std::span<float> state) {
  if (type == StateType::kF32) return;
  for (float& x : state) {
    x = type == StateType::kF16 ? base::f16_to_f32(base::f32_to_f16(x)) : base::bf16_to_f32(base::f32_to_bf16(x));
  }
}

}  // namespace

// [conv_width][q, k, v], however the file has the parts.
const std::vector<float>& CpuOps::conv_weights(std::size_t layer, const DeltaNetSpec& spec,
                                               const std::vector<float>& stored) {
  if (spec.conv_order == DeltaNetSpec().conv_order) return stored;
  std::vector<float>& out = conv_weights_[layer];
  if (!out.empty()) return out;
  const std::int64_t first_of_part[] = {0, spec.key_width(), 2 * spec.key_width()};
  out.resize(stored.size());
  std::int64_t from = 0;
  for (std::int64_t tap = 0; tap < spec.conv_width; ++tap) {
    for (const int part : spec.conv_order) {
      const std::int64_t n = spec.conv_part(part), to = tap * spec.conv_channels() + first_of_part[part];
      std::copy_n(stored.begin() + from, n, out.begin() + to);
      from += n;
    }
  }
  return out;
}

void CpuOps::convolve(std::size_t layer, const DeltaNetSpec& spec, const std::vector<float>& weight, Rows qkv) {
  const DeltaKernels& kernels = delta_kernels(backend_.isa());
  const std::int64_t n_channel = spec.conv_channels();
  const std::vector<float>& in_order = conv_weights(layer, spec, weight);
  const auto run_piece = [&](std::size_t number, std::int64_t begin, std::int64_t end) {
    const ForwardSequence& sequence = batch_->sequences[number];
    float* state = sequence.state + layout_.conv_offset(layer);
    const auto run = [&](std::int64_t first, std::int64_t last) {
      const ConvInputs in{.weights = in_order.data(),
                          .n_taps = static_cast<int>(spec.conv_width),
                          .n_channel = n_channel,
                          .begin = begin,
                          .end = end,
                          .x = data(qkv, sequence.begin + first),
                          .x_stride = n_channel};
      (spec.conv_silu ? kernels.conv_silu : kernels.conv)(state, in, last - first, data(qkv, sequence.begin + first),
                                                          n_channel);
    };
    run_between_copies(sequence, run, [&](float* to) {
      copy_conv_state(state, spec.conv_width - 1, n_channel, begin, end, to + layout_.conv_offset(layer));
    });
  };
  for_channels(backend_.executor(), std::ssize(batch_->sequences), n_channel, run_piece);
  // IEEE square roots are correctly rounded everywhere.
  const auto q_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(spec.key_dim)));
  for_rows(backend_.executor(), n_row_, [&](std::int64_t row) {
    float* head = data(qkv, row);
    for (std::int64_t h = 0; h < 2 * spec.n_key_head; ++h, head += spec.key_dim) {
      kernels_->l2_norm(head, kUnitEps, h < spec.n_key_head ? q_scale : 1.0f, spec.key_dim);
    }
  });
}

void CpuOps::delta_rule(std::size_t layer, const DeltaNetSpec& spec, const LayerWeights& weights, Rows qkv, Rows alpha,
                        Rows beta, Rows out) {
  const DeltaKernels& kernels = delta_kernels(backend_.isa());
  for_rows(backend_.executor(), n_row_, [&](std::int64_t row) {
    delta_gates(data(alpha, row), data(beta, row), weights.vector(W::kDeltaDecay).data(),
                weights.vector(W::kDeltaDecayBias).data(), spec.n_value_head, data(alpha, row), data(beta, row));
  });
  const std::int64_t n_panel = delta_panels(spec.value_dim);
  const std::int64_t head_floats = delta_state_floats(spec.key_dim, spec.value_dim);
  const auto n_sequence = static_cast<std::int64_t>(batch_->sequences.size());
  parallel_for(backend_.executor(), n_sequence * spec.n_value_head, [&](std::int64_t task, int) {
    const base::ScopedFpEnv environment;
    const ForwardSequence& sequence = batch_->sequences[static_cast<std::size_t>(task / spec.n_value_head)];
    const std::int64_t h = task % spec.n_value_head, key_head = spec.key_head(h);
    const float* x = data(qkv, sequence.begin);
    float* state = sequence.state + layout_.matrix_offset(layer) + h * head_floats;
    const DeltaInputs in{.q = x + key_head * spec.key_dim,
                         .q_stride = qkv.width,
                         .k = x + spec.key_width() + key_head * spec.key_dim,
                         .k_stride = qkv.width,
                         .v = x + 2 * spec.key_width() + h * spec.value_dim,
                         .v_stride = qkv.width,
                         .decay = data(alpha, sequence.begin) + h,
                         .beta = data(beta, sequence.begin) + h,
                         .gate_stride = spec.n_value_head};
    float* y = data(out, sequence.begin) + h * spec.value_dim;
    const auto run = [&](std::int64_t first, std::int64_t last) {
      // A state that is rounded is so behind every token.
      const std::int64_t n_tok = spec.state == StateType::kF32 ? last - first : 1;
      for (std::int64_t t = first; t < last; t += n_tok) {
        kernels.delta_rule(state, in.from(t), n_tok, spec.key_dim, spec.value_dim, 0, n_panel, y + t * out.width,
                           out.width);
        round_state(spec.state, {state, static_cast<std::size_t>(head_floats)});
      }
    };
    run_between_copies(sequence, run, [&](float* to) {
      std::copy_n(state, head_floats, to + layout_.matrix_offset(layer) + h * head_floats);
    });
  });
  if (wanted(Stage::kState, layer)) show_states(layer, spec);
}

void CpuOps::norm_gate(const DeltaNetSpec& spec, const std::vector<float>& weight, Rows gate, Rows out) {
  const std::int64_t d = spec.value_dim, n_key = spec.n_key_head, n_each = spec.n_value_head / n_key;
  const auto n_bytes = static_cast<std::size_t>(d) * sizeof(float);
  if (observer_ != nullptr) keep_norm_input(out);
  const auto gate_heads = spec.gate_sigmoid ? kernels_->gate_sigmoid : kernels_->gate_silu;
  for_rows(backend_.executor(), n_row_, [&](std::int64_t row) {
    for (std::int64_t h = 0; h < spec.n_value_head; ++h) {
      float* normed = data(out, row) + h * d;
      kernels_->rms_norm(normed, weight.data(), spec_->rms_norm_eps, d, normed);
      gate_heads(data(gate, row) + h * d, normed, d);
    }
    for (std::int64_t h = 0; h < spec.n_value_head; ++h) {
      const std::int64_t to = spec.output_grouped ? h % n_key * n_each + h / n_key : h;
      std::memcpy(data(out, row) + to * d, data(gate, row) + h * d, n_bytes);
    }
  });
  if (observer_ != nullptr) show_norm(weight, out);
}

}  // namespace rowmax::engine
