#define ROWMAX_SIMD_SCALAR 1  // where the compiler always has vectors, too: the arrays are the reference
#include "engine/ops/matmul/dot_scalar.h"

#undef ROWMAX_UNROLL
#define ROWMAX_UNROLL  // arrays are in memory anyway, and unrolled they take minutes to compile

#include "engine/ops/matmul/all_kernels.h"

namespace rowmax::engine::panel {

const Kernels& kernels_scalar() noexcept { return kAllKernels; }

}  // namespace rowmax::engine::panel
