// The plain calls of sdpa without a detour through Python: whatever is not plain is left to the package, which treats
// every case and words every error. Both ways give the same bits.
#include <nanobind/stl/string.h>

#include <array>
#include <cmath>
#include <cstring>
#include <optional>
#include <vector>

#include "bindings/python/native/core.h"

namespace rowmax::python {
namespace {

// Never freed: types and functions that live as long as their modules.
struct Names {
  PyObject* layout = PyUnicode_InternFromString("layout");
  PyObject* is_cpu = PyUnicode_InternFromString("is_cpu");
  PyObject* is_nested = PyUnicode_InternFromString("is_nested");
  PyObject* is_neg = PyUnicode_InternFromString("is_neg");
  PyObject* is_conj = PyUnicode_InternFromString("is_conj");
  PyObject* requires_grad = PyUnicode_InternFromString("requires_grad");
  PyObject* dtype = PyUnicode_InternFromString("dtype");
  PyObject* shape = PyUnicode_InternFromString("shape");
  PyObject* stride = PyUnicode_InternFromString("stride");
  PyObject* data_ptr = PyUnicode_InternFromString("data_ptr");
  PyObject* new_empty = PyUnicode_InternFromString("new_empty");
  PyObject* transpose = PyUnicode_InternFromString("transpose");
};
const Names& names() {
  static const Names* all = new Names;
  return *all;
}

struct Numpy {
  nb::object array, empty;
};
const Numpy& numpy() {
  static const Numpy* found = [] {
    const nb::module_ module = nb::module_::import_("numpy");
    return new Numpy{module.attr("ndarray"), module.attr("empty")};
  }();
  return *found;
}

struct Torch {
  nb::object tensor, parameter, strided, is_wrapped;
  nb::object f32, f16, bf16, f64, boolean;
};
// nullptr while nobody has imported torch.
const Torch* torch() {
  static const Torch* found = nullptr;
  if (found != nullptr) return found;
  const nb::dict modules = nb::cast<nb::dict>(nb::module_::import_("sys").attr("modules"));
  if (!modules.contains("torch")) return nullptr;
  const nb::object module = modules["torch"];
  found = new Torch{module.attr("Tensor"),   module.attr("nn").attr("Parameter"),
                    module.attr("strided"),  module.attr("_C").attr("_functorch").attr("is_functorch_wrapped_tensor"),
                    module.attr("float32"),  module.attr("float16"),
                    module.attr("bfloat16"), module.attr("float64"),
                    module.attr("bool")};
  return found;
}

struct Operand {
  nb::handle object;
  bool is_torch = false;
  bool is_bool = false;
  DType dtype = DType::kF32;
  int n_dim = 0;
  Array array;
};

bool is_true(nb::handle x, PyObject* name) { return x.attr(nb::handle(name)).ptr() == Py_True; }
bool says(nb::handle x, PyObject* name) { return x.attr(nb::handle(name))().ptr() == Py_True; }

bool set_type(nb::handle dtype, const Torch& t, Operand* to) {
  const std::pair<const nb::object*, DType> types[] = {
      {&t.f32, DType::kF32}, {&t.f16, DType::kF16}, {&t.bf16, DType::kBF16}, {&t.f64, DType::kF64}};
  for (const auto& [type, code] : types) {
    if (!dtype.is(*type)) continue;
    to->dtype = code;
    return true;
  }
  to->is_bool = dtype.is(t.boolean);
  return to->is_bool;
}

// A tensor whose memory holds what it stands for, and which no gradient is wanted of.
bool read_tensor(nb::handle x, const Torch& t, Operand* to) {
  const Names& n = names();
  if (!is_true(x, n.is_cpu) || is_true(x, n.is_nested) || is_true(x, n.requires_grad)) return false;
  if (!x.attr(nb::handle(n.layout)).is(t.strided) || says(x, n.is_neg) || says(x, n.is_conj)) return false;
  if (t.is_wrapped(x).ptr() == Py_True || !set_type(x.attr(nb::handle(n.dtype)), t, to)) return false;
  const auto shape = nb::cast<nb::tuple>(x.attr(nb::handle(n.shape)));
  const auto stride = nb::cast<nb::tuple>(x.attr(nb::handle(n.stride))());
  const std::size_t n_dim = shape.size();
  if (n_dim < 1 || n_dim > 4) return false;
  for (std::size_t i = 0; i < n_dim; ++i) {
    to->array.shape[4 - n_dim + i] = nb::cast<std::int64_t>(shape[i]);
    to->array.stride[4 - n_dim + i] = nb::cast<std::int64_t>(stride[i]);
  }
  to->n_dim = static_cast<int>(n_dim);
  to->array.data = reinterpret_cast<void*>(nb::cast<std::uintptr_t>(x.attr(nb::handle(n.data_ptr))()));
  return to->array.data != nullptr;
}

bool read_numpy(nb::handle x, Operand* to) {
  Input array;
  if (!nb::try_cast(x, array, false) || array.ndim() < 1 || array.ndim() > 4) return false;
  if (array.dtype() == nb::dtype<float>()) {
    to->dtype = DType::kF32;
  } else if (array.dtype() == nb::dtype<double>()) {
    to->dtype = DType::kF64;
  } else if (array.dtype() == nb::dtype<bool>()) {
    to->is_bool = true;
  } else {
    return false;
  }
  to->n_dim = static_cast<int>(array.ndim());
  to->array = array_of(array, false);
  return true;
}

bool read(nb::handle x, Operand* to) {
  to->object = x;
  const nb::handle type = x.type();
  if (type.is(numpy().array)) return read_numpy(x, to);
  const Torch* t = torch();
  if (t == nullptr || !(type.is(t->tensor) || type.is(t->parameter))) return false;
  to->is_torch = true;
  return read_tensor(x, *t, to);
}

// Extents of 1 and strides of 0 are the same for every place: extent 1, stride 0.
Array folded(Array array) {
  for (int i = 0; i < 4; ++i) {
    if (array.shape[i] == 1 || array.stride[i] == 0) {
      array.shape[i] = 1;
      array.stride[i] = 0;
    }
  }
  return array;
}

// 64 booleans (bytes, 0 or not) from `from`, `n` of them there.
std::uint64_t word_of(const unsigned char* from, std::int64_t stride, std::int64_t n) {
  std::uint64_t word = 0;
  std::int64_t j = 0;
  for (; stride == 1 && j + 8 <= n; j += 8) {
    std::uint64_t bytes;
    std::memcpy(&bytes, from + j, 8);
    constexpr std::uint64_t kLow = 0x7f7f7f7f7f7f7f7f;
    const std::uint64_t ones = (((bytes & kLow) + kLow) | bytes) >> 7 & 0x0101010101010101;
    word |= (ones * 0x0102040810204080 >> 56) << j;
  }
  for (; j < n; ++j) word |= std::uint64_t{from[j * stride] != 0} << j;
  return word;
}

// The ones of each row as one span, if they stand together in all rows.
std::optional<std::vector<KeySpan>> spans_of(const std::vector<std::uint64_t>& words, std::int64_t n_row,
                                             std::int64_t row_words, std::int64_t n_kv) {
  std::vector<KeySpan> spans;
  for (std::int64_t r = 0; r < n_row; ++r) {
    const std::uint64_t* row = words.data() + r * row_words;
    const auto bit = [&](std::int64_t j) { return (row[j / 64] >> (j % 64) & 1) != 0; };
    std::int64_t begin = 0;
    while (begin < n_kv && !bit(begin)) ++begin;
    std::int64_t end = begin;
    while (end < n_kv && bit(end)) ++end;
    for (std::int64_t j = end; j < n_kv; ++j) {
      if (bit(j)) return std::nullopt;
    }
    spans.push_back(begin == end ? KeySpan{0, 0} : KeySpan{begin, end});
  }
  return spans;
}

// Padding becomes spans, which the library skips; else bits.
void set_booleans(const Array& given, std::int64_t n_kv, CallMask* mask) {
  const Array keep = folded(given);
  const std::int64_t row_words = (n_kv + 63) / 64;
  std::vector<std::uint64_t> words;
  words.reserve(static_cast<std::size_t>(keep.shape[0] * keep.shape[1] * keep.shape[2] * row_words));
  const auto* data = static_cast<const unsigned char*>(keep.data);
  for (std::int64_t b = 0; b < keep.shape[0]; ++b) {
    for (std::int64_t h = 0; h < keep.shape[1]; ++h) {
      for (std::int64_t i = 0; i < keep.shape[2]; ++i) {
        const unsigned char* row = data + b * keep.stride[0] + h * keep.stride[1] + i * keep.stride[2];
        for (std::int64_t j = 0; j < n_kv; j += 64) {
          words.push_back(word_of(row + j * keep.stride[3], keep.stride[3], std::min<std::int64_t>(64, n_kv - j)));
        }
      }
    }
  }
  if (keep.shape[1] == 1 && keep.shape[2] == 1) {
    if (auto spans = spans_of(words, keep.shape[0], row_words, n_kv)) {
      mask->valid(std::move(*spans));
      return;
    }
  }
  mask->bitmap(std::move(words), {keep.shape[0], keep.shape[1], keep.shape[2], row_words});
}

// Whether q, k and v fit without any broadcasting but that of key heads.
bool fits(const Operand& q, const Operand& k, const Operand& v, bool enable_gqa) {
  for (const Operand* x : {&q, &k, &v}) {
    if (x->is_bool || x->is_torch != q.is_torch || x->dtype != q.dtype || x->n_dim != q.n_dim || q.n_dim < 3) {
      return false;
    }
    for (std::int64_t n : x->array.shape) {
      if (n < 1) return false;
    }
  }
  const std::int64_t *qs = q.array.shape, *ks = k.array.shape, *vs = v.array.shape;
  if (qs[0] != ks[0] || qs[0] != vs[0] || ks[1] != vs[1] || ks[2] != vs[2] || qs[3] != ks[3]) return false;
  return enable_gqa ? qs[1] % ks[1] == 0 : qs[1] == ks[1];
}

bool mask_fits(const Operand& mask, const Operand& q, std::int64_t n_kv) {
  if (mask.is_torch != q.is_torch || mask.n_dim > q.n_dim) return false;
  if (!mask.is_bool && mask.dtype != q.dtype && mask.dtype != DType::kF32) return false;
  const std::int64_t want[] = {q.array.shape[0], q.array.shape[1], q.array.shape[2], n_kv};
  for (int i = 0; i < 4; ++i) {
    if (mask.array.shape[i] != 1 && mask.array.shape[i] != want[i]) return false;
  }
  return true;
}

// A new array [batch][head][n_q][v_dim] of q's kind; head or n_q first in memory, as in q.
nb::object allocate(const Operand& q, std::int64_t v_dim, Operand* out) {
  const std::int64_t* s = q.array.shape;
  const bool swapped = s[1] > 1 && s[2] > 1 && q.array.stride[1] < q.array.stride[2];
  const std::int64_t one = swapped ? s[2] : s[1], two = swapped ? s[1] : s[2];
  const nb::tuple shape = q.n_dim == 4 ? nb::make_tuple(s[0], one, two, v_dim) : nb::make_tuple(one, two, v_dim);
  nb::object result = q.is_torch ? q.object.attr(nb::handle(names().new_empty))(shape)
                                 : numpy().empty(shape, q.object.attr(nb::handle(names().dtype)));
  out->array = q.array;
  out->array.shape[3] = v_dim;
  const std::int64_t strides[] = {s[1] * s[2] * v_dim, swapped ? v_dim : s[2] * v_dim, swapped ? s[1] * v_dim : v_dim,
                                  1};
  std::copy(strides, strides + 4, out->array.stride);
  if (q.is_torch) {
    const nb::object address = result.attr(nb::handle(names().data_ptr))();
    out->array.data = reinterpret_cast<void*>(nb::cast<std::uintptr_t>(address));
  } else {
    out->array.data = nb::cast<Output>(result, false).data();
  }
  if (!swapped) return result;
  const int first = q.n_dim - 3;
  return q.is_torch ? result.attr(nb::handle(names().transpose))(first, first + 1)
                    : result.attr("swapaxes")(first, first + 1);
}

// The result, or None where the call is not plain.
nb::object sdpa(nb::handle query, nb::handle key, nb::handle value, nb::handle attn_mask, nb::handle is_causal,
                nb::handle scale, nb::handle enable_gqa, int n_threads, const std::string& isa) {
  const auto is_flag = [](nb::handle x) { return x.ptr() == Py_True || x.ptr() == Py_False; };
  if (!is_flag(is_causal) || !is_flag(enable_gqa) || (!scale.is_none() && !PyFloat_Check(scale.ptr())))
    return nb::none();
  const bool causal = is_causal.ptr() == Py_True;
  Operand q, k, v, mask, out;
  if (!read(query, &q) || !read(key, &k) || !read(value, &v)) return nb::none();
  if (!fits(q, k, v, enable_gqa.ptr() == Py_True)) return nb::none();
  const std::int64_t n_kv = k.array.shape[2];
  const bool masked = !attn_mask.is_none();
  if (masked && (causal || !read(attn_mask, &mask) || !mask_fits(mask, q, n_kv))) return nb::none();
  const nb::object result = allocate(q, v.array.shape[3], &out);
  Call call;
  call.q = q.array;
  call.k = k.array;
  call.v = v.array;
  call.out = out.array;
  call.set_arrays(q.dtype, q.dtype, q.dtype);
  call.args.arithmetic = q.dtype == DType::kF64 ? Arithmetic::kF64 : Arithmetic::kF32;
  call.args.scale = scale.is_none() ? 1 / std::sqrt(static_cast<double>(q.array.shape[3])) : nb::cast<double>(scale);
  call.args.check_weights = WeightCheck::kOff;
  call.isa = isa_of(isa);
  CallMask rules(q.array.shape[0], static_cast<std::int32_t>(q.array.shape[1]),
                 static_cast<std::int32_t>(k.array.shape[1]), q.array.shape[2], n_kv);
  if (causal) rules.causal_top_left();
  if (masked && mask.is_bool) set_booleans(mask.array, n_kv, &rules);
  if (masked && !mask.is_bool) {
    Array bias = mask.array;
    for (int i = 0; i < 4; ++i) {
      if (bias.shape[i] == 1) bias.stride[i] = 0;
    }
    call.set_bias(bias, mask.dtype);
  }
  run(call, rules, n_threads, nullptr);
  return result;
}

}  // namespace

void bind_sdpa(nb::module_& module) {
  using nb::arg;
  module.def("sdpa", &sdpa, arg("query"), arg("key"), arg("value"), arg("attn_mask").none(), arg("is_causal"),
             arg("scale").none(), arg("enable_gqa"), arg("n_threads"), arg("isa"));
}

}  // namespace rowmax::python
