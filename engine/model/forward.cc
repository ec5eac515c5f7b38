#include "engine/model/forward.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/fp_env.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

auto gate_of(const RowKernels& kernels, FfnActivation activation) noexcept {
  if (activation == FfnActivation::kSilu) return kernels.gate_silu;
  return activation == FfnActivation::kGeluTanh ? kernels.gate_gelu_tanh : kernels.gate_relu_squared;
}

}  // namespace

// A few rows are not worth waking other threads for.
template <class Fn>
void Forward::for_rows(std::int64_t n_row, Fn fn) {
  constexpr std::int64_t kRowsATask = 8;
  if (n_row <= kRowsATask / 2) {
    const base::ScopedFpEnv environment;
    for (std::int64_t row = 0; row < n_row; ++row) fn(row);
    return;
  }
  parallel_for(*executor_, (n_row + kRowsATask - 1) / kRowsATask, [&](std::int64_t task, int) {
    const base::ScopedFpEnv environment;
    const std::int64_t end = std::min(n_row, (task + 1) * kRowsATask);
    for (std::int64_t row = task * kRowsATask; row < end; ++row) fn(row);
  });
}

Result<Forward> Forward::create(const ModelSpec& spec, const ModelWeights& weights, std::int64_t max_rows,
                                int max_sequences, std::int64_t max_context, Activations activations, Isa isa,
                                Executor& executor) {
  const ModelShape& s = spec.shape;
  Forward forward;
  forward.spec_ = &spec;
  forward.weights_ = &weights;
  forward.kernels_ = &row_kernels(isa);
  forward.executor_ = &executor;
  forward.activations_ = activations;
  forward.isa_ = isa;
  for (const RopeSpec& rope : spec.ropes) forward.ropes_.emplace_back(rope);
  for (const LayerSpec& layer : spec.layers) {
    if (std::find(forward.windows_.begin(), forward.windows_.end(), layer.window) == forward.windows_.end()) {
      forward.windows_.push_back(layer.window);
      forward.plans_.emplace_back();
    }
  }
  const std::int64_t q_width = s.n_head * s.head_dim, kv_width = s.n_kv_head * s.head_dim;
  const std::pair<base::Buffer*, std::int64_t> rows[] = {
      {&forward.x_, s.n_embd}, {&forward.normed_, s.n_embd},  {&forward.q_, q_width},   {&forward.k_, kv_width},
      {&forward.v_, kv_width}, {&forward.attended_, q_width}, {&forward.gate_, s.n_ff}, {&forward.up_, s.n_ff}};
  for (const auto& [buffer, width] : rows) {
    ROWMAX_TRY(memory, base::Buffer::allocate(static_cast<std::size_t>(max_rows * width) * sizeof(float)));
    *buffer = std::move(memory);
  }
  const std::int64_t widest = std::max({s.n_embd, q_width, s.n_ff});
  if (!weights.rotations.empty()) {
    ROWMAX_TRY(memory, base::Buffer::allocate(static_cast<std::size_t>(max_rows * widest) * sizeof(float)));
    forward.rotated_ = std::move(memory);
  }
  ROWMAX_TRY(matmul_memory, base::Buffer::allocate(matmul_workspace_bytes(max_rows, widest)));
  forward.matmul_workspace_ = std::move(matmul_memory);
  const AttendBounds bounds{max_sequences, max_context,           s.n_head, s.n_kv_head, s.head_dim,
                            s.head_dim,    executor.concurrency()};
  ROWMAX_TRY(attend_memory, base::Buffer::allocate(attend_workspace_bound(bounds)));
  forward.attend_workspace_ = std::move(attend_memory);
  return forward;
}

// Positions, masks and RoPE angles: once a batch, for all layers.
Status Forward::prepare(const ForwardBatch& batch) {
  const std::int64_t n_row = static_cast<std::int64_t>(batch.tokens.size());
  positions_.resize(static_cast<std::size_t>(n_row));
  page_of_row_.resize(static_cast<std::size_t>(n_row));
  mask_sequences_.clear();
  for (const ForwardSequence& sequence : batch.sequences) {
    for (std::int64_t i = 0; i < sequence.n_row; ++i) {
      const std::int64_t position = sequence.position + i;
      positions_[static_cast<std::size_t>(sequence.begin + i)] = position;
      page_of_row_[static_cast<std::size_t>(sequence.begin + i)] = sequence.pages[position / kKeyTile];
    }
    Sequence entry;
    entry.q_begin = sequence.begin;
    entry.n_q = sequence.n_row;
    entry.q_pos = sequence.position;
    entry.n_kv = sequence.position + sequence.n_row;
    entry.anchor = 0;
    mask_sequences_.push_back(entry);
  }
  const Geometry geometry{mask_sequences_, static_cast<std::int32_t>(spec_->shape.n_head),
                          static_cast<std::int32_t>(spec_->shape.n_kv_head)};
  for (std::size_t i = 0; i < plans_.size(); ++i) {
    MaskSpec mask = MaskSpec().causal();
    if (windows_[i] > 0) mask.window(windows_[i] - 1, 0);
    ROWMAX_RETURN_IF_ERROR(plans_[i].compile(mask, geometry));
  }
  for (RopeTable& rope : ropes_) rope.prepare(positions_, *executor_);
  return {};
}

void Forward::embed(const ForwardBatch& batch) {
  const std::int64_t n_embd = spec_->shape.n_embd;
  for_rows(static_cast<std::int64_t>(batch.tokens.size()), [&](std::int64_t row) {
    float* x = x_.as<float>() + row * n_embd;
    decode_row(*weights_->token_embedding.format, weights_->token_embedding.bytes,
               batch.tokens[static_cast<std::size_t>(row)], n_embd, x);
    if (const Rotation* rotation = weights_->token_embedding.rotation) {
      kernels_->hadamard(x, n_embd, rotation->block);
      if (!rotation->signs.empty()) kernels_->multiply(x, rotation->signs.data(), n_embd, x);
    }
    if (spec_->embedding_scale != 1.0f) kernels_->scale(x, spec_->embedding_scale, n_embd);
  });
}

// Factors that belong to a product, where the file has them.
void Forward::scale_rows(float* y, std::int64_t n, const std::vector<float>& factor, std::int64_t n_row) {
  if (factor.empty()) return;
  for_rows(n_row, [&](std::int64_t row) { kernels_->scale(y + row * n, factor[0], n); });
}

void Forward::rotate_rows(const Rotation& rotation, const float* x, std::int64_t n, std::int64_t n_row) {
  for_rows(n_row, [&](std::int64_t row) {
    float* y = rotated_.as<float>() + row * n;
    if (rotation.signs.empty()) {
      std::memcpy(y, x + row * n, static_cast<std::size_t>(n) * sizeof(float));
    } else {
      kernels_->multiply(x + row * n, rotation.signs.data(), n, y);
    }
    kernels_->hadamard(y, n, rotation.block);
  });
}

// Products of one input, at most three. Those that want it turned the same way share the turned rows and one call.
void Forward::project(std::span<const LinearTerm> terms, const float* x, std::int64_t n_row) {
  const std::int64_t cols = terms[0].linear->matrix.cols();
  std::array<MatmulTerm, 3> group;
  std::array<bool, 3> done{};
  for (std::size_t first = 0; first < terms.size(); ++first) {
    if (done[first]) continue;
    const Rotation* rotation = terms[first].linear->rotation;
    std::size_t n = 0;
    for (std::size_t i = first; i < terms.size(); ++i) {
      if (terms[i].linear->rotation != rotation) continue;
      const PackedMatrix& matrix = terms[i].linear->matrix;
      group[n++] = {&matrix, terms[i].y, matrix.rows()};
      done[i] = true;
    }
    if (rotation != nullptr) rotate_rows(*rotation, x, cols, n_row);
    matmul(std::span(group).first(n), rotation != nullptr ? rotated_.as<float>() : x, cols, n_row, activations_,
           {matmul_workspace_.data(), matmul_workspace_.size()}, isa_, *executor_);
  }
}

void Forward::norm_rows(const float* x, const std::vector<float>& weight, std::int64_t n_row, float* y) {
  const std::int64_t n = static_cast<std::int64_t>(weight.size());
  for_rows(n_row, [&](std::int64_t row) {
    kernels_->rms_norm(x + row * n, weight.data(), spec_->rms_norm_eps, n, y + row * n);
  });
}

// x += post_norm(y); y is used up.
void Forward::add_rows(float* x, float* y, const std::vector<float>& post_norm, std::int64_t n_row) {
  const std::int64_t n = spec_->shape.n_embd;
  for_rows(n_row, [&](std::int64_t row) {
    if (!post_norm.empty()) kernels_->rms_norm(y + row * n, post_norm.data(), spec_->rms_norm_eps, n, y + row * n);
    kernels_->add(x + row * n, y + row * n, n);
  });
}

// Biases, norms and rotation of one row's q, k and v; then k and v into the cache, rounded to its type.
void Forward::turn_and_store(std::size_t index, std::int64_t row, const KvLayers& cache) {
  const ModelShape& s = spec_->shape;
  const LayerWeights& layer = weights_->layers[index];
  const std::int64_t d = s.head_dim, q_width = s.n_head * d, kv_width = s.n_kv_head * d;
  float* q = q_.as<float>() + row * q_width;
  float* k = k_.as<float>() + row * kv_width;
  float* v = v_.as<float>() + row * kv_width;
  if (!layer.q_bias.empty()) kernels_->add(q, layer.q_bias.data(), q_width);
  if (!layer.k_bias.empty()) kernels_->add(k, layer.k_bias.data(), kv_width);
  if (!layer.v_bias.empty()) kernels_->add(v, layer.v_bias.data(), kv_width);
  const RopeTable& rope = ropes_[static_cast<std::size_t>(spec_->layers[index].rope)];
  const auto turn = rope.pairing() == RopePairing::kHalves ? kernels_->rope_halves : kernels_->rope_adjacent;
  const auto finish_head = [&](float* head, const std::vector<float>& norm) {
    if (spec_->qk_norm) kernels_->rms_norm(head, norm.data(), spec_->rms_norm_eps, d, head);
    turn(head, rope.cos(row), rope.sin(row), rope.n_pair());
  };
  for (std::int64_t h = 0; h < s.n_head; ++h) finish_head(q + h * d, layer.q_norm);
  const std::int64_t page = page_of_row_[static_cast<std::size_t>(row)];
  const std::int64_t slot = positions_[static_cast<std::size_t>(row)] % kKeyTile;
  for (std::int64_t h = 0; h < s.n_kv_head; ++h) {
    finish_head(k + h * d, layer.k_norm);
    const KvStrides& ks = cache.view.k;
    const KvStrides& vs = cache.view.v;
    const std::int64_t k_at = page * ks.page_stride + h * ks.head_stride + slot * ks.key_stride;
    const std::int64_t v_at = page * vs.page_stride + h * vs.head_stride + slot * vs.key_stride;
    if (cache.view.dtype == DType::kF16) {
      kernels_->to_f16(k + h * d, d, static_cast<std::uint16_t*>(cache.keys[index]) + k_at, ks.dim_stride);
      kernels_->to_f16(v + h * d, d, static_cast<std::uint16_t*>(cache.values[index]) + v_at, vs.dim_stride);
    } else {
      float* key = static_cast<float*>(cache.keys[index]) + k_at;
      for (std::int64_t i = 0; i < d; ++i) key[i * ks.dim_stride] = k[h * d + i];
      std::memcpy(static_cast<float*>(cache.values[index]) + v_at, v + h * d,
                  static_cast<std::size_t>(d) * sizeof(float));
    }
  }
}

Status Forward::attention_block(std::size_t index, const ForwardBatch& batch, const KvLayers& cache) {
  const ModelShape& s = spec_->shape;
  const LayerWeights& layer = weights_->layers[index];
  const std::int64_t n_row = static_cast<std::int64_t>(batch.tokens.size());
  const std::int64_t q_width = s.n_head * s.head_dim, kv_width = s.n_kv_head * s.head_dim;
  norm_rows(x_.as<float>(), layer.attn_norm, n_row, normed_.as<float>());
  const LinearTerm qkv[] = {{&layer.q, q_.as<float>()}, {&layer.k, k_.as<float>()}, {&layer.v, v_.as<float>()}};
  project(qkv, normed_.as<float>(), n_row);
  scale_rows(q_.as<float>(), q_width, layer.q_scale, n_row);
  scale_rows(k_.as<float>(), kv_width, layer.k_scale, n_row);
  scale_rows(v_.as<float>(), kv_width, layer.v_scale, n_row);
  for_rows(n_row, [&](std::int64_t row) { turn_and_store(index, row, cache); });

  kv_sequences_.clear();
  for (const ForwardSequence& sequence : batch.sequences) {
    kv_sequences_.push_back({cache.keys[index], cache.values[index], sequence.pages, nullptr});
  }
  AttendArgs args;
  args.q = packed_heads(std::as_const(q_).as<float>(), n_row, s.n_head, s.head_dim);
  args.kv = cache.view;
  args.sequences = kv_sequences_;
  args.scale = spec_->attention_scale;
  args.softcap = spec_->attention_softcap;
  args.out = packed_heads(attended_.as<float>(), n_row, s.n_head, s.head_dim);
  const std::size_t plan = static_cast<std::size_t>(
      std::find(windows_.begin(), windows_.end(), spec_->layers[index].window) - windows_.begin());
  const Workspace workspace{attend_workspace_.data(), attend_workspace_.size()};
  // Non-finite rows are not an error here: they reach the logits, where the session names the position.
  auto report = attend(args, plans_[plan], workspace, *executor_, isa_);
  if (!report.ok()) return std::move(report).error();

  if (spec_->sub_norms) norm_rows(attended_.as<float>(), layer.attn_sub_norm, n_row, attended_.as<float>());
  float* output = normed_.as<float>();
  const LinearTerm term{&layer.attn_output, output};
  project({&term, 1}, attended_.as<float>(), n_row);
  scale_rows(output, s.n_embd, layer.output_scale, n_row);
  if (!layer.output_bias.empty()) {
    for_rows(n_row,
             [&](std::int64_t row) { kernels_->add(output + row * s.n_embd, layer.output_bias.data(), s.n_embd); });
  }
  add_rows(x_.as<float>(), output, layer.post_attn_norm, n_row);
  return {};
}

void Forward::ffn_block(std::size_t index, std::int64_t n_row) {
  const ModelShape& s = spec_->shape;
  const LayerWeights& layer = weights_->layers[index];
  norm_rows(x_.as<float>(), layer.ffn_norm, n_row, normed_.as<float>());
  const LinearTerm terms[] = {{&layer.gate, gate_.as<float>()}, {&layer.up, up_.as<float>()}};
  project(terms, normed_.as<float>(), n_row);
  scale_rows(gate_.as<float>(), s.n_ff, layer.gate_scale, n_row);
  scale_rows(up_.as<float>(), s.n_ff, layer.up_scale, n_row);
  const auto gate = gate_of(*kernels_, spec_->activation);
  for_rows(n_row,
           [&](std::int64_t row) { gate(gate_.as<float>() + row * s.n_ff, up_.as<float>() + row * s.n_ff, s.n_ff); });
  if (spec_->sub_norms) norm_rows(gate_.as<float>(), layer.ffn_sub_norm, n_row, gate_.as<float>());
  const LinearTerm term{&layer.down, normed_.as<float>()};
  project({&term, 1}, gate_.as<float>(), n_row);
  scale_rows(normed_.as<float>(), s.n_embd, layer.down_scale, n_row);
  add_rows(x_.as<float>(), normed_.as<float>(), layer.post_ffn_norm, n_row);
}

Status Forward::run(const ForwardBatch& batch, const KvLayers& cache, float* logits) {
  const ModelShape& s = spec_->shape;
  const std::int64_t n_row = static_cast<std::int64_t>(batch.tokens.size());
  ROWMAX_RETURN_IF_ERROR(prepare(batch));
  embed(batch);
  for (std::size_t layer = 0; layer < weights_->layers.size(); ++layer) {
    ROWMAX_RETURN_IF_ERROR(attention_block(layer, batch, cache));
    ffn_block(layer, n_row);
  }
  const std::int64_t n_logits = static_cast<std::int64_t>(batch.logit_rows.size());
  if (n_logits == 0) return {};
  for_rows(n_logits, [&](std::int64_t i) {
    const float* x = x_.as<float>() + batch.logit_rows[static_cast<std::size_t>(i)] * s.n_embd;
    kernels_->rms_norm(x, weights_->output_norm.data(), spec_->rms_norm_eps, s.n_embd,
                       normed_.as<float>() + i * s.n_embd);
  });
  const LinearTerm head{&weights_->output, logits};
  project({&head, 1}, normed_.as<float>(), n_logits);
  if (spec_->final_softcap > 0) {
    for_rows(n_logits,
             [&](std::int64_t i) { kernels_->softcap(logits + i * s.n_vocab, spec_->final_softcap, s.n_vocab); });
  }
  return {};
}

}  // namespace rowmax::engine
