#include "engine/ops/matmul/matmul.h"

#include <algorithm>

#include "base/check.h"
#include "base/fp_env.h"
#include "engine/ops/matmul/panel.h"

namespace rowmax::engine {
namespace {

using panel::Int8Activations;
using panel::kTile;
using panel::kTokenStep;
using panel::round_up;

// Work of one task. Small enough to balance two threads on one layer's q, k and v; large enough that handing out tasks
// costs nothing.
constexpr std::int64_t kTaskBytes = 16 * 1024;
// Tokens of one task: their rounded activations stay in the second-level cache while panels pass by.
constexpr std::int64_t kTaskTokens = 240;
static_assert(kTaskTokens % panel::kMaxTokenGroup == 0);
// Fewer tokens than this are rounded by the calling thread.
constexpr std::int64_t kParallelRoundTokens = 16;

const panel::Kernels& kernels_for(Isa isa) noexcept {
  struct Row {
    Isa isa;
    const panel::Kernels& (*kernels)() noexcept;
  };
  static constexpr Row kRows[] = {
    {Isa::kScalar, &panel::kernels_scalar},
#if defined(__x86_64__)
    {Isa::kAvx2, &panel::kernels_avx2},
    {Isa::kAvx512, &panel::kernels_avx512},
#elif defined(__aarch64__)
    {Isa::kNeon, &panel::kernels_neon},
#endif
  };
  for (const Row& row : kRows) {
    if (row.isa == isa) return row.kernels();
  }
  ROWMAX_CHECK(false, "matmul: an instruction set that this build has no kernels for");
  return kRows[0].kernels();
}

std::int64_t padded_tokens(std::int64_t n_tok) noexcept {
  return n_tok < kTokenStep ? n_tok : round_up(n_tok, kTokenStep);
}

// Carves the workspace; `base` may be null to learn the size alone.
std::size_t lay_out(std::byte* base, std::int64_t n_tok, std::int64_t cols, Int8Activations& act) noexcept {
  const std::int64_t n_tiles = round_up(cols, kTile) / kTile;
  const auto n_blocks = static_cast<std::size_t>(padded_tokens(n_tok) * n_tiles);
  std::size_t used = 0;
  const auto take = [&](std::size_t n_bytes) {
    std::byte* at = base == nullptr ? nullptr : base + used;
    used += (n_bytes + 63) / 64 * 64;
    return at;
  };
  act.n_tok = n_tok;
  act.n_tiles = n_tiles;
  act.codes = reinterpret_cast<std::int8_t*>(take(n_blocks * panel::kCodeBytes));
  act.scales = reinterpret_cast<float*>(take(n_blocks * sizeof(float)));
  act.sums = reinterpret_cast<float*>(take(n_blocks * sizeof(float)));
  for (auto& correction : act.corrections) {
    correction = reinterpret_cast<std::int32_t*>(take(n_blocks * sizeof(std::int32_t)));
  }
  return used;
}

bool uses_int8(const panel::Kernels& kernels, const MatmulTerm& term, Activations activations) noexcept {
  return activations == Activations::kInt8 && kernels.panels[term.weights->layout()].int8 != nullptr;
}

// Consecutive panels of one term that make a task.
std::int64_t panels_per_task(const PackedMatrix& weights, std::int64_t n_tok) noexcept {
  const std::int64_t cost = weights.panel_bytes() * ((n_tok + 1) / 2);
  return std::max<std::int64_t>(1, kTaskBytes / cost);
}
std::int64_t n_panel_tasks(const PackedMatrix& weights, std::int64_t n_tok) noexcept {
  const std::int64_t n = panels_per_task(weights, n_tok);
  return (weights.n_panels() + n - 1) / n;
}

struct Call {
  std::span<const MatmulTerm> terms;
  const float* x;
  std::int64_t ldx, n_tok;
  Activations activations;
  const panel::Kernels& kernels;
  Int8Activations int8;

  void run_panels(std::int64_t panel_task, std::int64_t token_begin, std::int64_t token_end) const noexcept {
    for (const MatmulTerm& term : terms) {
      const PackedMatrix& weights = *term.weights;
      const std::int64_t tasks = n_panel_tasks(weights, n_tok);
      if (panel_task >= tasks) {
        panel_task -= tasks;
        continue;
      }
      const std::int64_t step = panels_per_task(weights, n_tok);
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
      job.int8 = &int8;
      const panel::PanelKernels& row = kernels.panels[weights.layout()];
      (uses_int8(kernels, term, activations) ? row.int8 : row.f32)(job);
      return;
    }
  }
};

void round_activations(const Call& call, Executor& executor) noexcept {
  const std::int64_t n_groups = (call.n_tok + call.int8.group - 1) / call.int8.group;
  const auto round = [&](std::int64_t begin, std::int64_t end) {
    const base::ScopedFpEnv fp_env;
    call.kernels.round(call.x, call.ldx, call.int8, begin, end);
  };
  if (call.n_tok < kParallelRoundTokens) return round(0, n_groups);
  parallel_for(executor, n_groups, [&](std::int64_t group, int) { round(group, group + 1); });
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
  Int8Activations unused;
  return n_tok < 1 || cols < 1 ? 0 : lay_out(nullptr, n_tok, cols, unused);
}

void matmul(std::span<const MatmulTerm> terms, const float* x, std::int64_t ldx, std::int64_t n_tok,
            Activations activations, std::span<std::byte> workspace, Isa isa, Executor& executor) noexcept {
  if (terms.empty() || n_tok == 0) return;
  check_terms(terms, ldx);
  const std::int64_t cols = terms[0].weights->cols();
  ROWMAX_CHECK(n_tok > 0 && x != nullptr, "matmul: no input");
  ROWMAX_CHECK(workspace.size() >= matmul_workspace_bytes(n_tok, cols), "matmul: workspace too small");
  ROWMAX_CHECK(reinterpret_cast<std::uintptr_t>(workspace.data()) % 64 == 0, "matmul: workspace not aligned to 64");

  Call call{terms, x, ldx, n_tok, activations, kernels_for(isa), {}};
  lay_out(workspace.data(), n_tok, cols, call.int8);
  call.int8.group = call.kernels.token_group;
  bool any_int8 = false;
  unsigned corrections = 0;
  std::int64_t n_panels = 0;
  for (const MatmulTerm& term : terms) {
    if (uses_int8(call.kernels, term, activations)) {
      any_int8 = true;
      corrections |= call.kernels.panels[term.weights->layout()].corrections;
    }
    n_panels += n_panel_tasks(*term.weights, n_tok);
  }
  for (int i = 0; i < panel::kCorrections; ++i) {
    if ((corrections >> i & 1u) == 0) {
      call.int8.corrections[i] = nullptr;
    } else if (panel::kCorrectionTable[i].group < kTile) {
      call.int8.half_sums = true;
    }
  }
  if (any_int8) round_activations(call, executor);
  const std::int64_t n_token_tasks = (n_tok + kTaskTokens - 1) / kTaskTokens;
  parallel_for(executor, n_panels * n_token_tasks, [&](std::int64_t task, int) {
    const base::ScopedFpEnv fp_env;
    const std::int64_t begin = task / n_panels * kTaskTokens;
    call.run_panels(task % n_panels, begin, std::min(begin + kTaskTokens, n_tok));
  });
}

}  // namespace rowmax::engine
