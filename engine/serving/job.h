// A request on its way: what it asked for, what it is told, and its tasks, one for each choice.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/guarded.h"
#include "rowmax/engine/scheduler.h"

namespace rowmax::engine {

using Clock = std::chrono::steady_clock;
inline double ms_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

struct Job {
  RequestId id = 0;
  std::vector<TokenId> prompt;
  std::uint64_t owner = 0;
  std::optional<GenerationRequest> generation;
  EmbedOptions embedding;                   // where there is no generation
  std::shared_ptr<TraceObserver> observer;  // of the prompt's last token; neither generation nor embedding then
  std::unique_ptr<RequestListener> listener;

  RequestEnd end;  // as far as it is known
  int tasks_left = 1;
  bool started = false;
  bool over = false;    // nothing more is computed for it
  bool paused = false;  // nor now
  // The other choices had their chance to fork from the first one, or it is gone: they no longer wait for it.
  bool prompt_was_shared = false;
  Clock::time_point submitted, begun;
  std::optional<Clock::time_point> prompt_done, first_token;

  bool scores_prompt() const noexcept { return generation && generation->prompt_log_probability; }

  void start(std::int64_t cached_tokens, std::int64_t disk_tokens, std::int64_t damaged_pages,
             const PrefixReuse& reuse) {
    started = true;
    begun = Clock::now();
    end.queued_ms = ms_between(submitted, begun);
    end.prompt_tokens = std::ssize(prompt);
    end.cached_tokens = cached_tokens;
    listener->started(id, {end.prompt_tokens, cached_tokens, reuse, disk_tokens, damaged_pages});
  }
  void prompt_is_computed() {
    if (!prompt_done) prompt_done = Clock::now();
  }
  void token_was_sampled() {
    prompt_is_computed();
    if (!first_token) first_token = Clock::now();
  }
  void finish(Status status) {
    const Clock::time_point now = Clock::now();
    if (prompt_done) end.prompt_ms = ms_between(begun, *prompt_done);
    if (first_token) {
      end.first_token_ms = ms_between(submitted, *first_token);
      end.generation_ms = ms_between(*first_token, now);
    }
    if (!started) end.queued_ms = ms_between(submitted, now);
    end.status = std::move(status);
    listener->ended(id, std::move(end));
    listener.reset();
  }
  // An error that ends it; the first one counts.
  void fail(const Error& error) noexcept {
    if (over) return;
    over = true;
    end.status = base::guarded([&] { return Status(error); });
  }
};

}  // namespace rowmax::engine
