#include <atomic>
#include <fstream>
#include <memory>
#include <new>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <sched.h>

#include "rowmax/executor.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace rowmax {
namespace {

inline void cpu_relax() noexcept {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Physical cores among the CPUs this process may run on; hyper-thread siblings only compete for the same vector units.
int physical_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
  std::set<std::pair<int, int>> cores;
  int logical = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    ++logical;
    const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    int package = -1, core = -1;
    std::ifstream(folder + "physical_package_id") >> package;
    std::ifstream(folder + "core_id") >> core;
    if (core >= 0) cores.emplace(package, core);
  }
  if (!cores.empty()) return static_cast<int>(cores.size());
  return logical > 0 ? logical : 1;
}

// Each worker starts on its own contiguous share of the tasks (so that it meets the same memory call after call) and
// helps the others when it is done, which matters where the system takes a core away for a while.
class ThreadPool final : public Executor {
 public:
  explicit ThreadPool(int n_threads) : n_threads_(n_threads), shares_(std::make_unique<Share[]>(n_threads)) {
    threads_.reserve(static_cast<std::size_t>(n_threads - 1));
    try {
      for (int worker = 1; worker < n_threads; ++worker) threads_.emplace_back([this, worker] { serve(worker); });
    } catch (...) {
      stop();
      throw;
    }
  }
  ~ThreadPool() override { stop(); }

  int concurrency() const noexcept override { return n_threads_; }

  void run(std::int64_t n_tasks, TaskFn fn, void* context) noexcept override {
    if (n_tasks <= 0) return;
    if (n_threads_ == 1 || n_tasks == 1) {
      for (std::int64_t task = 0; task < n_tasks; ++task) fn(context, task, 0);
      return;
    }
    fn_ = fn;
    context_ = context;
    for (int worker = 0; worker < n_threads_; ++worker) {
      shares_[worker].end = n_tasks * (worker + 1) / n_threads_;
      shares_[worker].next.store(n_tasks * worker / n_threads_, std::memory_order_relaxed);
    }
    running_.store(n_threads_ - 1, std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_seq_cst);
    if (parked_.load(std::memory_order_seq_cst) != 0) generation_.notify_all();
    work(0);
    for (int spins = 0; running_.load(std::memory_order_acquire) != 0; ++spins) {
      if (spins < kSpins)
        cpu_relax();
      else
        std::this_thread::yield();
    }
  }

 private:
  struct alignas(64) Share {
    std::atomic<std::int64_t> next{0};
    std::int64_t end = 0;
  };
  static constexpr int kSpins =
      20000;  // some tens of microseconds up to a millisecond: longer than the gap between two ops

  void work(int worker) noexcept {
    for (int i = 0; i < n_threads_; ++i) {
      const int owner = worker + i < n_threads_ ? worker + i : worker + i - n_threads_;
      Share& share = shares_[owner];
      while (share.next.load(std::memory_order_relaxed) < share.end) {
        const std::int64_t task = share.next.fetch_add(1, std::memory_order_relaxed);
        if (task >= share.end) break;
        fn_(context_, task, worker);
      }
    }
  }

  void serve(int worker) noexcept {
    std::uint32_t seen = 0;
    for (;;) {
      std::uint32_t now = generation_.load(std::memory_order_acquire);
      for (int spins = 0; now == seen && spins < kSpins; ++spins) {
        cpu_relax();
        now = generation_.load(std::memory_order_acquire);
      }
      while (now == seen) {
        parked_.fetch_add(1, std::memory_order_seq_cst);
        generation_.wait(seen, std::memory_order_seq_cst);
        parked_.fetch_sub(1, std::memory_order_relaxed);
        now = generation_.load(std::memory_order_acquire);
      }
      seen = now;
      if (stopping_.load(std::memory_order_acquire)) return;
      work(worker);
      running_.fetch_sub(1, std::memory_order_release);
    }
  }

  void stop() noexcept {
    stopping_.store(true, std::memory_order_release);
    generation_.fetch_add(1, std::memory_order_seq_cst);
    generation_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  const int n_threads_;
  std::unique_ptr<Share[]> shares_;
  TaskFn fn_ = nullptr;
  void* context_ = nullptr;
  alignas(64) std::atomic<std::uint32_t> generation_{0};
  alignas(64) std::atomic<int> running_{0};
  std::atomic<int> parked_{0};
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

}  // namespace

Result<std::unique_ptr<Executor>> make_thread_pool(int n_threads) {
  if (n_threads < 0 || n_threads > 1024) {
    return Error{ErrorCode::kLimit,
                 "threads: expected 0 (all physical cores) to 1024, found " + std::to_string(n_threads)};
  }
  if (n_threads == 0) n_threads = physical_cores();
  try {
    return std::unique_ptr<Executor>(new ThreadPool(n_threads));
  } catch (const std::bad_alloc&) {
    return Error::out_of_memory();
  } catch (const std::system_error&) {
    return Error{ErrorCode::kOutOfMemory, "the system could not start " + std::to_string(n_threads) + " threads"};
  }
}

}  // namespace rowmax
