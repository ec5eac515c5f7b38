// Who runs the work. rowmax splits work by position alone and hands the pieces to an Executor; which thread computes a
// piece, and in which order pieces run, never changes a bit of any result.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

#include "rowmax/result.h"

namespace rowmax {

// Bring your own pool by deriving from this. Implementations must be callable from one thread at a time.
class Executor {
 public:
  // task in [0, n_tasks); worker in [0, concurrency()), distinct for tasks that run at the same time.
  using TaskFn = void (*)(void* context, std::int64_t task, int worker);

  virtual ~Executor() = default;
  // The most tasks that can run at the same time, at least 1.
  virtual int concurrency() const noexcept = 0;
  // Calls fn once for every task, returns when all are done. fn does not throw.
  virtual void run(std::int64_t n_tasks, TaskFn fn, void* context) noexcept = 0;
};

// Everything on the calling thread.
class SerialExecutor final : public Executor {
 public:
  int concurrency() const noexcept override { return 1; }
  void run(std::int64_t n_tasks, TaskFn fn, void* context) noexcept override {
    for (std::int64_t task = 0; task < n_tasks; ++task) fn(context, task, 0);
  }
};

// The pool rowmax itself uses: n_threads including the caller, each with a share of its own first; workers spin briefly
// between two calls and then sleep, and fewer take part while the machine is busy with something else (docs/threads.md).
// n_threads 0 means the physical cores this process may use, at most its control group's quota. Fails with kLimit for
// n_threads outside 0..1024 and with kOutOfMemory where the system gives no thread.
Result<std::unique_ptr<Executor>> make_thread_pool(int n_threads);

// parallel_for(executor, n, [&](std::int64_t task, int worker) { ... });
template <class Fn>
void parallel_for(Executor& executor, std::int64_t n_tasks, Fn&& fn) {
  using Body = std::remove_reference_t<Fn>;
  executor.run(
      n_tasks, [](void* context, std::int64_t task, int worker) { (*static_cast<Body*>(context))(task, worker); },
      const_cast<void*>(static_cast<const void*>(&fn)));
}

}  // namespace rowmax
