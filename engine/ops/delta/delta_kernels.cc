#include "base/isa_table.h"
#include "engine/ops/delta/delta_kernels_list.h"

namespace rowmax::engine {

const DeltaKernels& delta_kernels(Isa isa) noexcept {
  static const base::IsaTable<DeltaKernels> kTable {
    .scalar = &delta_kernels_scalar(),
#if defined(__x86_64__)
    .avx2 = &delta_kernels_avx2(), .avx512 = &delta_kernels_avx512(),
#elif defined(__aarch64__)
    .neon = &delta_kernels_neon(),
#endif
  };
  return kTable.at(isa);
}

void turn_conv_weights(const float* from, std::int64_t n_channel, int n_taps, float* to) noexcept {
  for (std::int64_t c = 0; c < n_channel; ++c) {
    for (int j = 0; j < n_taps; ++j) to[j * n_channel + c] = from[c * n_taps + j];
  }
}

}  // namespace rowmax::engine
