// The extension module rowmax._core: what the package's Python files call. Not an interface of its own.
#include <nanobind/stl/string.h>

#include <cmath>
#include <mutex>
#include <string>

#include "bindings/python/native/core.h"
#include "rowmax/cpu.h"

namespace rowmax::python {

void raise(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInvalidArgument: throw nb::value_error(error.message.c_str());
    case ErrorCode::kOutOfMemory: throw std::bad_alloc();
    case ErrorCode::kUnsupported:
      PyErr_SetString(PyExc_NotImplementedError, error.message.c_str());
      throw nb::python_error();
    default: PyErr_SetString(PyExc_RuntimeError, error.message.c_str()); throw nb::python_error();
  }
}

Isa isa_of(const std::string& name) { return checked(name.empty() ? default_isa() : find_isa(name)); }

Workspace Pool::workspace(std::size_t bytes) {
  if (bytes > memory_bytes) {
    const std::size_t rounded = (bytes + 4095) / 4096 * 4096;
    memory.reset(std::aligned_alloc(4096, rounded));
    memory_bytes = memory == nullptr ? 0 : rounded;
    if (memory == nullptr) throw std::bad_alloc();
  }
  return {memory.get(), memory_bytes};
}

namespace {

constexpr std::size_t kKeptBytes = std::size_t{64} << 20;  // larger scratch memory is not kept for the next call
constexpr std::size_t kKeptPools = 4;

// Never destroyed: worker threads may outlive the interpreter's shutdown.
struct IdlePools {
  std::mutex mutex;
  std::vector<std::unique_ptr<Pool>> pools;
};
IdlePools*& idle_pools() {
  static IdlePools* idle = new IdlePools;
  return idle;
}

}  // namespace

PoolLoan::PoolLoan(int n_threads) {
  {
    IdlePools& idle = *idle_pools();
    const std::lock_guard<std::mutex> lock(idle.mutex);
    for (auto it = idle.pools.rbegin(); it != idle.pools.rend(); ++it) {
      if ((*it)->n_threads != n_threads) continue;
      pool_ = std::move(*it);
      idle.pools.erase(std::next(it).base());
      return;
    }
  }
  pool_ = std::make_unique<Pool>();
  pool_->n_threads = n_threads;
  pool_->executor = checked(make_thread_pool(n_threads));
}

PoolLoan::~PoolLoan() {
  if (pool_->memory_bytes > kKeptBytes) {
    pool_->memory.reset();
    pool_->memory_bytes = 0;
  }
  std::unique_ptr<Pool> oldest;  // its threads end outside the lock
  IdlePools& idle = *idle_pools();
  const std::lock_guard<std::mutex> lock(idle.mutex);
  if (idle.pools.size() >= kKeptPools) {
    oldest = std::move(idle.pools.front());
    idle.pools.erase(idle.pools.begin());
  }
  idle.pools.push_back(std::move(pool_));
}

void forget_pools() noexcept { idle_pools() = new IdlePools; }

}  // namespace rowmax::python

NB_MODULE(_core, module) {
  namespace nb = nanobind;
  module.doc() = "The compiled part of rowmax; use the functions of the package.";
  module.attr("version") = ROWMAX_PYTHON_VERSION;
  module.def("forget_pools", &rowmax::python::forget_pools);
  module.def("isa",
             [](const std::string& name) { return std::string(rowmax::isa_name(rowmax::python::isa_of(name))); });
  module.def("supported_isas", [] {
    nb::list names;
    for (rowmax::Isa isa : rowmax::supported_isas()) names.append(std::string(rowmax::isa_name(isa)));
    return names;
  });
  module.def("cpu_name", [] { return std::string(rowmax::cpu_name()); });
  rowmax::python::bind_mask(module);
  rowmax::python::bind_probe(module);
  rowmax::python::bind_convert(module);
  rowmax::python::bind_attend(module);
  rowmax::python::bind_sdpa(module);
}
