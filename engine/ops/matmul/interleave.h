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
inline Slice<std::uint8_t> in_turn(Slice<std::uint8_t> a, Slice<std::uint8_t> b) noexcept {
  if constexpr (kSecond) {
    return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  } else {
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  }
}
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

template <class T>
inline constexpr int kSquare = kSlice / static_cast<int>(sizeof(T));  // rows that are turned together

// A slice of each of kSquare rows becomes a slice of each place: slices[k] has element k of every row.
template <class T>
inline void turn(Slice<T> (&slices)[kSquare<T>]) noexcept {
  constexpr int n = kSquare<T>;
  // Each step takes the highest bit of an element's place, which the row's number begins with, to the lowest.
  ROWMAX_UNROLL
  for (int step = 1; step < n; step *= 2) {
    Slice<T> turned[n];
    ROWMAX_UNROLL
    for (int i = 0; i < n / 2; ++i) {
      turned[2 * i] = in_turn<false>(slices[i], slices[i + n / 2]);
      turned[2 * i + 1] = in_turn<true>(slices[i], slices[i + n / 2]);
    }
    ROWMAX_UNROLL
    for (int i = 0; i < n; ++i) slices[i] = turned[i];
  }
}

// n elements of each row, `stride` bytes apart.
template <class T>
inline void interleave(const std::byte* rows, std::size_t stride, std::size_t n, std::byte* out) noexcept {
  constexpr std::size_t kTurned = kSquare<T>, kPlace = kRows * sizeof(T);
  const std::size_t whole = n / kTurned * kTurned;
  for (std::size_t k = 0; k < whole; k += kTurned) {
    for (std::size_t first = 0; first < kRows; first += kTurned) {
      Slice<T> slices[kTurned];
      ROWMAX_UNROLL
      for (std::size_t r = 0; r < kTurned; ++r) {
        std::memcpy(&slices[r], rows + (first + r) * stride + k * sizeof(T), kSlice);
      }
      turn<T>(slices);
      ROWMAX_UNROLL
      for (std::size_t i = 0; i < kTurned; ++i) {
        std::memcpy(out + (k + i) * kPlace + first * sizeof(T), &slices[i], kSlice);
      }
    }
  }
  for (std::size_t k = whole; k < n; ++k) {
    for (std::size_t r = 0; r < kRows; ++r) {
      std::memcpy(out + k * kPlace + r * sizeof(T), rows + r * stride + k * sizeof(T), sizeof(T));
    }
  }
}

}  // namespace
}  // namespace rowmax::engine::panel
