#include "base/simd/simd_check.h"

namespace rowmax::simd {

void check_avx2(const float* a, const float* b, const float* c, const std::uint16_t* h, std::uint32_t* out) {
  check_all(a, b, c, h, out);
}

}  // namespace rowmax::simd
