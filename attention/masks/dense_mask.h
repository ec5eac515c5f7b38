// How dense masks are made: rows of bits first, then what they turn out to be.
#pragma once

#include <cstdint>

#include "rowmax/mask_convert.h"

namespace rowmax {

struct DenseMaskBuilder {
  DenseMask mask;
  std::int64_t n_rows = 0;  // stored: n_q, or 1 where the row stride is 0
  std::int64_t row_words = 0;

  // Errors: kInvalidArgument (shape, strides or data that make no sense; `what` names the mask), kOutOfMemory.
  Status start(const DenseMaskView& view, const char* what);
  // All n_rows * row_words words must be set.
  void set_word(std::int64_t row, std::int64_t w, std::uint64_t word) noexcept {
    mask.words_[static_cast<std::size_t>(row * row_words + w)] = word;
  }
  // Looks at the bits.
  DenseMask finish() noexcept;
};

// Bits [0, n_kv) of n_q rows, row i at words + i * row_stride.
DetectedMask detect_mask(const std::uint64_t* words, std::int64_t row_stride, std::int64_t n_q,
                         std::int64_t n_kv) noexcept;

}  // namespace rowmax
