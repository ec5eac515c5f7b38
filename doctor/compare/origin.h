// Whether a reference comes from the model that it is compared with.
#pragma once

#include "rowmax/doctor/compare.h"

namespace rowmax::doctor {

// kOutOfMemory.
Result<ReferenceOrigin> origin_of(const engine::Model& model, const Reference& reference);

}  // namespace rowmax::doctor
