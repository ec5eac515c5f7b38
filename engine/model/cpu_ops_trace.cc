// What an observer of the forward pass is shown.
#include <algorithm>
#include <utility>

#include "engine/model/cpu_ops.h"
#include "engine/model/weight_table.h"
#include "engine/ops/delta/delta_kernels.h"

namespace rowmax::engine {

void CpuOps::show(Stage stage, std::int64_t layer, Rows rows, std::int64_t first, std::int64_t n_group,
                  std::int64_t width) {
  show_rows(stage, layer, trace_rows_, data(rows) + first, rows.width, n_group, width);
}

void CpuOps::show_rows(Stage stage, std::int64_t layer, std::span<const TraceRow> rows, float* first,
                       std::int64_t stride, std::int64_t n_group, std::int64_t width) {
  if (observer_->wants(stage, layer)) observer_->see({stage, layer, rows, first, stride, n_group, width});
  if (!can_be_replaced(stage) || !observer_->replaces(stage, layer)) return;
  observer_->replace({stage, layer, rows, first, stride, n_group, width});
}

void CpuOps::keep_norm_input(Rows x) {
  if (!observer_->wants_norms()) return;
  norm_input_.assign(data(x), data(x) + n_row_ * x.width);
}

void CpuOps::show_norm(std::string_view name, std::int64_t layer, std::span<const TraceRow> rows, const float* y,
                       std::int64_t y_stride, std::int64_t n_group, std::int64_t width) {
  if (!observer_->wants_norms()) return;
  observer_->see_norm({.name = name,
                       .layer = layer,
                       .rows = rows,
                       .x = norm_input_.data(),
                       .y = y,
                       .x_stride = n_group * width,
                       .y_stride = y_stride,
                       .n_group = n_group,
                       .width = width,
                       .eps = spec_->rms_norm_eps});
}

// Whose norm it is follows from its weights, so that blocks need not say it.
void CpuOps::show_norm(const std::vector<float>& weight, Rows y, std::int64_t n_group) {
  if (!observer_->wants_norms()) return;
  const auto n = static_cast<std::int64_t>(weight.size());
  for (std::size_t layer = 0; layer < weights_->layers.size(); ++layer) {
    for (const WeightInfo& info : weight_table()) {
      if (&weights_->layers[layer].vector(info.id) != &weight) continue;
      constexpr std::string_view kEnd = ".weight";
      const std::string_view name =
          info.name.ends_with(kEnd) ? info.name.substr(0, info.name.size() - kEnd.size()) : info.name;
      show_norm(name, static_cast<std::int64_t>(layer), trace_rows_, data(y), y.width, n_group, n);
      return;
    }
  }
}

// The attention library's own weights, from a second call that computes nothing else anew.
void CpuOps::show_scores(std::size_t layer, const AttentionSpec& spec, const std::vector<float>& sinks, Rows q,
                         Rows out) {
  std::int64_t n_kv = 0;
  for (const ForwardSequence& sequence : batch_->sequences) n_kv = std::max(n_kv, sequence.position + sequence.n_row);
  trace_scratch_.assign(static_cast<std::size_t>(n_row_ * spec.n_head * n_kv), 0.0f);
  const WeightsView weights{trace_scratch_.data(), spec.n_head * n_kv, n_kv};
  if (!attend_heads(layer, spec, sinks, q, out, weights).ok()) return;  // the call before has said it
  for (const ForwardSequence& sequence : batch_->sequences) {
    const auto begin = static_cast<std::size_t>(sequence.begin), n = static_cast<std::size_t>(sequence.n_row);
    // Rows of a shorter sequence have zeros behind their last key.
    observer_->see({Stage::kScores, static_cast<std::int64_t>(layer), std::span(trace_rows_).subspan(begin, n),
                    trace_scratch_.data() + sequence.begin * spec.n_head * n_kv, spec.n_head * n_kv, spec.n_head,
                    n_kv});
  }
}

void CpuOps::show_states(std::size_t layer, const DeltaNetSpec& spec) {
  const std::int64_t dk = spec.key_dim, dv = spec.value_dim, head_floats = delta_state_floats(dk, dv);
  trace_scratch_.resize(static_cast<std::size_t>(spec.n_value_head * dk * dv));
  for (const ForwardSequence& sequence : batch_->sequences) {
    const float* state = sequence.state + layout_.matrix_offset(layer);
    float* out = trace_scratch_.data();
    for (std::int64_t h = 0; h < spec.n_value_head; ++h) {
      for (std::int64_t i = 0; i < dk; ++i) {
        for (std::int64_t j = 0; j < dv; ++j) {
          *out++ = state[h * head_floats + (j / kDeltaPanel * dk + i) * kDeltaPanel + j % kDeltaPanel];
        }
      }
    }
    const TraceRow row{sequence.id, sequence.position + sequence.n_row - 1};
    observer_->see({Stage::kState,
                    static_cast<std::int64_t>(layer),
                    {&row, 1},
                    trace_scratch_.data(),
                    std::ssize(trace_scratch_),
                    spec.n_value_head,
                    dk * dv});
  }
}

// As they lie.
void CpuOps::show_states(std::size_t layer, const ShortConvSpec& spec) {
  for (const ForwardSequence& sequence : batch_->sequences) {
    const TraceRow row{sequence.id, sequence.position + sequence.n_row - 1};
    const std::int64_t n = spec.conv_width - 1;
    observer_->see({Stage::kState,
                    static_cast<std::int64_t>(layer),
                    {&row, 1},
                    sequence.state + layout_.conv_offset(layer),
                    n * spec.n_channel,
                    n,
                    spec.n_channel});
  }
}

// Rows that lie sorted by expert, as rows of tokens.
void CpuOps::show_experts(std::size_t layer, const FfnSpec& spec, Rows rows, Stage stage) {
  if (!wanted(stage, layer)) return;
  const std::int64_t n = rows.width;
  trace_scratch_.resize(static_cast<std::size_t>(n_row_ * spec.n_used * n));
  for (std::int64_t i = 0; i < n_row_ * spec.n_used; ++i) {
    std::copy_n(data(rows, routing_.places[static_cast<std::size_t>(i)]), n, trace_scratch_.data() + i * n);
  }
  observer_->see(
      {stage, static_cast<std::int64_t>(layer), trace_rows_, trace_scratch_.data(), spec.n_used * n, spec.n_used, n});
}

void CpuOps::show_chosen(std::size_t layer, const FfnSpec& spec) {
  if (!wanted(Stage::kExperts, layer)) return;
  trace_scratch_.clear();
  for (std::size_t i = 0; i < static_cast<std::size_t>(n_row_ * spec.n_used); ++i) {
    trace_scratch_.push_back(static_cast<float>(routing_.experts[i]));
    trace_scratch_.push_back(routing_.probabilities[i]);
  }
  observer_->see({Stage::kExperts, static_cast<std::int64_t>(layer), trace_rows_, trace_scratch_.data(),
                  2 * spec.n_used, spec.n_used, 2});
}

}  // namespace rowmax::engine
