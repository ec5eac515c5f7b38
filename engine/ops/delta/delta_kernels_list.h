#pragma once

#include "engine/ops/delta/delta_kernels.h"

namespace rowmax::engine {

const DeltaKernels& delta_kernels_scalar() noexcept;
const DeltaKernels& delta_kernels_avx2() noexcept;
const DeltaKernels& delta_kernels_avx512() noexcept;
const DeltaKernels& delta_kernels_neon() noexcept;

}  // namespace rowmax::engine
