#include "attention/kernels/softmax/softmax_kernel.h"

namespace rowmax::attention {

const SoftmaxKernel kSoftmaxAvx512 = softmax_rows_of;

}  // namespace rowmax::attention
