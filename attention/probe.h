// The rows that a call's probe wants, shown to it.
#pragma once

#include "attention/kernels/attend/attend.h"

namespace rowmax::attention {

// After the results are written. scratch holds n_rows rows (of one worker that is done).
void show_rows(const CallArgs& call, const MaskPlan& plan, const AttendKernel& kernel, const Scratch& scratch,
               int n_rows);

}  // namespace rowmax::attention
