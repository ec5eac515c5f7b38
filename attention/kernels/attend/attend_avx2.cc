#include "attention/kernels/attend/attend_kernel.h"

namespace rowmax::attention {

const AttendKernel kAttendAvx2{attend_block, attend_merge};

}  // namespace rowmax::attention
