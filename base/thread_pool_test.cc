#include <gtest/gtest.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "rowmax/executor.h"

namespace rowmax {
namespace {

TEST(ThreadPool, EveryTaskOnceOnAWorkerOfItsOwn) {
  for (const int n_threads : {1, 2, 3, 7}) {
    auto pool = make_thread_pool(n_threads);
    ASSERT_TRUE(pool.ok());
    Executor& executor = **pool;
    EXPECT_EQ(executor.concurrency(), n_threads);
    std::vector<std::atomic<int>> busy(static_cast<std::size_t>(n_threads));
    for (const std::int64_t n_tasks : {0, 1, 2, 5, 64, 1000}) {
      std::vector<std::atomic<int>> count(static_cast<std::size_t>(n_tasks));
      std::atomic<bool> clash{false};
      parallel_for(executor, n_tasks, [&](std::int64_t task, int worker) {
        if (worker < 0 || worker >= n_threads || busy[worker].fetch_add(1) != 0) {
          clash = true;
          return;
        }
        count[task].fetch_add(1);
        busy[worker].fetch_sub(1);
      });
      EXPECT_FALSE(clash);
      for (const auto& n : count) EXPECT_EQ(n, 1);
    }
  }
}

TEST(ThreadPool, WritesAreSeenByTheNextCallAndWorkersWakeAfterARest) {
  auto pool = make_thread_pool(3);
  ASSERT_TRUE(pool.ok());
  std::vector<int> values(300, 0);  // plain memory: the pool must order the accesses
  for (int round = 1; round <= 2000; ++round) {
    if (round % 500 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));  // long enough to park
    parallel_for(**pool, 300, [&](std::int64_t task, int) { values[299 - task] = values[299 - task] + 1; });
    for (const int value : values) ASSERT_EQ(value, round);
  }
}

sem_t held, go_on;

void hold(int) {
  sem_post(&held);
  while (sem_wait(&go_on) != 0) {
  }
}

// What a busy machine does to a worker, made certain: all but the caller stand still before the job and until it is
// over. Nobody waits for a worker that holds no task.
TEST(ThreadPool, AWorkerThatDoesNotComeIsNotWaitedFor) {
  auto pool = make_thread_pool(3);
  ASSERT_TRUE(pool.ok());
  // Three tasks that wait for each other need three workers: who they are. (Not every entry of /proc/self/task is one:
  // a sanitizer or an emulator has threads of its own there, which take no signal.)
  std::array<std::atomic<int>, 3> threads{};
  std::atomic<int> n_come{0};
  parallel_for(**pool, 3, [&](std::int64_t task, int) {
    threads[task] = static_cast<int>(::syscall(SYS_gettid));
    ++n_come;
    while (n_come < 3) std::this_thread::yield();
  });
  sem_init(&held, 0, 0);
  sem_init(&go_on, 0, 0);
  struct sigaction action = {}, before = {};
  action.sa_handler = hold;
  sigaction(SIGUSR1, &action, &before);
  const auto self = static_cast<int>(::syscall(SYS_gettid));
  int n_held = 0;
  for (const int thread : threads) {
    if (thread == self) continue;
    ASSERT_EQ(::syscall(SYS_tgkill, getpid(), thread, SIGUSR1), 0);
    while (sem_wait(&held) != 0) {
    }
    ++n_held;
  }
  ASSERT_EQ(n_held, 2);
  for (int round = 0; round < 3; ++round) {
    std::vector<int> done(100, 0);
    int others = 0;
    parallel_for(**pool, 100, [&](std::int64_t task, int worker) {
      ++done[task];
      others += worker != 0;
    });
    EXPECT_EQ(done, std::vector<int>(100, 1));
    EXPECT_EQ(others, 0);
  }
  for (int i = 0; i < n_held; ++i) sem_post(&go_on);
  // They come late, find that job over, and serve the next ones.
  std::atomic<int> count{0};
  for (int round = 0; round < 100; ++round) parallel_for(**pool, 100, [&](std::int64_t, int) { ++count; });
  EXPECT_EQ(count, 10000);
  sigaction(SIGUSR1, &before, nullptr);
}

// Far more threads than cores: what a machine of several nodes starts, and its latecomers.
TEST(ThreadPool, HundredsOfThreads) {
  for (const int n_threads : {65, 192, 1024}) {
    auto pool = make_thread_pool(n_threads);
    ASSERT_TRUE(pool.ok()) << pool.error().message;
    for (const std::int64_t n_tasks : {1, n_threads - 1, n_threads + 1, 5 * n_threads}) {
      std::vector<std::atomic<int>> count(static_cast<std::size_t>(n_tasks));
      std::atomic<int> out_of_range{0};
      parallel_for(**pool, n_tasks, [&](std::int64_t task, int worker) {
        if (worker < 0 || worker >= n_threads) ++out_of_range;
        ++count[static_cast<std::size_t>(task)];
      });
      EXPECT_EQ(out_of_range, 0);
      for (const auto& n : count) ASSERT_EQ(n, 1) << n_threads << " threads, " << n_tasks << " tasks";
    }
  }
}

TEST(ThreadPool, RefusesSillyNumbersAndCountsCoresForZero) {
  EXPECT_EQ(make_thread_pool(-1).error().code, ErrorCode::kLimit);
  EXPECT_EQ(make_thread_pool(1025).error().code, ErrorCode::kLimit);
  auto pool = make_thread_pool(0);
  ASSERT_TRUE(pool.ok());
  EXPECT_GE((*pool)->concurrency(), 1);
}

}  // namespace
}  // namespace rowmax
