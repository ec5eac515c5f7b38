#include "attention/layout_checks.h"

#include <cmath>
#include <string>

#include "base/half.h"
#include "rowmax/try.h"

namespace rowmax::attention {
namespace {

Error unsupported(const char* what, DType dtype, const char* expected) {
  return Error::unsupported(std::string("attend: ") + what + " of type " + dtype_name(dtype) + ", expected " +
                            expected);
}

bool is_float(DType dtype) noexcept { return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16; }

Status check_types(const AttendArgs& args) {
  const bool f64 = args.arithmetic == Arithmetic::kF64;
  const auto fits = [f64](DType dtype) { return is_float(dtype) || (f64 && dtype == DType::kF64); };
  const char* floats = f64 ? "f32, f16, bf16 or f64" : "f32, f16 or bf16 (f64 with Arithmetic::kF64)";
  if (!fits(args.q.dtype)) return unsupported("q", args.q.dtype, floats);
  if (!fits(args.bias.dtype)) return unsupported("bias", args.bias.dtype, floats);
  if (!is_float(args.out.dtype) && args.out.dtype != DType::kF64) {
    return unsupported("out", args.out.dtype, "f32, f16, bf16 or f64");
  }
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
      return Error::invalid_argument(std::string("q8_0 K/V: ") + name + " " + std::to_string(value) +
                                     ", expected a multiple of 32");
    }
  }
  if (kv.k.dim_stride != 1 || kv.v.dim_stride != 1) return Error::invalid_argument("q8_0 K/V: dim_stride, expected 1");
  return {};
}

}  // namespace

Status check_scales(const KvView& kv) {
  if (kv.dtype != DType::kF8E4M3) {
    if (kv.k_scales != nullptr || kv.v_scales != nullptr) {
      return Error::invalid_argument(std::string("k_scales or v_scales with K/V of type ") + dtype_name(kv.dtype) +
                                     ", expected f8_e4m3");
    }
    return {};
  }
  for (const auto& [scales, name] : {std::pair{kv.k_scales, "k_scales"}, std::pair{kv.v_scales, "v_scales"}}) {
    for (std::int64_t h = 0; scales != nullptr && h < kv.n_kv_head; ++h) {
      if (!std::isfinite(scales[h])) {
        return Error::invalid_argument(std::string(name) + "[" + std::to_string(h) + "] is not finite");
      }
    }
  }
  return {};
}

Status check_layout(const AttendArgs& args) {
  const KvView& kv = args.kv;
  ROWMAX_RETURN_IF_ERROR(check_types(args));
  if (kv.dtype == DType::kQ8_0) ROWMAX_RETURN_IF_ERROR(check_q8_0(kv));
  if (args.arithmetic == Arithmetic::kF64) {
    const char* what = args.partial.o != nullptr ? "partial results" : args.probe != nullptr ? "a probe" : nullptr;
    if (what != nullptr) {
      return Error::unsupported(std::string("attend: ") + what + " with Arithmetic::kF64");
    }
  }
  if (kv.page_size < 0) return Error::invalid_argument("page_size " + std::to_string(kv.page_size) + " is negative");
  if (kv.ring_keys < 0) return Error::invalid_argument("ring_keys " + std::to_string(kv.ring_keys) + " is negative");
  if (kv.ring_keys > 0 && kv.page_size > 0 && kv.ring_keys % kv.page_size != 0) {
    return Error::invalid_argument("ring_keys " + std::to_string(kv.ring_keys) + ", expected a multiple of page_size " +
                                   std::to_string(kv.page_size));
  }
  return {};
}

double bias_at(const AttendArgs& args, const KvSequence& kv, std::int64_t index) noexcept {
  switch (args.bias.dtype) {
    case DType::kF32: return static_cast<const float*>(kv.bias)[index];
    case DType::kF16: return base::f16_to_f32(static_cast<const std::uint16_t*>(kv.bias)[index]);
    case DType::kBF16: return base::bf16_to_f32(static_cast<const std::uint16_t*>(kv.bias)[index]);
    case DType::kF64: return static_cast<const double*>(kv.bias)[index];
    default: return 0.0;
  }
}

namespace {

// The first key of [begin, end) that some head of query i sees, -1 where there is none. Looks at every bit and every
// bias of the range.
std::int64_t first_visible_key(const AttendArgs& args, const PlanSequence& s, std::int64_t i, std::int64_t begin,
                               std::int64_t end) noexcept {
  const KvSequence& kv = args.sequences[static_cast<std::size_t>(s.source)];
  const RowSpans spans = row_spans(s, i);
  begin = max_i64(begin, spans.begin0);
  end = min_i64(end, max_i64(spans.end0, spans.end1));
  for (std::int64_t first = begin; first < end; first += 64) {
    const std::uint64_t in_spans = spans_word(spans, first) & bit_range(0, end - first);
    std::uint64_t seen = 0;
    for (std::int64_t h = 0; in_spans != 0 && h < args.q.n_head; ++h) {
      std::uint64_t word = in_spans & bitmaps_word(s, i, h, first);
      if (kv.bias == nullptr) seen |= word;
      for (; kv.bias != nullptr && word != 0; word &= word - 1) {
        const std::int64_t j = first + __builtin_ctzll(word);
        const std::int64_t at =
            (s.q_first + i) * args.bias.row_stride + h * args.bias.head_stride + j * args.bias.key_stride;
        if (bias_at(args, kv, at) != -INFINITY) seen |= word & -word;
      }
    }
    if (seen != 0) return first + __builtin_ctzll(seen);
  }
  return -1;
}

// Pages [begin, end) of a sequence (counted by keys, ring or not) that are known to have numbers of 0 or more.
struct CheckedPages {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

// Keys [begin, end) of query i, without bits and bias all visible.
Status check_span_pages(const AttendArgs& args, const PlanSequence& s, std::int64_t i, std::int64_t begin,
                        std::int64_t end, CheckedPages* checked) {
  const KvView& view = args.kv;
  const KvSequence& kv = args.sequences[static_cast<std::size_t>(s.source)];
  const std::int64_t ring_pages = view.ring_keys / view.page_size;
  const std::int64_t first = begin / view.page_size;
  const std::int64_t last = (end - 1) / view.page_size;
  bool gap = false;
  for (std::int64_t page = first; page <= last; ++page) {
    if (page >= checked->begin && page < checked->end) {  // queries step on by one key
      page = checked->end - 1;
      continue;
    }
    const std::int64_t entry = ring_pages > 0 ? page % ring_pages : page;
    if (kv.pages[entry] >= 0) continue;
    if (s.n_bitmaps == 0 && kv.bias == nullptr) {
      return Error::invalid_argument("sequence " + std::to_string(s.source) + ": page " + std::to_string(entry) +
                                     " holds visible keys but its number is " + std::to_string(kv.pages[entry]));
    }
    const std::int64_t key =
        first_visible_key(args, s, i, max_i64(begin, page * view.page_size), min_i64(end, (page + 1) * view.page_size));
    if (key >= 0) {
      return Error::invalid_argument("sequence " + std::to_string(s.source) + ": page " + std::to_string(entry) +
                                     " holds key " + std::to_string(key) + ", which query " +
                                     std::to_string(s.q_first + i) + " sees, but its number is " +
                                     std::to_string(kv.pages[entry]));
    }
    gap = true;
  }
  if (gap) return {};
  if (checked->begin == checked->end || first > checked->end || last + 1 < checked->begin) {
    *checked = {first, last + 1};
  } else {
    *checked = {min_i64(checked->begin, first), max_i64(checked->end, last + 1)};
  }
  return {};
}

}  // namespace

Status check_pages(const AttendArgs& args, const PlanSequence& s) {
  const KvView& view = args.kv;
  const KvSequence& kv = args.sequences[static_cast<std::size_t>(s.source)];
  const bool has_pages = kv.pages != nullptr && view.page_size != 0;
  const std::int64_t oldest = view.ring_keys > 0 ? s.n_kv - view.ring_keys : 0;
  if (!has_pages && oldest <= 0) return {};
  const bool exact_spans = s.n_bitmaps == 0 && kv.bias == nullptr;
  CheckedPages checked[2];
  for (std::int64_t i = 0; i < s.n_q; ++i) {
    const RowSpans spans = row_spans(s, i);
    if (spans.begin0 >= spans.end0) continue;
    if (spans.begin0 < oldest) {
      const std::int64_t key = exact_spans ? spans.begin0 : first_visible_key(args, s, i, spans.begin0, oldest);
      if (key >= 0) {
        return Error::invalid_argument("sequence " + std::to_string(s.source) + ", query " +
                                       std::to_string(s.q_first + i) + ": sees key " + std::to_string(key) +
                                       ", but a ring of " + std::to_string(view.ring_keys) +
                                       " keys holds none before " + std::to_string(oldest));
      }
    }
    if (!has_pages) continue;
    const std::int64_t bounds[2][2] = {{spans.begin0, spans.end0}, {spans.begin1, spans.end1}};
    for (int b = 0; b < 2; ++b) {
      const std::int64_t begin = max_i64(bounds[b][0], oldest);
      if (begin >= bounds[b][1]) continue;
      ROWMAX_RETURN_IF_ERROR(check_span_pages(args, s, i, begin, bounds[b][1], &checked[b]));
    }
  }
  return {};
}

}  // namespace rowmax::attention
