// attention through the C interface. Nothing is allocated: what has to be converted lies in front of the workspace.
#include "attention/c_api/c_api.h"
#include "attention/c_api/probe_row.h"
#include "rowmax/probe.h"
#include "rowmax/try.h"

namespace rowmax::c_api {
namespace {

MemorySpace space_of(std::int32_t space) noexcept {
  return static_cast<MemorySpace>(space >= 0 && space < 256 ? space : 255);
}

template <class In, class Out>
Status heads_of(const In* in, Out* out) {
  In view;
  ROWMAX_RETURN_IF_ERROR(take(in, &view));
  out->data = view.data;
  out->dtype = dtype_of(view.dtype);
  out->space = space_of(view.space);
  out->n_row = view.n_row;
  out->n_head = view.n_head;
  out->n_dim = view.n_dim;
  out->row_stride = view.row_stride;
  out->head_stride = view.head_stride;
  out->dim_stride = view.dim_stride;
  return {};
}

Status kv_of(const rowmax_kv* in, KvView* out) {
  rowmax_kv kv;
  ROWMAX_RETURN_IF_ERROR(take(in, &kv));
  out->dtype = dtype_of(kv.dtype);
  out->space = space_of(kv.space);
  out->n_kv_head = kv.n_kv_head;
  out->k_dim = kv.k_dim;
  out->v_dim = kv.v_dim;
  out->page_size = kv.page_size;
  out->k = {kv.k_page_stride, kv.k_key_stride, kv.k_head_stride, kv.k_dim_stride};
  out->v = {kv.v_page_stride, kv.v_key_stride, kv.v_head_stride, kv.v_dim_stride};
  out->ring_keys = kv.ring_keys;
  out->k_scales = kv.k_scales;
  out->v_scales = kv.v_scales;
  return {};
}

// Everything but the sequences and the probe.
Status args_of(const rowmax_attend_args& in, AttendArgs* out) {
  ROWMAX_RETURN_IF_ERROR(enum_of("arithmetic", in.arithmetic, 2, &out->arithmetic));
  ROWMAX_RETURN_IF_ERROR(enum_of("empty_rows", in.empty_rows, 3, &out->empty_rows));
  ROWMAX_RETURN_IF_ERROR(enum_of("check_weights", in.check_weights, 3, &out->check_weights));
  ROWMAX_RETURN_IF_ERROR(view_of(in.q, &out->q));
  ROWMAX_RETURN_IF_ERROR(kv_of(in.kv, &out->kv));
  if (in.out != nullptr || in.partial == nullptr) ROWMAX_RETURN_IF_ERROR(view_of(in.out, &out->out));
  out->scale = in.scale;
  out->softcap = static_cast<float>(in.softcap);
  out->bias = {dtype_of(in.bias_dtype), in.bias_row_stride, in.bias_head_stride, in.bias_key_stride};
  out->check_bias = in.check_bias != 0;
  out->alibi_slopes = in.alibi_slopes;
  out->relative_bias = {in.relative_table, in.relative_min_distance, in.relative_max_distance, in.relative_head_stride};
  out->sinks = in.sinks;
  out->lse = in.lse;
  out->lse_row_stride = in.lse_row_stride;
  out->lse_head_stride = in.lse_head_stride;
  out->row_status = reinterpret_cast<RowStatus*>(in.row_status);
  out->status_row_stride = in.status_row_stride;
  out->status_head_stride = in.status_head_stride;
  out->weights = {in.weights, in.weights_row_stride, in.weights_head_stride};
  if (in.partial != nullptr) {
    rowmax_partial partial;
    ROWMAX_RETURN_IF_ERROR(take(in.partial, &partial));
    out->partial = partial_of(partial);
  }
  return {};
}

Status check_sequences(const rowmax_attend_args& args, const MaskPlan& plan) {
  if (args.n_sequences == plan.n_sequence()) return {};
  return Error::invalid_argument("n_sequences: expected " + std::to_string(plan.n_sequence()) +
                                 ", as the plan has, found " + std::to_string(args.n_sequences));
}

Status sequence_of(const rowmax_attend_args& args, std::int64_t i, KvSequence* out) {
  rowmax_kv_sequence sequence;
  ROWMAX_RETURN_IF_ERROR(take_at(args.sequences, i, &sequence));
  *out = {sequence.k, sequence.v, sequence.pages, sequence.bias};
  return {};
}

// Where the converted sequences lie: in front.
std::size_t front_bytes(std::int64_t n_sequences) noexcept {
  return (static_cast<std::size_t>(n_sequences) * sizeof(KvSequence) + 63) / 64 * 64;
}

// Bytes of the library's part. Shapes decide, and whether some sequence has a bias.
Status workspace_bytes(const rowmax_attend_args& in, AttendArgs args, const MaskPlan& plan, const Backend& backend,
                       std::size_t* bytes) {
  KvSequence any;
  ROWMAX_RETURN_IF_ERROR(check_sequences(in, plan));
  for (std::int64_t i = 0; i < in.n_sequences && any.bias == nullptr; ++i) {
    ROWMAX_RETURN_IF_ERROR(sequence_of(in, i, &any));
  }
  args.sequences = {&any, static_cast<std::size_t>(in.n_sequences > 0)};
  *bytes = attend_workspace_bytes(args, plan, backend);
  return {};
}

class CallbackProbe final : public Probe {
 public:
  Status set(const rowmax_probe* probe) {
    ROWMAX_RETURN_IF_ERROR(take(probe, &probe_));
    ROWMAX_RETURN_IF_ERROR(present(reinterpret_cast<const void*>(probe_.wants), "rowmax_probe.wants"));
    return present(reinterpret_cast<const void*>(probe_.row), "rowmax_probe.row");
  }
  bool wants(std::int64_t sequence, std::int64_t head, std::int64_t query) const noexcept override {
    return probe_.wants(probe_.user, sequence, head, query) != 0;
  }
  void row(const ProbeRow& row) const noexcept override {
    const rowmax_probe_row c_row = c_row_of(row);
    probe_.row(probe_.user, &c_row);
  }

 private:
  rowmax_probe probe_ = rowmax_probe_default();
};

Status attend(const rowmax_attend_args& in, const MaskPlan& plan, void* workspace, std::size_t n_bytes,
              const Backend& backend, rowmax_report* report) {
  AttendArgs args;
  std::size_t needed = 0;
  CallbackProbe probe;
  ROWMAX_RETURN_IF_ERROR(args_of(in, &args));
  if (in.probe != nullptr) {
    ROWMAX_RETURN_IF_ERROR(probe.set(in.probe));
    args.probe = &probe;
  }
  if (report != nullptr) {
    ROWMAX_RETURN_IF_ERROR(check_size("rowmax_report", report->struct_size, sizeof(rowmax_report)));
  }
  ROWMAX_RETURN_IF_ERROR(workspace_bytes(in, args, plan, backend, &needed));
  const std::size_t front = front_bytes(in.n_sequences);
  if (n_bytes < front + needed || (workspace == nullptr && front + needed > 0)) {
    return Error::invalid_argument("workspace of " + std::to_string(workspace == nullptr ? 0 : n_bytes) +
                                   " bytes, expected " + std::to_string(front + needed));
  }
  if (reinterpret_cast<std::uintptr_t>(workspace) % 64 != 0) {
    return Error::invalid_argument("the workspace is not aligned to 64 bytes");
  }
  auto* sequences = static_cast<KvSequence*>(workspace);
  for (std::int64_t i = 0; i < in.n_sequences; ++i) {
    KvSequence sequence;
    ROWMAX_RETURN_IF_ERROR(sequence_of(in, i, &sequence));
    ::new (static_cast<void*>(sequences + i)) KvSequence(sequence);
  }
  args.sequences = {sequences, static_cast<std::size_t>(in.n_sequences)};
  const Workspace rest{static_cast<std::byte*>(workspace) + front, n_bytes - front};
  ROWMAX_TRY(counts, rowmax::attend(args, plan, rest, backend));
  return give(report_of(counts), report);
}

}  // namespace

Status view_of(const rowmax_heads* in, HeadsView* out) { return heads_of(in, out); }
Status view_of(const rowmax_const_heads* in, ConstHeadsView* out) { return heads_of(in, out); }

PartialView partial_of(const rowmax_partial& in) noexcept {
  PartialView out;
  out.o = in.o;
  out.o_row_stride = in.o_row_stride;
  out.o_head_stride = in.o_head_stride;
  out.m = in.m;
  out.l = in.l;
  out.status = reinterpret_cast<RowStatus*>(in.status);
  out.row_stride = in.row_stride;
  out.head_stride = in.head_stride;
  return out;
}

rowmax_report report_of(const AttendReport& report) noexcept {
  rowmax_report out = rowmax_report_default();
  out.n_rows = report.n_rows;
  out.n_empty = report.n_empty;
  out.n_non_finite = report.n_non_finite;
  out.n_overflow = report.n_overflow;
  out.fault_row = report.fault_row;
  out.fault_head = report.fault_head;
  return out;
}

}  // namespace rowmax::c_api

using namespace rowmax;
using namespace rowmax::c_api;

extern "C" {

rowmax_status rowmax_attend_workspace_bytes(const rowmax_attend_args* args, const rowmax_plan* plan,
                                            const rowmax_backend* backend, size_t* bytes,
                                            rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    rowmax_attend_args in;
    AttendArgs converted;
    std::size_t needed = 0;
    SerialExecutor calling_thread;
    ROWMAX_RETURN_IF_ERROR(present(plan, "plan"));
    ROWMAX_RETURN_IF_ERROR(present(bytes, "bytes"));
    ROWMAX_RETURN_IF_ERROR(take(args, &in));
    ROWMAX_RETURN_IF_ERROR(args_of(in, &converted));
    ROWMAX_TRY(where, backend_of(backend, calling_thread));
    ROWMAX_RETURN_IF_ERROR(workspace_bytes(in, converted, *plan_of(plan), where, &needed));
    *bytes = front_bytes(in.n_sequences) + needed;
    return {};
  });
}

rowmax_status rowmax_attend_workspace_bound(const rowmax_attend_bounds* bounds, const rowmax_backend* backend,
                                            size_t* bytes, rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    rowmax_attend_bounds in;
    AttendBounds out;
    SerialExecutor calling_thread;
    ROWMAX_RETURN_IF_ERROR(present(bytes, "bytes"));
    ROWMAX_RETURN_IF_ERROR(take(bounds, &in));
    ROWMAX_RETURN_IF_ERROR(enum_of("arithmetic", in.arithmetic, 2, &out.arithmetic));
    ROWMAX_TRY(where, backend_of(backend, calling_thread));
    if (in.max_sequences < 0 || in.max_n_kv < 0 || in.n_head < 1 || in.n_kv_head < 1 || in.k_dim < 0 || in.v_dim < 0) {
      return Error::invalid_argument("rowmax_attend_bounds: a count is negative, or no head");
    }
    out.max_sequences = in.max_sequences;
    out.max_n_kv = in.max_n_kv;
    out.n_head = in.n_head;
    out.n_kv_head = in.n_kv_head;
    out.k_dim = in.k_dim;
    out.v_dim = in.v_dim;
    *bytes = front_bytes(in.max_sequences) + rowmax::attend_workspace_bound(out, where);
    return {};
  });
}

rowmax_status rowmax_attend(const rowmax_attend_args* args, const rowmax_plan* plan, void* workspace,
                            size_t workspace_bytes, const rowmax_backend* backend, rowmax_report* report,
                            rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    rowmax_attend_args in;
    SerialExecutor calling_thread;
    ROWMAX_RETURN_IF_ERROR(present(plan, "plan"));
    ROWMAX_RETURN_IF_ERROR(take(args, &in));
    ROWMAX_TRY(where, backend_of(backend, calling_thread));
    return c_api::attend(in, *plan_of(plan), workspace, workspace_bytes, where, report);
  });
}

}  // extern "C"
