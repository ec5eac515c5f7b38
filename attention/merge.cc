// merge_partials(): validates, hands rows to the kernel.
#include <string>

#include "attention/kernels/attend/attend.h"
#include "attention/output_checks.h"
#include "attention/shared_counts.h"
#include "base/fp_env.h"
#include "rowmax/attention.h"
#include "rowmax/try.h"

namespace rowmax {
namespace attention {
namespace {

constexpr std::int64_t kRowsPerTask = 64;

Status check_merge(const MergeArgs& args) {
  if (args.n_row < 0 || args.n_head < 1 || args.v_dim < 1) {
    return Error::invalid_argument("merge_partials: n_row " + std::to_string(args.n_row) + ", n_head " +
                                   std::to_string(args.n_head) + ", v_dim " + std::to_string(args.v_dim));
  }
  if (args.out.space != MemorySpace::kHost) {
    return Error::unsupported("merge_partials: only host memory is supported");
  }
  if (!dtype_known(args.out.dtype) || args.out.dtype > DType::kF64) {
    return Error::unsupported(std::string("merge_partials: out is ") + dtype_name(args.out.dtype) +
                              ", expected f32, f16, bf16 or f64");
  }
  if (args.out.n_row < args.n_row || args.out.n_head != args.n_head || args.out.n_dim != args.v_dim ||
      (args.out.data == nullptr && args.n_row > 0)) {
    return Error::invalid_argument("merge_partials: out does not have the parts' rows, heads and v_dim");
  }
  for (std::size_t i = 0; i < args.parts.size(); ++i) {
    const PartialView& part = args.parts[i];
    if (args.n_row == 0 || (part.o != nullptr && part.m != nullptr && part.l != nullptr && part.status != nullptr)) {
      continue;
    }
    return Error::invalid_argument("merge_partials: part " + std::to_string(i) + " lacks o, m, l or status");
  }
  return check_sinks(args.sinks, args.n_head, "head");
}

}  // namespace
}  // namespace attention

Result<AttendReport> merge_partials(const MergeArgs& args, const Backend& backend) {
  using namespace attention;
  const AttendKernel& kernel = attend_kernel(backend.isa());
  ROWMAX_RETURN_IF_ERROR(check_merge(args));
  const std::int64_t n_rows = args.n_row * args.n_head;
  SharedCounts counts(args.n_row, args.n_head);
  parallel_for(backend.executor(), (n_rows + kRowsPerTask - 1) / kRowsPerTask, [&](std::int64_t task, int) {
    const base::ScopedFpEnv fp_env;
    BlockCounts of_task;
    const std::int64_t begin = task * kRowsPerTask;
    kernel.merge_parts(args, begin, min_i64(begin + kRowsPerTask, n_rows), &of_task);
    counts.add(of_task);
  });
  return counts.report();
}

}  // namespace rowmax
