#include "rowmax/engine/generate.h"

#include <chrono>
#include <utility>

#include "base/guarded.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

using Clock = std::chrono::steady_clock;
double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

void keep_log_probabilities(const GenerationOptions& options, GenerationStep& step, GenerateResult& result) {
  if (options.log_probability) result.log_probabilities.push_back(step.log_probability);
  if (options.top_log_probabilities > 0) result.top_log_probabilities.push_back(std::move(step.top_log_probabilities));
}

// Whether the last forward() failed for want of room alone.
bool refused_for_room(const Session& session) {
  const std::span<const Status> items = session.item_status();
  return items.size() == 1 && !items[0].ok() && items[0].error().code == ErrorCode::kLimit;
}

Result<GenerateResult> generate_tokens(Session& session, SequenceId sequence, std::span<const TokenId> prompt,
                                       const GenerateOptions& options, const TextSink& sink) {
  GenerateResult result;
  GenerateTimings& timings = result.timings;
  const Clock::time_point start = Clock::now();
  Clock::time_point first_token = start;
  ROWMAX_TRY(generation, Generation::start(session, sequence, prompt, options));
  bool listening = true;
  std::int64_t n_sampled = 0;
  const auto give = [&](const std::string& text) {
    if (!listening || text.empty()) return;
    result.text += text;
    listening = !sink || sink(text);
  };
  DraftLength draft_length;
  std::int64_t guessed_behind = 0;  // once behind each token that was sampled
  std::vector<TokenId> text;
  const auto guess = [&]() -> Status {
    if (!options.draft || guessed_behind == n_sampled) return {};
    guessed_behind = n_sampled;
    const std::int64_t n = draft_length.next(DraftLength::kMost);
    if (n == 0) return {};
    text.assign(prompt.begin(), prompt.end());
    text.insert(text.end(), generation.tokens().begin(), generation.tokens().end());
    std::vector<TokenId> guesses = options.draft(text, n);
    if (std::ssize(guesses) > n) guesses.resize(static_cast<std::size_t>(n));
    const auto taken = generation.propose(guesses);
    // Guesses that are no tokens are none.
    const bool wrong = !taken.ok() && taken.error().code == ErrorCode::kInvalidArgument;
    return taken.ok() || wrong ? Status() : Status(taken.error());
  };
  while (!generation.done() && listening) {
    if (options.cancelled && options.cancelled()) break;
    ROWMAX_RETURN_IF_ERROR(guess());
    ROWMAX_TRY(item, generation.pending());
    const Status computed = session.forward({&item, 1});
    if (item.n_draft > 0 && refused_for_room(session)) {  // without guesses there may be some
      ROWMAX_TRY(none, generation.propose({}));
      (void)none;
      continue;
    }
    if (!generation.tokens().empty() && refused_for_room(session)) {
      result.budget_used_up = true;
      break;
    }
    ROWMAX_RETURN_IF_ERROR(computed);
    if (item.logits == LogitsFor::kNone) continue;
    if (timings.prompt_ms == 0) timings.prompt_ms = ms_since(start);
    std::int64_t right = 0;
    for (std::int64_t row = 0;; ++right) {
      ROWMAX_TRY(step, generation.accept(session.logits(row)));
      if (timings.first_token_ms == 0) {
        timings.first_token_ms = ms_since(start);
        first_token = Clock::now();
      }
      keep_log_probabilities(options, step, result);
      ++n_sampled;
      if (step.done && std::ssize(generation.tokens()) < n_sampled) result.end_token = step.token;
      give(step.text);
      if (!step.next_row || !listening) break;
      row = step.row;
    }
    draft_length.settle(item.n_draft, right);
    timings.draft_tokens += item.n_draft;
    timings.accepted_draft_tokens += right;
  }
  ROWMAX_TRY(held_back, generation.cancel());  // nothing, and no change, when it is done
  give(held_back);
  result.reason = listening ? generation.reason() : StopReason::kCancelled;
  if (result.budget_used_up) result.reason = StopReason::kContext;
  result.tokens.assign(generation.tokens().begin(), generation.tokens().end());
  result.stop_string = generation.stop_string();
  timings.prompt_tokens = generation.prompt_tokens();
  timings.cached_tokens = generation.cached_tokens();
  timings.generated_tokens = std::ssize(result.tokens);
  if (timings.first_token_ms > 0) timings.generate_ms = ms_since(first_token);
  return result;
}

}  // namespace

Result<GenerateResult> generate(Session& session, SequenceId sequence, std::span<const TokenId> prompt,
                                const GenerateOptions& options, const TextSink& sink) {
  return base::guarded([&] { return generate_tokens(session, sequence, prompt, options, sink); });
}

}  // namespace rowmax::engine
