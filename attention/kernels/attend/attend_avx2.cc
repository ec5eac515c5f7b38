#include "attention/kernels/attend/entry.h"

namespace rowmax::attention {

const AttendKernel kAttendAvx2{attend_block, attend_merge, merge_parts, probe_row};

}  // namespace rowmax::attention
