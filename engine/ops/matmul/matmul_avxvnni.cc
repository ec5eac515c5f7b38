#include "engine/ops/matmul/dot_avx2.h"

#include "engine/ops/matmul/all_kernels.h"

namespace rowmax::engine::panel {

const Kernels& kernels_avxvnni() noexcept { return kAllKernels; }

}  // namespace rowmax::engine::panel
