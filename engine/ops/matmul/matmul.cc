#include "engine/ops/matmul/matmul.h"

#include <algorithm>

#include "base/check.h"
#include "base/fp_env.h"
#include "engine/ops/matmul/matmul_with.h"

namespace rowmax::engine {
namespace {

using panel::Int8Activations;
using panel::kTile;
using panel::kTokenStep;
using panel::round_up;
using panel::TokenActivations;

// Work of one task. Small enough to balance two threads on one layer's q, k and v; large enough that handing out tasks
// costs nothing.
constexpr std::int64_t kTaskBytes = 16 * 1024;
// Tokens of one task: their rounded activations stay in the second-level cache while panels pass by.
constexpr std::int64_t kTaskTokens = panel::kTaskTokens;
static_assert(kTaskTokens % panel::kMaxTokenGroup == 0);
// Fewer tokens than this are rounded by the calling thread.
constexpr std::int64_t kParallelRoundTokens = 16;

std::int64_t padded_tokens(std::int64_t n_tok) noexcept {
  return n_tok < kTokenStep ? n_tok : round_up(n_tok, kTokenStep);
}

struct Rounded {
  Int8Activations blocks{};
  TokenActivations by_token{};
};

// Carves the workspace; `base` may be null to learn the size alone.
std::size_t lay_out(std::byte* base, std::int64_t n_tok, std::int64_t cols, Rounded& act) noexcept {
  const std::int64_t n_tiles = round_up(cols, kTile) / kTile, n_padded = padded_tokens(n_tok);
  const auto n_blocks = static_cast<std::size_t>(n_padded * n_tiles);
  std::size_t used = 0;
  const auto take = [&](std::size_t n_bytes) {
    std::byte* at = base == nullptr ? nullptr : base + used;
    used += (n_bytes + 63) / 64 * 64;
    return at;
  };
  Int8Activations& blocks = act.blocks;
  blocks.n_tok = n_tok;
  blocks.n_tiles = n_tiles;
  blocks.codes = reinterpret_cast<std::int8_t*>(take(n_blocks * panel::kCodeBytes));
  blocks.scales = reinterpret_cast<float*>(take(n_blocks * sizeof(float)));
  blocks.sums = reinterpret_cast<float*>(take(n_blocks * sizeof(float)));
  for (auto& correction : blocks.corrections) {
    correction = reinterpret_cast<std::int32_t*>(take(n_blocks * sizeof(std::int32_t)));
  }
  const auto n_few = static_cast<std::size_t>(std::min<std::int64_t>(n_padded, kTokenStep) * n_tiles);
  for (int lut = 0; lut < panel::kLuts; ++lut) {
    blocks.luts[lut] = reinterpret_cast<std::uint8_t*>(take(n_few * static_cast<std::size_t>(panel::kLutBytes[lut])));
  }
  blocks.lut_starts = reinterpret_cast<std::int32_t*>(take(n_few * sizeof(std::int32_t)));
  TokenActivations& by_token = act.by_token;
  by_token.n_tok = n_tok;
  by_token.n_tiles = n_tiles;
  by_token.codes = reinterpret_cast<std::int8_t*>(take(n_blocks * kTile));
  by_token.scales = reinterpret_cast<float*>(take(static_cast<std::size_t>(n_padded) * sizeof(float)));
  by_token.sums = reinterpret_cast<std::int32_t*>(take(static_cast<std::size_t>(n_padded) * sizeof(std::int32_t)));
  return used;
}

panel::Rounding rounding_of(const panel::PanelKernels& row, Activations activations) noexcept {
  return activations == Activations::kInt8 ? row.rounding : panel::Rounding::kNone;
}

// Whether tables of sums take the place of multiplications.
bool looks_up(const PackedMatrix& weights, std::int64_t n_tok, const panel::PanelKernels& row) noexcept {
  return n_tok <= kTokenStep && row.few_by_lut != nullptr && weights.codes_below_3();
}

// Consecutive panels of one term that make a task.
std::int64_t panels_per_task(const PackedMatrix& weights, std::int64_t n_tok, const panel::PanelKernels& row) noexcept {
  const std::int64_t cost = weights.panel_bytes() * ((n_tok + 1) / 2);
  const int step = n_tok > kTokenStep              ? row.panel_step
                   : looks_up(weights, n_tok, row) ? row.lut_step
                                                   : row.few_tokens_step;
  return round_up(std::max<std::int64_t>(1, kTaskBytes / cost), step);
}

struct Call {
  std::span<const MatmulTerm> terms;
  const float* x;
  std::int64_t ldx, n_tok;
  Activations activations;
  const panel::Kernels& kernels;
  Rounded rounded;

  const panel::PanelKernels& row(const MatmulTerm& term) const noexcept {
    return kernels.panels[term.weights->layout()];
  }
  unsigned corrections(const MatmulTerm& term) const noexcept {
    return n_tok <= kTokenStep ? row(term).few_corrections : row(term).many_corrections;
  }
  std::int64_t task_panels(const MatmulTerm& term) const noexcept {
    return panels_per_task(*term.weights, n_tok, row(term));
  }
  std::int64_t n_tasks(const MatmulTerm& term) const noexcept {
    const std::int64_t n = task_panels(term);
    return (term.weights->n_panels() + n - 1) / n;
  }

  void run_panels(std::int64_t panel_task, std::int64_t token_begin, std::int64_t token_end) const noexcept {
    for (const MatmulTerm& term : terms) {
      const PackedMatrix& weights = *term.weights;
      const std::int64_t tasks = n_tasks(term);
      if (panel_task >= tasks) {
        panel_task -= tasks;
        continue;
      }
      const std::int64_t step = task_panels(term);
      panel::Job job{};
      job.panels = weights.panel(0);
      job.panel_bytes = weights.panel_bytes();
      job.rows = weights.rows();
      job.cols = weights.cols();
      job.panel_begin = panel_task * step;
      job.panel_end = std::min(job.panel_begin + step, weights.n_panels());
      job.token_begin = token_begin;
      job.token_end = token_end;
      job.y = term.y;
      job.ldy = term.ldy;
      job.x = x;
      job.ldx = ldx;
      job.int8 = &rounded.blocks;
      job.by_token = &rounded.by_token;
      const panel::PanelKernels& kernels_of_term = row(term);
      if (rounding_of(kernels_of_term, activations) == panel::Rounding::kNone) {
        kernels_of_term.f32(job);
      } else {
        (looks_up(weights, n_tok, kernels_of_term) ? kernels_of_term.few_by_lut
         : n_tok <= kTokenStep                     ? kernels_of_term.few
                                                   : kernels_of_term.many)(job);
      }
      return;
    }
  }
};

template <class RoundGroups>
void for_token_groups(const Call& call, Executor& executor, RoundGroups&& round_groups) noexcept {
  const std::int64_t n_groups = (call.n_tok + call.kernels.token_group - 1) / call.kernels.token_group;
  const auto round = [&](std::int64_t begin, std::int64_t end) {
    const base::ScopedFpEnv fp_env;
    round_groups(begin, end);
  };
  if (call.n_tok < kParallelRoundTokens) return round(0, n_groups);
  parallel_for(executor, n_groups, [&](std::int64_t group, int) { round(group, group + 1); });
}

// What the terms need of the rounded activations, each kind once.
void round_activations(Call& call, Executor& executor) noexcept {
  bool any_blocks = false, any_by_token = false;
  unsigned corrections = 0, luts = 0;
  for (const MatmulTerm& term : call.terms) {
    const panel::Rounding rounding = rounding_of(call.row(term), call.activations);
    if (rounding == panel::Rounding::kBlocks) {
      if (looks_up(*term.weights, call.n_tok, call.row(term))) {
        luts |= 1u << call.row(term).lut;
      } else {
        corrections |= call.corrections(term);
      }
    }
    any_blocks = any_blocks || rounding == panel::Rounding::kBlocks;
    any_by_token = any_by_token || rounding == panel::Rounding::kByToken;
  }
  Int8Activations& blocks = call.rounded.blocks;
  for (int i = 0; i < panel::kCorrections; ++i) {
    if ((corrections >> i & 1u) == 0) {
      blocks.corrections[i] = nullptr;
    } else if (panel::kCorrectionTable[i].group < kTile) {
      blocks.half_sums = true;
    }
  }
  if (any_blocks) {
    for_token_groups(call, executor, [&](std::int64_t begin, std::int64_t end) {
      call.kernels.round(call.x, call.ldx, blocks, begin, end);
    });
    if (luts != 0) call.kernels.build_luts(blocks, luts);
  }
  if (any_by_token) {
    for_token_groups(call, executor, [&](std::int64_t begin, std::int64_t end) {
      call.kernels.round_by_token(call.x, call.ldx, call.rounded.by_token, begin, end);
    });
  }
}

// Terms share the rounded activations, so that one of them can send all to other kernels.
const panel::Kernels& kernels_of_call(const panel::Kernels& table, std::span<const MatmulTerm> terms,
                                      std::int64_t n_tok) noexcept {
  for (const MatmulTerm& term : terms) {
    if (n_tok < table.panels[term.weights->layout()].min_tokens) return *table.for_fewer;
  }
  return table;
}

void check_terms(std::span<const MatmulTerm> terms, std::int64_t ldx) noexcept {
  for (const MatmulTerm& term : terms) {
    ROWMAX_CHECK(term.weights != nullptr && !term.weights->empty() && term.y != nullptr, "matmul: an empty term");
    ROWMAX_CHECK(term.weights->cols() == terms[0].weights->cols(), "matmul: terms of different cols");
    ROWMAX_CHECK(term.ldy >= term.weights->rows(), "matmul: ldy below the rows");
  }
  ROWMAX_CHECK(ldx >= terms[0].weights->cols(), "matmul: ldx below the cols");
}

}  // namespace

std::size_t matmul_workspace_bytes(std::int64_t n_tok, std::int64_t cols) noexcept {
  Rounded unused;
  return n_tok < 1 || cols < 1 ? 0 : lay_out(nullptr, n_tok, cols, unused);
}

void matmul(std::span<const MatmulTerm> terms, const float* x, std::int64_t ldx, std::int64_t n_tok,
            Activations activations, std::span<std::byte> workspace, Isa isa, Executor& executor) noexcept {
  if (terms.empty() || n_tok == 0) return;
  panel::matmul_with(panel::kernels_for(isa), terms, x, ldx, n_tok, activations, workspace, executor);
}

void panel::matmul_with(const Kernels& table, std::span<const MatmulTerm> terms, const float* x, std::int64_t ldx,
                        std::int64_t n_tok, Activations activations, std::span<std::byte> workspace,
                        Executor& executor) noexcept {
  check_terms(terms, ldx);
  const Kernels& kernels = kernels_of_call(table, terms, n_tok);
  const std::int64_t cols = terms[0].weights->cols();
  ROWMAX_CHECK(n_tok > 0 && x != nullptr, "matmul: no input");
  ROWMAX_CHECK(workspace.size() >= matmul_workspace_bytes(n_tok, cols), "matmul: workspace too small");
  ROWMAX_CHECK(reinterpret_cast<std::uintptr_t>(workspace.data()) % 64 == 0, "matmul: workspace not aligned to 64");

  Call call{terms, x, ldx, n_tok, activations, kernels, {}};
  lay_out(workspace.data(), n_tok, cols, call.rounded);
  call.rounded.blocks.group = call.rounded.by_token.group = kernels.token_group;
  round_activations(call, executor);
  std::int64_t n_panels = 0;
  for (const MatmulTerm& term : terms) n_panels += call.n_tasks(term);
  const std::int64_t n_token_tasks = (n_tok + kTaskTokens - 1) / kTaskTokens;
  parallel_for(executor, n_panels * n_token_tasks, [&](std::int64_t task, int) {
    const base::ScopedFpEnv fp_env;
    const std::int64_t begin = task / n_panels * kTaskTokens;
    call.run_panels(task % n_panels, begin, std::min(begin + kTaskTokens, n_tok));
  });
}

}  // namespace rowmax::engine
