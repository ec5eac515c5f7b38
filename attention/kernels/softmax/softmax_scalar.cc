#define ROWMAX_SIMD_SCALAR 1  // as in attend_scalar.cc

#include "attention/kernels/softmax/softmax_kernel.h"

namespace rowmax::attention {

const SoftmaxKernel kSoftmaxScalar = softmax_rows_of;

}  // namespace rowmax::attention
