#include "rowmax/backend.h"

#include "rowmax/try.h"

namespace rowmax {

std::string Backend::name() const {
  const int n = executor_->concurrency();
  return "cpu " + std::string(isa_name(isa_)) + ", " + std::to_string(n) + (n == 1 ? " thread" : " threads");
}

Result<Backend> cpu_backend(Executor& executor, Isa isa) {
  ROWMAX_TRY(found, find_isa(isa_name(isa)));
  return Backend(BackendKind::kCpu, found, executor);
}

Result<Backend> cpu_backend(Executor& executor) {
  ROWMAX_TRY(isa, default_isa());
  return cpu_backend(executor, isa);
}

}  // namespace rowmax
