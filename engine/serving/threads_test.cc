// Several threads submit and cancel while the engine's thread runs. For the thread sanitizer, and for who hears what.

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "engine/serving/test_requests.h"

namespace rowmax::engine {
namespace {

constexpr int kThreads = 4, kEach = 30;

struct Counts {
  std::atomic<int> ended{0}, cancelled{0}, destroyed{0};
  std::atomic<std::int64_t> tokens{0};
};

class Counting : public RequestListener {
 public:
  explicit Counting(Counts& counts) : counts_(&counts) {}
  ~Counting() override { ++counts_->destroyed; }
  void stepped(RequestId /*id*/, int /*choice*/, const GenerationStep& /*step*/) override { ++counts_->tokens; }
  void ended(RequestId /*id*/, RequestEnd end) override {
    ++counts_->ended;
    if (!end.status.ok()) ++counts_->cancelled;
  }

 private:
  Counts* counts_;
};

Request request_with(int seed, Counts& counts) {
  GenerationRequest work;
  work.options.max_tokens = 8;
  work.options.ignore_eos = true;
  work.options.sampling.seed = static_cast<std::uint64_t>(seed);
  work.choices = 1 + seed % 3;
  return {.prompt = test_prompt(5 + seed % 90, seed % 4), .work = work, .listener = std::make_unique<Counting>(counts)};
}

// With nothing but a paused request the engine's thread sleeps, and drain() waits.
TEST(SchedulerThreads, APausedRequestIsWaitedFor) {
  Session session = test_session("llama", 512, 2, 0);
  auto scheduler = std::move(Scheduler::create(session, {})).value();
  Counts counts;
  std::thread engine([&] { scheduler.run(); });
  Request request = request_with(3, counts);
  std::get<GenerationRequest>(request.work).options.max_tokens = 400;
  const RequestId id = *scheduler.submit(std::move(request));
  while (counts.tokens == 0) std::this_thread::yield();
  ASSERT_TRUE(scheduler.pause(id).ok());
  while (scheduler.statistics().paused == 0) std::this_thread::yield();
  scheduler.drain();
  EXPECT_EQ(counts.ended, 0);
  ASSERT_TRUE(scheduler.resume(id).ok());
  engine.join();
  EXPECT_EQ(counts.ended, 1);
  EXPECT_EQ(counts.tokens, 400);
}

TEST(SchedulerThreads, SubmitAndCancelFromManyWhileItRuns) {
  Session session = test_session("llama", 512, 6, 0);
  auto scheduler = std::move(Scheduler::create(session, {.step_rows = 32, .max_waiting = 8})).value();
  Counts counts;
  std::atomic<int> taken{0}, refused{0};
  std::thread engine([&] { scheduler.run(); });
  std::vector<std::thread> clients;
  for (int t = 0; t < kThreads; ++t) {
    clients.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        const auto id = scheduler.submit(request_with(t * kEach + i, counts));
        if (!id.ok()) {
          EXPECT_EQ(id.error().code, ErrorCode::kBusy) << id.error().message;
          ++refused;
          std::this_thread::yield();
          continue;
        }
        ++taken;
        if (i % 3 == 0) (void)scheduler.cancel(*id);
        (void)scheduler.statistics();
      }
    });
  }
  for (std::thread& client : clients) client.join();
  scheduler.drain();
  engine.join();
  EXPECT_EQ(counts.ended, taken);
  EXPECT_EQ(counts.destroyed, taken + refused);
  const SchedulerStatistics figures = scheduler.statistics();
  EXPECT_EQ(figures.submitted, taken);
  EXPECT_EQ(figures.refused, refused);
  EXPECT_EQ(figures.cancelled, counts.cancelled);
  EXPECT_EQ(figures.succeeded + figures.cancelled, taken);
  EXPECT_EQ(figures.generated_tokens, counts.tokens);
  EXPECT_EQ(figures.waiting + figures.running, 0);
  EXPECT_EQ(scheduler.submit(request_with(1, counts)).error().code, ErrorCode::kCancelled);
}

TEST(SchedulerThreads, StopEndsWhatRunsAndWaits) {
  Session session = test_session("llama", 512, 2, 0);
  auto scheduler = std::move(Scheduler::create(session, {})).value();
  Counts counts;
  std::thread engine([&] { scheduler.run(); });
  for (int i = 0; i < 20; ++i) {
    Request request = request_with(i, counts);
    std::get<GenerationRequest>(request.work).options.max_tokens = -1;
    ASSERT_TRUE(scheduler.submit(std::move(request)).ok());
  }
  while (counts.tokens < 5) std::this_thread::yield();
  scheduler.stop();
  engine.join();
  EXPECT_EQ(counts.ended, 20);
  EXPECT_GT(counts.cancelled, 15);
  EXPECT_EQ(counts.destroyed, 20);
  EXPECT_EQ(session.memory().kv_held_bytes, 0);
}

}  // namespace
}  // namespace rowmax::engine
