#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "base/cpu_count.h"
#include "base/thread_governor.h"
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

std::int64_t now_ns() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::int64_t thread_cpu_ns() noexcept {
  timespec time{};
  return ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0
             ? static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec
             : 0;
}

// std::atomic::wait gives the core away (sched_yield) before it sleeps; on a busy core that costs a whole time slice.
void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected) noexcept {
  ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}
void futex_wake_all(const std::atomic<std::uint32_t>& word) noexcept {
  ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 0x7fffffff, nullptr, nullptr, 0);
}

// Spins while `word` has the value, at most `limit` nanoseconds; the last value seen.
std::uint32_t spin_while(const std::atomic<std::uint32_t>& word, std::uint32_t value, std::int64_t limit) noexcept {
  const std::int64_t start = now_ns();
  for (;;) {
    for (int i = 0; i < 32; ++i) {
      const std::uint32_t now = word.load(std::memory_order_acquire);
      if (now != value) return now;
      cpu_relax();
    }
    if (now_ns() - start >= limit) return value;
  }
}

// Each worker starts on its own contiguous share of the tasks (so that it meets the same memory call after call) and
// helps the others when it is done. The caller waits for tasks that somebody has begun, never for a worker that has
// not come yet: where the system takes a core away for a while, the others do the work.
//
// A share is one word: the job's number and how many of its tasks nobody has taken. A worker that wakes late compares
// and swaps that word, so it can take a task of the job that is open now, and none of one that is over; and as the
// caller does not go on while a task is open, what it read of the job before is that job's.
class ThreadPool final : public Executor {
 public:
  explicit ThreadPool(int n_threads)
      : n_threads_(n_threads), governor_(n_threads), shares_(std::make_unique<Share[]>(n_threads)) {
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
    const std::int64_t start = now_ns();
    const int active = governor_.active(start);
    if (active == 1) {
      const CallerTime cpu(governor_, fn, n_tasks);
      for (std::int64_t task = 0; task < n_tasks; ++task) fn(context, task, 0);
      const std::int64_t own_cpu = cpu.taken(), end = now_ns();
      governor_.record({reinterpret_cast<const void*>(fn), start, end, end, n_tasks, n_tasks, own_cpu});
      return;
    }
    for (std::int64_t first = 0; first < n_tasks; first += kMostTasks) {
      run_job({fn, context, first, std::min(kMostTasks, n_tasks - first), active}, first == 0 ? start : now_ns());
    }
  }

 private:
  struct Job {
    TaskFn fn;
    void* context;
    std::int64_t first, n_tasks;
    int active;
  };
  // The caller's processor time from here on, where the governor wants it.
  class CallerTime {
   public:
    CallerTime(const base::ThreadGovernor& governor, TaskFn fn, std::int64_t n_tasks) noexcept
        : start_(governor.wants_cpu(reinterpret_cast<const void*>(fn), n_tasks) ? thread_cpu_ns() : 0) {}
    std::int64_t taken() const noexcept { return start_ == 0 ? 0 : thread_cpu_ns() - start_; }

   private:
    std::int64_t start_;
  };
  struct alignas(64) Share {
    std::atomic<std::uint64_t> open{0};  // job number << kTaskBits | tasks not taken
  };
  static constexpr int kTaskBits = 24;
  static constexpr std::int64_t kMostTasks = (std::int64_t{1} << kTaskBits) - 1;
  static constexpr std::int64_t kWorkerSpin = 100'000;  // ns: longer than the gap between two operations
  static constexpr std::int64_t kCallerSpin = 50'000;   // ns: a task is about as long

  std::int64_t share_end(int worker, std::int64_t n_tasks, int active) const noexcept {
    return n_tasks * (worker + 1) / active;
  }

  void run_job(const Job& job, std::int64_t start) noexcept {
    ++number_;
    fn_.store(job.fn, std::memory_order_relaxed);
    context_.store(job.context, std::memory_order_relaxed);
    first_.store(job.first, std::memory_order_relaxed);
    n_tasks_.store(job.n_tasks, std::memory_order_relaxed);
    active_.store(job.active, std::memory_order_relaxed);
    pending_.store(static_cast<std::uint32_t>(job.n_tasks), std::memory_order_relaxed);
    std::int64_t begin = 0;
    for (int worker = 0; worker < n_threads_; ++worker) {
      const std::int64_t end = worker < job.active ? share_end(worker, job.n_tasks, job.active) : begin;
      shares_[worker].open.store(number_ << kTaskBits | static_cast<std::uint64_t>(end - begin),
                                 std::memory_order_release);
      begin = end;
    }
    signal_.fetch_add(1, std::memory_order_seq_cst);
    if (parked_.load(std::memory_order_seq_cst) != 0) futex_wake_all(signal_);
    const CallerTime cpu(governor_, job.fn, job.n_tasks);
    const std::int64_t own = work(0);
    const std::int64_t own_cpu = cpu.taken(), own_end = now_ns();
    const bool waited = pending_.load(std::memory_order_acquire) != 0;
    if (waited) wait_until_done();
    governor_.record({reinterpret_cast<const void*>(job.fn), start, own_end, waited ? now_ns() : own_end, job.n_tasks,
                      own, own_cpu});
  }

  void wait_until_done() noexcept {
    const std::int64_t start = now_ns();
    std::uint32_t left = pending_.load(std::memory_order_acquire);
    while (left != 0 && now_ns() - start < kCallerSpin) left = spin_while(pending_, left, kCallerSpin);
    if (left == 0) return;
    caller_sleeps_.store(true, std::memory_order_seq_cst);
    while ((left = pending_.load(std::memory_order_seq_cst)) != 0) futex_wait(pending_, left);
    caller_sleeps_.store(false, std::memory_order_relaxed);
  }

  // Takes tasks until none is open; how many it did.
  std::int64_t work(int worker) noexcept {
    std::int64_t done = 0;
    const int n_shares = n_threads_;
    for (int i = 0; i < n_shares; ++i) {
      const int owner = worker + i < n_shares ? worker + i : worker + i - n_shares;
      std::atomic<std::uint64_t>& open = shares_[owner].open;
      std::uint64_t seen = open.load(std::memory_order_acquire);
      for (;;) {
        const auto left = static_cast<std::int64_t>(seen & static_cast<std::uint64_t>(kMostTasks));
        if (left == 0) break;
        const TaskFn fn = fn_.load(std::memory_order_relaxed);
        void* const context = context_.load(std::memory_order_relaxed);
        const std::int64_t task =
            first_.load(std::memory_order_relaxed) - left +
            share_end(owner, n_tasks_.load(std::memory_order_relaxed), active_.load(std::memory_order_relaxed));
        if (!open.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
        fn(context, task, worker);
        ++done;
        seen = open.load(std::memory_order_acquire);
      }
    }
    if (done != 0 && pending_.fetch_sub(static_cast<std::uint32_t>(done), std::memory_order_seq_cst) == done &&
        caller_sleeps_.load(std::memory_order_seq_cst)) {
      futex_wake_all(pending_);
    }
    return done;
  }

  void serve(int worker) noexcept {
    std::uint32_t seen = 0;
    for (;;) {
      std::uint32_t now = spin_while(signal_, seen, kWorkerSpin);
      while (now == seen) {
        parked_.fetch_add(1, std::memory_order_seq_cst);
        futex_wait(signal_, seen);
        parked_.fetch_sub(1, std::memory_order_relaxed);
        now = signal_.load(std::memory_order_seq_cst);
      }
      seen = now;
      if (stopping_.load(std::memory_order_acquire)) return;
      if (worker < active_.load(std::memory_order_relaxed)) work(worker);
    }
  }

  void stop() noexcept {
    stopping_.store(true, std::memory_order_release);
    signal_.fetch_add(1, std::memory_order_seq_cst);
    futex_wake_all(signal_);
    for (std::thread& thread : threads_) thread.join();
  }

  const int n_threads_;
  base::ThreadGovernor governor_;
  std::uint64_t number_ = 0;
  std::unique_ptr<Share[]> shares_;
  // The open job. Written by the caller while no task is open.
  std::atomic<TaskFn> fn_{nullptr};
  std::atomic<void*> context_{nullptr};
  std::atomic<std::int64_t> first_{0};
  std::atomic<std::int64_t> n_tasks_{0};
  std::atomic<int> active_{0};
  alignas(64) std::atomic<std::uint32_t> signal_{0};   // changes with every job
  alignas(64) std::atomic<std::uint32_t> pending_{0};  // tasks not done
  std::atomic<bool> caller_sleeps_{false};
  std::atomic<int> parked_{0};
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

}  // namespace

Result<std::unique_ptr<Executor>> make_thread_pool(int n_threads) {
  if (n_threads < 0 || n_threads > 1024) {
    return Error{ErrorCode::kLimit,
                 "threads: expected 0 (all usable cores) to 1024, found " + std::to_string(n_threads)};
  }
  if (n_threads == 0) n_threads = base::usable_cores();
  try {
    return std::unique_ptr<Executor>(new ThreadPool(n_threads));
  } catch (const std::bad_alloc&) {
    return Error::out_of_memory();
  } catch (const std::system_error&) {
    return Error{ErrorCode::kOutOfMemory, "the system could not start " + std::to_string(n_threads) + " threads"};
  }
}

}  // namespace rowmax
