#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <vector>

#include "base/guarded.h"
#include "engine/ops/matmul/kernel_tables.h"
#include "engine/ops/matmul/matmul.h"
#include "rowmax/engine/model.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr std::uint32_t kQ4_1 = 3;
constexpr std::int64_t kRows = 256, kCols = 512, kManyTokens = 24;
constexpr int kRepeats = 5;

struct Trial {
  PackedMatrix weights;
  std::vector<float> x, y;
  base::Buffer workspace;
};

Result<Trial> make_trial(Executor& executor) {
  const FormatInfo* format = find_format(kQ4_1);
  if (format == nullptr) return Error{ErrorCode::kUnsupported, "no format to measure with"};
  const std::vector<std::byte> zeros(static_cast<std::size_t>(kRows * format_row_bytes(*format, kCols)));
  Trial trial;
  ROWMAX_TRY(weights, pack(*format, zeros, kRows, kCols, executor));
  trial.weights = std::move(weights);
  trial.x.assign(static_cast<std::size_t>(kManyTokens * kCols), 0.5f);
  trial.y.resize(static_cast<std::size_t>(kManyTokens * kRows));
  ROWMAX_TRY(workspace, base::Buffer::allocate(matmul_workspace_bytes(kManyTokens, kCols)));
  trial.workspace = std::move(workspace);
  return trial;
}

// One batch of a prompt and as many single tokens, the best of some repeats (others may use the machine too).
double seconds(Trial& trial, const panel::KernelTable& table, Executor& executor) {
  const MatmulTerm term{&trial.weights, trial.y.data(), kRows};
  const auto run = [&](std::int64_t n_tok) {
    matmul({&term, 1}, trial.x.data(), kCols, n_tok, Activations::kInt8,
           {trial.workspace.data(), trial.workspace.size()}, table.kernels(), executor);
  };
  double best = std::numeric_limits<double>::infinity();
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    run(kManyTokens);
    for (std::int64_t i = 0; i < kManyTokens; ++i) run(1);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

Result<Isa> find_fastest(const KernelChoice& choice) {
  ROWMAX_TRY(widest, default_isa());
  ROWMAX_TRY(best, panel::choose_table(choice, widest));
  const char* variable = std::getenv("ROWMAX_ISA");
  if (!choice.force.empty() || (variable != nullptr && *variable != '\0')) return best->isa;
  SerialExecutor executor;
  ROWMAX_TRY(trial, make_trial(executor));
  double best_seconds = seconds(trial, *best, executor);
  const Isa highest = best->isa;
  for (const Isa isa : supported_isas()) {
    if (isa >= highest || isa == Isa::kScalar) continue;
    ROWMAX_TRY(table, panel::choose_table(choice, isa));
    if (table->isa != isa) continue;  // nothing is left of it
    const double candidate = seconds(trial, *table, executor);
    if (candidate >= best_seconds) continue;
    best = table;
    best_seconds = candidate;
  }
  return best->isa;
}

}  // namespace

Result<Isa> fastest_isa(const KernelChoice& choice) {
  return base::guarded([&] { return find_fastest(choice); });
}

}  // namespace rowmax::engine
