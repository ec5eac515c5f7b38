#include "attention/kernels/attend_f64/entry.h"

namespace rowmax::attention {

const AttendKernel kAttendF64Neon{attend_f64_block, attend_f64_merge};

}  // namespace rowmax::attention
