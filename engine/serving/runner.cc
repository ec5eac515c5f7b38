#include "engine/serving/runner.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <string>
#include <utility>

#include "base/guarded.h"
#include "rowmax/kv.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

// How many rows others may compute for each token that a request hopes to find computed.
constexpr std::int64_t kPatience = 8;

// Short enough to need no memory.
Error cancelled() { return {ErrorCode::kCancelled, "was cancelled"}; }

// Tokens that both begin with, of which the first leaves one to compute.
std::int64_t common_tokens(std::span<const TokenId> a, std::span<const TokenId> b) {
  const std::span<const TokenId> most = a.first(std::min(a.size() - 1, b.size()));
  return std::ranges::mismatch(most, b).in1 - most.begin();
}

// Moves a task to its place by age; takes no memory.
void move_by_age(std::list<Task>& from, std::list<Task>::iterator task, std::list<Task>& to) noexcept {
  auto place = to.end();
  while (place != to.begin() && task->is_older_than(*std::prev(place))) --place;
  to.splice(place, from, task);
}

}  // namespace

Runner::Runner(Session& session, const SchedulerOptions& options, Intake& intake)
    : session_(&session), options_(options), intake_(&intake), shares_(session.reuses_prefixes()) {
  publish();
}

bool Runner::step() {
  take_arrivals();
  const Status status = base::guarded([&] { return compute_step(); });
  if (!status.ok()) {
    for (Task& task : running_) task.job().fail(status.error());
  }
  sweep();
  publish();
  return !jobs_.empty() || intake_->has_arrivals();
}

void Runner::take_arrivals() {
  Intake::Arrivals arrivals = intake_->take();
  jobs_.splice(jobs_.end(), arrivals.jobs);
  waiting_.splice(waiting_.end(), arrivals.tasks);
  for (Job& job : jobs_) {
    if (arrivals.stopping || arrivals.cancelled.contains(job.id)) job.fail(cancelled());
    const auto paused = arrivals.paused.find(job.id);
    if (paused != arrivals.paused.end()) job.paused = paused->second;
  }
  sweep();
  move_paused();
}

// Takes tasks of jobs that are paused out of the others' way, and those of others back.
void Runner::move_paused() {
  for (std::list<Task>* list : {&running_, &waiting_}) {
    for (auto next = list->begin(); next != list->end();) {
      const auto task = next++;
      if (!task->job().paused || !task->can_pause()) continue;
      figures_.preempted -= list == &waiting_ && task->has_begun();
      blocked_ = nullptr;
      move_by_age(*list, task, paused_);
    }
  }
  for (auto next = paused_.begin(); next != paused_.end();) {
    const auto task = next++;
    if (task->job().paused) continue;
    figures_.preempted += task->has_begun();
    move_by_age(paused_, task, waiting_);
  }
}

// The youngest one's sequence, with its pages; false where none has one.
bool Runner::take_from_paused() {
  for (auto task = paused_.rbegin(); task != paused_.rend(); ++task) {
    if (!task->has_sequence()) continue;
    task->give_sequence_back();
    blocked_ = nullptr;
    return true;
  }
  return false;
}

void Runner::cancel_all() {
  take_arrivals();
  for (Job& job : jobs_) job.fail(cancelled());
  sweep();
  publish();
}

Status Runner::compute_step() {
  admit();
  sweep();
  observe_one();
  sweep();
  if (running_.empty()) return {};
  ROWMAX_RETURN_IF_ERROR(plan());
  ROWMAX_RETURN_IF_ERROR(find_room());
  if (items_.empty()) return {};
  ROWMAX_RETURN_IF_ERROR(forward());
  distribute();
  return {};
}

// The last token of the oldest prompt that is looked at, in a batch of its own, so that the observer is shown nothing of
// others. Those that run beside it are computed in the same step, behind it. For want of room the youngest is sent back,
// as in find_room().
void Runner::observe_one() {
  const auto task = std::ranges::find_if(running_, &Task::is_to_be_observed);
  if (task == running_.end()) return;
  const Status status = base::guarded([&]() -> Status {
    plan_.assign(1, {&*task, 1, 0});
    ROWMAX_RETURN_IF_ERROR(make_items());
    const Status room = session_->check_room(items_);
    if (!room.ok()) {
      if (room.error().code != ErrorCode::kLimit) return room;
      if (take_from_paused()) return {};  // it is looked at in the next step
      if (running_.size() == 1) return room;
      send_back(std::prev(running_.end()));
      return {};
    }
    session_->set_observer(task->job().observer.get());
    const Status computed = forward();
    session_->set_observer(nullptr);
    ROWMAX_RETURN_IF_ERROR(computed);
    distribute();
    return {};
  });
  if (!status.ok()) task->job().fail(status.error());
}

void Runner::admit() {
  bool no_sequence = false;
  for (auto next = waiting_.begin(); next != waiting_.end();) {
    const auto task = next++;
    if (task->job().over) continue;
    if (options_.max_running > 0 && std::ssize(running_) >= options_.max_running) break;
    if (no_sequence && !task->has_sequence()) continue;
    if (lets_another_go_first(*task)) continue;
    const auto admission = base::guarded([&] { return try_to_start(task); });
    if (!admission.ok()) {
      task->job().fail(admission.error());
      continue;
    }
    if (*admission == Admission::kNoRoom) break;
    no_sequence = no_sequence || *admission == Admission::kNoSequence;
  }
  // Forks were there to be had in this step alone: the first choice goes on.
  for (Task& task : running_) {
    Job& job = task.job();
    if (task.choice() == 0 && task.held() >= std::ssize(job.prompt) - 1) job.prompt_was_shared = true;
  }
}

// Whether what the task would compute is being computed by one that runs.
bool Runner::lets_another_go_first(Task& task) {
  if (task.has_begun()) return false;
  Job& job = task.job();
  if (task.choice() > 0 && !job.prompt_was_shared && std::ssize(task.tokens()) > 1) {
    Task* first = first_choice_of(job);
    if (first != nullptr && first->held() < std::ssize(job.prompt) - 1) {
      first->cut_at(std::ssize(job.prompt) - 1);
      return true;
    }
    return false;
  }
  if (!shares_ || (job.scores_prompt() && task.choice() == 0)) return false;
  if (!job.generation && job.embedding.pooling != Pooling::kLast) return false;
  for (Task& other : running_) {
    if (other.is_steady()) continue;
    std::int64_t common = common_tokens(task.tokens(), other.tokens());
    // For less than a page nobody begins to wait; and others' pages are shared as a whole.
    const std::int64_t whole = common / kKeyTile * kKeyTile;
    if (job.owner != other.job().owner) common = whole;
    if ((task.patience < 0 ? whole : common) <= other.held()) continue;
    if (task.patience < 0) task.patience = figures_.rows + kPatience * common;
    if (figures_.rows >= task.patience) return false;
    other.cut_at(common);
    return true;
  }
  return false;
}

Task* Runner::first_choice_of(const Job& job) {
  for (std::list<Task>* list : {&running_, &waiting_}) {
    for (Task& task : *list) {
      if (&task.job() == &job && task.choice() == 0) return &task;
    }
  }
  return nullptr;
}

Result<Runner::Admission> Runner::try_to_start(std::list<Task>::iterator task) {
  const std::int64_t held_bytes = session_->memory().kv_held_bytes;
  if (blocked_ == &*task && held_bytes >= blocked_bytes_ && !running_.empty()) return Admission::kNoRoom;
  blocked_ = nullptr;
  const bool is_new = !task->has_begun();
  if (!task->has_sequence()) {
    ROWMAX_TRY(taken, take_sequence(*task));
    if (taken != Admission::kStarted) return taken;
  } else if (task->held() == 0) {
    ROWMAX_RETURN_IF_ERROR(task->take_pages_up());
  }
  const bool alone = running_.empty();
  move_by_age(waiting_, task, running_);
  figures_.preempted -= !is_new;
  bool has_its_room = alone;
  while (!has_its_room) {
    ROWMAX_TRY(found, has_room());
    has_its_room = found;
    if (!has_its_room && !take_from_paused()) break;
  }
  if (!has_its_room) {
    move_by_age(running_, task, waiting_);
    figures_.preempted += !is_new;
    blocked_ = &*task;
    blocked_bytes_ = held_bytes;
    if (!is_new) {
      ROWMAX_RETURN_IF_ERROR(task->give_pages_back());
    } else {
      task->close();
    }
    return Admission::kNoRoom;
  }
  if (!is_new) return Admission::kStarted;
  Job& job = task->job();
  const bool first = !job.started;
  if (first) intake_->job_left_queue();
  ROWMAX_RETURN_IF_ERROR(task->begin());
  if (first) {
    figures_.prompt_tokens += job.end.prompt_tokens;
    figures_.cached_tokens += job.end.cached_tokens;
    figures_.disk_tokens += task->disk_tokens();
  }
  return Admission::kStarted;
}

// A fork of the first choice where that one is about to compute the last token of their prompt, or an empty one.
Result<Runner::Admission> Runner::take_sequence(Task& task) {
  const Task* first = task.choice() > 0 ? first_choice_of(task.job()) : nullptr;
  const bool can_fork = !task.has_begun() && first != nullptr && first->has_sequence() &&
                        std::ssize(task.tokens()) > 1 && first->held() == std::ssize(task.tokens()) - 1;
  auto sequence = can_fork ? session_->fork(first->sequence()) : session_->open();
  if (!sequence.ok() && can_fork && sequence.error().code == ErrorCode::kLimit) sequence = session_->open();
  while (!sequence.ok() && sequence.error().code == ErrorCode::kLimit && take_from_paused())
    sequence = session_->open();
  if (!sequence.ok()) {
    const bool one_comes_back = !running_.empty() || std::ranges::any_of(waiting_, &Task::has_sequence);
    if (sequence.error().code == ErrorCode::kLimit && one_comes_back) return Admission::kNoSequence;
    return sequence.error();
  }
  const Status status = task.take_sequence(*session_, *sequence, shares_ ? options_.disk : nullptr);
  if (status.ok()) return Admission::kStarted;
  task.close();
  return status.error();
}

// Whether all that run can have what they need next: prompts their end, the others some tokens.
Result<bool> Runner::has_room() const {
  const Session::Memory memory = session_->memory();
  std::int64_t bytes = memory.kv_held_bytes;
  for (const Task& task : running_) {
    ROWMAX_TRY(more, growth(task));
    bytes += more;
  }
  return bytes <= memory.kv_budget_bytes;
}

Result<std::int64_t> Runner::growth(const Task& task) const {
  const std::int64_t target = std::min(std::ssize(task.tokens()) + options_.headroom_tokens, session_->context());
  ROWMAX_TRY(now, session_->cost(task.held()));
  ROWMAX_TRY(then, session_->cost(target));
  const std::int64_t needed = task.is_steady() ? then.kv_bytes : then.kv_peak_bytes;
  return std::max<std::int64_t>(0, needed - now.kv_bytes);
}

Status Runner::plan() {
  std::vector<RowWish> wishes;
  for (const Task& task : running_) {
    if (!task.is_to_be_observed()) wishes.push_back(task.wish());
  }
  const std::vector<std::int64_t> rows = share_rows(wishes, options_.step_rows);
  plan_.clear();
  std::int64_t left = options_.step_rows;
  for (const std::int64_t n : rows) left -= n;
  auto n = rows.begin();
  for (Task& task : running_) {
    if (!task.is_to_be_observed()) plan_.push_back({&task, *n++, 0});
  }
  for (Planned& planned : plan_) {
    if (left <= 0) break;
    ROWMAX_TRY(guesses, planned.task->guess(left));
    planned.guesses = guesses;
    left -= guesses;
  }
  return {};
}

Status Runner::make_items() {
  items_.clear();
  for (const Planned& planned : plan_) {
    ROWMAX_TRY(item, planned.task->item(planned.rows + planned.guesses));
    items_.push_back(item);
  }
  return {};
}

// Items for which there is room, by the means that cost least: without guesses, without the youngest, with fewer rows.
Status Runner::find_room() {
  while (true) {
    ROWMAX_RETURN_IF_ERROR(make_items());
    const Status room = session_->check_room(items_);
    if (room.ok()) return {};
    if (room.error().code != ErrorCode::kLimit) return room;
    if (std::ranges::any_of(plan_, [](const Planned& planned) { return planned.guesses > 0; })) {
      for (Planned& planned : plan_) planned.guesses = 0;
    } else if (take_from_paused()) {
      continue;
    } else if (plan_.size() > 1) {
      plan_.pop_back();
      send_back(std::prev(running_.end()));
    } else if (plan_.front().rows > 1) {
      plan_.front().rows /= 2;
    } else {
      items_.clear();
      return give_up_alone(*plan_.front().task, room.error());
    }
  }
}

void Runner::send_back(std::list<Task>::iterator task) {
  const Status given = task->give_pages_back();
  if (!given.ok()) task->job().fail(given.error());
  blocked_ = nullptr;
  ++figures_.preemptions;
  ++figures_.preempted;
  ++task->job().end.preemptions;
  move_by_age(running_, task, waiting_);
}

Status Runner::give_up_alone(Task& task, const Error& why) {
  if (task.has_generated()) return task.end_for_want_of_room();
  task.job().fail(why);
  return {};
}

Status Runner::forward() {
  const Status computed = session_->forward(items_);
  if (session_->item_status().size() != items_.size()) return computed;
  ++figures_.steps;
  for (const BatchItem& item : items_) figures_.rows += std::ssize(item.tokens);
  return {};
}

void Runner::distribute() {
  std::int64_t logit_row = 0, state_row = 0;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    const BatchItem& item = items_[i];
    Task& task = *plan_[i].task;
    std::int64_t& row = item.states ? state_row : logit_row;
    const std::int64_t first_row = row;
    row += n_wanted_rows(item);
    if (task.job().over) continue;  // another choice of it failed
    const Status& status = session_->item_status()[i];
    const Status settled = status.ok() ? settle(task, item, first_row) : Status(status.error());
    if (!settled.ok()) task.job().fail(settled.error());
    if (status.ok()) task.keep_pages_on_disk();
  }
}

Status Runner::settle(Task& task, const BatchItem& item, std::int64_t first_row) {
  const RequestEnd& end = task.job().end;
  const std::int64_t n_before = std::ssize(task.tokens()), drafts_before = end.draft_tokens;
  const std::int64_t accepted_before = end.accepted_draft_tokens;
  Status settled = base::guarded([&] { return task.settle(item, first_row); });
  figures_.generated_tokens += std::ssize(task.tokens()) - n_before;
  figures_.draft_tokens += end.draft_tokens - drafts_before;
  figures_.accepted_draft_tokens += end.accepted_draft_tokens - accepted_before;
  return settled;
}

void Runner::sweep() {
  const auto leaves = [](const Task& task) { return task.is_done() || task.job().over; };
  for (std::list<Task>* list : {&running_, &waiting_, &paused_}) {
    for (auto next = list->begin(); next != list->end();) {
      const auto task = next++;
      if (!leaves(*task)) continue;
      if (list == &waiting_ && task->has_begun()) --figures_.preempted;
      blocked_ = nullptr;
      if (task->choice() == 0) task->job().prompt_was_shared = true;
      if (--task->job().tasks_left == 0) task->job().over = true;
      task->close();
      list->erase(task);
    }
  }
  for (auto next = jobs_.begin(); next != jobs_.end();) {
    const auto job = next++;
    if (job->over && job->tasks_left == 0) end_job(job);
  }
}

void Runner::end_job(std::list<Job>::iterator job) {
  std::list<Job> ending;
  ending.splice(ending.begin(), jobs_, job);
  Status status = std::move(job->end.status);
  if (!job->started) intake_->job_left_queue();
  intake_->job_ended(job->id);
  const bool cancelled = !status.ok() && status.error().code == ErrorCode::kCancelled;
  ++(status.ok() ? figures_.succeeded : cancelled ? figures_.cancelled : figures_.failed);
  job->finish(std::move(status));
}

void Runner::publish() {
  figures_.running = std::ssize(running_);
  figures_.paused = std::ssize(paused_);
  figures_.memory = session_->memory();
  intake_->publish(figures_);
}

}  // namespace rowmax::engine
