#define ROWMAX_SIMD_SCALAR 1  // as in attend_scalar.cc

#include "attention/kernels/attend_f64/entry.h"

namespace rowmax::attention {

const AttendKernel kAttendF64Scalar{attend_f64_block, attend_f64_merge};

}  // namespace rowmax::attention
