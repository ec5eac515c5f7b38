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
// "stop" or "length".
const char* finish_reason(engine::StopReason reason);
// The text that ended it, else null.
text::Json stop_reason_json(const AnswerChoice& choice);
// What the answer says beside the API: the sampling values in effect and where each came from, what was
// normalised, what the cache had.
text::Json rowmax_json(const SamplingInput& sampling, const AnswerTotals& totals);
// -9999 for what JSON cannot write.
double written_log_probability(double value);
// A token's bytes: as text (U+FFFD where it is part of a character), and as numbers.
std::string token_bytes(const ServedModel& served, engine::TokenId id);

}  // namespace rowmax::server
