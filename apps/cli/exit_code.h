// What the process tells the shell; the table in docs/cli.md and in `rowmax --help` repeats this one.
#pragma once

#include "rowmax/result.h"

namespace rowmax::cli {

enum class ExitCode : int {
  kOk = 0,
  kInternal = 1,      // a bug of ours
  kUsage = 2,         // an unknown flag, a value outside its range
  kCorrupt = 3,       // a model or input file breaks its own format
  kUnsupported = 4,   // well-formed, but not something this build or machine can run
  kLimit = 5,         // a stated bound (context, steps, bytes) would be exceeded
  kNumericFault = 6,  // a logit is NaN or infinite
  kIo = 7,            // reading, writing or downloading failed
  kNotFound = 8,      // no such file or model
  kOutOfMemory = 9,
  kFaulty = 10,        // what was examined is wrong, or does not agree
  kInconclusive = 11,  // nothing could be compared, or not enough
  kInterrupted = 130,  // Ctrl-C
};

constexpr ExitCode exit_code(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kInvalidArgument: return ExitCode::kUsage;
    case ErrorCode::kOutOfMemory: return ExitCode::kOutOfMemory;
    case ErrorCode::kUnsupported: return ExitCode::kUnsupported;
    case ErrorCode::kNotFound: return ExitCode::kNotFound;
    case ErrorCode::kIo: return ExitCode::kIo;
    case ErrorCode::kCorrupt: return ExitCode::kCorrupt;
    case ErrorCode::kNumericFault: return ExitCode::kNumericFault;
    case ErrorCode::kLimit:
    case ErrorCode::kBusy: return ExitCode::kLimit;
    case ErrorCode::kCancelled: return ExitCode::kInterrupted;
  }
  return ExitCode::kInternal;
}

}  // namespace rowmax::cli
