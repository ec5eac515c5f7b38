// Text generation: prompt in, text out, with a clear reason for the end. Also scoring of texts.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rowmax/engine/chat.h"
#include "rowmax/engine/drafts.h"
#include "rowmax/engine/generation.h"
#include "rowmax/engine/session.h"
#include "rowmax/result.h"

namespace rowmax::engine {

struct GenerateOptions : GenerationOptions {
  DraftFunction draft;              // empty: no speculation. Is asked less where few guesses are right
  std::function<bool()> cancelled;  // asked between batches and tokens; true ends the generation (kCancelled)
};

struct GenerateTimings {
  std::int64_t prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0;
  double prompt_ms = 0;       // until the logits of the last prompt token
  double first_token_ms = 0;  // until the first token was sampled
  double generate_ms = 0;     // from then to the end
  std::int64_t draft_tokens = 0, accepted_draft_tokens = 0;
};

struct GenerateResult {
  std::vector<TokenId> tokens;  // without the token that ended it
  std::string text;             // whole UTF-8 characters; without the stop string
  StopReason reason = StopReason::kEos;
  std::optional<TokenId> end_token;  // that ended it without being part of it (kEos, a stop token)
  // For kContext: kv_budget_bytes was used up before the context was.
  bool budget_used_up = false;
  std::string stop_string;  // for kStop by a text
  // When asked for: one for each sampled token, so for one that ended it (kEos, a stop token) too.
  std::vector<double> log_probabilities;
  std::vector<std::vector<TokenLogProbability>> top_log_probabilities;
  GenerateTimings timings;
};

// Gets text as it becomes certain: whole UTF-8 characters, never part of a possible stop string. Return false to
// cancel.
using TextSink = std::function<bool(std::string_view text)>;

// A Generation from its start to its end. prompt: the whole conversation as ids (what the cache already holds of it is
// reused). At least one token. A context or kv_budget_bytes that is full ends the text (kContext); what has no room for the
// prompt is an error.
Result<GenerateResult> generate(Session& session, SequenceId sequence, std::span<const TokenId> prompt,
                                const GenerateOptions& options, const TextSink& sink = {});

struct ScoreOptions {
  std::int64_t window = 512;                                            // tokens a window
  std::function<bool(std::int64_t done, std::int64_t total)> progress;  // in windows; return false to cancel
};
struct Score {
  std::int64_t n_tokens = 0, n_scored = 0;
  double nll = 0;                 // mean negative natural log probability of the scored tokens
  std::vector<TokenId> tokens;    // the scored tokens, in order
  std::vector<double> log_probs;  // theirs
};
// Perplexity as llama.cpp's tool defines it: consecutive whole windows, the first token of each replaced by BOS where
// the model adds one, predictions of tokens window/2+1 ... window-1 scored. kInvalidArgument when there is no whole
// window.
Result<Score> score(Session& session, std::span<const TokenId> tokens, const ScoreOptions& options);

}  // namespace rowmax::engine
