#define ROWMAX_SIMD_SCALAR 1
#include "engine/ops/rows/row_kernels_body.h"
#include "engine/ops/rows/row_kernels_list.h"

namespace rowmax::engine {

const RowKernels& row_kernels_scalar() noexcept { return kRowKernels; }

}  // namespace rowmax::engine
