// The engine's side of the scheduler: who runs, who waits, and what a step computes.
//
// Tasks are older or younger by their request's number and their choice's: the order in which they came.
//
// Why everything comes to an end. A step computes a token or more of the oldest task that runs, unless it has no room.
// Then the youngest gives its pages back, until there is room or the oldest runs alone. Alone it has the whole budget,
// since tasks that wait hold no pages: what then has no room for one more token never will, and ends. So the oldest
// task that runs is never sent back, gets at least a token a step, and has a last one (the context is finite). It stays
// the oldest that runs unless an older one starts, of which there are finitely many. Who waits is looked at in the
// order of age; a younger one passes an older one only where that one lets another go first, whose patience is a number
// of rows, or where a sequence is missing, which those that run give back at their end. Tasks that are paused are none of
// these: their pages and sequences are taken before anybody is sent back for want of them.
#pragma once

#include <cstdint>
#include <list>
#include <vector>

#include "engine/serving/intake.h"
#include "engine/serving/job.h"
#include "engine/serving/task.h"
#include "rowmax/engine/session.h"

namespace rowmax::engine {

class Runner {
 public:
  Runner(Session& session, const SchedulerOptions& options, Intake& intake);

  // One step; false when nothing is left to be done.
  bool step();
  // Behind a step: whether there is nothing but what is paused.
  bool all_paused() const noexcept { return running_.empty() && waiting_.empty() && !paused_.empty(); }
  // Ends everything that is left with kCancelled.
  void cancel_all();

 private:
  struct Planned {
    Task* task;
    std::int64_t rows;  // with guesses
    std::int64_t guesses;
  };

  Session* session_;
  SchedulerOptions options_;
  Intake* intake_;
  bool shares_;              // prefixes, through the cache
  std::list<Job> jobs_;      // that have not ended
  std::list<Task> waiting_;  // the oldest first
  std::list<Task> running_;  // the oldest first
  std::list<Task> paused_;   // the oldest first
  std::vector<Planned> plan_;
  std::vector<BatchItem> items_;
  // Where the oldest task that waits had no room, and nothing was given back since, it is not asked again.
  const Task* blocked_ = nullptr;
  std::int64_t blocked_bytes_ = 0;
  SchedulerStatistics figures_;

  void take_arrivals();
  void move_paused();
  bool take_from_paused();
  Status compute_step();
  void observe_one();

  void admit();
  enum class Admission { kStarted, kNoRoom, kNoSequence };
  Result<Admission> try_to_start(std::list<Task>::iterator task);
  Result<Admission> take_sequence(Task& task);
  bool lets_another_go_first(Task& task);
  Task* first_choice_of(const Job& job);
  Result<bool> has_room() const;
  Result<std::int64_t> growth(const Task& task) const;

  Status plan();
  Status make_items();
  Status find_room();
  void send_back(std::list<Task>::iterator task);
  Status give_up_alone(Task& task, const Error& why);
  Status forward();
  void distribute();
  Status settle(Task& task, const BatchItem& item, std::int64_t first_row);

  void sweep();  // takes away what is over
  void end_job(std::list<Job>::iterator job);
  void publish();
};

}  // namespace rowmax::engine
