// Sixteen rows laid side by side: element k of row r to place 16 * k + r, which is how panels have numbers and the words
// of codes. Vectors of 16 bytes, which every processor has that rowmax runs on; the compilers' own, so that this is
// one text for all of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "engine/ops/matmul/panel.h"

namespace rowmax::engine::panel {
namespace {

inline constexpr int kSlice = 16;  // bytes of a row that are laid down at a time

template <class T>
struct SliceOf {
  typedef T Type __attribute__((vector_size(kSlice)));
};
template <class T>
using Slice = typename SliceOf<T>::Type;

// The elements of two slices in turn: those of their first halves, or of their second ones.
template <bool kSecond>
inline Slice<std::uint16_t> in_turn(Slice<std::uint16_t> a, Slice<std::uint16_t> b) noexcept {
  if constexpr (kSecond) {
    return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  } else {
    return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  }
}
template <bool kSecond>
inline Slice<std::uint32_t> in_turn(Slice<std::uint32_t> a, Slice<std::uint32_t> b) noexcept {
  if constexpr (kSecond) {
    return __builtin_shufflevector(a, b, 2, 6, 3, 7);
  } else {
    return __builtin_shufflevector(a, b, 0, 4, 1, 5);
  }
}

// One slice of each row, `stride` bytes apart, to 16 * kSlice bytes.
template <class T>
inline void interleave_slices(const std::byte* rows, std::size_t stride, std::byte* out) noexcept {
  Slice<T> slices[kRows];
  ROWMAX_UNROLL
  for (int r = 0; r < kRows; ++r) std::memcpy(&slices[r], rows + static_cast<std::size_t>(r) * stride, kSlice);
  // Each step takes the highest bit of an element's place, which the row's number begins with, to the lowest.
  ROWMAX_UNROLL
  for (int step = 0; step < 4; ++step) {
    Slice<T> turned[kRows];
    ROWMAX_UNROLL
    for (int i = 0; i < kRows / 2; ++i) {
      turned[2 * i] = in_turn<false>(slices[i], slices[i + kRows / 2]);
      turned[2 * i + 1] = in_turn<true>(slices[i], slices[i + kRows / 2]);
    }
    ROWMAX_UNROLL
    for (int i = 0; i < kRows; ++i) slices[i] = turned[i];
  }
  std::memcpy(out, slices, sizeof slices);
}

// n elements of each row, `stride` bytes apart.
template <class T>
inline void interleave(const std::byte* rows, std::size_t stride, std::size_t n, std::byte* out) noexcept {
  constexpr std::size_t kSliceElements = kSlice / sizeof(T), kPlace = kRows * sizeof(T);
  const std::size_t whole = n / kSliceElements * kSliceElements;
  for (std::size_t k = 0; k < whole; k += kSliceElements) {
    interleave_slices<T>(rows + k * sizeof(T), stride, out + k * kPlace);
  }
  for (std::size_t k = whole; k < n; ++k) {
    for (std::size_t r = 0; r < kRows; ++r) {
      std::memcpy(out + k * kPlace + r * sizeof(T), rows + r * stride + k * sizeof(T), sizeof(T));
    }
  }
}

}  // namespace
}  // namespace rowmax::engine::panel
