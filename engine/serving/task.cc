#include "engine/serving/task.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

// As in score(): rows of logits of a large vocabulary take much memory.
constexpr std::int64_t kScoredRowsAtOnce = 64;
constexpr std::int64_t kAnyRows = std::int64_t{1} << 40;
// Of the prompt's end, and where others part from it.
constexpr std::size_t kMorePlaces = 8;

}  // namespace

Task::Task(Job& job, int choice) : job_(&job), choice_(choice), tokens_(job.prompt) {
  const std::size_t n_places = job.generation ? job.generation->places.size() : 0;
  keep_.reserve(n_places + kMorePlaces);
  if (job.generation) {
    // Nothing predicts the first token, and the last one's row is the generation's first.
    if (job.scores_prompt() && choice == 0) read_end_ = std::ssize(tokens_) - 1;
    // Those that go on behind the prompt do so from its end, the same prompt from before its last token. Other choices
    // begin as the first one.
    if (choice > 0) return;
    for (const std::int64_t position : job.generation->places) keep_.push_back({position});
    keep_.push_back({std::ssize(tokens_)});
    keep_.push_back({std::ssize(tokens_) - 1, false});
    return;
  }
  if (job.observer) job_->embedding.pooling = Pooling::kLast;  // the same rows, and nothing is pooled
  // No token sees those behind it: the first is what it is by itself.
  if (job.embedding.pooling == Pooling::kCls) tokens_.resize(1);
  read_end_ = std::ssize(tokens_);
  if (job.embedding.pooling == Pooling::kLast) next_read_ = read_end_ - 1;
}

Status Task::reuse() {
  std::span<const TokenId> tokens = tokens_;
  // Not beyond the next row that is read.
  if (reads() && read_end_ > 0) tokens = tokens.first(static_cast<std::size_t>(next_read_ + 1));
  ROWMAX_TRY(reused, session_->reuse(sequence_, tokens));
  // Where it parts from what others computed, the next one may.
  const PrefixReuse& found = session_->last_reuse();
  if (found.found_tokens > reused && choice_ == 0) expect_others_at(found.found_tokens);
  if (disk_ != nullptr) disk_tokens_ = disk_->load(*session_, sequence_, tokens, prefix_);
  return {};
}

void Task::cut_at(std::int64_t position) noexcept {
  cut_ = cut_ > held() ? std::min(cut_, position) : position;
  expect_others_at(position);
}

void Task::expect_others_at(std::int64_t position) noexcept {
  const bool is_new = std::ranges::find(keep_, position, &KeptPlace::position) == keep_.end();
  if (is_new && keep_.size() < keep_.capacity()) keep_.push_back({position});
}

void Task::keep_pages_on_disk() {
  if (disk_ != nullptr && has_sequence()) disk_->save(*session_, sequence_, std::ssize(job_->prompt), prefix_);
}

Status Task::take_sequence(Session& session, SequenceId sequence, DiskCache* disk) {
  session_ = &session;
  disk_ = disk;
  sequence_ = sequence;
  ROWMAX_RETURN_IF_ERROR(session.set_owner(sequence, job_->owner));
  if (!job_->generation && !job_->observer) pooled_.emplace(session.model().shape().n_embd);
  ROWMAX_RETURN_IF_ERROR(take_pages_up());
  return generation_ ? generation_->continue_on(sequence) : Status();
}

Status Task::begin() {
  begun_ = true;
  const std::int64_t cached = held();
  if (!job_->started) job_->start(cached, disk_tokens_, prefix_.damaged, session_->last_reuse());
  return next_read_ < read_end_ ? Status() : finish_reading();
}

// With what was reused a sequence of a scored prompt holds nothing that is still to be read.
Status Task::take_pages_up() { return reuse(); }

Status Task::give_pages_back() {
  steady_ = false;
  ROWMAX_RETURN_IF_ERROR(session_->keep_state(sequence_));
  const auto left = session_->truncate(sequence_, 0);
  return left.ok() ? Status() : Status(left.error());
}

void Task::give_sequence_back() noexcept {
  steady_ = false;
  if (sequence_ >= 0) {
    (void)session_->keep_state(sequence_);
    session_->close(sequence_);
  }
  sequence_ = -1;
}

void Task::close() noexcept {
  // The conversation goes on behind the answer.
  if (generation_ && sequence_ >= 0) (void)session_->keep_state(sequence_, choice_ == 0);
  generation_.reset();
  if (sequence_ >= 0) session_->close(sequence_);
  sequence_ = -1;
}

RowWish Task::wish() const noexcept {
  RowWish wish{steady_, target() - held(), kAnyRows};
  if (cut_ > held()) wish.at_most = cut_ - held();
  if (reads() && job_->scores_prompt() && held() >= next_read_) {
    wish.at_most = std::min(wish.at_most, kScoredRowsAtOnce);
  }
  return wish;
}

Result<std::int64_t> Task::guess(std::int64_t at_most) {
  if (!steady_ || !job_->generation->draft) return std::int64_t{0};
  const std::int64_t n = draft_length_.next(at_most);
  if (n == 0) return std::int64_t{0};
  std::vector<TokenId> draft = job_->generation->draft(tokens_, n);
  if (std::ssize(draft) > n) draft.resize(static_cast<std::size_t>(n));
  auto taken = generation_->propose(draft);
  // Guesses that are no tokens are none.
  if (!taken.ok() && taken.error().code == ErrorCode::kInvalidArgument) return std::int64_t{0};
  return taken;
}

Result<BatchItem> Task::item(std::int64_t n_rows) {
  if (reads()) return reading_item(n_rows);
  ROWMAX_TRY(item, generation_->pending(n_rows));
  if (!steady_) item.keep = keep_;
  return item;
}

BatchItem Task::reading_item(std::int64_t n_rows) const {
  const std::int64_t begin = held();
  std::int64_t end = std::min(read_end_, begin + n_rows);
  LogitsFor rows = LogitsFor::kAll;
  if (begin < next_read_) {
    rows = end == next_read_ + 1 && !job_->observer ? LogitsFor::kLast : LogitsFor::kNone;
    if (rows == LogitsFor::kNone) end = std::min(end, next_read_);
  }
  return {.sequence = sequence_,
          .tokens = std::span(tokens_).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)),
          .logits = rows,
          .states = pooled_.has_value() && rows != LogitsFor::kNone,
          .keep = keep_};
}

Status Task::settle(const BatchItem& item, std::int64_t first_row) {
  if (!reads()) return item.logits == LogitsFor::kNone ? Status() : sample(item, first_row);
  const std::int64_t n = n_wanted_rows(item);
  for (std::int64_t k = 0; k < n; ++k) read_row(next_read_ + k, first_row + k);
  next_read_ += n;
  return n > 0 && next_read_ == read_end_ ? finish_reading() : Status();
}

void Task::read_row(std::int64_t position, std::int64_t row) {
  if (job_->observer) return;  // it has seen it
  if (pooled_) {
    pooled_->add(session_->states(row));
    return;
  }
  const int n_top = job_->generation->prompt_top_log_probabilities;
  const TokenId next = tokens_[static_cast<std::size_t>(position + 1)];
  LogProbabilities found = log_probabilities(session_->logits(row), next, n_top);
  scores_.tokens.push_back({next, found.value});
  if (n_top > 0) scores_.top.push_back(std::move(found.top));
}

Status Task::finish_reading() {
  if (!job_->generation) {
    job_->prompt_is_computed();
    if (pooled_) job_->end.embedding = pooled_->vector(job_->embedding.normalize);
    done_ = true;
    return {};
  }
  if (job_->scores_prompt() && choice_ == 0) {
    job_->prompt_is_computed();
    job_->listener->prompt_scored(job_->id, std::move(scores_));
    scores_ = {};
  }
  return start_generation();
}

Status Task::start_generation() {
  GenerationOptions options = job_->generation->options;
  options.sampling.seed += static_cast<std::uint64_t>(choice_);
  ROWMAX_TRY(generation, Generation::start(*session_, sequence_, tokens_, std::move(options)));
  generation_.emplace(std::move(generation));
  if (generation_->done()) end_choice({});
  return {};
}

Status Task::sample(const BatchItem& item, std::int64_t first_row) {
  const std::int64_t n_prompt = generation_->prompt_tokens();
  std::int64_t right = 0;
  TokenId last = 0;
  for (std::int64_t k = 0;; ++right) {
    ROWMAX_TRY(step, generation_->accept(session_->logits(first_row + k)));
    job_->token_was_sampled();
    ++n_sampled_;
    last = step.token;
    if (n_prompt + std::ssize(generation_->tokens()) > std::ssize(tokens_)) tokens_.push_back(step.token);
    steady_ = true;
    job_->listener->stepped(job_->id, choice_, step);
    if (!step.next_row) break;
    k = step.row;
  }
  draft_length_.settle(item.n_draft, right);
  job_->end.draft_tokens += item.n_draft;
  job_->end.accepted_draft_tokens += right;
  if (!generation_->done()) return {};
  ChoiceEnd end;
  if (std::ssize(generation_->tokens()) < n_sampled_) end.end_token = last;
  end_choice(std::move(end));
  return {};
}

Status Task::end_for_want_of_room() {
  ROWMAX_TRY(held_back, generation_->cancel());
  ChoiceEnd end;
  end.text = std::move(held_back);
  end.budget_used_up = true;
  end_choice(std::move(end));
  return {};
}

void Task::end_choice(ChoiceEnd end) {
  done_ = true;
  end.reason = end.budget_used_up ? StopReason::kContext : generation_->reason();
  end.stop_string = generation_->stop_string();
  end.generated_tokens = std::ssize(generation_->tokens());
  job_->end.generated_tokens += end.generated_tokens;
  job_->listener->choice_ended(job_->id, choice_, end);
}

}  // namespace rowmax::engine
