// Text generation: prompt in, text out, with a clear reason for the end. Also chat rendering and scoring of texts.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rowmax/engine/chat_template.h"
#include "rowmax/engine/sampler.h"
#include "rowmax/engine/session.h"
#include "rowmax/result.h"

namespace rowmax::engine {

enum class StopReason : std::uint8_t { kEos, kLength, kStop, kContext, kCancelled };
const char* stop_reason_name(StopReason reason) noexcept;  // "eos", "length", "stop", "context", "cancelled"

struct GenerateOptions {
  std::int64_t max_tokens = -1;  // -1: until the context is full
  SamplingParams sampling;
  std::vector<std::string> stop;  // the text ends before the first of these
  bool ignore_eos = false;
  std::function<bool()> cancelled;  // asked between batches and tokens; true ends the generation (kCancelled)
};

struct GenerateTimings {
  std::int64_t prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0;
  double prompt_ms = 0;       // until the logits of the last prompt token
  double first_token_ms = 0;  // until the first token was sampled
  double generate_ms = 0;     // from then to the end
};

struct Generation {
  std::vector<TokenId> tokens;  // without the token that ended it
  std::string text;             // whole UTF-8 characters; without the stop string
  StopReason reason = StopReason::kEos;
  std::string stop_string;  // for kStop
  GenerateTimings timings;
};

// Gets text as it becomes certain: whole UTF-8 characters, never part of a possible stop string. Return false to
// cancel.
using TextSink = std::function<bool(std::string_view text)>;

// prompt: the whole conversation as ids (what the cache already holds of it is reused). At least one token. After an
// error the sequence holds what was computed until then.
Result<Generation> generate(Session& session, SequenceId sequence, std::span<const TokenId> prompt,
                            const GenerateOptions& options, const TextSink& sink = {});

struct ChatMessage {
  std::string role;  // system, user, assistant
  std::string content;
};

// Renders messages with the template and tokenizes them: control tokens only from the template's own text, exactly one
// BOS where the model wants one. rendered (may be null) gets the text.
Result<std::vector<TokenId>> encode_chat(const Model& model, const ChatTemplate& chat_template,
                                         std::span<const ChatMessage> messages, bool add_generation_prompt,
                                         std::int64_t now, std::string* rendered);
// Plain text as a prompt: BOS first where the model wants one (exactly one); control tokens are text unless
// parse_special.
Result<std::vector<TokenId>> encode_prompt(const Model& model, std::string_view text, bool parse_special);

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
