// Masks of other frameworks: dense boolean and additive masks in, dense masks out.
//
// In: from_keep(), from_additive() and from_keep_mask() look at the numbers and say what they found, so that a padding
// mask becomes valid spans (which skip work and make padding invisible to the bits) instead of a bitmap.
// Out: to_additive() writes a plan as the mask tensor another framework wants.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

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
// (elements, not 0 where there is more than one) for sequence s, head h. Errors: kInvalidArgument, kUnsupported (type).
Status to_additive(const MaskPlan& plan, std::int64_t s, std::int64_t h, DType dtype, Fill fill, void* out,
                   std::int64_t row_stride, std::int64_t key_stride = 1);

// What the hidden pairs of an additive mask were marked with. Numbers count as what they become in the mask's type:
// -1e9 is -998244352 in bf16, and -inf in f16.
enum class Sentinel : std::uint8_t {
  kNone,            // nothing is hidden
  kMinusInfinity,   // also -1e9 in f16, and the sum of two lowest finite numbers
  kLowestFinite,    // finfo.min of the mask's own type
  kLowestNarrower,  // finfo.min of a narrower type: a mask that was converted (f16's -65504, bf16's, f32's)
  kMinus1e9,
  kMinus1e4,
  kOtherFinite,  // another number at or below the threshold
  kMixed,        // several of these
};
// In lower_snake_case; static storage.
const char* sentinel_name(Sentinel sentinel) noexcept;

// One matrix of pairs, [n_q][n_kv]; element (i, j) at data + i * row_stride + j * key_stride. Strides may be 0.
struct DenseMaskView {
  const void* data = nullptr;
  std::int64_t n_q = 0;
  std::int64_t n_kv = 0;
  std::int64_t row_stride = 0;
  std::int64_t key_stride = 1;
};

// What a dense mask turned out to be: query i sees key j exactly where
//     valid.begin <= j < valid.end  and  q_pos + i - left <= j <= q_pos + i + right
// unless the kind is kArbitrary; then that holds of every visible pair, but not only of them. So causality and padding
// are found together, and masks of a chunk of queries too.
struct DetectedMask {
  // kFull, kEmpty, kPadding, kCausal, kSlidingWindow or kArbitrary: the first word that fits.
  MaskKind kind = MaskKind::kArbitrary;
  std::int64_t n_q = 0;
  std::int64_t n_kv = 0;
  // As wide as the pairs allow: padding is only what no bound explains. kEmpty: [0, 0).
  KeySpan valid;
  // Position of the first query. kCausal: right is 0. kSlidingWindow: 0 where n_q = n_kv and both bounds are finite,
  // else so that right is 0; n_kv - n_q where right is unbounded.
  std::int64_t q_pos = 0;
  std::int64_t left = kUnbounded;
  std::int64_t right = kUnbounded;
  bool left_padded = false;   // valid.begin > 0
  bool right_padded = false;  // valid.end < n_kv
  std::int64_t n_hidden = 0;
  std::int64_t n_empty_rows = 0;
  // One line for people: "causal from position 0, keys [3, 8) of 8 valid (left padding); 43 of 64 pairs hidden, 3 rows
  // see nothing".
  std::string text() const;
};

// A dense mask as bits, owning them; what from_keep() and from_additive() return. Movable. A default one has no pairs.
class DenseMask {
 public:
  std::int64_t n_q() const noexcept { return n_q_; }
  std::int64_t n_kv() const noexcept { return n_kv_; }
  bool keeps(std::int64_t i, std::int64_t j) const noexcept;
  // For MaskSpec::bitmap(); lives as long as this object.
  BitmapView bitmap() const noexcept;
  const DetectedMask& detected() const noexcept { return detected_; }
  // Adds the mask to a spec in its cheapest form: nothing, valid(), window() or both; only kArbitrary adds a bitmap.
  // For one sequence whose queries have the positions q_pos + i; any q_pos will do (windows are shifted to it). The
  // spec points into this object: it must stay where it is until compile(), and its bits as long as the plan is used.
  // Beside prefix() or keep_first(), which override windows, use bitmap() where the dense mask is to hold all the same.
  void add_to(MaskSpec* spec, std::int64_t q_pos) const noexcept;

 private:
  friend struct DenseMaskBuilder;
  std::int64_t n_q_ = 0;
  std::int64_t n_kv_ = 0;
  std::unique_ptr<std::uint64_t[]> words_;  // one row alone where all rows are the same by stride
  DetectedMask detected_;
  BitmapView bitmap_;
};

// Boolean mask, one byte a pair: non-zero = keep (PyTorch's attn_mask, ONNX). For masks where True hides (as in
// torch.nn.MultiheadAttention), turn them round first. Errors: kInvalidArgument, kOutOfMemory.
Result<DenseMask> from_keep(const DenseMaskView& mask);

struct AdditiveMask {
  DenseMask mask;
  Sentinel sentinel = Sentinel::kNone;
  double sentinel_value = 0;  // of what hides most pairs; of several other finite numbers the lowest
  // Some visible pair has a value other than 0: pass the tensor as bias as well (hidden pairs are masked anyway).
  bool has_bias = false;
  // "causal ...; hidden by -1e+09 (minus_1e9): finite, so that code which adds it averages a row that sees nothing over
  // all keys; here such a row is empty".
  std::string text() const;
};
// Additive mask of f32, f16, bf16 or f64. Hidden is -inf, and every value at or below `threshold`: by default -9000,
// below any bias of a trained model and above every sentinel in use. Errors: kNumericFault (NaN or +inf, with the
// place), kInvalidArgument (also a threshold that is not below 0), kUnsupported (type), kOutOfMemory.
Result<AdditiveMask> from_additive(const DenseMaskView& mask, DType dtype, double threshold = -9000.0);

// The [n_batch][n_kv] keep mask of a tokenizer (1 = token, 0 = padding), element (b, j) at data + b * row_stride + j.
enum class PaddingSide : std::uint8_t { kNone, kLeft, kRight, kBoth, kHoles };
const char* padding_side_name(PaddingSide side) noexcept;
class KeepMask {
 public:
  // [n_batch]: first token to last; an entry without tokens is [0, 0), kRight.
  std::span<const KeySpan> spans() const noexcept { return {spans_.get(), n_batch_}; }
  std::span<const PaddingSide> sides() const noexcept { return {sides_.get(), n_batch_}; }
  // [n_batch] when some entry has holes (padding between tokens), else none: its tokens as bits of one row.
  std::span<const BitmapView> bitmaps() const noexcept { return {bitmaps_.get(), has_holes() ? n_batch_ : 0}; }
  bool has_holes() const noexcept { return bitmaps_ != nullptr; }
  // valid(spans()), and bitmap(bitmaps()) where there are holes. The spec points into memory of this object.
  void add_to(MaskSpec* spec) const noexcept {
    spec->valid(spans());
    if (has_holes()) spec->bitmap(bitmaps());
  }

 private:
  friend struct KeepMaskBuilder;
  std::size_t n_batch_ = 0;
  std::unique_ptr<KeySpan[]> spans_;
  std::unique_ptr<PaddingSide[]> sides_;
  std::unique_ptr<BitmapView[]> bitmaps_;
  std::unique_ptr<std::uint64_t[]> words_;  // what bitmaps_ point into
};
// Errors: kInvalidArgument, kOutOfMemory.
Result<KeepMask> from_keep_mask(const std::uint8_t* data, std::int64_t n_batch, std::int64_t n_kv,
                                std::int64_t row_stride);

}  // namespace rowmax
