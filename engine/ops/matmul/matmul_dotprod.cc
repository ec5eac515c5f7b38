#include "engine/ops/matmul/dot_neon.h"

#include "engine/ops/matmul/all_kernels.h"

namespace rowmax::engine::panel {

const Kernels& kernels_dotprod() noexcept { return kAllKernels; }

}  // namespace rowmax::engine::panel
