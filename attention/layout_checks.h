// Whether the types and layouts of a call can be computed; the part of attend()'s validation that looks at views.
#pragma once

#include "attention/plan/plan.h"
#include "rowmax/attention.h"
#include "rowmax/result.h"

namespace rowmax::attention {

// Element types, blocks, scales, page and ring sizes of the whole call.
Status check_layout(const AttendArgs& args);

// Page numbers below 0, and keys that have left the ring, where a query sees a key. Bitmaps and bias are not looked at:
// what they hide must be there, unless the bounds hide it too.
Status check_pages(const AttendArgs& args, const PlanSequence& sequence);

}  // namespace rowmax::attention
