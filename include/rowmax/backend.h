// Where the work of a call runs, as one value: the kind of device, its instruction set, and the Executor that runs the
// pieces. Calls take a Backend and never ask for more, so that what a program says about its machine stands in one place.
//
//     ROWMAX_TRY(threads, make_thread_pool(0));
//     ROWMAX_TRY(backend, cpu_backend(*threads));
//     ROWMAX_TRY(report, attend(args, plan, workspace, backend));
//
// Results do not depend on it: all instruction sets and any number of threads give the same bits.
//
// A Backend owns nothing and is copied like a number; the Executor must outlive every copy that is used. The value may
// be read from any thread, but an Executor serves one call at a time: calls at the same time need one each.
#pragma once

#include <cstdint>
#include <string>

#include "rowmax/cpu.h"
#include "rowmax/executor.h"
#include "rowmax/result.h"

namespace rowmax {

enum class BackendKind : std::uint8_t { kCpu = 0 };

class Backend {
 public:
  BackendKind kind() const noexcept { return kind_; }
  Isa isa() const noexcept { return isa_; }
  Executor& executor() const noexcept { return *executor_; }
  // For people: "cpu avx512, 4 threads".
  std::string name() const;
  // The same device, instruction set and Executor.
  friend bool operator==(const Backend& a, const Backend& b) noexcept {
    return a.kind_ == b.kind_ && a.isa_ == b.isa_ && a.executor_ == b.executor_;
  }

 private:
  friend Result<Backend> cpu_backend(Executor& executor, Isa isa);
  Backend(BackendKind kind, Isa isa, Executor& executor) noexcept : executor_(&executor), isa_(isa), kind_(kind) {}

  Executor* executor_;
  Isa isa_;
  BackendKind kind_;
};

// This machine's CPU. kUnsupported where it cannot run `isa`; no call that takes a Backend looks at that again.
// Allocates nothing.
Result<Backend> cpu_backend(Executor& executor, Isa isa);
// With default_isa(), whose errors it has.
Result<Backend> cpu_backend(Executor& executor);

}  // namespace rowmax
