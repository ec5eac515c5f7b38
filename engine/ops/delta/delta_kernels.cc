#include "engine/ops/delta/delta_kernels_list.h"

namespace rowmax::engine {

const DeltaKernels& delta_kernels(Isa isa) noexcept {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return delta_kernels_avx512();
  if (isa == Isa::kAvx2) return delta_kernels_avx2();
#elif defined(__aarch64__)
  if (isa == Isa::kNeon) return delta_kernels_neon();
#endif
  (void)isa;
  return delta_kernels_scalar();
}

void turn_conv_weights(const float* from, std::int64_t n_channel, int n_taps, float* to) noexcept {
  for (std::int64_t c = 0; c < n_channel; ++c) {
    for (int j = 0; j < n_taps; ++j) to[j * n_channel + c] = from[c * n_taps + j];
  }
}

}  // namespace rowmax::engine
