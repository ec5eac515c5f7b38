// One choice of a request, or one embedding: what has a sequence of its own. First the rows that are read of the prompt
// itself (scores of its tokens, states to be pooled), then a Generation. As there, the session's tokens are the truth
// of what is computed, so that a task without its pages is one that misses more.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/serving/job.h"
#include "engine/serving/row_shares.h"
#include "rowmax/engine/drafts.h"
#include "rowmax/engine/session.h"

namespace rowmax::engine {

class Task {
 public:
  Task(Job& job, int choice);
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  Job& job() const noexcept { return *job_; }
  int choice() const noexcept { return choice_; }
  bool is_older_than(const Task& other) const noexcept {
    return job_->id != other.job_->id ? job_->id < other.job_->id : choice_ < other.choice_;
  }
  bool has_sequence() const noexcept { return sequence_ >= 0; }
  SequenceId sequence() const noexcept { return sequence_; }

  // The sequence is the task's until close(); what the cache has of the prompt is taken up, and what the disk has.
  Status take_sequence(Session& session, SequenceId sequence, DiskCache* disk);
  // Behind the first take_sequence(): tells the job that it starts.
  Status begin();
  bool has_begun() const noexcept { return begun_; }
  // Whether it can be paused now: it has not begun, or writes a text.
  bool can_pause() const noexcept { return job_->generation && (generation_ || !begun_); }
  // Gives the pages back, or all that can be had of them back again.
  Status give_pages_back();
  Status take_pages_up();
  // Gives the sequence back, too; take_sequence() goes on from there with another.
  void give_sequence_back() noexcept;
  void keep_pages_on_disk();
  std::int64_t disk_tokens() const noexcept { return disk_tokens_; }
  void close() noexcept;

  std::span<const TokenId> tokens() const noexcept {
    return tokens_;
  }  // the prompt that is computed, and what was generated
  std::int64_t held() const noexcept { return has_sequence() ? std::ssize(session_->tokens(sequence_)) : 0; }
  // How many tokens are computed with its next result. Behind begin().
  std::int64_t target() const noexcept { return reads() ? read_end_ : std::ssize(tokens_); }
  bool is_steady() const noexcept { return steady_; }
  bool is_done() const noexcept { return done_; }
  // What it misses is the token that its observer looks at, which has a batch of its own.
  bool is_to_be_observed() const noexcept { return job_->observer && reads() && held() == next_read_; }
  bool has_generated() const noexcept { return generation_ && !generation_->tokens().empty(); }
  // Its prompt, or what it has to compute again, is cut at `position` for others that go on from there; 0: nowhere.
  void cut_at(std::int64_t position) noexcept;
  RowWish wish() const noexcept;

  // Guesses for the next item, at most so many; how many there are.
  Result<std::int64_t> guess(std::int64_t at_most);
  // Of so many rows; with the guesses as far as there are more rows than it misses.
  Result<BatchItem> item(std::int64_t n_rows);
  // The session computed `item`; its rows of logits or states begin at `first_row`.
  Status settle(const BatchItem& item, std::int64_t first_row);
  // A generation for which there is no room alone: its text ends here.
  Status end_for_want_of_room();

  // What the scheduler keeps with it: until how many rows were computed it lets another one go first; -1: it did not
  // yet.
  std::int64_t patience = -1;

 private:
  Job* job_;
  int choice_;
  Session* session_ = nullptr;
  SequenceId sequence_ = -1;
  DiskCache* disk_ = nullptr;
  DiskCache::Prefix prefix_;
  std::int64_t disk_tokens_ = 0;
  std::vector<TokenId> tokens_;
  // Rows of the prompt's tokens [next_read_, read_end_) are read.
  std::int64_t next_read_ = 0, read_end_ = 0;
  std::optional<PooledStates> pooled_;
  PromptLogProbabilities scores_;
  std::optional<Generation> generation_;
  DraftLength draft_length_;
  std::int64_t n_sampled_ = 0;
  std::int64_t cut_ = 0;
  std::vector<KeptPlace> keep_;  // where others are likely to go on
  bool begun_ = false;
  bool steady_ = false;
  bool done_ = false;

  bool reads() const noexcept { return !generation_ && !done_; }
  Status reuse();
  void expect_others_at(std::int64_t position) noexcept;
  Status start_generation();
  Status finish_reading();
  BatchItem reading_item(std::int64_t n_rows) const;
  void read_row(std::int64_t position, std::int64_t row);
  Status sample(const BatchItem& item, std::int64_t first_row);
  void end_choice(ChoiceEnd end);
};

}  // namespace rowmax::engine
