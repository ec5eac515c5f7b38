// The doctor: what is wrong with a model's file, its conventions or the arithmetic that runs it. Checks in a fixed order,
// each with numbers; then the causes that explain them.
//
// Functions here may be called from any thread, each with an executor of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rowmax/doctor/report.h"
#include "rowmax/engine/layout_check.h"
#include "rowmax/engine/model.h"
#include "rowmax/executor.h"
#include "rowmax/result.h"

namespace rowmax::doctor {

enum class Depth : std::uint8_t {
  kFile,    // metadata and tensors alone: seconds
  kEngine,  // the model computes, too
};

struct CheckInfo {
  std::string_view id;  // "bytes", "conventions", ...
  int number;           // 1 to 15: by value; they run in the order of the table
  Depth depth;
  std::string_view asks;  // "Does every byte of the file belong to a tensor, and is every number in it possible?"
};
// In the order in which they run.
std::span<const CheckInfo> check_table() noexcept;

struct DoctorOptions {
  Depth depth = Depth::kEngine;
  double budget_seconds = 60;     // of the convention search
  engine::ModelOptions model;     // overrides and edits are part of what is examined
  std::string reference;          // a file of what another engine computed (rowmax/doctor/compare.h); "": none
  std::vector<std::string> only;  // ids of checks; empty: all
  // Called before each check and on the way; fraction of the check from 0 to 1. Return false to cancel (kCancelled).
  std::function<bool(std::string_view check, double fraction)> progress;
};

struct Report {
  Verdict verdict = Verdict::kInconclusive;  // kPass: healthy, kFail: faulty
  std::vector<Cause> causes;        // most likely first: of checks that fail, else of those that are inconclusive
  std::vector<CheckResult> checks;  // in the order of check_table()
  std::string diagnosis;            // in plain words, a few sentences
  std::string load_error;           // why the engine refuses the file; "" where it does not
};

using engine::OpenFile;

// Errors: kNotFound, kIo (no file to look at), kCancelled, kOutOfMemory, and kInvalidArgument for options that are none. A
// file that cannot be read as a model is no error but a diagnosis.
Result<Report> diagnose(const OpenFile& open, const DoctorOptions& options, Executor& executor);

}  // namespace rowmax::doctor
