#pragma once

#include "engine/ops/rows/row_kernels.h"

namespace rowmax::engine {

const RowKernels& row_kernels_scalar() noexcept;
const RowKernels& row_kernels_avx2() noexcept;
const RowKernels& row_kernels_avx512() noexcept;
const RowKernels& row_kernels_neon() noexcept;

}  // namespace rowmax::engine
