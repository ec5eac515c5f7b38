#include "engine/ops/delta/delta_kernels_body.h"
#include "engine/ops/delta/delta_kernels_list.h"

namespace rowmax::engine {

const DeltaKernels& delta_kernels_neon() noexcept { return kDeltaKernels; }

}  // namespace rowmax::engine
