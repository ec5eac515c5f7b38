#define ROWMAX_SIMD_SCALAR 1  // where the compiler always has vectors, too: the arrays are the reference

#include "attention/kernels/attend/entry.h"

namespace rowmax::attention {

const AttendKernel kAttendScalar{attend_block, attend_merge, merge_parts, probe_row};

}  // namespace rowmax::attention
