// What a probe saw, as text and verdict, through the C interface.
#include "rowmax/probe.h"

#include <cstring>

#include "attention/c_api/c_api.h"
#include "attention/c_api/probe_row.h"
#include "rowmax/try.h"

namespace rowmax::c_api {
namespace {

// Every field has the same name and type on both sides.
template <class From, class To>
void copy_row(const From& from, To* to) noexcept {
#define ROWMAX_COPY(field) to->field = static_cast<decltype(to->field)>(from.field)
  ROWMAX_COPY(sequence);
  ROWMAX_COPY(query);
  ROWMAX_COPY(head);
  ROWMAX_COPY(row);
  ROWMAX_COPY(position);
  ROWMAX_COPY(n_kv);
  ROWMAX_COPY(n_visible);
  ROWMAX_COPY(scale);
  ROWMAX_COPY(measured_scale);
  ROWMAX_COPY(scale_error);
  ROWMAX_COPY(sum);
  ROWMAX_COPY(weights_sum);
  ROWMAX_COPY(softcap);
  ROWMAX_COPY(sink);
  ROWMAX_COPY(raw_min);
  ROWMAX_COPY(raw_max);
  ROWMAX_COPY(before_mask_min);
  ROWMAX_COPY(before_mask_max);
  ROWMAX_COPY(after_mask_min);
  ROWMAX_COPY(after_mask_max);
  ROWMAX_COPY(row_max);
  ROWMAX_COPY(largest_exp);
  ROWMAX_COPY(smallest_weight);
  ROWMAX_COPY(lse);
  ROWMAX_COPY(n_edge);
  ROWMAX_COPY(n_hidden_weighted);
  ROWMAX_COPY(n_visible_lost);
  ROWMAX_COPY(n_non_finite_weights);
  ROWMAX_COPY(first_non_finite_key);
  ROWMAX_COPY(n_compared);
  ROWMAX_COPY(out_dim);
  ROWMAX_COPY(out_error);
  ROWMAX_COPY(out_bound);
  ROWMAX_COPY(lse_error);
  ROWMAX_COPY(lse_bound);
  ROWMAX_COPY(hidden_max);
#undef ROWMAX_COPY
  static_assert(kProbeEdge == 8);
  std::memcpy(to->first_keys, from.first_keys, sizeof to->first_keys);
  std::memcpy(to->last_keys, from.last_keys, sizeof to->last_keys);
  std::memcpy(to->first_dots, from.first_dots, sizeof to->first_dots);
  std::memcpy(to->last_dots, from.last_dots, sizeof to->last_dots);
  std::memcpy(to->first_scores, from.first_scores, sizeof to->first_scores);
  std::memcpy(to->last_scores, from.last_scores, sizeof to->last_scores);
  std::memcpy(to->first_weights, from.first_weights, sizeof to->first_weights);
  std::memcpy(to->last_weights, from.last_weights, sizeof to->last_weights);
}

Status cpp_row_of(const rowmax_probe_row* in, ProbeRow* out) {
  rowmax_probe_row row;
  ROWMAX_RETURN_IF_ERROR(take(in, &row));
  ROWMAX_RETURN_IF_ERROR(enum_of("rowmax_probe_row.status", row.status, 4, &out->status));
  if (row.n_edge < 0 || row.n_edge > kProbeEdge) {
    return Error::invalid_argument("rowmax_probe_row.n_edge is not within 0 to 8");
  }
  copy_row(row, out);
  return {};
}

}  // namespace

rowmax_probe_row c_row_of(const ProbeRow& in) noexcept {
  rowmax_probe_row out = rowmax_probe_row_default();
  out.status = static_cast<std::int32_t>(in.status);
  copy_row(in, &out);
  return out;
}

}  // namespace rowmax::c_api

using namespace rowmax;
using namespace rowmax::c_api;

extern "C" {

rowmax_status rowmax_probe_text(const rowmax_probe_row* row, char* text, size_t capacity,
                                rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    ProbeRow converted;
    ROWMAX_RETURN_IF_ERROR(cpp_row_of(row, &converted));
    copy_text(probe_text(converted), text, capacity);
    return {};
  });
}

rowmax_status rowmax_probe_json(const rowmax_probe_row* row, char* text, size_t capacity,
                                rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    ProbeRow converted;
    ROWMAX_RETURN_IF_ERROR(cpp_row_of(row, &converted));
    copy_text(probe_json(converted), text, capacity);
    return {};
  });
}

rowmax_status rowmax_probe_judge(const rowmax_probe_row* row, rowmax_probe_verdict* verdict,
                                 rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    ProbeRow converted;
    ROWMAX_RETURN_IF_ERROR(present(verdict, "verdict"));
    ROWMAX_RETURN_IF_ERROR(cpp_row_of(row, &converted));
    const ProbeVerdict judged = judge(converted);
    rowmax_probe_verdict value = rowmax_probe_verdict_default();
    value.scale_once = static_cast<int32_t>(judged.scale_once);
    value.mask_applied = static_cast<int32_t>(judged.mask_applied);
    value.exp_in_range = static_cast<int32_t>(judged.exp_in_range);
    value.weights_sum_to_one = static_cast<int32_t>(judged.weights_sum_to_one);
    value.parity = static_cast<int32_t>(judged.parity);
    value.ok = judged.ok() ? 1 : 0;
    value.failed = judged.failed() ? 1 : 0;
    return give(value, verdict);
  });
}

}  // extern "C"
