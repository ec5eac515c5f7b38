#include "attention/layout_checks.h"

#include <cmath>
#include <string>

#include "base/try.h"

namespace rowmax::attention {
namespace {

Error invalid(std::string message) { return Error{ErrorCode::kInvalidArgument, std::move(message)}; }

Error unsupported(const char* what, DType dtype, const char* expected) {
  return Error{ErrorCode::kUnsupported,
               std::string("attend: ") + what + " of type " + dtype_name(dtype) + ", expected " + expected};
}

bool is_float(DType dtype) noexcept { return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16; }

Status check_types(const AttendArgs& args) {
  const bool f64 = args.arithmetic == Arithmetic::kF64;
  const auto fits = [f64](DType dtype) { return is_float(dtype) || (f64 && dtype == DType::kF64); };
  const char* floats = f64 ? "f32, f16, bf16 or f64" : "f32, f16 or bf16 (f64 with Arithmetic::kF64)";
  if (!fits(args.q.dtype)) return unsupported("q", args.q.dtype, floats);
  if (!fits(args.bias.dtype)) return unsupported("bias", args.bias.dtype, floats);
  if (!is_float(args.out.dtype) && args.out.dtype != DType::kF64) return unsupported("out", args.out.dtype, floats);
  if (!dtype_known(args.kv.dtype)) return unsupported("K/V", args.kv.dtype, "a known type");
  if (args.kv.dtype == DType::kF64 && !f64) return unsupported("K/V", args.kv.dtype, "f64 with Arithmetic::kF64 alone");
  return {};
}

Status check_q8_0(const KvView& kv) {
  const struct {
    std::int64_t value;
    const char* name;
  } multiples[] = {{kv.k_dim, "k_dim"},
                   {kv.v_dim, "v_dim"},
                   {kv.k.page_stride, "k page_stride"},
                   {kv.k.key_stride, "k key_stride"},
                   {kv.k.head_stride, "k head_stride"},
                   {kv.v.page_stride, "v page_stride"},
                   {kv.v.key_stride, "v key_stride"},
                   {kv.v.head_stride, "v head_stride"}};
  for (const auto& [value, name] : multiples) {
    if (value % 32 != 0) {
      return invalid(std::string("q8_0 K/V: ") + name + " " + std::to_string(value) + ", expected a multiple of 32");
    }
  }
  if (kv.k.dim_stride != 1 || kv.v.dim_stride != 1) return invalid("q8_0 K/V: dim_stride, expected 1");
  return {};
}

Status check_scales(const KvView& kv) {
  if (kv.dtype != DType::kF8E4M3) {
    if (kv.k_scales != nullptr || kv.v_scales != nullptr) {
      return invalid(std::string("k_scales or v_scales with K/V of type ") + dtype_name(kv.dtype) +
                     ", expected f8_e4m3");
    }
    return {};
  }
  for (const auto& [scales, name] : {std::pair{kv.k_scales, "k_scales"}, std::pair{kv.v_scales, "v_scales"}}) {
    for (std::int64_t h = 0; scales != nullptr && h < kv.n_kv_head; ++h) {
      if (!std::isfinite(scales[h])) return invalid(std::string(name) + "[" + std::to_string(h) + "] is not finite");
    }
  }
  return {};
}

}  // namespace

Status check_layout(const AttendArgs& args) {
  const KvView& kv = args.kv;
  ROWMAX_RETURN_IF_ERROR(check_types(args));
  if (kv.dtype == DType::kQ8_0) ROWMAX_RETURN_IF_ERROR(check_q8_0(kv));
  ROWMAX_RETURN_IF_ERROR(check_scales(kv));
  if (args.arithmetic == Arithmetic::kF64) {
    const char* what = args.weights.data != nullptr             ? "weights"
                       : args.partial.o != nullptr              ? "partial results"
                       : args.probe != nullptr                  ? "a probe"
                       : args.check_weights == WeightCheck::kOn ? "check_weights"
                       : args.empty_rows == EmptyRows::kUniform ? "EmptyRows::kUniform"
                                                                : nullptr;
    if (what != nullptr) {
      return Error{ErrorCode::kUnsupported, std::string("attend: ") + what + " with Arithmetic::kF64"};
    }
  }
  if (kv.page_size < 0) return invalid("page_size " + std::to_string(kv.page_size) + " is negative");
  if (kv.ring_keys < 0) return invalid("ring_keys " + std::to_string(kv.ring_keys) + " is negative");
  if (kv.ring_keys > 0 && kv.page_size > 0 && kv.ring_keys % kv.page_size != 0) {
    return invalid("ring_keys " + std::to_string(kv.ring_keys) + ", expected a multiple of page_size " +
                   std::to_string(kv.page_size));
  }
  return {};
}

Status check_pages(const AttendArgs& args, const PlanSequence& s) {
  const KvView& view = args.kv;
  const KvSequence& kv = args.sequences[static_cast<std::size_t>(s.source)];
  const bool looks_at_pages =
      kv.pages != nullptr && view.page_size != 0 && s.n_bitmaps == 0 && kv.bias == nullptr && view.ring_keys == 0;
  const std::int64_t oldest = view.ring_keys > 0 ? s.n_kv - view.ring_keys : 0;
  if (!looks_at_pages && oldest <= 0) return {};
  std::int64_t checked_begin = 0;
  std::int64_t checked_end = 0;
  for (std::int64_t i = 0; i < s.n_q; ++i) {
    const RowSpans spans = row_spans(s, i);
    if (oldest > 0 && spans.begin0 < spans.end0 && spans.begin0 < oldest) {
      return invalid("sequence " + std::to_string(s.source) + ", query " + std::to_string(s.q_first + i) +
                     ": sees key " + std::to_string(spans.begin0) + ", but a ring of " +
                     std::to_string(view.ring_keys) + " keys holds none before " + std::to_string(oldest));
    }
    if (!looks_at_pages) continue;
    const std::int64_t bounds[2][2] = {{spans.begin0, spans.end0}, {spans.begin1, spans.end1}};
    for (const auto& [begin, end] : bounds) {
      if (begin >= end) continue;
      std::int64_t page = begin / view.page_size;
      const std::int64_t page_end = (end - 1) / view.page_size + 1;
      if (page >= checked_begin && page < checked_end) page = checked_end;  // queries step on by one key
      for (; page < page_end; ++page) {
        if (kv.pages[page] >= 0) continue;
        return invalid("sequence " + std::to_string(s.source) + ": page " + std::to_string(page) +
                       " holds visible keys but its number is " + std::to_string(kv.pages[page]));
      }
      if (checked_begin == checked_end) checked_begin = begin / view.page_size;
      if (begin / view.page_size <= checked_end) checked_end = max_i64(checked_end, page_end);
    }
  }
  return {};
}

}  // namespace rowmax::attention
