#include "attention/kernels/attend/attend_kernel.h"

namespace rowmax::attention {

const AttendKernel kAttendNeon{attend_block, attend_merge};

}  // namespace rowmax::attention
