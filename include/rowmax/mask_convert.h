// Masks of other frameworks: dense boolean and additive masks in, dense masks out.
//
// In: from_keep(), from_additive() and from_keep_mask() look at the numbers and say what they found, so that a padding
// mask becomes valid spans (which skip work and make padding invisible to the bits) instead of a bitmap.
// Out: to_additive() writes a plan as the mask tensor another framework wants.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "rowmax/mask.h"
#include "rowmax/result.h"
#include "rowmax/view.h"

namespace rowmax {

// What additive masks hold where a pair is hidden. Inside rowmax there is no such number: hidden pairs are selected
// away.
enum class Fill : std::uint8_t {
  kMinusInfinity,
  kLowestFinite,  // f16 -65504, bf16 -3.38953139e38, f32 -3.40282347e38, f64 -1.79769313e308
};
// The fill value of f32, f16, bf16 or f64; kUnsupported for other types, named.
Result<double> mask_fill(DType dtype, Fill fill);

// Writes 0 where visible and the fill value elsewhere: element (i, j) at out + i * row_stride + j * key_stride
// (elements) for sequence s, head h. Errors: kInvalidArgument, kUnsupported (type).
Status to_additive(const MaskPlan& plan, std::int64_t s, std::int64_t h, DType dtype, Fill fill, void* out,
                   std::int64_t row_stride, std::int64_t key_stride = 1);

// What the hidden pairs of an additive mask were marked with.
enum class Sentinel : std::uint8_t {
  kNone,  // nothing is hidden
  kMinusInfinity,
  kLowestFinite,  // finfo.min of the mask's own type
  kF16Lowest,     // -65504 in a wider type
  kMinus1e9,      // -1e9, or what it becomes in the mask's type
  kMinus1e4,      // -10000
  kOtherFinite,   // another number at or below the threshold
  kMixed,         // several of these
};
const char* sentinel_name(Sentinel sentinel) noexcept;

// One matrix of pairs, [n_q][n_kv]; element (i, j) at data + i * row_stride + j * key_stride. Strides may be 0.
struct DenseMaskView {
  const void* data = nullptr;
  std::int64_t n_q = 0;
  std::int64_t n_kv = 0;
  std::int64_t row_stride = 0;
  std::int64_t key_stride = 1;
};

// What a dense mask turned out to be. `kind` is the strongest word that fits all pairs; the numbers beside it build the
// same mask without a bitmap.
struct DetectedMask {
  MaskKind kind = MaskKind::kArbitrary;
  KeySpan valid;                    // keys that some query sees: [first, last + 1); kEmpty: begin = end = 0
  std::int64_t q_pos = 0;           // kCausal, kSlidingWindow: position of the first query
  std::int64_t left = kUnbounded;   // kSlidingWindow
  std::int64_t right = kUnbounded;  // kCausal (0), kSlidingWindow
  bool left_padded = false;         // valid.begin > 0
  bool right_padded = false;        // valid.end < n_kv (not for causal masks whose last query ends earlier)
  std::int64_t n_hidden = 0;
  std::int64_t n_empty_rows = 0;
  std::string text() const;  // one line for people
};

// A dense mask as bits, owning them; what from_keep() and from_additive() return.
class DenseMask {
 public:
  std::int64_t n_q() const noexcept { return n_q_; }
  std::int64_t n_kv() const noexcept { return n_kv_; }
  bool keeps(std::int64_t i, std::int64_t j) const noexcept;
  // For MaskSpec::bitmap(); lives as long as this object.
  BitmapView bitmap() const noexcept;
  const DetectedMask& detected() const noexcept { return detected_; }
  // Adds the mask to a spec in its cheapest form: nothing, valid(), causal()/window() (needs Sequence::q_pos =
  // detected().q_pos; only when `q_pos` given equals it), else bitmap(). The spec points into this object.
  void add_to(MaskSpec* spec, std::int64_t q_pos) const noexcept;

 private:
  friend struct DenseMaskBuilder;
  std::int64_t n_q_ = 0;
  std::int64_t n_kv_ = 0;
  std::vector<std::uint64_t> words_;
  DetectedMask detected_;
  BitmapView bitmap_;
};

// Boolean mask, one byte a pair: non-zero = keep (PyTorch's attn_mask, ONNX). Errors: kInvalidArgument, kOutOfMemory.
Result<DenseMask> from_keep(const DenseMaskView& mask);

struct AdditiveMask {
  DenseMask mask;
  Sentinel sentinel = Sentinel::kNone;
  double sentinel_value = 0;  // the most frequent number among the hidden
  // Some visible pair has a value other than 0: pass the tensor as bias as well (hidden pairs are masked anyway).
  bool has_bias = false;
  std::string text() const;  // "41 of 64 pairs hidden by -1e9 (finite: a row hidden whole would have been averaged)..."
};
// Additive mask of f32, f16, bf16 or f64. Hidden is -inf, and every value at or below `threshold`: by default -9000,
// below any bias of a trained model and above every sentinel in use. NaN and +inf: kNumericFault, with the place.
Result<AdditiveMask> from_additive(const DenseMaskView& mask, DType dtype, double threshold = -9000.0);

// The [n_batch][n_kv] keep mask of a tokenizer (1 = token, 0 = padding), element (b, j) at data + b * row_stride + j.
enum class PaddingSide : std::uint8_t { kNone, kLeft, kRight, kBoth, kHoles };
struct KeepMask {
  std::vector<KeySpan> spans;      // one a batch entry, for MaskSpec::valid(); an empty entry is [0, 0)
  std::vector<PaddingSide> sides;  // of each entry
  std::vector<DenseMask> holes;    // [n_batch] when some entry has holes (kHoles): its keys as a bitmap of one row
  bool has_holes() const noexcept { return !holes.empty(); }
};
Result<KeepMask> from_keep_mask(const std::uint8_t* data, std::int64_t n_batch, std::int64_t n_kv,
                                std::int64_t row_stride);

}  // namespace rowmax
