// Masked softmax through the C interface.
#include "rowmax/softmax.h"

#include "attention/c_api/c_api.h"
#include "rowmax/try.h"

using namespace rowmax;
using namespace rowmax::c_api;

extern "C" rowmax_status rowmax_softmax(const rowmax_softmax_args* args, const rowmax_backend* backend,
                                        rowmax_report* report, rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    rowmax_softmax_args in;
    SoftmaxArgs out;
    SerialExecutor calling_thread;
    ROWMAX_RETURN_IF_ERROR(take(args, &in));
    ROWMAX_TRY(where, backend_of(backend, calling_thread));
    ROWMAX_RETURN_IF_ERROR(enum_of("empty_rows", in.empty_rows, 3, &out.empty_rows));
    if (report != nullptr) {
      ROWMAX_RETURN_IF_ERROR(check_size("rowmax_report", report->struct_size, sizeof(rowmax_report)));
    }
    out.scores = in.scores;
    out.n_row = in.n_row;
    out.n_key = in.n_key;
    out.row_stride = in.row_stride;
    out.keep = in.keep;
    out.keep_row_stride = in.keep_row_stride;
    out.scale = static_cast<float>(in.scale);
    out.softcap = static_cast<float>(in.softcap);
    out.bias = in.bias;
    out.bias_row_stride = in.bias_row_stride;
    out.sink = in.sink;
    out.weights = in.weights;
    out.weights_row_stride = in.weights_row_stride;
    out.lse = in.lse;
    out.row_status = reinterpret_cast<RowStatus*>(in.row_status);
    ROWMAX_TRY(counts, softmax(out, where));
    return give(report_of(counts), report);
  });
}
