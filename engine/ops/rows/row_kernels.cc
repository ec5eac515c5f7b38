#include "engine/ops/rows/row_kernels_list.h"

namespace rowmax::engine {

const RowKernels& row_kernels(Isa isa) noexcept {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return row_kernels_avx512();
  if (isa == Isa::kAvx2) return row_kernels_avx2();
#elif defined(__aarch64__)
  if (isa == Isa::kNeon) return row_kernels_neon();
#endif
  (void)isa;
  return row_kernels_scalar();
}

}  // namespace rowmax::engine
