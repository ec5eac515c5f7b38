#include "attention/kernels/attend/entry.h"

namespace rowmax::attention {

const AttendKernel kAttendNeon{attend_block, attend_merge, merge_parts, probe_row};

}  // namespace rowmax::attention
