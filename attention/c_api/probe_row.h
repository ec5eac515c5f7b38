// A probe's row as the C interface hands it out.
#pragma once

#include "rowmax/probe.h"
#include "rowmax/rowmax.h"

namespace rowmax::c_api {

rowmax_probe_row c_row_of(const ProbeRow& row) noexcept;

}  // namespace rowmax::c_api
