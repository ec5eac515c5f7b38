#include "attention/kernels/softmax/softmax_kernel.h"

namespace rowmax::attention {

const SoftmaxKernel kSoftmaxNeon = softmax_rows_of;

}  // namespace rowmax::attention
