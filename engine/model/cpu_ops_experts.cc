// Experts: which rows go where, their products, and each row's sum.
#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "engine/model/cpu_ops.h"
#include "engine/model/for_rows.h"
#include "rowmax/try.h"

namespace rowmax::engine {

Status CpuOps::plan_experts(const OpsOptions& options) {
  bool biased = false;
  for (const LayerSpec& layer : spec_->layers) {
    if (layer.ffn.kind != FfnKind::kExperts) continue;
    n_used_ = std::max(n_used_, layer.ffn.n_used);
    n_expert_ = std::max(n_expert_, layer.ffn.n_expert);
    n_group_ = std::max(n_group_, layer.ffn.n_group);
    biased |= layer.ffn.choice_bias;
  }
  const auto n = static_cast<std::size_t>(options.max_rows * n_used_);
  routing_.experts.resize(n);
  routing_.probabilities.resize(n);
  routing_.places.resize(n);
  routing_.ends.resize(static_cast<std::size_t>(n_expert_) + 1);
  if (biased || n_group_ > 1) {
    routing_.scores.resize(static_cast<std::size_t>(options.max_rows * n_expert_));
    routing_.group_scores.resize(static_cast<std::size_t>(options.max_rows * n_group_));
    routing_.chosen_groups.resize(routing_.group_scores.size());
  }
  ones_.resize(std::max(ones_.size(), static_cast<std::size_t>(n_expert_)), 1.0f);
  routing_.groups.reserve(static_cast<std::size_t>(n_expert_));
  routing_.terms.reserve(2 * static_cast<std::size_t>(n_expert_));
  return {};
}

std::size_t CpuOps::matmul_bytes(const BufferPlan& plan) const noexcept {
  const std::int64_t n_pair = max_rows_ * n_used_, widest = plan.widest_product(), n_head = plan.head_products();
  return std::max(
      {matmul_workspace_bytes(max_rows_, widest),
       n_pair == 0 ? 0 : matmul_groups_workspace_bytes(std::min(n_expert_, n_pair), n_pair, widest),
       n_head == 0 ? 0 : matmul_groups_workspace_bytes(n_head, max_rows_ * n_head, plan.widest_head_product())});
}

namespace {

// Numbers of the k largest of n scores, the largest first, insertion by insertion; of equals the lower number stays in
// front. NaN is larger than nothing: a row of NaN takes the first k.
void choose(const float* scores, std::int64_t n, std::int64_t k, std::int32_t* chosen) {
  std::int64_t found = 0;
  for (std::int32_t i = 0; i < n; ++i) {
    std::int64_t at = found;
    while (at > 0 && scores[i] > scores[chosen[at - 1]]) --at;
    if (at == k) continue;
    found = std::min(found + 1, k);
    for (std::int64_t j = found - 1; j > at; --j) chosen[j] = chosen[j - 1];
    chosen[at] = i;
  }
}

// A group counts as much as its two largest together, or as its largest.
float group_score(const float* scores, std::int64_t n, std::int64_t n_best) {
  std::int32_t best[2];
  choose(scores, n, 2, best);
  return n == 1 || n_best == 1 ? scores[best[0]] : scores[best[0]] + scores[best[1]];
}

}  // namespace

// What the experts of one row are chosen by, where it is not their probability alone: with the bias, and less than
// anything in groups that are not chosen.
const float* CpuOps::choice_scores(const FfnSpec& spec, const float* bias, std::int64_t row, const float* p) {
  float* scores = routing_.scores.data() + row * n_expert_;
  std::copy_n(p, spec.n_expert, scores);
  if (bias != nullptr) kernels_->add(scores, bias, spec.n_expert);
  if (spec.n_group == 1) return scores;
  const std::int64_t n = spec.n_expert / spec.n_group;
  float* groups = routing_.group_scores.data() + row * n_group_;
  std::int32_t* chosen = routing_.chosen_groups.data() + row * n_group_;
  for (std::int64_t g = 0; g < spec.n_group; ++g) groups[g] = group_score(scores + g * n, n, spec.n_group_best);
  choose(groups, spec.n_group, spec.n_group_used, chosen);
  for (std::int32_t g = 0; g < spec.n_group; ++g) {
    if (std::find(chosen, chosen + spec.n_group_used, g) != chosen + spec.n_group_used) continue;
    std::fill_n(scores + g * n, n, -std::numeric_limits<float>::infinity());
  }
  return scores;
}

// The experts of each row, ascending, with their probabilities; and the place of each such pair among all pairs, sorted
// by expert.
void CpuOps::route(const FfnSpec& spec, const LayerWeights& weights, Rows router) {
  const std::vector<float>& bias = weights.vector_if(spec.choice_bias, W::kRouterBias);
  const std::vector<float>& factors = weights.vector_if(spec.expert_factors, W::kExpertFactors);
  const std::int64_t k = spec.n_used;
  const bool by_probability = bias.empty() && spec.n_group == 1;
  for_rows(backend_.executor(), n_row_, [&](std::int64_t row) {
    float* p = data(router, row);
    if (spec.expert_gate == ExpertGate::kSoftmax) {
      kernels_->softmax(p, spec.n_expert);
    } else {
      kernels_->gate_sigmoid(p, ones_.data(), spec.n_expert);
    }
    const float* scores = by_probability ? p : choice_scores(spec, bias.empty() ? nullptr : bias.data(), row, p);
    std::int32_t* experts = routing_.experts.data() + row * k;
    float* probabilities = routing_.probabilities.data() + row * k;
    choose(scores, spec.n_expert, k, experts);
    // In the order in which they were chosen; the small number keeps probabilities that are all 0 from being divided
    // by 0, and changes no other sum (transformers, modeling_deepseek_v3.py).
    float sum = 0;
    for (std::int64_t i = 0; i < k; ++i) sum += p[experts[i]];
    sum += spec.sum_offset;
    std::sort(experts, experts + k);
    for (std::int64_t i = 0; i < k; ++i) {
      const float probability = spec.renormalise ? p[experts[i]] / sum : p[experts[i]];
      const std::int64_t tensor = (experts[i] + spec.expert_shift) % spec.n_expert;
      const float factor = factors.empty() ? 1.0f : factors[static_cast<std::size_t>(tensor)];
      probabilities[i] = probability * spec.expert_scale * factor;
    }
  });
  std::vector<std::int64_t>& ends = routing_.ends;
  std::fill(ends.begin(), ends.end(), 0);
  for (std::int64_t i = 0; i < n_row_ * k; ++i)
    ++ends[static_cast<std::size_t>(routing_.experts[static_cast<std::size_t>(i)]) + 1];
  for (std::size_t e = 1; e < ends.size(); ++e) ends[e] += ends[e - 1];
  std::vector<std::int64_t>& begins = ends;  // of expert e now; its end when all are placed
  for (std::int64_t i = 0; i < n_row_ * k; ++i) {
    routing_.places[static_cast<std::size_t>(i)] =
        begins[static_cast<std::size_t>(routing_.experts[static_cast<std::size_t>(i)])]++;
  }
}

// Rows of x, sorted by expert, times those experts' matrices. x is turned first where they want it.
void CpuOps::multiply_experts(std::span<const ExpertTerm> terms, Rows x, const FfnSpec& spec) {
  std::vector<MatmulGroup>& groups = routing_.groups;
  std::vector<MatmulTerm>& all = routing_.terms;
  groups.clear();
  all.clear();
  const std::int64_t n_pair = routing_.ends[static_cast<std::size_t>(spec.n_expert) - 1];
  if (const Hadamard* hadamard = terms[0].experts[0].hadamard) {
    for_rows(backend_.executor(), n_pair, [&](std::int64_t i) {
      float* row = data(x, i);
      if (!hadamard->signs.empty()) kernels_->multiply(row, hadamard->signs.data(), x.width, row);
      kernels_->hadamard(row, x.width, hadamard->block);
    });
  }
  std::int64_t begin = 0;
  for (std::int64_t e = 0; e < spec.n_expert; ++e) {
    const std::int64_t end = routing_.ends[static_cast<std::size_t>(e)];
    if (end == begin) continue;
    const std::size_t first = all.size();
    for (const ExpertTerm& term : terms) {
      const std::int64_t tensor = (e + spec.expert_shift) % spec.n_expert;
      const PackedMatrix& matrix = term.experts[static_cast<std::size_t>(tensor)].matrix;
      all.push_back({&matrix, data(term.y, begin), matrix.rows()});
    }
    groups.push_back({std::span(all).subspan(first), data(x, begin), x.width, end - begin});
    begin = end;
  }
  matmul_groups(groups, activations_, {matmul_workspace_.data(), matmul_workspace_.size()}, *products_,
                backend_.executor());
  for (const ExpertTerm& term : terms) scale_product(term.experts[0], data(term.y), n_pair);
}

// bias: of each expert's product, one behind the other; or none.
void CpuOps::add_expert_bias(const FfnSpec& spec, const std::vector<float>& bias, Rows y) {
  if (bias.empty()) return;
  for_rows(backend_.executor(), n_row_ * spec.n_used, [&](std::int64_t pair) {
    const auto i = static_cast<std::size_t>(pair);
    const std::int64_t tensor = (routing_.experts[i] + spec.expert_shift) % spec.n_expert;
    kernels_->add(data(y, routing_.places[i]), bias.data() + tensor * y.width, y.width);
  });
}

void CpuOps::run_experts(std::size_t layer, const FfnSpec& spec, const LayerWeights& weights, Rows router, Rows x,
                         Rows out) {
  route(spec, weights, router);
  tap(Stage::kRouter, layer, router);
  show_chosen(layer, spec);
  const std::int64_t k = spec.n_used, n_pair = n_row_ * k;
  const auto n_bytes = static_cast<std::size_t>(x.width) * sizeof(float);
  const Rows pairs{Slot::kExperts, x.width}, gate{Slot::kGate, spec.n_ff}, up{Slot::kUp, spec.n_ff};
  const ExpertTerm in[] = {{weights.experts(W::kExpertGate), spec.up_gates ? up : gate},
                           {weights.experts(W::kExpertUp), spec.up_gates ? gate : up}};
  const ExpertTerm down{weights.experts(W::kExpertDown), pairs};
  const auto gather = [&] {
    for_rows(backend_.executor(), n_row_, [&](std::int64_t row) {
      for (std::int64_t i = row * k; i < (row + 1) * k; ++i) {
        std::memcpy(data(pairs, routing_.places[static_cast<std::size_t>(i)]), data(x, row), n_bytes);
      }
    });
  };
  gather();
  if (in[0].experts[0].hadamard == in[1].experts[0].hadamard) {
    multiply_experts(in, pairs, spec);
  } else {
    multiply_experts({&in[0], 1}, pairs, spec);
    gather();
    multiply_experts({&in[1], 1}, pairs, spec);
  }
  add_expert_bias(spec, weights.vector_if(spec.biases, W::kExpertGateBias), in[0].y);
  add_expert_bias(spec, weights.vector_if(spec.biases, W::kExpertUpBias), in[1].y);
  show_experts(layer, spec, gate, Stage::kGate);
  show_experts(layer, spec, up, Stage::kUp);
  gate_rows(spec, gate, up, n_pair);
  show_experts(layer, spec, gate, Stage::kAct);
  multiply_experts({&down, 1}, gate, spec);
  add_expert_bias(spec, weights.vector_if(spec.biases, W::kExpertDownBias), pairs);
  for_rows(backend_.executor(), n_row_, [&](std::int64_t row) {
    float* y = data(out, row);
    std::memset(y, 0, n_bytes);
    for (std::int64_t i = row * k; i < (row + 1) * k; ++i) {
      kernels_->add_scaled(y, data(pairs, routing_.places[static_cast<std::size_t>(i)]),
                           routing_.probabilities[static_cast<std::size_t>(i)], out.width);
    }
  });
}

void CpuOps::add_gated(Rows out, Rows y, Rows gate) {
  for_rows(backend_.executor(), n_row_, [&](std::int64_t row) {
    const float one = 1.0f;
    float* factor = data(gate, row);
    kernels_->gate_sigmoid(factor, &one, 1);
    kernels_->add_scaled(data(out, row), data(y, row), *factor, out.width);
  });
}

}  // namespace rowmax::engine
