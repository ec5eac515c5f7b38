// Additive masks: numbers added to scores, out of and into bits.
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "attention/masks/dense_mask.h"
#include "attention/plan/plan.h"
#include "base/half.h"
#include "rowmax/try.h"

namespace rowmax {

using attention::bitmaps_word;
using attention::row_spans;
using attention::spans_word;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kLowestF16 = -65504.0;
constexpr double kLowestBf16 = -0x1.FEp127;
constexpr double kLowestF32 = -static_cast<double>(std::numeric_limits<float>::max());
constexpr double kLowestF64 = -std::numeric_limits<double>::max();

bool is_float_type(DType dtype) noexcept {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 || dtype == DType::kF64;
}

Error unsupported(DType dtype) {
  return Error::unsupported(std::string("additive masks of ") + dtype_name(dtype) + ": expected f32, f16, bf16 or f64");
}

double lowest_of(DType dtype) noexcept {
  switch (dtype) {
    case DType::kF16: return kLowestF16;
    case DType::kBF16: return kLowestBf16;
    case DType::kF32: return kLowestF32;
    default: return kLowestF64;
  }
}

// A number that f32 holds, as the type rounds it.
double as_type(DType dtype, double x) noexcept {
  const float f = static_cast<float>(x);
  if (dtype == DType::kF16) return static_cast<double>(base::f16_to_f32(base::f32_to_f16(f)));
  if (dtype == DType::kBF16) return static_cast<double>(base::bf16_to_f32(base::f32_to_bf16(f)));
  return x;
}

double load(DType dtype, const void* data, std::int64_t index) noexcept {
  switch (dtype) {
    case DType::kF16: return static_cast<double>(base::f16_to_f32(static_cast<const std::uint16_t*>(data)[index]));
    case DType::kBF16: return static_cast<double>(base::bf16_to_f32(static_cast<const std::uint16_t*>(data)[index]));
    case DType::kF32: return static_cast<double>(static_cast<const float*>(data)[index]);
    default: return static_cast<const double*>(data)[index];
  }
}

std::string text_of(double x) {
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, x, std::chars_format::general, 9).ptr;
  return std::string(buffer, end);
}

constexpr int kSentinels = static_cast<int>(Sentinel::kMixed);

// Counts the hidden pairs by what marks them.
class Marks {
 public:
  explicit Marks(DType dtype) noexcept
      : own_lowest_(lowest_of(dtype)), minus_1e9_(as_type(dtype, -1e9)), minus_1e4_(as_type(dtype, -1e4)) {
    const double narrower[] = {as_type(dtype, kLowestF16), kLowestBf16, kLowestF32};
    std::memcpy(narrower_, narrower, sizeof narrower);
  }

  void add(double x) noexcept {
    const Sentinel sentinel = sentinel_of(x);
    const int s = static_cast<int>(sentinel);
    if (counts_[s]++ == 0 || x < values_[s]) values_[s] = x;
  }
  Sentinel sentinel() const noexcept {
    int found = 0, n_kinds = 0;
    for (int s = 0; s < kSentinels; ++s) {
      if (counts_[s] == 0) continue;
      ++n_kinds;
      found = s;
    }
    return n_kinds > 1 ? Sentinel::kMixed : static_cast<Sentinel>(found);
  }
  double value() const noexcept {
    int most = 0;
    for (int s = 1; s < kSentinels; ++s) most = counts_[s] > counts_[most] ? s : most;
    return values_[most];
  }

 private:
  Sentinel sentinel_of(double x) const noexcept {
    if (x == -kInfinity) return Sentinel::kMinusInfinity;
    if (x == own_lowest_) return Sentinel::kLowestFinite;
    if (x == minus_1e9_) return Sentinel::kMinus1e9;
    if (x == minus_1e4_) return Sentinel::kMinus1e4;
    for (const double lowest : narrower_) {
      if (x == lowest) return Sentinel::kLowestNarrower;
    }
    return Sentinel::kOtherFinite;
  }

  double own_lowest_, minus_1e9_, minus_1e4_;
  double narrower_[3];  // in the mask's type
  std::int64_t counts_[kSentinels] = {};
  double values_[kSentinels] = {};
};

}  // namespace

const char* sentinel_name(Sentinel sentinel) noexcept {
  switch (sentinel) {
    case Sentinel::kNone: return "none";
    case Sentinel::kMinusInfinity: return "minus_infinity";
    case Sentinel::kLowestFinite: return "lowest_finite";
    case Sentinel::kLowestNarrower: return "lowest_narrower";
    case Sentinel::kMinus1e9: return "minus_1e9";
    case Sentinel::kMinus1e4: return "minus_1e4";
    case Sentinel::kOtherFinite: return "other_finite";
    case Sentinel::kMixed: return "mixed";
  }
  return "unknown";
}

Result<double> mask_fill(DType dtype, Fill fill) {
  if (!is_float_type(dtype)) return unsupported(dtype);
  return fill == Fill::kMinusInfinity ? -kInfinity : lowest_of(dtype);
}

namespace {

// Writes the bits of one row; T holds zero and fill as the type stores them.
template <class T>
void write_row(const std::uint64_t* words, std::int64_t n_kv, T fill, T* out, std::int64_t key_stride) noexcept {
  for (std::int64_t j = 0; j < n_kv; ++j) {
    out[j * key_stride] = (words[j / 64] >> (j % 64) & 1) != 0 ? T{} : fill;
  }
}

template <class T>
void write_rows(const attention::PlanSequence& p, std::int64_t h, T fill, T* out, std::int64_t row_stride,
                std::int64_t key_stride) noexcept {
  for (std::int64_t i = 0; i < p.n_q; ++i) {
    const attention::RowSpans spans = row_spans(p, i);
    T* row = out + (p.q_first + i) * row_stride;
    for (std::int64_t j = 0; j < p.n_kv; j += 64) {
      std::uint64_t word = spans_word(spans, j);
      if (word != 0) word &= bitmaps_word(p, i, h, j);
      write_row(&word, p.n_kv - j < 64 ? p.n_kv - j : 64, fill, row + j * key_stride, key_stride);
    }
  }
}

}  // namespace

Status to_additive(const MaskPlan& plan, std::int64_t s, std::int64_t h, DType dtype, Fill fill, void* out,
                   std::int64_t row_stride, std::int64_t key_stride) {
  ROWMAX_TRY(value, mask_fill(dtype, fill));
  if (s < 0 || s >= plan.n_sequence() || h < 0 || h >= plan.n_head()) {
    return Error::invalid_argument("to_additive: sequence " + std::to_string(s) + ", head " + std::to_string(h) +
                                   " of a plan of " + std::to_string(plan.n_sequence()) + " sequences and " +
                                   std::to_string(plan.n_head()) + " heads");
  }
  const std::int64_t n_q = plan.n_query(s);
  const std::int64_t n_kv = plan.n_key(s);
  if (n_q == 0 || n_kv == 0) return {};
  if (out == nullptr) return Error::invalid_argument("to_additive: no memory to write to");
  if ((n_q > 1 && row_stride == 0) || (n_kv > 1 && key_stride == 0)) {
    return Error::invalid_argument("to_additive: strides " + std::to_string(row_stride) + " and " +
                                   std::to_string(key_stride) + " would write over themselves");
  }
  const MaskPlan::Impl& impl = *plan.impl();
  for (std::int64_t k = impl.sources[s].first; k < impl.sources[s + 1].first; ++k) {
    const attention::PlanSequence& p = impl.sequences[k];
    switch (dtype) {
      case DType::kF64: write_rows(p, h, value, static_cast<double*>(out), row_stride, key_stride); break;
      case DType::kF32:
        write_rows(p, h, static_cast<float>(value), static_cast<float*>(out), row_stride, key_stride);
        break;
      case DType::kF16:
        write_rows(p, h, base::f32_to_f16(static_cast<float>(value)), static_cast<std::uint16_t*>(out), row_stride,
                   key_stride);
        break;
      default:
        write_rows(p, h, base::f32_to_bf16(static_cast<float>(value)), static_cast<std::uint16_t*>(out), row_stride,
                   key_stride);
        break;
    }
  }
  return {};
}

Result<AdditiveMask> from_additive(const DenseMaskView& view, DType dtype, double threshold) {
  if (!is_float_type(dtype)) return unsupported(dtype);
  if (!(threshold < 0)) {
    return Error::invalid_argument("additive mask: threshold " + text_of(threshold) + ", expected below 0");
  }
  DenseMaskBuilder builder;
  ROWMAX_RETURN_IF_ERROR(builder.start(view, "additive mask"));
  AdditiveMask result;
  Marks marks(dtype);
  for (std::int64_t i = 0; i < builder.n_rows; ++i) {
    std::uint64_t word = 0;
    for (std::int64_t j = 0; j < view.n_kv; ++j) {
      const double x = load(dtype, view.data, i * view.row_stride + j * view.key_stride);
      if (std::isnan(x) || x == kInfinity) {
        return Error::numeric_fault(std::string("additive mask: ") + (std::isnan(x) ? "NaN" : "+inf") + " at query " +
                                    std::to_string(i) + ", key " + std::to_string(j));
      }
      if (x <= threshold || x == -kInfinity) {
        marks.add(x);
      } else {
        word |= std::uint64_t{1} << (j % 64);
        result.has_bias = result.has_bias || x != 0;
      }
      if (j % 64 == 63 || j + 1 == view.n_kv) {
        builder.set_word(i, j / 64, word);
        word = 0;
      }
    }
  }
  result.mask = builder.finish();
  result.sentinel = marks.sentinel();
  result.sentinel_value = marks.value();
  return result;
}

std::string AdditiveMask::text() const {
  std::string all = mask.detected().text();
  if (sentinel != Sentinel::kNone) {
    const bool mixed = sentinel == Sentinel::kMixed;
    all += std::string("; hidden by ") + (mixed ? "several numbers, most often " : "") + text_of(sentinel_value) +
           (mixed ? "" : std::string(" (") + sentinel_name(sentinel) + ")");
    if (sentinel != Sentinel::kMinusInfinity) {
      all +=
          ": finite, so that code which adds it averages a row that sees nothing over all keys; here such a row is "
          "empty";
    }
  }
  if (has_bias) all += "; visible pairs have values other than 0: pass the tensor as bias too";
  return all;
}

}  // namespace rowmax
