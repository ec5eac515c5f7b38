// Calls fn(row) for each row, or fn(sequence, begin, end) for pieces of each sequence's channels, on the executor's threads
// where there are many.
#pragma once

#include <algorithm>
#include <cstddef>
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

template <class Fn>
void for_channels(Executor& executor, std::int64_t n_sequence, std::int64_t n_channel, Fn fn) {
  // Enough that handing them out costs nothing, few enough to share one token's among threads.
  constexpr std::int64_t kChannelsATask = 512;
  const std::int64_t n_piece = (n_channel + kChannelsATask - 1) / kChannelsATask;
  parallel_for(executor, n_sequence * n_piece, [&](std::int64_t task, int) {
    const base::ScopedFpEnv environment;
    const std::int64_t begin = task % n_piece * kChannelsATask;
    fn(static_cast<std::size_t>(task / n_piece), begin, std::min(begin + kChannelsATask, n_channel));
  });
}

}  // namespace rowmax::engine
