// Validates a call, cuts it into tasks, runs the chosen kernel over them.
#include <atomic>
#include <cmath>
#include <string>

#include "attention/kernels/attend_f64/attend_f64.h"
#include "attention/layout_checks.h"
#include "attention/output_checks.h"
#include "attention/probe.h"
#include "attention/schedule.h"
#include "base/fp_env.h"
#include "rowmax/attention.h"
#include "rowmax/try.h"

namespace rowmax {
namespace attention {
namespace {

std::string found(const char* what, std::int64_t expected, std::int64_t actual) {
  return std::string(what) + ": expected " + std::to_string(expected) + ", found " + std::to_string(actual);
}

std::string name_of(const PlanSequence& s) { return "sequence " + std::to_string(s.source); }

bool has_distance_bias(const AttendArgs& args) noexcept {
  return args.alibi_slopes != nullptr || args.relative_bias.table != nullptr;
}

bool has_bias(const AttendArgs& args) noexcept {
  if (has_distance_bias(args)) return true;
  for (const KvSequence& s : args.sequences) {
    if (s.bias != nullptr) return true;
  }
  return false;
}

// Multiply-adds below which other threads cost more than they give: waking one takes tens of microseconds.
constexpr std::int64_t kSerialWork = std::int64_t{1} << 18;

// Concurrency 1: all on the calling thread.
ScheduleShape shape_of(const AttendArgs& args, const MaskPlan::Impl& plan, int concurrency) noexcept {
  std::int64_t pairs = 0;
  for (std::int64_t k = 0; k < plan.n_sequences && pairs < kSerialWork; ++k) {
    const PlanSequence& s = plan.sequences[k];
    pairs += min_i64(s.n_q * plan.n_head, kSerialWork) * min_i64(max_i64(s.kv_end - s.kv_begin, 1), kSerialWork);
  }
  if (min_i64(pairs, kSerialWork) * max_i64(args.kv.k_dim + args.kv.v_dim, 1) < kSerialWork) concurrency = 1;
  return {args.kv.k_dim, args.kv.v_dim, has_bias(args), concurrency, args.arithmetic == Arithmetic::kF64};
}

Status check_views(const AttendArgs& args, const MaskPlan::Impl& plan) {
  if (args.q.space != MemorySpace::kHost || args.kv.space != MemorySpace::kHost ||
      args.out.space != MemorySpace::kHost || args.stream != nullptr) {
    return Error::unsupported("attend: only host memory is supported, without a stream");
  }
  ROWMAX_RETURN_IF_ERROR(check_layout(args));
  if (args.q.n_head != plan.n_head) return Error::invalid_argument(found("q heads", plan.n_head, args.q.n_head));
  const bool has_out = args.partial.o == nullptr;
  if (has_out && args.out.n_head != plan.n_head) {
    return Error::invalid_argument(found("out heads", plan.n_head, args.out.n_head));
  }
  if (args.kv.n_kv_head != plan.n_kv_head) {
    return Error::invalid_argument(found("kv heads", plan.n_kv_head, args.kv.n_kv_head));
  }
  ROWMAX_RETURN_IF_ERROR(check_scales(args.kv));
  if (args.kv.k_dim < 1 || args.kv.v_dim < 1 || args.kv.k_dim > 65536 || args.kv.v_dim > 65536) {
    return Error::invalid_argument("head size: expected 1 to 65536, found k_dim " + std::to_string(args.kv.k_dim) +
                                   ", v_dim " + std::to_string(args.kv.v_dim));
  }
  if (args.q.n_dim != args.kv.k_dim) return Error::invalid_argument(found("q head size", args.kv.k_dim, args.q.n_dim));
  if (has_out && args.out.n_dim != args.kv.v_dim) {
    return Error::invalid_argument(found("out head size", args.kv.v_dim, args.out.n_dim));
  }
  const bool f64 = args.arithmetic == Arithmetic::kF64;
  if (!std::isfinite(f64 ? args.scale : static_cast<float>(args.scale))) {
    return Error::invalid_argument("scale is not finite");
  }
  if (!(args.softcap >= 0.0f) || std::isinf(args.softcap)) {
    return Error::invalid_argument("softcap is not finite or negative");
  }
  if (static_cast<std::int64_t>(args.sequences.size()) != plan.n_sources) {
    return Error::invalid_argument(
        found("K/V sequences", plan.n_sources, static_cast<std::int64_t>(args.sequences.size())));
  }
  return {};
}

Status check_sequences(const AttendArgs& args, const MaskPlan::Impl& plan) {
  for (std::int64_t k = 0; k < plan.n_sequences; ++k) {
    const PlanSequence& s = plan.sequences[k];
    const KvSequence& kv = args.sequences[static_cast<std::size_t>(s.source)];
    if (s.n_q == 0) continue;
    const bool has_out = args.partial.o == nullptr;
    if (s.q_begin + s.n_q > args.q.n_row || (has_out && s.q_begin + s.n_q > args.out.n_row)) {
      return Error::invalid_argument(name_of(s) + ": queries end at row " + std::to_string(s.q_begin + s.n_q) +
                                     ", q has " + std::to_string(args.q.n_row) + " rows, out " +
                                     std::to_string(args.out.n_row));
    }
    if (args.q.data == nullptr || (has_out && args.out.data == nullptr)) {
      return Error::invalid_argument("q or out has no data");
    }
    if (s.kv_begin < s.kv_end && (kv.k == nullptr || kv.v == nullptr)) {
      return Error::invalid_argument(name_of(s) + ": K or V has no data");
    }
    ROWMAX_RETURN_IF_ERROR(check_pages(args, s));
  }
  return {};
}

Status check_bias(const AttendArgs& args, const MaskPlan::Impl& plan) {
  for (std::int64_t k = 0; k < plan.n_sequences; ++k) {
    const PlanSequence& s = plan.sequences[k];
    const KvSequence& kv = args.sequences[static_cast<std::size_t>(s.source)];
    if (kv.bias == nullptr) continue;
    for (std::int64_t h = 0; h < plan.n_head; ++h) {
      for (std::int64_t i = 0; i < s.n_q; ++i) {
        const RowSpans spans = row_spans(s, i);
        for (std::int64_t tile = s.anchor; tile < s.kv_end; tile += kKeyTile) {
          std::uint64_t word = spans_word(spans, tile);
          if (word != 0) word &= bitmaps_word(s, i, h, tile);
          for (; word != 0; word &= word - 1) {
            const std::int64_t j = tile + __builtin_ctzll(word);
            const double value =
                bias_at(args, kv,
                        (s.q_first + i) * args.bias.row_stride + h * args.bias.head_stride + j * args.bias.key_stride);
            if (!std::isnan(value) && value != INFINITY) continue;
            return Error::numeric_fault(std::string("bias: ") + (std::isnan(value) ? "NaN" : "+inf") + " at sequence " +
                                        std::to_string(s.source) + ", head " + std::to_string(h) + ", query " +
                                        std::to_string(s.q_first + i) + ", key " + std::to_string(j));
          }
        }
      }
    }
  }
  return {};
}

// The block of rows that task `index` of a head computes. Under a causal mask later blocks cost more: first and last
// are paired, so that equal shares of tasks are about equal work.
std::int64_t block_of(std::int64_t index, std::int64_t n_blocks) noexcept {
  return index % 2 == 0 ? index / 2 : n_blocks - 1 - index / 2;
}

// Everything a running call shares between its tasks.
struct Call {
  CallArgs kernel_args;
  const MaskPlan::Impl* plan;
  const AttendKernel* kernel;
  Schedule schedule;
  ScheduleShape shape;
  std::byte* memory;

  const SequenceTasks* tasks() const noexcept {
    return reinterpret_cast<const SequenceTasks*>(memory + schedule.sequences_at);
  }
  BlockCounts* counts(int worker) const noexcept {
    return reinterpret_cast<BlockCounts*>(memory + schedule.reports_at +
                                          static_cast<std::size_t>(worker) * kCountsBytes);
  }

  std::int64_t sequence_of(std::int64_t task) const noexcept {
    std::int64_t low = 0;
    std::int64_t high = plan->n_sequences - 1;
    while (low < high) {  // the last sequence whose first task is not after this one
      const std::int64_t middle = low + (high - low + 1) / 2;
      if (tasks()[middle].first_task <= task) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    return low;
  }

  void run_task(std::int64_t task, int worker) const noexcept {
    const base::ScopedFpEnv fp_env;
    const std::int64_t k = sequence_of(task);
    const SequenceTasks& t = tasks()[k];
    const std::int64_t head = (task - t.first_task) / t.tasks_per_head;
    const std::int64_t index = (task - t.first_task) % t.tasks_per_head;
    Scratch scratch;
    place_scratch(memory + schedule.scratch_at + static_cast<std::size_t>(worker) * schedule.scratch_stride,
                  schedule.scratch_rows, shape, &scratch);
    BlockArgs block{};
    block.sequence = &plan->sequences[k];
    block.kv = &kernel_args.args->sequences[static_cast<std::size_t>(block.sequence->source)];
    block.kv_head = head;
    if (!t.stored) {
      block.row_begin = block_of(index, t.tasks_per_head) * t.block_rows;
      block.n_rows = static_cast<int>(min_i64(t.block_rows, t.rows - block.row_begin));
      block.split_begin = t.split_begin;
      block.split_end = t.split_end;
      kernel->block(kernel_args, block, scratch, counts(worker));
      return;
    }
    block.n_rows = static_cast<int>(t.rows);
    const std::int64_t split_floats = t.rows * kernel_args.partial_stride;
    float* partials = reinterpret_cast<float*>(memory + schedule.partials_at) + t.partial_offset +
                      head * t.tasks_per_head * split_floats;
    block.split_begin = t.split_begin + index;
    block.split_end = block.split_begin + 1;
    block.partials = partials + index * split_floats;
    kernel->block(kernel_args, block, scratch, counts(worker));
    auto* counters = reinterpret_cast<std::uint32_t*>(memory + schedule.counters_at);
    std::atomic_ref<std::uint32_t> unfinished(counters[t.first_counter + head]);
    if (unfinished.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    // The last one done merges, always in the same order.
    block.partials = partials;
    block.split_begin = t.split_begin;
    block.split_end = t.split_end;
    kernel->merge(kernel_args, block, t.tasks_per_head, scratch, counts(worker));
  }
};

bool checks_weights(const AttendArgs& args) noexcept {
#ifdef NDEBUG
  constexpr bool kByDefault = false;
#else
  constexpr bool kByDefault = true;
#endif
  return args.check_weights == WeightCheck::kDefault ? kByDefault : args.check_weights == WeightCheck::kOn;
}

Result<AttendReport> run_call(Call& call, Executor& executor) {
  const MaskPlan::Impl& plan = *call.plan;
  auto* tasks = reinterpret_cast<SequenceTasks*>(call.memory + call.schedule.sequences_at);
  make_schedule(plan, call.shape, tasks);
  auto* counters = reinterpret_cast<std::uint32_t*>(call.memory + call.schedule.counters_at);
  AttendReport report;
  for (std::int64_t k = 0; k < plan.n_sequences; ++k) {
    report.n_rows += plan.sequences[k].n_q * plan.n_head;
    if (!tasks[k].stored) continue;
    for (std::int64_t h = 0; h < plan.n_kv_head; ++h) {
      counters[tasks[k].first_counter + h] = static_cast<std::uint32_t>(tasks[k].tasks_per_head);
    }
  }
  for (int worker = 0; worker < call.shape.concurrency; ++worker) ::new (call.counts(worker)) BlockCounts();
  SerialExecutor serial;
  parallel_for(call.shape.concurrency == 1 ? static_cast<Executor&>(serial) : executor, call.schedule.n_tasks,
               [&call](std::int64_t task, int worker) { call.run_task(task, worker); });
  WeightFault fault;
  for (int worker = 0; worker < call.shape.concurrency; ++worker) {
    const BlockCounts& counts = *call.counts(worker);
    report.n_empty += counts.empty;
    report.n_non_finite += counts.non_finite;
    report.n_overflow += counts.overflow;
    if (counts.fault_row >= 0 &&
        fault_before(counts.fault_row, counts.fault_head, report.fault_row, report.fault_head)) {
      report.fault_row = counts.fault_row;
      report.fault_head = counts.fault_head;
    }
    if (fault_before(counts.weight, fault)) fault = counts.weight;
  }
  if (fault.sequence >= 0) return weight_fault_error(fault);
  return report;
}

}  // namespace
}  // namespace attention

std::size_t attend_workspace_bytes(const AttendArgs& args, const MaskPlan& plan, const Backend& backend) noexcept {
  if (plan.impl() == nullptr || !plan.impl()->ready) return 0;
  return attention::make_schedule(*plan.impl(),
                                  attention::shape_of(args, *plan.impl(), backend.executor().concurrency()), nullptr)
      .total_bytes;
}

std::size_t attend_workspace_bound(const AttendBounds& bounds, const Backend& backend) noexcept {
  return attention::schedule_bound(bounds, backend.executor().concurrency());
}

Result<AttendReport> attend(const AttendArgs& args, const MaskPlan& plan, Workspace workspace, const Backend& backend) {
  using namespace attention;
  if (plan.impl() == nullptr || !plan.impl()->ready) {
    return Error::invalid_argument("attend: the mask plan was not compiled");
  }
  const AttendKernel& kernel =
      args.arithmetic == Arithmetic::kF64 ? attend_f64_kernel(backend.isa()) : attend_kernel(backend.isa());
  const MaskPlan::Impl& impl = *plan.impl();
  ROWMAX_RETURN_IF_ERROR(check_views(args, impl));
  ROWMAX_RETURN_IF_ERROR(check_sequences(args, impl));
  ROWMAX_RETURN_IF_ERROR(check_outputs(args, impl));
  if (args.check_bias) ROWMAX_RETURN_IF_ERROR(check_bias(args, impl));
  const ScheduleShape shape = shape_of(args, impl, backend.executor().concurrency());
  const Schedule schedule = make_schedule(impl, shape, nullptr);
  if (workspace.data == nullptr && schedule.total_bytes > 0) {
    return Error::invalid_argument("attend: the workspace's data is null, expected " +
                                   std::to_string(schedule.total_bytes) + " bytes");
  }
  if (workspace.size < schedule.total_bytes) {
    return Error::invalid_argument("attend: workspace of " + std::to_string(workspace.size) + " bytes, expected " +
                                   std::to_string(schedule.total_bytes));
  }
  if (reinterpret_cast<std::uintptr_t>(workspace.data) % 64 != 0) {
    return Error::invalid_argument("attend: the workspace is not aligned to 64 bytes");
  }
  Call call{{&args, impl.n_head / impl.n_kv_head, o_stride_of(args.kv.v_dim),
             partial_stride_of(args.kv.v_dim, shape.f64), has_distance_bias(args), checks_weights(args)},
            &impl,
            &kernel,
            schedule,
            shape,
            static_cast<std::byte*>(workspace.data)};
  Result<AttendReport> report = run_call(call, backend.executor());
  if (args.probe != nullptr) {
    Scratch scratch;
    place_scratch(call.memory + schedule.scratch_at, schedule.scratch_rows, shape, &scratch);
    show_rows(call.kernel_args, plan, kernel, scratch, static_cast<int>(schedule.scratch_rows));
  }
  return report;
}

}  // namespace rowmax
