// The doctor's report as one page of HTML with everything in it: no file beside it, no network, no script.
#pragma once

#include <string>

#include "rowmax/doctor/doctor.h"
#include "rowmax/engine/output_file.h"
#include "rowmax/result.h"

namespace rowmax::cli {

// A number as the report shows it; empty where there is none (NaN).
std::string figure(double value, const char* format = "%.4g");

// Into a file that is open, and commits it. Pictures need the model once more: it is loaded again, with options.model; without them where that fails.
Status write_doctor_page(const doctor::Report& report, const std::string& model_name, const doctor::OpenFile& open,
                         const doctor::DoctorOptions& options, Executor& executor, engine::OutputFile& file);

}  // namespace rowmax::cli
