// The side of the scheduler that all threads see: what they ask for, until the engine's thread takes it, and the
// figures that it left for them.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <list>
#include <map>
#include <mutex>
#include <set>

#include "engine/serving/job.h"
#include "engine/serving/task.h"

namespace rowmax::engine {

class Intake {
 public:
  struct Arrivals {
    std::list<Job> jobs;
    std::list<Task> tasks;  // theirs, in the same order
    std::set<RequestId> cancelled;
    std::map<RequestId, bool> paused;  // false: no more
    bool stopping = false;
  };

  explicit Intake(std::int64_t max_waiting) : max_waiting_(max_waiting) {}

  // One job and its tasks, which are left where they are in case of an error.
  Result<RequestId> add(std::list<Job>& job, std::list<Task>& tasks);
  Status cancel(RequestId id);
  Status pause(RequestId id, bool paused);
  void close(bool stopping);
  SchedulerStatistics statistics() const;

  // The engine's thread; these take no memory.
  Arrivals take() noexcept;
  bool has_arrivals() const noexcept;
  // Until there is something to take, or it is closed; false where it is closed and nothing is there.
  bool wait();
  // Until there is something to take, with requests that are all paused.
  void wait_for_news();
  void job_left_queue() noexcept;         // it starts, or never will
  void job_ended(RequestId id) noexcept;  // no more to be cancelled
  void publish(const SchedulerStatistics& figures) noexcept;

 private:
  const std::int64_t max_waiting_;
  bool has_news() const noexcept;  // under the lock
  Status check_living(RequestId id) const;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  Arrivals arrivals_;
  std::set<RequestId> living_;
  RequestId last_id_ = 0;
  std::int64_t waiting_ = 0, refused_ = 0;
  bool closed_ = false;
  SchedulerStatistics figures_;
};

}  // namespace rowmax::engine
