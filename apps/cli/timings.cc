#include "apps/cli/timings.h"

#include "apps/cli/terminal.h"

namespace rowmax::cli {

double tokens_per_second(std::int64_t tokens, double ms) { return tokens > 0 && ms > 0 ? 1000.0 * tokens / ms : 0; }

std::string timings_line(const engine::GenerateResult& generation, std::int64_t kv_budget) {
  const engine::GenerateTimings& t = generation.timings;
  std::string line = "prompt " + std::to_string(t.prompt_tokens) + " tokens";
  if (t.cached_tokens > 0) line += " (" + std::to_string(t.cached_tokens) + " from cache)";
  line += ", " + short_number(tokens_per_second(t.prompt_tokens - t.cached_tokens, t.prompt_ms)) + " tok/s";
  line += " | first token " + short_number(t.first_token_ms) + " ms";
  line += " | " + std::to_string(t.generated_tokens) + " tokens";
  // The first token belongs to the prompt's time.
  const double speed = tokens_per_second(t.generated_tokens - 1, t.generate_ms);
  if (speed > 0) line += ", " + short_number(speed) + " tok/s";
  if (t.draft_tokens > 0) {
    line +=
        " | " + std::to_string(t.accepted_draft_tokens) + " of " + std::to_string(t.draft_tokens) + " guesses right";
  }
  line += " | stop: " + stop_name(generation);
  if (generation.budget_used_up) {
    line += ": no room for more keys and values (--kv-budget " + std::to_string(kv_budget) + " MiB)";
  } else if (generation.reason == engine::StopReason::kContext) {
    line += " is full (-c sets its size)";
  }
  return line;
}

std::string stop_name(const engine::GenerateResult& generation) {
  return generation.budget_used_up ? "memory" : engine::stop_reason_name(generation.reason);
}

Json timings_json(const engine::GenerateTimings& t) {
  Json json = {
      {"prompt_n", t.prompt_tokens},
      {"cache_n", t.cached_tokens},
      {"prompt_ms", t.prompt_ms},
      {"prompt_per_second", tokens_per_second(t.prompt_tokens - t.cached_tokens, t.prompt_ms)},
      {"first_token_ms", t.first_token_ms},
      {"predicted_n", t.generated_tokens},
      {"predicted_ms", t.generate_ms},
      {"predicted_per_second", tokens_per_second(t.generated_tokens - 1, t.generate_ms)},
  };
  if (t.draft_tokens > 0) {
    json.append("draft_n", t.draft_tokens);
    json.append("draft_n_accepted", t.accepted_draft_tokens);
  }
  return json;
}

}  // namespace rowmax::cli
