#include "attention/kernels/attend_f64/entry.h"

namespace rowmax::attention {

const AttendKernel kAttendF64Avx512{attend_f64_block, attend_f64_merge};

}  // namespace rowmax::attention
