// Calls fn(row) for each row, on the executor's threads where there are many.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/fp_env.h"
#include "rowmax/executor.h"

namespace rowmax::engine {

template <class Fn>
void for_rows(Executor& executor, std::int64_t n_row, Fn fn) {
  // A few rows are not worth waking other threads for.
  constexpr std::int64_t kRowsATask = 8;
  if (n_row <= kRowsATask / 2) {
    const base::ScopedFpEnv environment;
    for (std::int64_t row = 0; row < n_row; ++row) fn(row);
    return;
  }
  parallel_for(executor, (n_row + kRowsATask - 1) / kRowsATask, [&](std::int64_t task, int) {
    const base::ScopedFpEnv environment;
    const std::int64_t end = std::min(n_row, (task + 1) * kRowsATask);
    for (std::int64_t row = task * kRowsATask; row < end; ++row) fn(row);
  });
}

}  // namespace rowmax::engine
