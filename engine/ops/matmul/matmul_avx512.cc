#include "engine/ops/matmul/dot_avx512.h"

#include "engine/ops/matmul/all_kernels.h"

namespace rowmax::engine::panel {

const Kernels& kernels_avx512() noexcept { return kAllKernels; }

}  // namespace rowmax::engine::panel
