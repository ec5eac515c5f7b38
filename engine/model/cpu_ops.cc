#include "engine/model/cpu_ops.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "engine/model/for_rows.h"
#include "rowmax/try.h"

namespace rowmax::engine {

Result<std::unique_ptr<Ops>> CpuOps::create(const ModelSpec& spec, const ModelWeights& weights, const BufferPlan& plan,
                                            const OpsOptions& options, const Backend& backend) {
  std::unique_ptr<CpuOps> made(new CpuOps(backend));
  CpuOps& ops = *made;
  ops.spec_ = &spec;
  ops.weights_ = &weights;
  ops.kernels_ = &row_kernels(backend.isa());
  ops.activations_ = options.activations;
  ops.products_ = &options.kernels->kernels();
  ops.max_rows_ = options.max_rows;
  ops.layout_ = RecurrentLayout(spec);
  for (const RopeSpec& rope : spec.ropes) ops.ropes_.emplace_back(rope, options.max_context);
  const auto allocate = [](base::Buffer& buffer, std::int64_t rows, std::int64_t width) -> Status {
    std::size_t n = 0;
    if (!base::checked_mul(static_cast<std::size_t>(rows), static_cast<std::size_t>(width) * sizeof(float), &n)) {
      return Error::out_of_memory();
    }
    ROWMAX_TRY(memory, base::Buffer::allocate(n));
    buffer = std::move(memory);
    return {};
  };
  for (std::size_t slot = 0; slot < ops.buffers_.size(); ++slot) {
    ROWMAX_RETURN_IF_ERROR(allocate(ops.buffers_[slot], options.max_rows, plan.width(static_cast<Slot>(slot))));
  }
  const std::int64_t widest = plan.widest_product();
  if (!weights.sources.hadamards.empty()) ROWMAX_RETURN_IF_ERROR(allocate(ops.turned_, options.max_rows, widest));
  ROWMAX_RETURN_IF_ERROR(ops.plan_experts(options));
  ops.head_groups_.reserve(static_cast<std::size_t>(plan.head_products()));
  ops.head_terms_.reserve(static_cast<std::size_t>(plan.head_products()));
  ROWMAX_TRY(matmul_memory, base::Buffer::allocate(ops.matmul_bytes(plan)));
  ops.matmul_workspace_ = std::move(matmul_memory);
  ROWMAX_RETURN_IF_ERROR(ops.plan_attention(options));
  return std::unique_ptr<Ops>(std::move(made));
}

Status CpuOps::begin(const ForwardBatch& batch, const KvLayers& cache) {
  batch_ = &batch;
  cache_ = &cache;
  n_row_ = static_cast<std::int64_t>(batch.tokens.size());
  positions_.resize(static_cast<std::size_t>(n_row_));
  mask_sequences_.clear();
  for (const ForwardSequence& sequence : batch.sequences) {
    for (std::int64_t i = 0; i < sequence.n_row; ++i) {
      positions_[static_cast<std::size_t>(sequence.begin + i)] = sequence.position + i;
    }
    Sequence entry;
    entry.q_begin = sequence.begin;
    entry.n_q = sequence.n_row;
    entry.q_pos = sequence.position;
    entry.n_kv = sequence.position + sequence.n_row;
    entry.anchor = 0;
    mask_sequences_.push_back(entry);
  }
  ROWMAX_RETURN_IF_ERROR(find_pages());
  trace_rows_.clear();
  if (observer_ != nullptr) {
    for (const ForwardSequence& sequence : batch.sequences) {
      for (std::int64_t i = 0; i < sequence.n_row; ++i) trace_rows_.push_back({sequence.id, sequence.position + i});
    }
  }
  for (Plan& plan : plans_) {
    MaskSpec mask = MaskSpec().causal();
    if (plan.window > 0) mask.window(plan.window - 1, 0);
    ROWMAX_RETURN_IF_ERROR(plan.mask.compile(
        mask, {mask_sequences_, static_cast<std::int32_t>(plan.n_head), static_cast<std::int32_t>(plan.n_kv_head)}));
  }
  for (RopeTable& rope : ropes_) rope.prepare(positions_, backend_.executor());
  return {};
}

Result<std::int64_t> CpuOps::drop_unwanted(std::span<const Rows> rows) {
  if (observer_ != nullptr) return n_row_;
  const ForwardBatch& batch = *batch_;
  const auto first_from = [](std::span<const std::int32_t> wanted, std::int64_t row) {
    const auto at = std::lower_bound(wanted.begin(), wanted.end(), row);
    return at == wanted.end() ? std::numeric_limits<std::int64_t>::max() : std::int64_t{*at};
  };
  const auto moved = [](std::span<const std::int32_t> wanted, std::int64_t begin, std::int64_t end, std::int64_t by,
                        std::vector<std::int32_t>& to) {
    for (const std::int32_t row : wanted) {
      if (row >= begin && row < end) to.push_back(static_cast<std::int32_t>(row - by));
    }
  };
  rest_.tokens.clear();
  rest_.sequences.clear();
  rest_.logit_rows.clear();
  rest_.state_rows.clear();
  for (const ForwardSequence& sequence : batch.sequences) {
    const std::int64_t end = sequence.begin + sequence.n_row, to = std::ssize(rest_.tokens);
    const std::int64_t first =
        std::min(first_from(batch.logit_rows, sequence.begin), first_from(batch.state_rows, sequence.begin));
    if (first >= end) continue;
    for (const Rows& buffer : rows) {  // downwards, so nothing is overwritten that is still to be moved
      std::memmove(data(buffer, to), data(buffer, first),
                   static_cast<std::size_t>((end - first) * buffer.width) * sizeof(float));
    }
    moved(batch.logit_rows, first, end, first - to, rest_.logit_rows);
    moved(batch.state_rows, first, end, first - to, rest_.state_rows);
    ForwardSequence kept = sequence;
    kept.begin = to;
    kept.n_row = end - first;
    kept.position += first - sequence.begin;
    rest_.sequences.push_back(kept);
    rest_.tokens.insert(rest_.tokens.end(), batch.tokens.begin() + first, batch.tokens.begin() + end);
  }
  const std::int64_t n_kept = std::ssize(rest_.tokens);
  if (n_kept == 0 || n_kept == n_row_) return n_kept;
  rest_.batch = {rest_.tokens, rest_.sequences, rest_.logit_rows, rest_.state_rows};
  ROWMAX_RETURN_IF_ERROR(begin(rest_.batch, *cache_));
  return n_kept;
}

void CpuOps::look_up(const WeightSource& table, float scale, Rows rows) {
  const std::int64_t n = rows.width;
  for_rows(backend_.executor(), n_row_, [&](std::int64_t row) {
    float* x = data(rows, row);
    decode_row(*table.format, table.bytes, batch_->tokens[static_cast<std::size_t>(row)], n, x);
    if (const Hadamard* hadamard = table.hadamard) {
      kernels_->hadamard(x, n, hadamard->block);
      if (!hadamard->signs.empty()) kernels_->multiply(x, hadamard->signs.data(), n, x);
    }
    if (table.factor != 1.0f) kernels_->scale(x, table.factor, n);
    if (scale != 1.0f) kernels_->scale(x, scale, n);
  });
}

void CpuOps::embed(float scale, Rows stream) { look_up(weights_->sources.token_embedding, scale, stream); }
void CpuOps::embed_layers(float scale, Rows rows) { look_up(weights_->sources.layer_embedding, scale, rows); }

void CpuOps::take_columns(Rows from, std::int64_t first, Rows to) {
  for_rows(backend_.executor(), n_row_, [&](std::int64_t row) {
    std::memcpy(data(to, row), data(from, row) + first, static_cast<std::size_t>(to.width) * sizeof(float));
  });
}

// On one run of weight.size() numbers; y may be x.
void CpuOps::norm_row(const float* x, const std::vector<float>& weight, float* y) {
  const auto n = static_cast<std::int64_t>(weight.size());
  if (spec_->norm_kind == NormKind::kLayer) {
    double sum = 0;
    for (std::int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]);
    const double mean = sum / static_cast<double>(n);
    for (std::int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(static_cast<double>(x[i]) - mean);
    x = y;
  }
  kernels_->rms_norm(x, weight.data(), spec_->rms_norm_eps, n, y);
}

void CpuOps::norm(Rows x, const std::vector<float>& weight, Rows y) {
  const auto n = static_cast<std::int64_t>(weight.size());
  if (observer_ != nullptr) keep_norm_input(x);
  for_rows(backend_.executor(), n_row_, [&](std::int64_t row) {
    for (std::int64_t i = 0; i < x.width; i += n) {
      norm_row(data(x, row) + i, weight, data(y, row) + i);
    }
  });
  if (observer_ != nullptr) show_norm(weight, y);
}

void CpuOps::norm_first(Rows x, const std::vector<float>& weight) {
  const std::size_t n = weight.size();
  if (observer_ != nullptr && observer_->wants_norms()) {
    norm_input_.clear();
    for (std::int64_t row = 0; row < n_row_; ++row) {
      norm_input_.insert(norm_input_.end(), data(x, row), data(x, row) + n);
    }
  }
  for_rows(backend_.executor(), n_row_, [&](std::int64_t row) { norm_row(data(x, row), weight, data(x, row)); });
  if (observer_ != nullptr) show_norm(weight, x, 1);
}

void CpuOps::norm_plain(std::size_t layer, Rows x, std::int64_t n) {
  if (observer_ != nullptr) keep_norm_input(x);
  for_rows(backend_.executor(), n_row_, [&](std::int64_t row) {
    for (std::int64_t i = 0; i < x.width; i += n) {
      kernels_->rms_norm(data(x, row) + i, ones_.data(), spec_->rms_norm_eps, n, data(x, row) + i);
    }
  });
  if (observer_ != nullptr) {
    show_norm("v_norm", static_cast<std::int64_t>(layer), trace_rows_, data(x), x.width, x.width / n, n);
  }
}

void CpuOps::copy(Rows from, Rows to) {
  std::memcpy(data(to), data(from), static_cast<std::size_t>(n_row_ * from.width) * sizeof(float));
}

void CpuOps::add(Rows stream, Rows y, const std::vector<float>& post_norm, float factor) {
  const std::int64_t n = stream.width;
  if (observer_ != nullptr && !post_norm.empty()) keep_norm_input(y);
  for_rows(backend_.executor(), n_row_, [&](std::int64_t row) {
    float* from = data(y, row);
    if (!post_norm.empty()) norm_row(from, post_norm, from);
    if (factor != 1.0f) kernels_->scale(from, factor, n);
    kernels_->add(data(stream, row), from, n);
  });
  if (observer_ != nullptr && !post_norm.empty()) show_norm(post_norm, y);
}

void CpuOps::add_bias(Rows y, const std::vector<float>& bias) {
  if (bias.empty()) return;
  for_rows(backend_.executor(), n_row_, [&](std::int64_t row) { kernels_->add(data(y, row), bias.data(), y.width); });
}

void CpuOps::scale(Rows y, const std::vector<float>& factor) {
  if (factor.empty()) return;
  for_rows(backend_.executor(), n_row_, [&](std::int64_t row) { kernels_->scale(data(y, row), factor[0], y.width); });
}

void CpuOps::scale(Rows y, float factor) {
  for_rows(backend_.executor(), n_row_, [&](std::int64_t row) { kernels_->scale(data(y, row), factor, y.width); });
}

void CpuOps::turn(const Hadamard& hadamard, const float* x, std::int64_t n, std::int64_t n_row) {
  for_rows(backend_.executor(), n_row, [&](std::int64_t row) {
    float* y = turned_.as<float>() + row * n;
    if (hadamard.signs.empty()) {
      std::memcpy(y, x + row * n, static_cast<std::size_t>(n) * sizeof(float));
    } else {
      kernels_->multiply(x + row * n, hadamard.signs.data(), n, y);
    }
    kernels_->hadamard(y, n, hadamard.block);
  });
}

void CpuOps::scale_product(const Linear& linear, float* y, std::int64_t n_row) {
  if (linear.factor == 1.0f) return;
  const std::int64_t n = linear.matrix.rows();
  for_rows(backend_.executor(), n_row, [&](std::int64_t row) { kernels_->scale(y + row * n, linear.factor, n); });
}

// Those that want their input turned the same way share the turned rows and one call.
void CpuOps::multiply(std::span<const Product> products, const float* x, std::int64_t n_row) {
  const std::int64_t cols = products[0].linear->matrix.cols();
  std::array<MatmulTerm, kMaxProducts> group;
  std::array<bool, kMaxProducts> done{};
  for (std::size_t first = 0; first < products.size(); ++first) {
    if (done[first]) continue;
    const Hadamard* hadamard = products[first].linear->hadamard;
    std::size_t n = 0;
    for (std::size_t i = first; i < products.size(); ++i) {
      if (products[i].linear->hadamard != hadamard) continue;
      const PackedMatrix& matrix = products[i].linear->matrix;
      group[n++] = {&matrix, products[i].y, matrix.rows()};
      done[i] = true;
    }
    if (hadamard != nullptr) turn(*hadamard, x, cols, n_row);
    matmul(std::span(group).first(n), hadamard != nullptr ? turned_.as<float>() : x, cols, n_row, activations_,
           {matmul_workspace_.data(), matmul_workspace_.size()}, *products_, backend_.executor());
  }
  for (const Product& product : products) scale_product(*product.linear, product.y, n_row);
}

void CpuOps::project(std::span<const LinearTerm> terms, Rows x) {
  std::array<Product, kMaxProducts> products;
  for (std::size_t i = 0; i < terms.size(); ++i) products[i] = {terms[i].linear, data(terms[i].y)};
  multiply(std::span(products).first(terms.size()), data(x), n_row_);
}

void CpuOps::project_heads(std::span<const Linear> heads, HeadParts from, HeadParts to) {
  const auto n_head = static_cast<std::int64_t>(heads.size());
  const std::int64_t from_run = from.rows.width / n_head, to_run = to.rows.width / n_head;
  if (const Hadamard* hadamard = heads[0].hadamard) {
    for_rows(backend_.executor(), n_row_, [&](std::int64_t row) {
      for (std::int64_t h = 0; h < n_head; ++h) {
        float* x = data(from.rows, row) + h * from_run + from.first;
        if (!hadamard->signs.empty()) kernels_->multiply(x, hadamard->signs.data(), from.width, x);
        kernels_->hadamard(x, from.width, hadamard->block);
      }
    });
  }
  head_groups_.clear();
  head_terms_.clear();
  for (std::int64_t h = 0; h < n_head; ++h) {
    const PackedMatrix& matrix = heads[static_cast<std::size_t>(h)].matrix;
    head_terms_.push_back({&matrix, data(to.rows) + h * to_run + to.first, to.rows.width});
    head_groups_.push_back(
        {{&head_terms_.back(), 1}, data(from.rows) + h * from_run + from.first, from.rows.width, n_row_});
  }
  matmul_groups(head_groups_, activations_, {matmul_workspace_.data(), matmul_workspace_.size()}, *products_,
                backend_.executor());
  if (heads[0].factor == 1.0f) return;
  for_rows(backend_.executor(), n_row_, [&](std::int64_t row) {
    for (std::int64_t h = 0; h < n_head; ++h) {
      kernels_->scale(data(to.rows, row) + h * to_run + to.first, heads[0].factor, to.width);
    }
  });
}

void CpuOps::copy_heads(std::int64_t n_head, HeadParts from, HeadParts to) {
  const std::int64_t from_run = from.rows.width / n_head, to_run = to.rows.width / n_head;
  for_rows(backend_.executor(), n_row_, [&](std::int64_t row) {
    for (std::int64_t h = 0; h < n_head; ++h) {
      std::memcpy(data(to.rows, row) + h * to_run + to.first, data(from.rows, row) + h * from_run + from.first,
                  static_cast<std::size_t>(to.width) * sizeof(float));
    }
  });
}

void CpuOps::gate(const FfnSpec& spec, Rows gate, Rows up) { gate_rows(spec, gate, up, n_row_); }

void CpuOps::gate_rows(const FfnSpec& spec, Rows gate, Rows up, std::int64_t n_row) {
  const auto kernel = gate_kernel(spec.activation);
  const bool limited = spec.gate_limit > 0 || spec.up_offset != 0;
  const float limit = spec.gate_limit > 0 ? spec.gate_limit : std::numeric_limits<float>::infinity();
  for_rows(backend_.executor(), n_row, [&](std::int64_t row) {
    if (limited) kernels_->limit_gate(data(gate, row), data(up, row), limit, spec.up_offset, gate.width);
    kernel(data(gate, row), data(up, row), gate.width);
  });
}

void (*CpuOps::gate_kernel(FfnActivation activation) const noexcept)(float*, const float*, std::int64_t) {
  switch (activation) {
    case FfnActivation::kSilu: return kernels_->gate_silu;
    case FfnActivation::kGeluTanh: return kernels_->gate_gelu_tanh;
    case FfnActivation::kReluSquared: return kernels_->gate_relu_squared;
    case FfnActivation::kSigmoid: return kernels_->gate_sigmoid;
    case FfnActivation::kGeluErf: return kernels_->gate_gelu_erf;
    case FfnActivation::kGeluQuick: return kernels_->gate_gelu_quick;
    case FfnActivation::kRelu: return kernels_->gate_relu;
    case FfnActivation::kIdentity: return kernels_->gate_identity;
  }
  return kernels_->gate_silu;
}

void CpuOps::gate_sigmoid(Rows gate, Rows x) {
  for_rows(backend_.executor(), n_row_, [&](std::int64_t row) {
    kernels_->gate_sigmoid(data(gate, row), data(x, row), x.width);
    std::memcpy(data(x, row), data(gate, row), static_cast<std::size_t>(x.width) * sizeof(float));
  });
}

void CpuOps::final_states(float* states) {
  const Rows stream{Slot::kStream, spec_->shape.n_embd};
  for_rows(backend_.executor(), std::ssize(batch_->state_rows), [&](std::int64_t i) {
    const std::int32_t row = batch_->state_rows[static_cast<std::size_t>(i)];
    norm_row(data(stream, row), weights_->output_norm, states + i * stream.width);
  });
}

Status CpuOps::head(float scale, float softcap, float* logits) {
  const std::int64_t n_embd = spec_->shape.n_embd, n_vocab = spec_->shape.n_vocab;
  const auto n = static_cast<std::int64_t>(batch_->logit_rows.size());
  if (n == 0) return {};
  const Rows stream{Slot::kStream, n_embd}, normed{Slot::kNormed, n_embd};
  for_rows(backend_.executor(), n, [&](std::int64_t i) {
    norm_row(data(stream, batch_->logit_rows[static_cast<std::size_t>(i)]), weights_->output_norm, data(normed, i));
  });
  std::vector<TraceRow> of_logits;
  if (observer_ != nullptr) {
    for (const std::int32_t row : batch_->logit_rows) of_logits.push_back(trace_rows_[static_cast<std::size_t>(row)]);
    if (observer_->wants_norms()) {
      norm_input_.clear();
      for (const std::int32_t row : batch_->logit_rows) {
        norm_input_.insert(norm_input_.end(), data(stream, row), data(stream, row) + n_embd);
      }
    }
    show_norm("output_norm", -1, of_logits, data(normed), n_embd, 1, n_embd);
  }
  const auto show_head = [&](Stage stage, float* rows, std::int64_t width) {
    if (observer_ != nullptr) show_rows(stage, -1, of_logits, rows, width, 1, width);
  };
  show_head(Stage::kOutputNorm, data(normed), n_embd);
  const Product product{&weights_->output, logits};
  multiply({&product, 1}, data(normed), n);
  if (scale != 1.0f) {
    for_rows(backend_.executor(), n, [&](std::int64_t i) { kernels_->scale(logits + i * n_vocab, scale, n_vocab); });
  }
  if (softcap > 0) {
    for_rows(backend_.executor(), n,
             [&](std::int64_t i) { kernels_->softcap(logits + i * n_vocab, softcap, n_vocab); });
  }
  show_head(Stage::kLogits, logits, n_vocab);
  return {};
}

}  // namespace rowmax::engine
