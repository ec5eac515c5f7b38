// softmax(): validates, hands rows to the kernel.
#include "rowmax/softmax.h"

#include <cmath>
#include <string>

#include "attention/kernels/softmax/softmax.h"
#include "attention/output_checks.h"
#include "attention/shared_counts.h"
#include "base/fp_env.h"
#include "rowmax/try.h"

namespace rowmax {
namespace attention {
namespace {

constexpr std::int64_t kRowsPerTask = 2 * kSoftmaxRows;

Status check_softmax(const SoftmaxArgs& args) {
  if (args.n_row < 0 || args.n_key < 0) {
    return Error::invalid_argument("softmax: n_row " + std::to_string(args.n_row) + ", n_key " +
                                   std::to_string(args.n_key));
  }
  if (args.n_row > 0 && args.n_key > 0 && (args.scores == nullptr || args.weights == nullptr)) {
    return Error::invalid_argument("softmax: scores or weights have no data");
  }
  if (args.scores == args.weights && args.row_stride != args.weights_row_stride) {
    return Error::invalid_argument("softmax: in place, but row_stride " + std::to_string(args.row_stride) +
                                   " is not weights_row_stride " + std::to_string(args.weights_row_stride));
  }
  if (!std::isfinite(args.scale)) return Error::invalid_argument("scale is not finite");
  if (!(args.softcap >= 0.0f) || std::isinf(args.softcap)) {
    return Error::invalid_argument("softcap is not finite or negative");
  }
  return check_sinks(args.sink, args.n_row, "row");
}

}  // namespace
}  // namespace attention

Result<AttendReport> softmax(const SoftmaxArgs& args, const Backend& backend) {
  using namespace attention;
  const SoftmaxKernel kernel = softmax_kernel(backend.isa());
  ROWMAX_RETURN_IF_ERROR(check_softmax(args));
  AttendArgs scoring;
  scoring.scale = args.scale;
  scoring.softcap = args.softcap;
  CallArgs call_args{};
  call_args.args = &scoring;
  call_args.group = 1;
  call_args.distance_bias = args.bias != nullptr;
  const SoftmaxCall call{&args, call_args};
  SharedCounts counts(args.n_row, 1);
  parallel_for(backend.executor(), (args.n_row + kRowsPerTask - 1) / kRowsPerTask, [&](std::int64_t task, int) {
    const base::ScopedFpEnv fp_env;
    BlockCounts of_task;
    const std::int64_t begin = task * kRowsPerTask;
    kernel(call, begin, min_i64(begin + kRowsPerTask, args.n_row), &of_task);
    counts.add(of_task);
  });
  return counts.report();
}

}  // namespace rowmax
