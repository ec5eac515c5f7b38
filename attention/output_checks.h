// Checks of what attend() is asked to add and to write beside the results: sinks, distance biases, weights, unfinished
// rows.
#pragma once

#include "attention/kernels/call.h"

namespace rowmax::attention {

// kInvalidArgument, naming what is wrong.
Status check_outputs(const AttendArgs& args, const MaskPlan::Impl& plan);

// kInvalidArgument for a sink that is NaN or +inf.
Status check_sinks(const float* sinks, std::int64_t n, const char* of_what);

// kNumericFault with the place.
Error weight_fault_error(const WeightFault& fault);

}  // namespace rowmax::attention
