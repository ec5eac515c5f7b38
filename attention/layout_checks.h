// Whether the types and layouts of a call can be computed; the part of attend()'s validation that looks at views.
#pragma once

#include "attention/plan/plan.h"
#include "rowmax/attention.h"
#include "rowmax/result.h"

namespace rowmax::attention {

// Element types, blocks, page and ring sizes of the whole call.
Status check_layout(const AttendArgs& args);

// The scales of fp8 heads; reads n_kv_head of them, which the caller has compared with the plan's.
Status check_scales(const KvView& kv);

// Page numbers below 0, and keys that have left the ring, where a query sees a key. What bits or bias hide is hidden;
// they are looked at where the bounds alone do not decide.
Status check_pages(const AttendArgs& args, const PlanSequence& sequence);

// An element of a sequence's bias; exact.
double bias_at(const AttendArgs& args, const KvSequence& kv, std::int64_t index) noexcept;

}  // namespace rowmax::attention
