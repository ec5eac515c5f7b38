// Attention: heads, keys and values.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>

#include "base/math/f64.h"
#include "engine/model/cpu_ops.h"
#include "engine/model/for_rows.h"
#include "rowmax/probe.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

// The attention library's rows, as the observer names them.
class RowLook final : public Probe {
 public:
  RowLook(TraceObserver* observer, std::int64_t layer, const ForwardBatch& batch)
      : observer_(observer), layer_(layer), batch_(batch) {}
  // The model's number of the call's first head.
  std::int64_t first_head = 0;

  bool wants(std::int64_t sequence, std::int64_t head, std::int64_t query) const noexcept override {
    const ForwardSequence& rows = batch_.sequences[static_cast<std::size_t>(sequence)];
    return observer_->probes_row(layer_, {rows.id, rows.position + query}, first_head + head);
  }
  void row(const ProbeRow& row) const noexcept override {
    ProbeRow named = row;
    named.sequence = batch_.sequences[static_cast<std::size_t>(row.sequence)].id;
    named.head = first_head + row.head;
    observer_->see_row(layer_, named);
  }

 private:
  TraceObserver* observer_;
  std::int64_t layer_;
  const ForwardBatch& batch_;
};

// The attention library reads K/V head h / (n_head / n_kv_head). Where heads are interleaved, each run of n_kv_head of
// them has one on every K/V head, and is a call.
std::int64_t heads_of_call(const AttentionSpec& spec) { return spec.heads_interleaved ? spec.n_kv_head : spec.n_head; }

}  // namespace

Status CpuOps::plan_attention(const OpsOptions& options) {
  std::size_t n_bytes = 0;
  for (const LayerSpec& layer : spec_->layers) {
    const AttentionSpec& a = layer.attention;
    if (!layer.attends()) {
      plan_of_layer_.push_back(0);
      continue;
    }
    if (a.v_norm) ones_.resize(std::max(ones_.size(), static_cast<std::size_t>(a.head_dim)), 1.0f);
    const std::int64_t n_head = heads_of_call(a);
    const auto same = std::ranges::find_if(plans_, [&](const Plan& plan) {
      return plan.n_head == n_head && plan.n_kv_head == a.n_kv_head && plan.window == a.window;
    });
    plan_of_layer_.push_back(static_cast<std::size_t>(same - plans_.begin()));
    if (same == plans_.end()) plans_.push_back({n_head, a.n_kv_head, a.window, {}});
    n_bytes = std::max(n_bytes, attend_workspace_bound({.max_sequences = options.max_sequences,
                                                        .max_n_kv = options.max_context,
                                                        .n_head = n_head,
                                                        .n_kv_head = a.n_kv_head,
                                                        .k_dim = a.head_dim,
                                                        .v_dim = a.v_dim()},
                                                       backend_));
  }
  ROWMAX_TRY(memory, base::Buffer::allocate(n_bytes));
  attend_workspace_ = std::move(memory);
  return {};
}

// The pages that rows go to. That those they see are there is checked by the attention library.
Status CpuOps::find_pages() {
  page_of_row_.resize(cache_->n_group * static_cast<std::size_t>(n_row_));
  for (std::size_t g = 0; g < cache_->n_group; ++g) {
    std::int32_t* const of_row = page_of_row_.data() + g * static_cast<std::size_t>(n_row_);
    for (const ForwardSequence& sequence : batch_->sequences) {
      for (std::int64_t i = 0; i < sequence.n_row; ++i) {
        const std::int64_t position = sequence.position + i;
        const std::int32_t page = sequence.pages[g][position / kKeyTile];
        if (page < 0) {
          return Error{ErrorCode::kInvalidArgument, "sequence " + std::to_string(sequence.id) + ": position " +
                                                        std::to_string(position) + " has no page"};
        }
        of_row[sequence.begin + i] = page;
      }
    }
  }
  return {};
}

void CpuOps::split_gate(Rows both, std::int64_t run, Rows q, Rows gate) {
  const auto n_bytes = static_cast<std::size_t>(run) * sizeof(float);
  for_rows(backend_.executor(), n_row_, [&](std::int64_t row) {
    for (std::int64_t at = 0; at < q.width; at += run) {
      std::memcpy(data(q, row) + at, data(both, row) + 2 * at, n_bytes);
      std::memcpy(data(gate, row) + at, data(both, row) + 2 * at + run, n_bytes);
    }
  });
}

void CpuOps::finish_heads(const AttentionSpec& spec, Rows heads, const std::vector<float>& norm) {
  const int rope = spec_->rope_of(spec);
  const RopeTable* table = rope < 0 ? nullptr : &ropes_[static_cast<std::size_t>(rope)];
  const bool normed = spec.qk_norm != QkNorm::kNone;
  if (table == nullptr && !normed) return;
  const auto n = static_cast<std::int64_t>(norm.size());
  const auto norm_runs = [&](float* row) {
    for (std::int64_t i = 0; i < heads.width; i += n) norm_row(row + i, norm, row + i);
  };
  const auto turn =
      table != nullptr && table->pairing() == RopePairing::kAdjacent ? kernels_->rope_adjacent : kernels_->rope_halves;
  if (observer_ != nullptr && normed) keep_norm_input(heads);
  for_rows(backend_.executor(), n_row_, [&](std::int64_t row) {
    float* first = data(heads, row);
    if (normed && !spec.norm_after_rope) norm_runs(first);
    for (std::int64_t i = 0; table != nullptr && i < heads.width; i += spec.head_dim) {
      turn(first + i + spec.rope_first, table->cos(row), table->sin(row), table->n_pair());
    }
    if (normed && spec.norm_after_rope) norm_runs(first);
  });
  if (observer_ != nullptr && normed) show_norm(norm, heads);
}

void CpuOps::temper(const TemperatureSpec& spec, Rows q) {
  for_rows(backend_.executor(), n_row_, [&](std::int64_t row) {
    const auto position = static_cast<double>(positions_[static_cast<std::size_t>(row)]);
    const double steps = std::floor((position + spec.offset) / spec.length);
    kernels_->scale(data(q, row), static_cast<float>(1.0 + spec.scale * base::log_f64(1.0 + steps)), q.width);
  });
}

void CpuOps::order_heads(const AttentionSpec& spec, Rows heads) {
  const std::int64_t d = spec.head_dim, n = spec.n_kv_head;
  for_rows(backend_.executor(), n_row_, [&](std::int64_t row) {
    float* const first = data(heads, row);
    std::rotate(first, first + spec.kv_shift * d, first + heads.width);
    for (std::int64_t h = 0; spec.kv_reversed && 2 * h < n - 1; ++h) {
      std::swap_ranges(first + h * d, first + (h + 1) * d, first + (n - 1 - h) * d);
    }
  });
}

void CpuOps::store_kv(std::size_t layer, const AttentionSpec& spec, Rows k, Rows v) {
  const KvView& view = cache_->views[layer];
  const KvStrides &ks = view.k, &vs = view.v;
  const std::int64_t d = spec.head_dim;
  const bool values = spec.v_in_k == 0;  // apart
  const std::int32_t* const pages =
      page_of_row_.data() + static_cast<std::int64_t>(cache_->group_of_layer[layer]) * n_row_;
  for_rows(backend_.executor(), n_row_, [&](std::int64_t row) {
    const std::int64_t page = pages[row];
    const std::int64_t slot = positions_[static_cast<std::size_t>(row)] % kKeyTile;
    for (std::int64_t h = 0; h < view.n_kv_head; ++h) {
      const std::int64_t k_at = page * ks.page_stride + h * ks.head_stride + slot * ks.key_stride;
      const std::int64_t v_at = page * vs.page_stride + h * vs.head_stride + slot * vs.key_stride;
      store_head(data(k, row) + h * d, d, view.dtype, cache_->keys[layer], k_at, ks.dim_stride);
      if (values) store_head(data(v, row) + h * d, d, view.dtype, cache_->values[layer], v_at, vs.dim_stride);
    }
  });
}

void CpuOps::store_head(const float* from, std::int64_t n, DType dtype, void* pool, std::int64_t at,
                        std::int64_t stride) const {
  if (dtype == DType::kF16) {
    kernels_->to_f16(from, n, static_cast<std::uint16_t*>(pool) + at, stride);
  } else if (dtype == DType::kQ8_0) {
    kernels_->to_q8_0(from, n, static_cast<std::uint8_t*>(pool) + dtype_bytes(dtype, at));
  } else {
    float* const to = static_cast<float*>(pool) + at;
    for (std::int64_t i = 0; i < n; ++i) to[i * stride] = from[i];
  }
}

// weights: nothing, or where the softmax weights of all heads go.
Status CpuOps::attend_heads(std::size_t layer, const AttentionSpec& spec, const std::vector<float>& sinks, Rows q,
                            Rows out, const WeightsView& weights) {
  const std::size_t owner = spec.has_kv() ? layer : static_cast<std::size_t>(spec.kv_layer);
  kv_sequences_.clear();
  for (const ForwardSequence& sequence : batch_->sequences) {
    kv_sequences_.push_back(
        {cache_->keys[owner], cache_->values[owner], sequence.pages[cache_->group_of_layer[owner]], nullptr});
  }
  AttendArgs args;
  args.kv = cache_->views[owner];
  args.sequences = kv_sequences_;
  args.scale = spec.scale;
  args.softcap = spec_->attention_softcap;
  args.check_weights = WeightCheck::kOff;
  args.weights = weights;
  RowLook look(observer_, static_cast<std::int64_t>(layer), *batch_);
  // Not again where only the weights are asked for.
  const bool first_pass = weights.data == nullptr;
  if (first_pass && observer_ != nullptr && observer_->probes(static_cast<std::int64_t>(layer))) args.probe = &look;
  const Workspace workspace{attend_workspace_.data(), attend_workspace_.size()};
  const std::int64_t n_head = heads_of_call(spec);
  for (std::int64_t first = 0; first < spec.n_head; first += n_head) {
    HeadsView heads = packed_heads(data(q) + first * spec.head_dim, n_row_, n_head, spec.head_dim);
    heads.row_stride = q.width;
    args.q = heads;
    args.out = packed_heads(data(out) + first * spec.v_dim(), n_row_, n_head, spec.v_dim());
    args.out.row_stride = out.width;
    if (!sinks.empty()) args.sinks = sinks.data() + first;
    look.first_head = first;
    if (weights.data != nullptr) args.weights.data = weights.data + first * weights.head_stride;
    auto report = rowmax::attend(args, plans_[plan_of_layer_[layer]].mask, workspace, backend_);
    if (!report.ok()) return std::move(report).error();
  }
  return {};
}

Status CpuOps::attend(std::size_t layer, const AttentionSpec& spec, const std::vector<float>& sinks, Rows q, Rows out) {
  // Non-finite rows are not an error here: they reach the logits, where the session names the position.
  ROWMAX_RETURN_IF_ERROR(attend_heads(layer, spec, sinks, q, out, {}));
  if (wanted(Stage::kScores, layer)) show_scores(layer, spec, sinks, q, out);
  return {};
}

}  // namespace rowmax::engine
