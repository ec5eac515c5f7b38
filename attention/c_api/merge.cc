// Unfinished rows joined through the C interface.
#include "attention/c_api/c_api.h"
#include "rowmax/try.h"

namespace rowmax::c_api {
namespace {

Status merge_args_of(const rowmax_merge_args& in, Array<PartialView>* parts, MergeArgs* out) {
  ROWMAX_RETURN_IF_ERROR(parts->allocate("rowmax_merge_args.n_parts", in.n_parts));
  for (std::int64_t i = 0; i < in.n_parts; ++i) {
    rowmax_partial part;
    ROWMAX_RETURN_IF_ERROR(take_at(in.parts, i, &part));
    (*parts)[i] = partial_of(part);
  }
  out->parts = parts->span();
  out->n_row = in.n_row;
  out->n_head = in.n_head;
  out->v_dim = in.v_dim;
  out->sinks = in.sinks;
  out->lse = in.lse;
  out->lse_row_stride = in.lse_row_stride;
  out->lse_head_stride = in.lse_head_stride;
  out->row_status = reinterpret_cast<RowStatus*>(in.row_status);
  out->status_row_stride = in.status_row_stride;
  out->status_head_stride = in.status_head_stride;
  return view_of(in.out, &out->out);
}

}  // namespace
}  // namespace rowmax::c_api

using namespace rowmax;
using namespace rowmax::c_api;

extern "C" rowmax_status rowmax_merge(const rowmax_merge_args* args, const rowmax_backend* backend,
                                      rowmax_report* report, rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    rowmax_merge_args in;
    MergeArgs converted;
    Array<PartialView> parts;
    SerialExecutor calling_thread;
    ROWMAX_RETURN_IF_ERROR(take(args, &in));
    ROWMAX_TRY(where, backend_of(backend, calling_thread));
    if (report != nullptr) {
      ROWMAX_RETURN_IF_ERROR(check_size("rowmax_report", report->struct_size, sizeof(rowmax_report)));
    }
    ROWMAX_RETURN_IF_ERROR(merge_args_of(in, &parts, &converted));
    ROWMAX_TRY(counts, merge_partials(converted, where));
    return give(report_of(counts), report);
  });
}
