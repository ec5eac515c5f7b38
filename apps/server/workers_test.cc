#include "apps/server/workers.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>

namespace rowmax::server {
namespace {

using std::chrono::milliseconds;

bool wanted() { return false; }

TEST(Workers, NobodyWaitsForWhatIsUnwanted) {
  Workers workers(1);
  std::promise<void> begun, may_end, done;
  workers.add(
      [&] {
        begun.set_value();
        may_end.get_future().wait();
      },
      wanted);
  begun.get_future().wait();
  std::atomic<bool> gone = false, ran = false;
  auto held = std::make_shared<int>(7);
  const std::weak_ptr<int> seen = held;
  workers.add([&ran, held = std::move(held)] { ran = true; }, [&gone] { return gone.load(); });
  EXPECT_FALSE(seen.expired());
  gone = true;
  // Other work comes: what is unwanted is let go of while the thread is still busy.
  workers.add([&done] { done.set_value(); }, wanted);
  EXPECT_TRUE(seen.expired());
  may_end.set_value();
  done.get_future().wait();
  EXPECT_FALSE(ran);
  // Unwanted when its turn comes.
  std::promise<void> last;
  workers.add([&ran] { ran = true; }, [] { return true; });
  workers.add([&last] { last.set_value(); }, wanted);
  last.get_future().wait();
  EXPECT_FALSE(ran);
}

TEST(Workers, TheEndSaysHowManyStillRun) {
  Workers workers(2);
  std::promise<void> begun, may_end;
  std::atomic<bool> ran = false;
  workers.add(
      [&] {
        begun.set_value();
        may_end.get_future().wait();
      },
      wanted);
  begun.get_future().wait();
  EXPECT_EQ(workers.end(milliseconds(1)), 1);
  workers.add([&ran] { ran = true; }, wanted);  // too late
  may_end.set_value();
  EXPECT_EQ(workers.end(std::chrono::minutes(5)), 0);
  EXPECT_FALSE(ran);
}

TEST(Workers, WhatWaitsAtTheEndIsDropped) {
  std::atomic<int> n_ran = 0;
  {
    Workers workers(1);
    std::promise<void> begun, may_end;
    workers.add(
        [&] {
          begun.set_value();
          may_end.get_future().wait();
        },
        wanted);
    begun.get_future().wait();
    workers.add([&n_ran] { ++n_ran; }, wanted);
    EXPECT_EQ(workers.end(milliseconds(0)), 1);
    may_end.set_value();
  }
  EXPECT_EQ(n_ran, 0);
}

}  // namespace
}  // namespace rowmax::server
