#include "engine/serving/intake.h"

#include <string>
#include <utility>

#include "rowmax/try.h"

namespace rowmax::engine {

Result<RequestId> Intake::add(std::list<Job>& job, std::list<Task>& tasks) {
  const std::lock_guard lock(mutex_);
  if (closed_) return Error{ErrorCode::kCancelled, "the scheduler takes no more requests"};
  if (waiting_ >= max_waiting_) {
    ++refused_;
    return Error{ErrorCode::kBusy, "the queue is full: " + std::to_string(waiting_) + " of " +
                                       std::to_string(max_waiting_) + " requests wait"};
  }
  const RequestId id = last_id_ + 1;
  living_.insert(id);  // takes memory: first of all
  job.front().id = last_id_ = id;
  arrivals_.jobs.splice(arrivals_.jobs.end(), job);
  arrivals_.tasks.splice(arrivals_.tasks.end(), tasks);
  ++waiting_;
  wake_.notify_one();
  return id;
}

Status Intake::cancel(RequestId id) {
  const std::lock_guard lock(mutex_);
  ROWMAX_RETURN_IF_ERROR(check_living(id));
  arrivals_.cancelled.insert(id);
  wake_.notify_one();
  return {};
}

Status Intake::pause(RequestId id, bool paused) {
  const std::lock_guard lock(mutex_);
  ROWMAX_RETURN_IF_ERROR(check_living(id));
  arrivals_.paused[id] = paused;
  wake_.notify_one();
  return {};
}

Status Intake::check_living(RequestId id) const {
  if (living_.contains(id)) return {};
  return Error::not_found("request " + std::to_string(id) + " is not there, or has ended");
}

void Intake::close(bool stopping) {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  arrivals_.stopping = arrivals_.stopping || stopping;
  wake_.notify_one();
}

Intake::Arrivals Intake::take() noexcept {
  const std::lock_guard lock(mutex_);
  Arrivals taken;
  taken.jobs.swap(arrivals_.jobs);
  taken.tasks.swap(arrivals_.tasks);
  taken.cancelled.swap(arrivals_.cancelled);
  taken.paused.swap(arrivals_.paused);
  taken.stopping = arrivals_.stopping;
  return taken;
}

bool Intake::has_arrivals() const noexcept {
  const std::lock_guard lock(mutex_);
  return !arrivals_.jobs.empty();
}

bool Intake::wait() {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [&] { return closed_ || has_news(); });
  return has_news();
}

void Intake::wait_for_news() {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [&] { return arrivals_.stopping || has_news(); });
}

bool Intake::has_news() const noexcept {
  return !arrivals_.jobs.empty() || !arrivals_.cancelled.empty() || !arrivals_.paused.empty();
}

void Intake::job_left_queue() noexcept {
  const std::lock_guard lock(mutex_);
  --waiting_;
}

void Intake::job_ended(RequestId id) noexcept {
  const std::lock_guard lock(mutex_);
  living_.erase(id);
  arrivals_.cancelled.erase(id);
  arrivals_.paused.erase(id);
}

void Intake::publish(const SchedulerStatistics& figures) noexcept {
  const std::lock_guard lock(mutex_);
  figures_ = figures;
}

SchedulerStatistics Intake::statistics() const {
  const std::lock_guard lock(mutex_);
  SchedulerStatistics figures = figures_;
  figures.waiting = waiting_;
  figures.submitted = static_cast<std::int64_t>(last_id_);
  figures.refused = refused_;
  return figures;
}

}  // namespace rowmax::engine
