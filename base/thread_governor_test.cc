#include "base/thread_governor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace rowmax::base {
namespace {

constexpr std::int64_t kMs = ThreadGovernor::kMillisecond;

// A machine of which it is known how long a job takes: `task` nanoseconds a task, and every `every` nanoseconds a
// thread that helps is away for `away` while it holds a task (0: never).
struct Machine {
  std::int64_t task = 4000, n_tasks = 32, gap = 1000;
  std::int64_t every = 0, away = 0;
  std::int64_t now = 1'000'000'000;
  std::int64_t next_absence = 0;
  int kind = 0;

  // Runs jobs for `duration`; the nanoseconds spent with each number of threads, and the jobs done.
  struct Seen {
    std::vector<std::int64_t> with;
    std::int64_t jobs = 0;
  };
  Seen run(ThreadGovernor& governor, int n_threads, std::int64_t duration) {
    Seen seen{std::vector<std::int64_t>(static_cast<std::size_t>(n_threads) + 1)};
    for (const std::int64_t until = now + duration; now < until;) {
      const int active = governor.active(now);
      const std::int64_t rounds = (n_tasks + active - 1) / active;
      const std::int64_t own_end = now + rounds * task;
      std::int64_t end = own_end;
      if (active > 1 && every > 0 && now >= next_absence) {
        end += away;
        next_absence = end + every;
      }
      governor.record({&kind, now, own_end, end, n_tasks, active == 1 ? n_tasks : rounds});
      seen.with[static_cast<std::size_t>(active)] += end - now;
      ++seen.jobs;
      now = end + gap;
    }
    return seen;
  }
};

TEST(ThreadGovernor, QuietMachineKeepsAll) {
  for (const int n : {2, 3, 4, 16}) {
    ThreadGovernor governor(n);
    Machine machine;
    const auto seen = machine.run(governor, n, 2000 * kMs);
    for (int fewer = 1; fewer < n; ++fewer) EXPECT_EQ(seen.with[fewer], 0) << n << " threads, with " << fewer;
  }
}

TEST(ThreadGovernor, OneThreadStaysOne) {
  ThreadGovernor governor(1);
  Machine machine;
  EXPECT_GT(machine.run(governor, 1, 100 * kMs).jobs, 0);
}

TEST(ThreadGovernor, BusyMachineCostsAtMostATenthOfOneThreadsSpeed) {
  for (const int n : {2, 4}) {
    ThreadGovernor governor(n);
    Machine busy{.every = 3 * kMs, .away = 12 * kMs};
    const auto seen = busy.run(governor, n, 4000 * kMs);
    Machine alone;
    ThreadGovernor one(1);
    const auto reference = alone.run(one, 1, 4000 * kMs);
    EXPECT_GE(static_cast<double>(seen.jobs), 0.9 * static_cast<double>(reference.jobs)) << n;
    // Left to itself the full crew would make a third of that.
    EXPECT_GT(seen.with[1], seen.with[static_cast<std::size_t>(n)]) << n;
  }
}

TEST(ThreadGovernor, AllAreBackHalfASecondAfterTheMachineIsQuiet) {
  for (const int n : {2, 8}) {
    for (std::int64_t busy = 2000 * kMs; busy < 4000 * kMs; busy += 50 * kMs) {
      ThreadGovernor governor(n);
      Machine machine{.every = 3 * kMs, .away = 12 * kMs};
      machine.run(governor, n, busy);
      machine.every = 0;
      machine.run(governor, n, 500 * kMs);
      const auto seen = machine.run(governor, n, 500 * kMs);
      for (int fewer = 1; fewer < n; ++fewer) EXPECT_EQ(seen.with[fewer], 0) << n << " threads, with " << fewer;
    }
  }
}

TEST(ThreadGovernor, WhereTwoGainAlthoughTheyAreDisturbedTheyStay) {
  ThreadGovernor governor(2);
  Machine machine{.every = 10 * kMs, .away = 3 * kMs};  // 13 ms for what takes 20 alone
  const auto seen = machine.run(governor, 2, 3000 * kMs);
  EXPECT_GT(seen.with[2], 2700 * kMs);
}

TEST(ThreadGovernor, AfterARestAllAreAskedAgain) {
  ThreadGovernor governor(2);
  Machine machine{.every = 3 * kMs, .away = 12 * kMs};
  machine.run(governor, 2, 1000 * kMs);
  machine.now += ThreadGovernor::kRest;
  EXPECT_EQ(governor.active(machine.now), 2);
}

TEST(ThreadGovernor, WorkThatGrowsIsNoLateness) {
  ThreadGovernor governor(2);
  Machine machine;
  for (int step = 0; step < 200; ++step) {  // doubles in 70 steps
    machine.task = machine.task * 101 / 100 + 1;
    const auto seen = machine.run(governor, 2, 20 * kMs);
    EXPECT_EQ(seen.with[1], 0) << step;
  }
}

// Prompts of a large model: jobs far longer than a window, of one kind and number of tasks, though some take three times as
// long as others (a model's matrices of as many rows).
TEST(ThreadGovernor, LongJobsOfSeveralSizesKeepAll) {
  ThreadGovernor governor(2);
  Machine machine{.task = 1 * kMs, .n_tasks = 240};
  for (int layer = 0; layer < 100; ++layer) {
    for (const std::int64_t task : {kMs, 3 * kMs, kMs, 2 * kMs}) {
      machine.task = task;
      EXPECT_EQ(machine.run(governor, 2, 1).with[1], 0) << layer;
    }
  }
}

// The caller has half of its core, the other thread comes seldom: what they make together is judged by processor time.
TEST(ThreadGovernor, LongJobsOfLateThreadsGoToFewer) {
  for (const bool late : {false, true}) {
    ThreadGovernor governor(2);
    int kind = 0;
    std::int64_t now = 0, with_one = 0;
    for (int i = 0; i < 200; ++i) {
      const int active = governor.active(now);
      with_one += active == 1;
      // 240 tasks of 1 ms of processor time. Alone: half of a core. Both: as fast each, or with a wait of 1 s at the end.
      const std::int64_t own = active == 1 ? 240 : 120, own_cpu = own * kMs, own_end = now + 2 * own_cpu;
      const std::int64_t end = active > 1 && late ? own_end + 1000 * kMs : own_end;
      EXPECT_TRUE(governor.wants_cpu(&kind, 240));
      governor.record({&kind, now, own_end, end, 240, own, own_cpu});
      now = end;
    }
    if (late) {
      EXPECT_GT(with_one, 150);
    } else {
      EXPECT_LT(with_one, 80);  // half as fast: now and then one is tried
    }
  }
}

TEST(ThreadGovernor, ProcessorTimeIsAskedForWhereJobsAreLongOrNew) {
  ThreadGovernor governor(2);
  int kind = 0;
  EXPECT_TRUE(governor.wants_cpu(&kind, 32));
  governor.record({&kind, 0, 1000, 1000, 32, 16, 900});
  EXPECT_FALSE(governor.wants_cpu(&kind, 32));
  EXPECT_TRUE(governor.wants_cpu(&kind, 33));
  governor.record({&kind, 2000, 2000 + kMs, 2000 + kMs, 32, 16});
  EXPECT_TRUE(governor.wants_cpu(&kind, 32));
}

}  // namespace
}  // namespace rowmax::base
