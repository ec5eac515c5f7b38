// A probe that collects rows, and softmax.
#include "rowmax/probe.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <optional>
#include <string>

#include "bindings/python/native/core.h"
#include "rowmax/softmax.h"

namespace rowmax::python {
namespace {

const char* gate_name(Gate gate) {
  return gate == Gate::kPass ? "pass" : gate == Gate::kFail ? "fail" : "inconclusive";
}

template <class T>
nb::list edge(const T* numbers, int n) {
  nb::list list;
  for (int i = 0; i < n; ++i) list.append(numbers[i]);
  return list;
}

nb::dict dict_of(const ProbeRow& row) {
  nb::dict result;
#define ROWMAX_FIELD(name) result[#name] = row.name;
  ROWMAX_FIELD(query)
  ROWMAX_FIELD(head)
  ROWMAX_FIELD(position)
  ROWMAX_FIELD(n_kv)
  ROWMAX_FIELD(n_visible)
  ROWMAX_FIELD(scale)
  ROWMAX_FIELD(measured_scale)
  ROWMAX_FIELD(softcap)
  ROWMAX_FIELD(sink)
  ROWMAX_FIELD(raw_min)
  ROWMAX_FIELD(raw_max)
  ROWMAX_FIELD(before_mask_min)
  ROWMAX_FIELD(before_mask_max)
  ROWMAX_FIELD(after_mask_min)
  ROWMAX_FIELD(after_mask_max)
  ROWMAX_FIELD(row_max)
  ROWMAX_FIELD(largest_exp)
  ROWMAX_FIELD(sum)
  ROWMAX_FIELD(weights_sum)
  ROWMAX_FIELD(smallest_weight)
  ROWMAX_FIELD(n_hidden_weighted)
  ROWMAX_FIELD(n_visible_lost)
  ROWMAX_FIELD(n_non_finite_weights)
  ROWMAX_FIELD(first_non_finite_key)
  ROWMAX_FIELD(lse)
  ROWMAX_FIELD(hidden_max)
  ROWMAX_FIELD(n_compared)
  ROWMAX_FIELD(out_dim)
  ROWMAX_FIELD(out_error)
  ROWMAX_FIELD(out_bound)
  ROWMAX_FIELD(lse_error)
  ROWMAX_FIELD(lse_bound)
#undef ROWMAX_FIELD
  result["batch"] = row.sequence;
  result["status"] = static_cast<int>(row.status);
  result["first_keys"] = edge(row.first_keys, row.n_edge);
  result["first_dots"] = edge(row.first_dots, row.n_edge);
  result["first_scores"] = edge(row.first_scores, row.n_edge);
  result["first_weights"] = edge(row.first_weights, row.n_edge);
  result["last_keys"] = edge(row.last_keys, row.n_edge);
  result["last_dots"] = edge(row.last_dots, row.n_edge);
  result["last_scores"] = edge(row.last_scores, row.n_edge);
  result["last_weights"] = edge(row.last_weights, row.n_edge);
  const ProbeVerdict verdict = judge(row);
  nb::dict gates;
  gates["scale_once"] = gate_name(verdict.scale_once);
  gates["mask_applied"] = gate_name(verdict.mask_applied);
  gates["exp_in_range"] = gate_name(verdict.exp_in_range);
  gates["weights_sum_to_one"] = gate_name(verdict.weights_sum_to_one);
  gates["parity"] = gate_name(verdict.parity);
  result["gates"] = gates;
  result["ok"] = verdict.ok();
  result["failed"] = verdict.failed();
  result["text"] = probe_text(row);
  return result;
}

// C-contiguous arrays of n_row rows; keep bits [n_row or 1][words]; what is not given is None.
nb::dict softmax(const Input& scores, const std::optional<Input>& keep, const std::optional<Input>& bias,
                 const std::optional<Input>& sinks, double scale, double softcap, int empty_rows, const Output& weights,
                 const Output& lse, const Output& status, int n_threads, const std::string& isa) {
  SoftmaxArgs args;
  const auto rows = [](const auto& array) { return array.shape(0) == 1 ? 0 : array.stride(0); };
  args.scores = static_cast<const float*>(scores.data());
  args.n_row = static_cast<std::int64_t>(scores.shape(0));
  args.n_key = static_cast<std::int64_t>(scores.shape(1));
  args.row_stride = args.n_key;
  args.weights = static_cast<float*>(weights.data());
  args.weights_row_stride = args.n_key;
  args.lse = static_cast<float*>(lse.data());
  args.row_status = static_cast<RowStatus*>(status.data());
  args.scale = static_cast<decltype(args.scale)>(scale);
  args.softcap = static_cast<decltype(args.softcap)>(softcap);
  args.empty_rows = static_cast<EmptyRows>(empty_rows);
  if (keep) {
    args.keep = static_cast<const std::uint64_t*>(keep->data());
    args.keep_row_stride = rows(*keep);
  }
  if (bias) {
    args.bias = static_cast<const float*>(bias->data());
    args.bias_row_stride = rows(*bias);
  }
  if (sinks) args.sink = static_cast<const float*>(sinks->data());
  PoolLoan pool(n_threads);
  const Backend backend = checked(cpu_backend(*pool->executor, isa_of(isa)));
  Result<AttendReport> report = [&] {
    const nb::gil_scoped_release no_gil;
    return rowmax::softmax(args, backend);
  }();
  nb::dict result;
  result["n_empty"] = checked(std::move(report)).n_empty;
  return result;
}

}  // namespace

nb::list RowCollector::rows() const {
  nb::list list;
  for (const ProbeRow& row : found) list.append(dict_of(row));
  return list;
}

void bind_probe(nb::module_& module) {
  using nb::arg;
  module.def("softmax", &softmax, arg("scores").noconvert(), arg("keep").noconvert().none(),
             arg("bias").noconvert().none(), arg("sinks").noconvert().none(), arg("scale"), arg("softcap"),
             arg("empty_rows"), arg("weights").noconvert(), arg("lse").noconvert(), arg("status").noconvert(),
             arg("n_threads"), arg("isa"));
}

}  // namespace rowmax::python
