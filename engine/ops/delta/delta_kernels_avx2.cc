#include "engine/ops/delta/delta_kernels_body.h"
#include "engine/ops/delta/delta_kernels_list.h"

namespace rowmax::engine {

const DeltaKernels& delta_kernels_avx2() noexcept { return kDeltaKernels; }

}  // namespace rowmax::engine
