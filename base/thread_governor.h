// How many of a pool's threads take part: all of them where they come in time, fewer while the machine is busy with
// something else and waiting for them costs more than they give. Who computes a task never changes a bit of its result.
#pragma once

#include <array>
#include <cstdint>

namespace rowmax::base {

// Not thread-safe: the pool's caller asks and records. Times are nanoseconds of a steady clock.
//
// What is judged is progress: the time in which the caller alone, undisturbed, would have done the tasks, by the time the
// jobs took. Of long jobs that is the processor time of the caller's own tasks, times all tasks; asking for it would cost
// short jobs too much: there it is the least time a task of that kind was seen to take. Where all threads make less than kSuspicious
// of their number, half of them are tried for a window, and stay where they make as much. From then on the doubled
// number is tried after pauses of at most kLongestPause, so that the whole crew is back within half a second after the
// machine has become quiet; trials that do not pay make the pause longer, and end early where they go badly.
class ThreadGovernor {
 public:
  explicit ThreadGovernor(int n_threads) : n_threads_(n_threads), active_(n_threads) {}

  // The threads for a job that starts now, the caller included: 1 to n_threads.
  int active(std::int64_t now);

  // Whether record() wants Job::own_cpu of such a job: the last ones were long, or there was none.
  bool wants_cpu(const void* kind, std::int64_t n_tasks) const;

  struct Job {
    const void* kind;                  // short jobs of one kind and number of tasks have tasks that take about as long
    std::int64_t start, own_end, end;  // when it began, when the caller had no more to take, when all was done
    std::int64_t n_tasks, own_tasks;   // own: those that the caller did
    std::int64_t own_cpu = 0;          // processor time of the caller from start to own_end; 0: not known
  };
  void record(const Job& job);

  static constexpr std::int64_t kMillisecond = 1'000'000;
  static constexpr double kSuspicious = 0.7;
  static constexpr double kWorthIt = 1.05;                    // what more threads must gain
  static constexpr std::int64_t kWindow = 20 * kMillisecond;  // of time in jobs
  static constexpr std::int64_t kLong =
      kMillisecond;  // own part of a job from which processor time is worth asking for
  static constexpr std::int64_t kEarly = 4 * kMillisecond;  // a trial this old may end for being bad
  static constexpr double kBad = 0.7;                       // beside what was before
  static constexpr std::int64_t kFirstPause = 20 * kMillisecond;
  static constexpr std::int64_t kLongestPause = 400 * kMillisecond;       // between trials of more threads
  static constexpr std::int64_t kLongestDownPause = 3000 * kMillisecond;  // between trials of fewer
  static constexpr std::int64_t kRest = 50 * kMillisecond;  // without a job: what was measured is out of date

 private:
  struct Kind {
    const void* kind = nullptr;
    std::int64_t n_tasks = 0;
    double task = 0;  // least time seen, creeping up so that work that grows is followed
    bool is_long = false;
  };
  struct Trials {
    std::int64_t pause = kFirstPause;
    std::int64_t next = 0;
    int n_failed = 0;  // in a row
    // taken: by the trial. Where a single job is longer than a window, trials shall still be seldom.
    void failed(std::int64_t now, std::int64_t taken, std::int64_t longest) {
      ++n_failed;
      next = now + (8 * (taken - kWindow) > pause ? 8 * (taken - kWindow) : pause);
      pause = pause * 2 < longest ? pause * 2 : longest;
    }
  };

  const int n_threads_;
  int active_;
  int before_trial_ = 0;             // 0: no trial is on
  double steady_rate_ = 0;           // progress at active_, or at before_trial_ while a trial is on; 0: not known
  double progress_ = 0, taken_ = 0;  // of this window
  std::int64_t last_end_ = 0;
  Trials up_, down_;
  std::array<Kind, 64> kinds_{};

  std::size_t place(const void* kind, std::int64_t n_tasks) const;
  double task_time(const Job& job);
  void start_window() { progress_ = taken_ = 0; }
  int more() const;
  int fewer() const;
  void start_trial(int n_threads);
  void end_window(std::int64_t now);
  void end_trial(std::int64_t now, std::int64_t taken, double rate);
};

}  // namespace rowmax::base
