// Dense masks of other frameworks, in and out.
#include <nanobind/stl/string.h>

#include <string>

#include "bindings/python/native/core.h"
#include "rowmax/mask_convert.h"

namespace rowmax::python {
namespace {

using Keep = nb::ndarray<std::uint8_t, nb::ndim<4>, nb::c_contig, nb::device::cpu>;

nb::dict detected_of(const DetectedMask& mask) {
  nb::dict result;
  result["kind"] = mask_kind_name(mask.kind);
  result["begin"] = mask.valid.begin;
  result["end"] = mask.valid.end;
  result["q_pos"] = mask.q_pos;
  result["left"] = mask.left == kUnbounded ? nb::object(nb::none()) : nb::object(nb::int_(mask.left));
  result["right"] = mask.right == kUnbounded ? nb::object(nb::none()) : nb::object(nb::int_(mask.right));
  return result;
}

// Reads every matrix of an additive mask [batch][head][n_q][n_kv], writes what it keeps, and says what it found.
nb::list from_additive(const Input& values, int dtype, double threshold, Keep keep) {
  const Array array = array_of(values, true);
  const std::int64_t bytes = dtype_bytes(static_cast<DType>(dtype), 1);
  nb::list found;
  std::uint8_t* to = keep.data();
  for (std::int64_t b = 0; b < array.shape[0]; ++b) {
    for (std::int64_t h = 0; h < array.shape[1]; ++h) {
      DenseMaskView view;
      view.data = static_cast<const char*>(array.data) + (b * array.stride[0] + h * array.stride[1]) * bytes;
      view.n_q = array.shape[2];
      view.n_kv = array.shape[3];
      view.row_stride = array.stride[2];
      view.key_stride = array.stride[3];
      const AdditiveMask mask = checked(rowmax::from_additive(view, static_cast<DType>(dtype), threshold));
      for (std::int64_t i = 0; i < view.n_q; ++i) {
        for (std::int64_t j = 0; j < view.n_kv; ++j) *to++ = mask.mask.keeps(i, j) ? 1 : 0;
      }
      nb::dict one = detected_of(mask.mask.detected());
      one["sentinel"] = sentinel_name(mask.sentinel);
      one["value"] = mask.sentinel_value;
      one["has_bias"] = mask.has_bias;
      one["text"] = mask.text();
      found.append(one);
    }
  }
  return found;
}

// Spans and sides of [batch][n_kv] tokens; the library's holes stay with the caller's own array.
nb::list from_keep_mask(nb::ndarray<nb::ro, const std::uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu> tokens) {
  const auto n_kv = static_cast<std::int64_t>(tokens.shape(1));
  const KeepMask mask =
      checked(rowmax::from_keep_mask(tokens.data(), static_cast<std::int64_t>(tokens.shape(0)), n_kv, n_kv));
  nb::list result;
  for (std::size_t b = 0; b < mask.spans().size(); ++b) {
    result.append(nb::make_tuple(mask.spans()[b].begin, mask.spans()[b].end, padding_side_name(mask.sides()[b])));
  }
  return result;
}

// Writes the mask of a call into a C-contiguous [batch][head][n_q][n_kv] array.
void to_additive(const CallMask& mask, int dtype, bool finite, const Output& out) {
  const MaskPlan plan = mask.compile();
  const std::int64_t bytes = dtype_bytes(static_cast<DType>(dtype), 1);
  char* to = static_cast<char*>(out.data());
  for (std::int64_t b = 0; b < mask.batch(); ++b) {
    for (std::int64_t h = 0; h < mask.n_head(); ++h) {
      check(rowmax::to_additive(plan, b, h, static_cast<DType>(dtype),
                                finite ? Fill::kLowestFinite : Fill::kMinusInfinity, to, mask.n_kv()));
      to += mask.n_q() * mask.n_kv() * bytes;
    }
  }
}

}  // namespace

void bind_convert(nb::module_& module) {
  module.def("from_additive", &from_additive);
  module.def("from_keep_mask", &from_keep_mask);
  module.def("to_additive", &to_additive);
}

}  // namespace rowmax::python
