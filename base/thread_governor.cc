#include "base/thread_governor.h"

#include <algorithm>
#include <functional>

namespace rowmax::base {

int ThreadGovernor::active(std::int64_t now) {
  if (now - last_end_ >= kRest) {
    active_ = n_threads_;
    before_trial_ = 0;
    steady_rate_ = 0;
    up_ = down_ = {};
    start_window();
  }
  last_end_ = now;
  return active_;
}

std::size_t ThreadGovernor::place(const void* kind, std::int64_t n_tasks) const {
  return (std::hash<const void*>()(kind) / 16 * 31 + static_cast<std::size_t>(n_tasks)) % kinds_.size();
}

bool ThreadGovernor::wants_cpu(const void* kind, std::int64_t n_tasks) const {
  const Kind& known = kinds_[place(kind, n_tasks)];
  return known.is_long || known.kind != kind || known.n_tasks != n_tasks;
}

double ThreadGovernor::task_time(const Job& job) {
  Kind& kind = kinds_[place(job.kind, job.n_tasks)];
  const bool known = kind.kind == job.kind && kind.n_tasks == job.n_tasks;
  if (job.own_tasks == 0) return known ? kind.task : 0;
  const double own_tasks = static_cast<double>(job.own_tasks);
  const double seen = static_cast<double>(job.own_end - job.start) / own_tasks;
  const bool is_long = job.own_end - job.start >= kLong;
  kind = {job.kind, job.n_tasks, known ? std::min(seen, kind.task * 1.002) : seen, is_long || (known && kind.is_long)};
  // Matrices of several shapes make the same number of tasks; the least time would be that of the smallest.
  if (is_long) return job.own_cpu > 0 ? static_cast<double>(job.own_cpu) / own_tasks : seen;
  return kind.task;
}

void ThreadGovernor::record(const Job& job) {
  last_end_ = job.end;
  progress_ += task_time(job) * static_cast<double>(job.n_tasks);
  taken_ += static_cast<double>(job.end - job.start);
  const bool bad_trial = before_trial_ != 0 && taken_ >= kEarly && progress_ < kBad * steady_rate_ * taken_;
  if (bad_trial || taken_ >= static_cast<double>(kWindow)) end_window(job.end);
}

int ThreadGovernor::more() const { return up_.n_failed % 2 == 0 ? n_threads_ : std::min(n_threads_, active_ * 2); }

// After half of them a quarter, and so on down to one, then half again.
int ThreadGovernor::fewer() const {
  int steps = 0;
  for (int n = active_; n > 1; n = (n + 1) / 2) ++steps;
  int n = active_;
  for (int i = 0; i <= down_.n_failed % steps; ++i) n = (n + 1) / 2;
  return n;
}

void ThreadGovernor::start_trial(int n_threads) {
  before_trial_ = active_;
  active_ = n_threads;
}

void ThreadGovernor::end_window(std::int64_t now) {
  const double rate = progress_ / taken_;
  const auto taken = static_cast<std::int64_t>(taken_);
  start_window();
  if (before_trial_ != 0) return end_trial(now, taken, rate);
  steady_rate_ = steady_rate_ == 0 ? rate : (steady_rate_ + rate) / 2;
  if (active_ < n_threads_ && now >= up_.next) {
    start_trial(more());
  } else if (active_ > 1 && rate < kSuspicious * active_ && now >= down_.next) {
    steady_rate_ = rate;  // what was before has passed
    start_trial(fewer());
  }
}

void ThreadGovernor::end_trial(std::int64_t now, std::int64_t taken, double rate) {
  const int before = before_trial_;
  const bool more = active_ > before;
  const bool better = more ? rate > kWorthIt * steady_rate_ : rate >= steady_rate_;
  before_trial_ = 0;
  if (!better) {
    active_ = before;
    if (more) {
      up_.failed(now, taken, kLongestPause);
    } else {
      down_.failed(now, taken, kLongestDownPause);
    }
    return;
  }
  steady_rate_ = rate;
  down_.n_failed = up_.n_failed = 0;
  // The pauses stay: where more and fewer take turns, they do so seldom.
  up_.next = more ? now : now + up_.pause;
  down_.next = now;
}

}  // namespace rowmax::base
