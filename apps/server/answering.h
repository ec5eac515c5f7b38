// From the scheduler's events to an answer, whole or as a stream, in the form of one API.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/server/api_error.h"
#include "apps/server/cache_report.h"
#include "apps/server/generation_input.h"
#include "apps/server/http.h"
#include "apps/server/served_model.h"
#include "rowmax/engine/scheduler.h"

namespace rowmax::server {

// A token of an answer; without logarithms where none were asked for.
struct AnswerToken {
  engine::TokenId id = 0;
  std::optional<double> log_probability;  // the first of a prompt has none
  std::vector<engine::TokenLogProbability> top;
};

// A stretch of an answer that is one thing.
struct AnswerPart {
  enum class Kind { kText, kReasoning, kCall };
  Kind kind = Kind::kText;
  std::string text = {};           // of a call its arguments, as JSON
  std::string name = {}, id = {};  // of a call; the id that the model gave it, or none
  bool whole = true;               // a call that was cut is not
};

struct AnswerChoice {
  int prompt = 0;  // whose choice it is
  std::vector<AnswerPart> parts;
  int n_calls = 0;                  // whole ones
  std::string not_understood;       // why there is text that looks like a call, or no call where one was asked for
  std::vector<AnswerToken> tokens;  // where logarithms were asked for
  engine::StopReason reason = engine::StopReason::kEos;
  std::string stop_string;
  std::int64_t generated_tokens = 0;
  bool ended = false;
};

struct AnswerTotals {
  std::int64_t prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0;
  std::int64_t draft_tokens = 0, accepted_draft_tokens = 0;
  std::int64_t reasoning_tokens = 0;
  double queued_ms = 0, prompt_ms = 0, first_token_ms = 0, generation_ms = 0;
  std::optional<text::Json> cache;     // the report on the (first) prompt, as its owner may see it, once it was started
  std::vector<Normalised> normalised;  // in that prompt
  std::string tools_note;              // what became of the tools that were given; mostly nothing
};

// How one API writes an answer. Used by one thread at a time. Pieces of a stream are whole events; empty: nothing is sent.
class AnswerForm {
 public:
  virtual ~AnswerForm() = default;

  virtual std::string whole(const std::vector<AnswerChoice>& choices, const AnswerTotals& totals) = 0;

  virtual std::string stream_type() const { return "text/event-stream"; }
  virtual std::string ping() const { return ": ping\n\n"; }
  virtual std::string opening(const AnswerTotals& totals, int n_choices) = 0;
  // What is behind the prompt begins with its own tokens, where they were asked for.
  virtual std::string prompt_scored(int /*choice*/, const std::vector<AnswerToken>& /*tokens*/) { return {}; }
  virtual std::string piece(int choice, std::string_view text, const AnswerToken* token) = 0;
  // Of replies that are taken apart: thoughts, and calls, of which `call` is the number, from 0 on. Arguments come in
  // pieces behind the beginning of their call; `part` is the call so far.
  virtual std::string reasoning(int /*choice*/, std::string_view /*text*/) { return {}; }
  virtual std::string call_begin(int /*choice*/, int /*call*/, const AnswerPart& /*part*/) { return {}; }
  virtual std::string call_arguments(int /*choice*/, int /*call*/, std::string_view /*json*/) { return {}; }
  virtual std::string call_end(int /*choice*/, int /*call*/, const AnswerPart& /*part*/) { return {}; }
  virtual std::string choice_end(int choice, const AnswerChoice& end) = 0;
  virtual std::string closing(const std::vector<AnswerChoice>& choices, const AnswerTotals& totals) = 0;
  virtual std::string broken(const ApiError& error) = 0;
};

// All text of a choice, or all of its thoughts.
std::string text_of(const AnswerChoice& choice, AnswerPart::Kind kind = AnswerPart::Kind::kText);

// Hears of every answer that was generated, for the metrics and the log; from the engine's thread.
using CountAnswer = void (*)(void* context, std::uint64_t request, const AnswerTotals& totals, bool succeeded);
// Of each prompt what the cache had of it, as the operator sees it.
using LogCache = void (*)(void* context, std::uint64_t request, int prompt, const CacheReport& report);
struct AnswerCounter {
  CountAnswer count = nullptr;
  LogCache log_cache = nullptr;
  void* context = nullptr;
  std::uint64_t request = 0;
};

// Submits the prompts and answers `exchange` in the form. A client that goes takes its requests with it. The served model
// must live until the scheduler has ended.
void answer_generation(const ServedModel& served, GenerationInput input, std::unique_ptr<AnswerForm> form,
                       std::shared_ptr<Exchange> exchange, ErrorStyle style, AnswerCounter counter, PromptOwner owner);

// What submit() refused, as an error of the API: a full queue is 429.
ApiError submit_error(const Error& error);

// One event of a stream.
std::string sse(std::string_view data);
std::string sse(std::string_view event, std::string_view data);

}  // namespace rowmax::server
