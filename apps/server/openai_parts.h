// What OpenAI's answers have in common.
#pragma once

#include <string>
#include <string_view>

#include "apps/server/answering.h"
#include "apps/text/json.h"

namespace rowmax::server {

// Of one answer: its id, made of the request's text and its number, and what every object of it repeats.
struct AnswerHead {
  std::string id;
  std::int64_t created = 0;
  std::string model, fingerprint;
};
AnswerHead answer_head(const ServedModel& served, std::string_view prefix, std::string_view body, std::uint64_t number);

// {"id", "object", "created", "model", "system_fingerprint"}
text::Json head_json(const AnswerHead& head, std::string_view object);
text::Json usage_json(const AnswerTotals& totals);
text::Json timings_json(const AnswerTotals& totals);
// "stop", "length" or "tool_calls".
const char* finish_reason(const AnswerChoice& choice);
bool was_cut(const AnswerChoice& choice);
// Of a call: the model's own, or one made of the answer's: nine letters and digits, as some templates want them.
std::string call_id(const AnswerHead& head, int choice, int call, const AnswerPart& part);
// {"id", "type": "function", "function": {"name", "arguments"}}
text::Json call_json(const AnswerHead& head, int choice, int call, const AnswerPart& part);
// Arguments as what they are; an empty object where they were cut.
text::Json arguments_json(const AnswerPart& part);
// The text that ended it, else null.
text::Json stop_reason_json(const AnswerChoice& choice);
// What the answer says beside the API: the sampling values in effect and where each came from, what was
// normalised, what the cache had.
text::Json rowmax_json(const SamplingInput& sampling, const AnswerTotals& totals);
// The same of an answer with one choice, with tool_calls: why there is text that looks like a call.
text::Json rowmax_json(const SamplingInput& sampling, const AnswerTotals& totals, const AnswerChoice& choice);
// Puts rowmax.tool_calls to a choice of several; nothing where there is nothing to say.
void add_not_understood(text::Json& json, const AnswerChoice& choice);
// The rest of a whole answer, and the last events of a stream: usage where it was asked for, and [DONE].
std::string finished(text::Json head, text::Json choices, const AnswerTotals& totals, const SamplingInput& sampling);
std::string stream_end(const AnswerHead& head, std::string_view object, const AnswerTotals& totals, bool include_usage);
// -9999 for what JSON cannot write.
double written_log_probability(double value);
// A token's bytes: as text (U+FFFD where it is part of a character), and as numbers.
std::string token_bytes(const ServedModel& served, engine::TokenId id);

}  // namespace rowmax::server
