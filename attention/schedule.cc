#include "attention/schedule.h"

namespace rowmax::attention {
namespace {

constexpr std::size_t kAlignment = 64;
// Sequences with at most this many rows a kv head may be computed split by split.
constexpr std::int64_t kMaxStoredRows = 16;
// Tasks wanted for each worker, so that none waits long for the last.
constexpr std::int64_t kTasksPerWorker = 4;

std::size_t rounded(std::size_t bytes) noexcept { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }
std::int64_t divide_up(std::int64_t a, std::int64_t b) noexcept { return (a + b - 1) / b; }

// The splits in which some query of the sequence may see a key; empty: begin == end.
void visible_splits(const PlanSequence& s, std::int64_t* begin, std::int64_t* end) noexcept {
  // Looking at every query is cheap beside computing them, and unneeded where there are many.
  std::int64_t first = s.kv_begin;
  std::int64_t last = s.kv_end;
  if (s.n_q <= kMaxStoredRows) {
    first = s.kv_end;
    last = s.kv_begin;
    for (std::int64_t i = 0; i < s.n_q; ++i) {
      const RowSpans spans = row_spans(s, i);
      if (spans.end0 <= spans.begin0) continue;
      first = min_i64(first, spans.begin0);
      last = max_i64(last, max_i64(spans.end0, spans.end1));
    }
  }
  *begin = *end = 0;
  if (last <= first) return;
  *begin = (first - s.anchor) / kSplitKeys;
  *end = divide_up(last - s.anchor, kSplitKeys);
}

std::int64_t max_stored_rows(std::int64_t group) noexcept { return group > kMaxStoredRows ? group : kMaxStoredRows; }

}  // namespace

std::int64_t o_stride_of(std::int64_t v_dim) noexcept { return divide_up(v_dim, 16) * 16; }
std::int64_t partial_stride_of(std::int64_t v_dim, bool f64) noexcept {
  return o_stride_of(v_dim) * (f64 ? 2 : 1) + 16;
}

std::size_t place_scratch(std::byte* base, std::int64_t rows, const ScheduleShape& shape, Scratch* scratch) noexcept {
  std::size_t at = 0;
  const auto take = [&](auto** pointer, std::int64_t count) {
    using Type = std::remove_reference_t<decltype(**pointer)>;
    if (base != nullptr) *pointer = reinterpret_cast<Type*>(base + at);
    const std::size_t width = std::is_same_v<Type, float> && shape.f64 ? sizeof(double) : sizeof(Type);
    at += rounded(static_cast<std::size_t>(count) * width);
  };
  const std::int64_t rows16 = divide_up(rows, 16) * 16;
  const std::int64_t o_stride = o_stride_of(shape.v_dim);
  Scratch unused{};
  Scratch& s = scratch != nullptr ? *scratch : unused;
  take(&s.q, rows * shape.k_dim);
  take(&s.s, rows * kKeyTile);
  take(&s.bias, shape.has_bias ? rows * kKeyTile : 0);
  take(&s.o, rows * o_stride);
  take(&s.total, rows * o_stride);
  take(&s.k, shape.k_dim * kKeyTile);
  take(&s.v, kKeyTile * o_stride);
  take(&s.l, rows * 16);
  take(&s.m, rows16 + 16);
  take(&s.alpha, rows16 + 16);
  take(&s.total_m, rows);
  take(&s.total_l, rows);
  take(&s.flags, rows);
  take(&s.total_flags, rows);
  take(&s.words, rows);
  take(&s.spans, rows);
  return at;
}

Schedule make_schedule(const MaskPlan::Impl& plan, const ScheduleShape& shape, SequenceTasks* tasks) noexcept {
  const std::int64_t group = plan.n_head / plan.n_kv_head;
  // Cost in rows times splits: what one worker should get at a time.
  std::int64_t total_cost = 0;
  std::int64_t total_rows = 0;
  for (std::int64_t k = 0; k < plan.n_sequences; ++k) {
    const PlanSequence& s = plan.sequences[k];
    std::int64_t begin, end;
    visible_splits(s, &begin, &end);
    // A block of few rows waits for memory: it costs as much as one of eight.
    total_cost += max_i64(s.n_q * group, 8) * (end - begin) * plan.n_kv_head;
    total_rows += s.n_q * group * plan.n_kv_head;
  }
  const std::int64_t n_wanted = shape.concurrency * kTasksPerWorker;
  std::int64_t block_rows = kMaxRows;
  while (block_rows > 12 && divide_up(total_rows, block_rows) < n_wanted) block_rows /= 2;

  Schedule schedule;
  for (std::int64_t k = 0; k < plan.n_sequences; ++k) {
    const PlanSequence& s = plan.sequences[k];
    SequenceTasks t{};
    t.first_task = schedule.n_tasks;
    t.rows = s.n_q * group;
    visible_splits(s, &t.split_begin, &t.split_end);
    const std::int64_t n_splits = t.split_end - t.split_begin;
    const bool few = s.n_q > 0 && t.rows <= max_stored_rows(group) && t.rows <= kMaxRows;
    t.stored = few && shape.concurrency > 1 && n_splits > 1 && max_i64(t.rows, 8) * n_splits * n_wanted > total_cost;
    t.block_rows = few ? t.rows : block_rows;
    if (t.stored) {
      t.tasks_per_head = n_splits;
      t.partial_offset = schedule.partial_floats;
      t.first_counter = schedule.n_counters;
      schedule.partial_floats += plan.n_kv_head * n_splits * t.rows * partial_stride_of(shape.v_dim, shape.f64);
      schedule.n_counters += plan.n_kv_head;
    } else {
      t.tasks_per_head = t.rows == 0 ? 0 : divide_up(t.rows, t.block_rows);
    }
    if (t.rows > 0) schedule.scratch_rows = max_i64(schedule.scratch_rows, min_i64(t.rows, t.block_rows));
    schedule.n_tasks += t.tasks_per_head * plan.n_kv_head;
    if (tasks != nullptr) tasks[k] = t;
  }

  std::size_t at = 0;
  const auto place = [&](std::size_t* where, std::size_t bytes) {
    *where = at;
    at += rounded(bytes);
  };
  place(&schedule.sequences_at, static_cast<std::size_t>(plan.n_sequences) * sizeof(SequenceTasks));
  place(&schedule.counters_at, static_cast<std::size_t>(schedule.n_counters) * sizeof(std::uint32_t));
  place(&schedule.reports_at, static_cast<std::size_t>(shape.concurrency) * kCountsBytes);
  place(&schedule.partials_at, static_cast<std::size_t>(schedule.partial_floats) * sizeof(float));
  schedule.scratch_stride = place_scratch(nullptr, schedule.scratch_rows, shape, nullptr);
  place(&schedule.scratch_at, static_cast<std::size_t>(shape.concurrency) * schedule.scratch_stride);
  schedule.total_bytes = at;
  return schedule;
}

std::size_t schedule_bound(const AttendBounds& bounds, int concurrency) noexcept {
  const std::int64_t group = bounds.n_head / bounds.n_kv_head;
  const ScheduleShape shape{bounds.k_dim, bounds.v_dim, true, concurrency, bounds.arithmetic == Arithmetic::kF64};
  // Sequences are stored split by split only where one is more than 1 / n_wanted of all the work.
  const std::int64_t heads =
      min_i64(bounds.max_sequences * bounds.n_kv_head, concurrency * kTasksPerWorker + bounds.n_kv_head);
  const std::int64_t splits = divide_up(bounds.max_n_kv, kSplitKeys) + 1;
  const std::int64_t floats = heads * splits * max_stored_rows(group) * partial_stride_of(bounds.v_dim, shape.f64);
  return rounded(static_cast<std::size_t>(bounds.max_sequences) * sizeof(SequenceTasks)) +
         rounded(static_cast<std::size_t>(bounds.max_sequences * bounds.n_kv_head) * sizeof(std::uint32_t)) +
         rounded(static_cast<std::size_t>(concurrency) * kCountsBytes) +
         rounded(static_cast<std::size_t>(floats) * sizeof(float)) +
         static_cast<std::size_t>(concurrency) * place_scratch(nullptr, kMaxRows, shape, nullptr);
}

}  // namespace rowmax::attention
