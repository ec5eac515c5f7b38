// Rows of any length over sixteen virtual lanes; included by the kernels' bodies, once for each ISA.
#pragma once

#include <cstdint>

#include "base/simd/math.h"

namespace rowmax::engine {
namespace {

using simd::F32x16;

// Calls body(offset, lanes) for whole vectors and once more for the tail; one code for both keeps the bits alike.
template <class Body>
ROWMAX_INLINE void for_lanes(std::int64_t n, Body body) {
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) body(i, 16);
  if (i < n) body(i, static_cast<int>(n - i));
}
ROWMAX_INLINE F32x16 load_lanes(const float* p, int lanes) {
  return lanes == 16 ? simd::load(p) : simd::load_n(p, lanes);
}
ROWMAX_INLINE void store_lanes(float* p, F32x16 x, int lanes) {
  if (lanes == 16) {
    simd::store(p, x);
  } else {
    simd::store_n(p, x, lanes);
  }
}

}  // namespace
}  // namespace rowmax::engine
