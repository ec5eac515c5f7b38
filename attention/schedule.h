// How a call is cut into tasks, and where each task's scratch memory lies. Decides only who computes what: no bit of
// any result depends on it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "attention/kernels/attend/attend.h"

namespace rowmax::attention {

// One PlanSequence's share of the tasks. Tasks are numbered kv head by kv head; within a head by block of rows, or by
// split where the few rows of a sequence with many keys are computed split by split (`stored`).
struct SequenceTasks {
  std::int64_t first_task;
  std::int64_t tasks_per_head;
  std::int64_t rows;         // of one kv head: queries times group
  std::int64_t block_rows;   // rows of one block
  std::int64_t split_begin;  // splits in which some row may see a key
  std::int64_t split_end;
  std::int64_t partial_offset;  // floats, to the stored splits of head 0
  std::int64_t first_counter;   // one unfinished-splits counter for each kv head
  bool stored;
};

// Of one worker's BlockCounts: cache lines of its own.
inline constexpr std::size_t kCountsBytes = (sizeof(BlockCounts) + 63) / 64 * 64;

// Byte offsets of everything in the workspace.
struct Schedule {
  std::int64_t n_tasks = 0;
  std::int64_t scratch_rows = 0;  // most rows of a block
  std::int64_t partial_floats = 0;
  std::int64_t n_counters = 0;
  std::size_t sequences_at = 0;  // SequenceTasks[n_sequences]
  std::size_t counters_at = 0;   // std::uint32_t[n_counters]
  std::size_t reports_at = 0;    // BlockCounts, kCountsBytes apart, of each worker
  std::size_t partials_at = 0;
  std::size_t scratch_at = 0;
  std::size_t scratch_stride = 0;  // of one worker
  std::size_t total_bytes = 0;
};

struct ScheduleShape {
  std::int64_t k_dim = 0;
  std::int64_t v_dim = 0;
  bool has_bias = false;
  int concurrency = 1;
  bool f64 = false;  // scratch and stored splits hold doubles
};

// tasks: n_sequences of them to fill, or nullptr to find the sizes alone.
Schedule make_schedule(const MaskPlan::Impl& plan, const ScheduleShape& shape, SequenceTasks* tasks) noexcept;

// Bytes for any call within the bounds.
std::size_t schedule_bound(const AttendBounds& bounds, int concurrency) noexcept;

std::int64_t o_stride_of(std::int64_t v_dim) noexcept;
// Floats of a stored row; doubles take two each.
std::int64_t partial_stride_of(std::int64_t v_dim, bool f64 = false) noexcept;

// Scratch of one worker for blocks of `rows` rows; base nullptr finds the size alone.
std::size_t place_scratch(std::byte* base, std::int64_t rows, const ScheduleShape& shape, Scratch* scratch) noexcept;

}  // namespace rowmax::attention
