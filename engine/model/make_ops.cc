// Which implementation of Ops a backend has: the one place that knows them all.
#include "engine/model/cpu_ops.h"

namespace rowmax::engine {

Result<std::unique_ptr<Ops>> make_ops(const ModelSpec& spec, const ModelWeights& weights, const BufferPlan& plan,
                                      const OpsOptions& options, const Backend& backend) {
  switch (backend.kind()) {
    case BackendKind::kCpu: return CpuOps::create(spec, weights, plan, options, backend);
  }
  return Error::unsupported("no operations for the backend " + backend.name());
}

}  // namespace rowmax::engine
