#include "engine/ops/matmul/matmul.h"

#include <algorithm>
#include <iterator>
#include <new>
#include <type_traits>

#include "base/check.h"
#include "base/fp_env.h"
#include "engine/ops/matmul/panel.h"

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
// Tokens of one task: their rounded activations stay in the second-level cache while panels pass by. Tasks are about as
// wide: each unpacks its panels for itself.
std::int64_t task_tokens(std::int64_t n_tok, int token_group) noexcept {
  const std::int64_t n_tasks = (n_tok + panel::kTaskTokens - 1) / panel::kTaskTokens;
  return round_up((n_tok + n_tasks - 1) / n_tasks, token_group);
}
static_assert(panel::kTaskTokens % 4 == 0 && panel::kTaskTokens % 12 == 0 && panel::kTaskTokens % 16 == 0);
// Fewer tokens than this are rounded by the calling thread.
constexpr std::int64_t kParallelRoundTokens = 16;

std::int64_t padded_tokens(std::int64_t n_tok) noexcept {
  return n_tok < kTokenStep ? n_tok : round_up(n_tok, kTokenStep);
}

struct Rounded {
  Int8Activations blocks{};
  TokenActivations by_token{};
};

// Takes what n_padded tokens (n_few of them in groups of at most kTokenStep) of n_tiles tiles need.
template <class Take>
void carve(std::int64_t n_padded, std::int64_t n_few, std::int64_t n_tiles, Rounded& act, Take&& take) noexcept {
  const auto n_blocks = static_cast<std::size_t>(n_padded * n_tiles);
  Int8Activations& blocks = act.blocks;
  blocks.codes = reinterpret_cast<std::int8_t*>(take(n_blocks * panel::kMostCodeBytes));
  blocks.scales = reinterpret_cast<float*>(take(n_blocks * sizeof(float)));
  blocks.sums = reinterpret_cast<float*>(take(n_blocks * sizeof(float)));
  for (auto& correction : blocks.corrections) {
    correction = reinterpret_cast<std::int32_t*>(take(n_blocks * sizeof(std::int32_t)));
  }
  const auto n_looked_up = static_cast<std::size_t>(n_few * n_tiles);
  for (int lut = 0; lut < panel::kLuts; ++lut) {
    blocks.luts[lut] =
        reinterpret_cast<std::uint8_t*>(take(n_looked_up * static_cast<std::size_t>(panel::kLutBytes[lut])));
  }
  blocks.lut_starts = reinterpret_cast<std::int32_t*>(take(n_looked_up * sizeof(std::int32_t)));
  TokenActivations& by_token = act.by_token;
  by_token.codes = reinterpret_cast<std::int8_t*>(take(n_blocks * kTile));
  by_token.scales = reinterpret_cast<float*>(take(static_cast<std::size_t>(n_padded) * sizeof(float)));
  by_token.sums = reinterpret_cast<std::int32_t*>(take(static_cast<std::size_t>(n_padded) * sizeof(std::int32_t)));
}

constexpr std::size_t kLine = 64;
constexpr std::size_t whole_lines(std::size_t n_bytes) noexcept { return (n_bytes + kLine - 1) / kLine * kLine; }

// Lays out the workspace of one group; `base` may be null to learn the size alone.
std::size_t lay_out(std::byte* base, std::int64_t n_tok, std::int64_t cols, Rounded& act) noexcept {
  const std::int64_t n_tiles = round_up(cols, kTile) / kTile, n_padded = padded_tokens(n_tok);
  act.blocks.n_tok = act.by_token.n_tok = n_tok;
  act.blocks.n_tiles = act.by_token.n_tiles = n_tiles;
  std::size_t used = 0;
  carve(n_padded, std::min<std::int64_t>(n_padded, kTokenStep), n_tiles, act, [&](std::size_t n_bytes) {
    std::byte* at = base == nullptr ? nullptr : base + used;
    used += whole_lines(n_bytes);
    return at;
  });
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

// One group of a call, as its tasks need it. Lies on the stack or in the workspace.
struct Call {
  std::span<const MatmulTerm> terms;
  const float* x;
  std::int64_t ldx, n_tok;
  Activations activations;
  const panel::Kernels* kernels;
  Rounded rounded;
  bool any_blocks, any_by_token;  // kinds of rounded activations that the terms need
  unsigned luts;
  std::int64_t n_panel_tasks;                 // of all terms, for the same tokens
  std::int64_t rounding_begin, panels_begin;  // its first task among those of all groups

  std::int64_t n_token_groups() const noexcept {
    return any_blocks || any_by_token ? (n_tok + kernels->token_group - 1) / kernels->token_group : 0;
  }
  std::int64_t task_width() const noexcept { return task_tokens(n_tok, kernels->token_group); }
  std::int64_t n_token_tasks() const noexcept { return (n_tok + task_width() - 1) / task_width(); }

  const panel::PanelKernels& row(const MatmulTerm& term) const noexcept {
    return kernels->panels[term.weights->layout()];
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

  void round(std::int64_t token_group) const noexcept {
    if (any_blocks) kernels->round(x, ldx, rounded.blocks, token_group, token_group + 1);
    if (any_by_token) kernels->round_by_token(x, ldx, rounded.by_token, token_group, token_group + 1);
    // Only where the tokens are few, and then all of them are in this group.
    if (luts != 0) kernels->build_luts(rounded.blocks, luts);
  }

  void run_panels(std::int64_t task) const noexcept {
    std::int64_t panel_task = task % n_panel_tasks;
    const std::int64_t token_begin = task / n_panel_tasks * task_width();
    const std::int64_t token_end = std::min(token_begin + task_width(), n_tok);
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
      job.book = weights.book();
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

// What the terms need of the rounded activations, each kind once.
void choose_rounding(Call& call) noexcept {
  unsigned corrections = 0;
  for (const MatmulTerm& term : call.terms) {
    const panel::Rounding rounding = rounding_of(call.row(term), call.activations);
    if (rounding == panel::Rounding::kBlocks) {
      if (looks_up(*term.weights, call.n_tok, call.row(term))) {
        call.luts |= 1u << call.row(term).lut;
      } else {
        corrections |= call.corrections(term);
      }
    }
    call.any_blocks = call.any_blocks || rounding == panel::Rounding::kBlocks;
    call.any_by_token = call.any_by_token || rounding == panel::Rounding::kByToken;
  }
  Int8Activations& blocks = call.rounded.blocks;
  for (int i = 0; i < panel::kCorrections; ++i) {
    if ((corrections >> i & 1u) == 0) {
      blocks.corrections[i] = nullptr;
    } else if (panel::kCorrectionTable[i].group < kTile) {
      blocks.half_sums = true;
    }
  }
}

// Terms share the rounded activations, so that all take the same kernels: those for fewer tokens only where no term has
// enough of them. Exact terms do not care.
const panel::Kernels& kernels_of_call(const panel::Kernels& table, std::span<const MatmulTerm> terms,
                                      std::int64_t n_tok) noexcept {
  if (table.for_fewer == nullptr) return table;
  for (const MatmulTerm& term : terms) {
    const panel::PanelKernels& row = table.panels[term.weights->layout()];
    if (row.rounding != panel::Rounding::kNone && n_tok >= row.min_tokens) return table;
  }
  return *table.for_fewer;
}

void check_group(const MatmulGroup& group) noexcept {
  for (const MatmulTerm& term : group.terms) {
    ROWMAX_CHECK(term.weights != nullptr && !term.weights->empty() && term.y != nullptr, "matmul: an empty term");
    ROWMAX_CHECK(term.weights->cols() == group.terms[0].weights->cols(), "matmul: terms of different cols");
    ROWMAX_CHECK(term.ldy >= term.weights->rows(), "matmul: ldy below the rows");
  }
  ROWMAX_CHECK(group.ldx >= group.terms[0].weights->cols(), "matmul: ldx below the cols");
  ROWMAX_CHECK(group.n_tok > 0 && group.x != nullptr, "matmul: no input");
}

// memory: matmul_workspace_bytes for the group, aligned to 64.
Call make_call(const panel::Kernels& table, const MatmulGroup& group, Activations activations,
               std::byte* memory) noexcept {
  Call call{};
  call.terms = group.terms;
  call.x = group.x;
  call.ldx = group.ldx;
  call.n_tok = group.n_tok;
  call.activations = activations;
  call.kernels = &kernels_of_call(table, group.terms, group.n_tok);
  lay_out(memory, group.n_tok, group.terms[0].weights->cols(), call.rounded);
  call.rounded.blocks.group = call.rounded.by_token.group = call.kernels->token_group;
  choose_rounding(call);
  for (const MatmulTerm& term : group.terms) call.n_panel_tasks += call.n_tasks(term);
  return call;
}

// The call that a task is of, by the number of its first one.
template <std::int64_t Call::*kBegin>
const Call& call_of(std::span<const Call> calls, std::int64_t task) noexcept {
  return *std::prev(std::upper_bound(calls.begin(), calls.end(), task,
                                     [](std::int64_t number, const Call& call) { return number < call.*kBegin; }));
}

// Rounds the inputs of all calls, then multiplies: the threads meet twice, or once where the caller's thread rounds.
void run_calls(std::span<Call> calls, Executor& executor) noexcept {
  std::int64_t n_tok = 0, n_roundings = 0, n_tasks = 0;
  for (Call& call : calls) {
    call.rounding_begin = n_roundings;
    call.panels_begin = n_tasks;
    n_tok += call.n_tok;
    n_roundings += call.n_token_groups();
    n_tasks += call.n_panel_tasks * call.n_token_tasks();
  }
  if (n_tok < kParallelRoundTokens) {
    const base::ScopedFpEnv fp_env;
    for (const Call& call : calls) {
      for (std::int64_t i = 0; i < call.n_token_groups(); ++i) call.round(i);
    }
  } else if (n_roundings > 0) {
    parallel_for(executor, n_roundings, [&](std::int64_t task, int) {
      const base::ScopedFpEnv fp_env;
      const Call& call = call_of<&Call::rounding_begin>(calls, task);
      call.round(task - call.rounding_begin);
    });
  }
  parallel_for(executor, n_tasks, [&](std::int64_t task, int) {
    const base::ScopedFpEnv fp_env;
    const Call& call = call_of<&Call::panels_begin>(calls, task);
    call.run_panels(task - call.panels_begin);
  });
}

// Calls of groups lie at the start of the workspace.
std::size_t calls_bytes(std::size_t n_groups) noexcept { return whole_lines(n_groups * sizeof(Call)); }
static_assert(alignof(Call) <= kLine && std::is_trivially_destructible_v<Call>);

}  // namespace

std::size_t matmul_workspace_bytes(std::int64_t n_tok, std::int64_t cols) noexcept {
  Rounded unused;
  return n_tok < 1 || cols < 1 ? 0 : lay_out(nullptr, n_tok, cols, unused);
}

std::size_t matmul_groups_workspace_bytes(std::int64_t n_groups, std::int64_t n_rows, std::int64_t cols) noexcept {
  if (n_groups < 1 || n_rows < 1 || cols < 1) return 0;
  const std::int64_t n_used = std::min(n_groups, n_rows);
  // Groups of more than kTokenStep rows are padded by less than that.
  const std::int64_t n_padded = n_rows + (kTokenStep - 1) * std::min(n_used, n_rows / (kTokenStep + 1));
  const auto groups = static_cast<std::size_t>(n_used);
  std::size_t used = calls_bytes(static_cast<std::size_t>(n_groups));
  Rounded unused;
  carve(n_padded, std::min(n_padded, n_used * kTokenStep), round_up(cols, kTile) / kTile, unused,
        [&](std::size_t n_bytes) -> std::byte* {
          used += whole_lines(n_bytes) + groups * (kLine - 1);  // every group rounds up for itself
          return nullptr;
        });
  return whole_lines(used);
}

void matmul(std::span<const MatmulTerm> terms, const float* x, std::int64_t ldx, std::int64_t n_tok,
            Activations activations, std::span<std::byte> workspace, const panel::Kernels& kernels,
            Executor& executor) noexcept {
  if (terms.empty() || n_tok == 0) return;
  const MatmulGroup group{terms, x, ldx, n_tok};
  check_group(group);
  ROWMAX_CHECK(workspace.size() >= matmul_workspace_bytes(n_tok, terms[0].weights->cols()),
               "matmul: workspace too small");
  ROWMAX_CHECK(reinterpret_cast<std::uintptr_t>(workspace.data()) % kLine == 0, "matmul: workspace not aligned to 64");
  Call call = make_call(kernels, group, activations, workspace.data());
  run_calls({&call, 1}, executor);
}

void matmul_groups(std::span<const MatmulGroup> groups, Activations activations, std::span<std::byte> workspace,
                   const panel::Kernels& kernels, Executor& executor) noexcept {
  std::size_t n_calls = 0, used = calls_bytes(groups.size());
  auto* calls = reinterpret_cast<Call*>(workspace.data());
  ROWMAX_CHECK(reinterpret_cast<std::uintptr_t>(calls) % kLine == 0, "matmul: workspace not aligned to 64");
  for (const MatmulGroup& group : groups) {
    if (group.terms.empty() || group.n_tok == 0) continue;
    check_group(group);
    const std::size_t n_bytes = matmul_workspace_bytes(group.n_tok, group.terms[0].weights->cols());
    ROWMAX_CHECK(workspace.size() >= used + n_bytes, "matmul: workspace too small");
    new (calls + n_calls++) Call(make_call(kernels, group, activations, workspace.data() + used));
    used += n_bytes;
  }
  if (n_calls > 0) run_calls({calls, n_calls}, executor);
}

}  // namespace rowmax::engine
