// attention on [batch][head][n][dim] arrays of any strides.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <optional>
#include <string>

#include "bindings/python/native/core.h"
#include "rowmax/attention.h"
#include "rowmax/try.h"

namespace rowmax::python {
namespace {

using OptionalInput = std::optional<Input>;
using OptionalOutput = std::optional<Output>;

std::int64_t element_bytes(DType dtype) { return dtype_bytes(dtype, 1); }

// How many rows lie between two batch entries when all arrays of the call number their rows alike; 0 where they do not,
// and each entry then has to be a call of its own.
std::int64_t rows_per_entry(const Call& call, std::int64_t batch, std::int64_t n_q) {
  if (batch == 1) return n_q;
  const Array* arrays[] = {&call.q, &call.out, call.has_lse ? &call.lse : nullptr,
                           call.has_weights ? &call.weights : nullptr, call.has_status ? &call.status : nullptr};
  if (n_q == 1) return 1;  // the distance of two entries is then the distance of two rows
  const std::int64_t row = call.q.stride[2];
  if (row == 0 || call.q.stride[0] % row != 0) return 0;
  const std::int64_t rows = call.q.stride[0] / row;
  if (rows < n_q) return 0;
  for (const Array* array : arrays) {
    if (array != nullptr && array->stride[0] != rows * array->stride[2]) return 0;
  }
  return rows;
}

template <class View>
void set_view(View* view, const Array& array, DType dtype, std::int64_t n_row, std::int64_t row_stride) {
  view->data = array.data;
  view->dtype = dtype;
  view->n_row = n_row;
  view->n_head = array.shape[1];
  view->n_dim = array.shape[3];
  view->row_stride = row_stride;
  view->head_stride = array.stride[1];
  view->dim_stride = array.stride[3];
}

void* at(void* data, std::int64_t elements, std::int64_t bytes) {
  return data == nullptr ? nullptr : static_cast<char*>(data) + elements * bytes;
}

void add(const AttendReport& part, std::int64_t first_row, AttendReport* sum) {
  if (sum->fault_row < 0 && part.fault_row >= 0) {
    sum->fault_row = first_row + part.fault_row;
    sum->fault_head = part.fault_head;
  }
  sum->n_rows += part.n_rows;
  sum->n_empty += part.n_empty;
  sum->n_non_finite += part.n_non_finite;
  sum->n_overflow += part.n_overflow;
}

// Batch entries [first, first + n), their rows `rows` apart.
Result<AttendReport> attend_entries(const Call& call, const MaskPlan& plan, std::int64_t first, std::int64_t n,
                                    std::int64_t rows, std::int64_t n_q, Pool& pool) {
  AttendArgs args = call.args;
  const std::int64_t n_row = (n - 1) * rows + n_q;
  // With one row an entry, rows are as far apart as entries.
  const int row_dim = n > 1 && n_q == 1 ? 0 : 2;
  const auto entry = [&](const Array& array, std::int64_t bytes) {
    return at(array.data, first * array.stride[0], bytes);
  };
  set_view(&args.q, call.q, args.q.dtype, n_row, call.q.stride[row_dim]);
  set_view(&args.out, call.out, args.out.dtype, n_row, call.out.stride[row_dim]);
  args.q.data = entry(call.q, element_bytes(args.q.dtype));
  args.out.data = entry(call.out, element_bytes(args.out.dtype));
  std::vector<KvSequence> sequences(static_cast<std::size_t>(n));
  const std::int64_t kv_bytes = element_bytes(args.kv.dtype);
  for (std::int64_t b = 0; b < n; ++b) {
    KvSequence& sequence = sequences[static_cast<std::size_t>(b)];
    sequence.k = at(call.k.data, (first + b) * call.k.stride[0], kv_bytes);
    sequence.v = at(call.v.data, (first + b) * call.v.stride[0], kv_bytes);
    if (call.has_bias)
      sequence.bias = at(call.bias.data, (first + b) * call.bias.stride[0], element_bytes(args.bias.dtype));
  }
  args.sequences = sequences;
  if (call.has_lse) {
    args.lse = static_cast<float*>(entry(call.lse, 4));
    args.lse_row_stride = call.lse.stride[row_dim];
    args.lse_head_stride = call.lse.stride[1];
  }
  if (call.has_status) {
    args.row_status = static_cast<RowStatus*>(entry(call.status, 1));
    args.status_row_stride = call.status.stride[row_dim];
    args.status_head_stride = call.status.stride[1];
  }
  if (call.has_weights) {
    args.weights.data = static_cast<float*>(entry(call.weights, 4));
    args.weights.row_stride = call.weights.stride[row_dim];
    args.weights.head_stride = call.weights.stride[1];
  }
  ROWMAX_TRY(backend, cpu_backend(*pool.executor, call.isa));
  const std::size_t bytes = attend_workspace_bytes(args, plan, backend);
  return rowmax::attend(args, plan, pool.workspace(bytes), backend);
}

KvStrides kv_strides(const Array& array) { return {0, array.stride[2], array.stride[1], array.stride[3]}; }

}  // namespace

void Call::set_arrays(DType q_dtype, DType kv_dtype, DType out_dtype) {
  args.q.dtype = q_dtype;
  args.out.dtype = out_dtype;
  args.kv.dtype = kv_dtype;
  args.kv.n_kv_head = k.shape[1];
  args.kv.k_dim = k.shape[3];
  args.kv.v_dim = v.shape[3];
  args.kv.k = kv_strides(k);
  args.kv.v = kv_strides(v);
}

void Call::set_bias(const Array& array, DType dtype) {
  bias = array;
  has_bias = true;
  args.bias = {dtype, bias.stride[2], bias.stride[1], bias.stride[3]};
}

AttendReport run(const Call& call, const CallMask& mask, int n_threads, RowCollector* probe) {
  // Between the calls of a Python program the pool's threads sleep, and waking them takes longer than this much work.
  constexpr double kSerialWork = 1 << 20;  // multiply-adds
  const double pairs = static_cast<double>(mask.batch() * mask.n_head()) * static_cast<double>(mask.n_q()) *
                       static_cast<double>(mask.n_kv());
  if (n_threads >= 0 && pairs * static_cast<double>(call.q.shape[3] + call.v.shape[3]) < kSerialWork) n_threads = 1;
  PoolLoan pool(n_threads);
  const std::int64_t rows = rows_per_entry(call, mask.batch(), mask.n_q());
  const std::int64_t step = rows > 0 ? mask.batch() : 1;
  AttendReport sum;
  for (std::int64_t first = 0; first < mask.batch(); first += step) {
    const MaskPlan plan = mask.compile(first, step, rows > 0 ? rows : mask.n_q());
    if (probe != nullptr) probe->first = first;
    Result<AttendReport> part = [&] {
      const nb::gil_scoped_release no_gil;
      return attend_entries(call, plan, first, step, rows > 0 ? rows : mask.n_q(), mask.n_q(), *pool);
    }();
    add(checked(std::move(part)), first * mask.n_q(), &sum);
  }
  return sum;
}

namespace {

DType dtype_of(int code) { return static_cast<DType>(code); }

nb::dict report_of(const AttendReport& report) {
  nb::dict result;
  result["n_rows"] = report.n_rows;
  result["n_empty"] = report.n_empty;
  result["n_non_finite"] = report.n_non_finite;
  result["n_overflow"] = report.n_overflow;
  return result;
}

nb::dict attend(const Input& q, const Input& k, const Input& v, const Output& out, const CallMask& mask, int q_dtype,
                int kv_dtype, int out_dtype, bool f64, double scale, float softcap, const OptionalInput& bias,
                int bias_dtype, bool check_bias, bool check_weights, const OptionalInput& alibi,
                const OptionalInput& table, std::int64_t min_distance, const OptionalInput& sinks, int empty_rows,
                const OptionalOutput& lse, const OptionalOutput& weights, const OptionalOutput& status, int n_threads,
                const std::string& isa, const nb::list& rows) {
  Call call;
  call.q = array_of(q, false);
  call.k = array_of(k, false);
  call.v = array_of(v, false);
  call.out = array_of(out, false);
  AttendArgs& args = call.args;
  call.set_arrays(dtype_of(q_dtype), dtype_of(kv_dtype), dtype_of(out_dtype));
  args.arithmetic = f64 ? Arithmetic::kF64 : Arithmetic::kF32;
  args.scale = scale;
  args.softcap = softcap;
  args.check_weights = check_weights ? WeightCheck::kOn : WeightCheck::kOff;
  args.empty_rows = static_cast<EmptyRows>(empty_rows);
  if (bias) {
    call.set_bias(array_of(*bias, true), dtype_of(bias_dtype));
    args.check_bias = check_bias;
  }
  if (alibi) args.alibi_slopes = static_cast<const float*>(alibi->data());
  if (sinks) args.sinks = static_cast<const float*>(sinks->data());
  if (table) {
    const Array entries = array_of(*table, true);  // [head or 1][distance], dense
    args.relative_bias = {static_cast<const float*>(entries.data), min_distance, min_distance + entries.shape[3] - 1,
                          entries.stride[2]};
  }
  const auto take = [](const OptionalOutput& array, Array* to, bool* has) {
    if (!array) return;
    *to = array_of(*array, false);
    *has = true;
  };
  take(lse, &call.lse, &call.has_lse);
  take(weights, &call.weights, &call.has_weights);
  take(status, &call.status, &call.has_status);
  call.isa = isa_of(isa);
  RowCollector probe;
  for (nb::handle row : rows) {
    probe.wanted.push_back(
        {nb::cast<std::int64_t>(row[0]), nb::cast<std::int64_t>(row[1]), nb::cast<std::int64_t>(row[2])});
  }
  if (!probe.wanted.empty()) args.probe = &probe;
  nb::dict report = report_of(run(call, mask, n_threads, &probe));
  report["rows"] = probe.rows();
  return report;
}

}  // namespace

void bind_attend(nb::module_& module) {
  using nb::arg;
  module.def("attend", &attend, arg("q").noconvert(), arg("k").noconvert(), arg("v").noconvert(),
             arg("out").noconvert(), arg("mask"), arg("q_dtype"), arg("kv_dtype"), arg("out_dtype"), arg("f64"),
             arg("scale"), arg("softcap"), arg("bias").noconvert().none(), arg("bias_dtype"), arg("check_bias"),
             arg("check_weights"), arg("alibi").noconvert().none(), arg("table").noconvert().none(),
             arg("min_distance"), arg("sinks").noconvert().none(), arg("empty_rows"), arg("lse").noconvert().none(),
             arg("weights").noconvert().none(), arg("status").noconvert().none(), arg("n_threads"), arg("isa"),
             arg("rows"));
}

}  // namespace rowmax::python
