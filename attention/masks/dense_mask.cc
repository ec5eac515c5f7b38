#include "attention/masks/dense_mask.h"

#include <new>
#include <string>

#include "attention/plan/plan.h"
#include "rowmax/try.h"

namespace rowmax {

using attention::kMaxPosition;

namespace {

// Whether n steps of `stride` stay within what 64 bits can address.
bool reachable(std::int64_t n, std::int64_t stride, std::int64_t* sum) noexcept {
  std::int64_t reach = 0;
  if (n <= 1) return true;
  return stride >= -kMaxPosition && stride <= kMaxPosition &&
         !__builtin_mul_overflow(n - 1, stride < 0 ? -stride : stride, &reach) &&
         !__builtin_add_overflow(*sum, reach, sum) && *sum <= kMaxPosition;
}

// n uninitialised elements; false where there is no memory.
template <class T>
bool allocate(std::int64_t n, std::unique_ptr<T[]>* memory) noexcept {
  if (n > PTRDIFF_MAX / static_cast<std::int64_t>(sizeof(T))) return false;
  memory->reset(new (std::nothrow) T[static_cast<std::size_t>(n)]);
  return *memory != nullptr;
}

// Bit j: whether byte begin + j of the row, `stride` bytes apart, is not 0.
std::uint64_t packed_word(const std::uint8_t* row, std::int64_t stride, std::int64_t begin,
                          std::int64_t n_kv) noexcept {
  const std::int64_t n = n_kv - begin < 64 ? n_kv - begin : 64;
  std::uint64_t word = 0;
  for (std::int64_t j = 0; j < n; ++j) word |= static_cast<std::uint64_t>(row[(begin + j) * stride] != 0) << j;
  return word;
}

}  // namespace

Status DenseMaskBuilder::start(const DenseMaskView& view, const char* what) {
  if (view.n_q < 0 || view.n_kv < 0 || view.n_q > kMaxPosition || view.n_kv > kMaxPosition) {
    return Error::invalid_argument(std::string(what) + ": " + std::to_string(view.n_q) + " by " +
                                   std::to_string(view.n_kv) + " pairs, expected 0 to 2^60");
  }
  mask.n_q_ = view.n_q;
  mask.n_kv_ = view.n_kv;
  if (view.n_q == 0 || view.n_kv == 0) return {};
  if (view.data == nullptr) return Error::invalid_argument(std::string(what) + ": no data");
  std::int64_t reach = 0;
  if (!reachable(view.n_q, view.row_stride, &reach) || !reachable(view.n_kv, view.key_stride, &reach)) {
    return Error::invalid_argument(std::string(what) + ": strides " + std::to_string(view.row_stride) + " and " +
                                   std::to_string(view.key_stride) + " reach beyond memory");
  }
  n_rows = view.row_stride == 0 ? 1 : view.n_q;
  row_words = (view.n_kv + 63) / 64;
  std::int64_t size = 0;
  if (__builtin_mul_overflow(n_rows, row_words, &size) || !allocate(size, &mask.words_)) return Error::out_of_memory();
  mask.bitmap_ = {mask.words_.get(), n_rows == 1 ? 0 : row_words, 0};
  return {};
}

DenseMask DenseMaskBuilder::finish() noexcept {
  mask.detected_ = detect_mask(mask.words_.get(), mask.bitmap_.row_stride, mask.n_q_, mask.n_kv_);
  return std::move(mask);
}

bool DenseMask::keeps(std::int64_t i, std::int64_t j) const noexcept {
  if (i < 0 || i >= n_q_ || j < 0 || j >= n_kv_) return false;
  return (words_[static_cast<std::size_t>(i * bitmap_.row_stride + j / 64)] >> (j % 64) & 1) != 0;
}

BitmapView DenseMask::bitmap() const noexcept { return bitmap_; }

void DenseMask::add_to(MaskSpec* spec, std::int64_t q_pos) const noexcept {
  const DetectedMask& d = detected_;
  if (d.kind == MaskKind::kFull) return;
  std::int64_t left = d.left;
  std::int64_t right = d.right;
  std::int64_t shift = 0;
  const bool shifted = !__builtin_sub_overflow(q_pos, d.q_pos, &shift) &&
                       (left == kUnbounded || !__builtin_add_overflow(left, shift, &left)) &&
                       (right == kUnbounded || !__builtin_sub_overflow(right, shift, &right));
  if (d.left_padded || d.right_padded || d.kind == MaskKind::kEmpty) spec->valid({&detected_.valid, 1});
  if (d.kind == MaskKind::kCausal || d.kind == MaskKind::kSlidingWindow) {
    if (shifted) {
      spec->window(left, right);
      return;
    }
  } else if (d.kind != MaskKind::kArbitrary) {
    return;
  }
  spec->bitmap({&bitmap_, 1});
}

Result<DenseMask> from_keep(const DenseMaskView& view) {
  DenseMaskBuilder builder;
  ROWMAX_RETURN_IF_ERROR(builder.start(view, "keep mask"));
  const auto* data = static_cast<const std::uint8_t*>(view.data);
  for (std::int64_t i = 0; i < builder.n_rows; ++i) {
    const std::uint8_t* row = data + i * view.row_stride;
    for (std::int64_t w = 0; w < builder.row_words; ++w) {
      builder.set_word(i, w, packed_word(row, view.key_stride, w * 64, view.n_kv));
    }
  }
  return builder.finish();
}

const char* padding_side_name(PaddingSide side) noexcept {
  switch (side) {
    case PaddingSide::kNone: return "none";
    case PaddingSide::kLeft: return "left";
    case PaddingSide::kRight: return "right";
    case PaddingSide::kBoth: return "both";
    case PaddingSide::kHoles: return "holes";
  }
  return "unknown";
}

namespace {

PaddingSide side_of(const DetectedMask& row) noexcept {
  if (row.kind == MaskKind::kEmpty) return row.n_kv == 0 ? PaddingSide::kNone : PaddingSide::kRight;
  if (row.kind == MaskKind::kArbitrary) return PaddingSide::kHoles;
  if (row.left_padded) return row.right_padded ? PaddingSide::kBoth : PaddingSide::kLeft;
  return row.right_padded ? PaddingSide::kRight : PaddingSide::kNone;
}

}  // namespace

struct KeepMaskBuilder {
  KeepMask mask;
  std::int64_t row_words = 0;

  bool allocate_all(std::int64_t n_batch, std::int64_t n_kv) noexcept {
    row_words = (n_kv + 63) / 64;
    std::int64_t size = 0;
    mask.n_batch_ = static_cast<std::size_t>(n_batch);
    return !__builtin_mul_overflow(n_batch, row_words, &size) && allocate(n_batch, &mask.spans_) &&
           allocate(n_batch, &mask.sides_) && allocate(size, &mask.words_);
  }
  // Looks at the tokens of entry b; true where they have holes.
  bool add(std::int64_t b, const std::uint8_t* tokens, std::int64_t n_kv) noexcept {
    std::uint64_t* words = mask.words_.get() + b * row_words;
    for (std::int64_t w = 0; w < row_words; ++w) words[w] = packed_word(tokens, 1, w * 64, n_kv);
    const DetectedMask found = detect_mask(words, 0, 1, n_kv);
    mask.spans_[static_cast<std::size_t>(b)] = found.valid;
    mask.sides_[static_cast<std::size_t>(b)] = side_of(found);
    return side_of(found) == PaddingSide::kHoles;
  }
  bool keep_bitmaps() noexcept {
    if (!allocate(static_cast<std::int64_t>(mask.n_batch_), &mask.bitmaps_)) return false;
    for (std::size_t b = 0; b < mask.n_batch_; ++b) {
      mask.bitmaps_[b] = {mask.words_.get() + static_cast<std::int64_t>(b) * row_words, 0, 0};
    }
    return true;
  }
  void forget_words() noexcept { mask.words_.reset(); }
};

Result<KeepMask> from_keep_mask(const std::uint8_t* data, std::int64_t n_batch, std::int64_t n_kv,
                                std::int64_t row_stride) {
  std::int64_t reach = 0;
  if (n_batch < 0 || n_batch > kMaxPosition || n_kv < 0 || n_kv > kMaxPosition) {
    return Error::invalid_argument("keep mask: " + std::to_string(n_batch) + " by " + std::to_string(n_kv) +
                                   " tokens, expected 0 to 2^60");
  }
  if (data == nullptr && n_batch > 0 && n_kv > 0) return Error::invalid_argument("keep mask: no data");
  if (!reachable(n_batch, row_stride, &reach) || !reachable(n_kv, 1, &reach)) {
    return Error::invalid_argument("keep mask: row stride " + std::to_string(row_stride) + " reaches beyond memory");
  }
  KeepMaskBuilder builder;
  if (!builder.allocate_all(n_batch, n_kv)) return Error::out_of_memory();
  bool has_holes = false;
  for (std::int64_t b = 0; b < n_batch; ++b) {
    has_holes = builder.add(b, data == nullptr ? nullptr : data + b * row_stride, n_kv) || has_holes;
  }
  if (!has_holes) {
    builder.forget_words();
  } else if (!builder.keep_bitmaps()) {
    return Error::out_of_memory();
  }
  return std::move(builder.mask);
}

}  // namespace rowmax
