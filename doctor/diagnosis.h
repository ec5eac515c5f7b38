// From checks to causes: all that was found is weighed, and said in plain words.
#pragma once

#include "rowmax/doctor/doctor.h"

namespace rowmax::doctor {

// Fills in the verdict, the causes and the diagnosis from the checks.
void conclude(Report& report);

}  // namespace rowmax::doctor
