#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
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

TEST(ThreadPool, RefusesSillyNumbersAndCountsCoresForZero) {
  EXPECT_EQ(make_thread_pool(-1).error().code, ErrorCode::kLimit);
  EXPECT_EQ(make_thread_pool(1025).error().code, ErrorCode::kLimit);
  auto pool = make_thread_pool(0);
  ASSERT_TRUE(pool.ok());
  EXPECT_GE((*pool)->concurrency(), 1);
}

}  // namespace
}  // namespace rowmax
