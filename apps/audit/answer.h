// What a server answered, read from JSON that nobody vouches for, and how two answers differ.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rowmax/result.h"

namespace rowmax::audit {

struct AnswerToken {
  std::string text;
  double logprob = 0;
  std::vector<std::pair<std::string, double>> likeliest;  // of the same position, where the server says them
};

struct Answer {
  std::string text;                                     // what a reasoning model thought stands before what it said
  std::vector<AnswerToken> tokens;                      // empty: the server gives no log-probabilities
  std::int64_t prompt_tokens = -1, cached_tokens = -1;  // of the whole request; -1: not said
  std::string fingerprint;

  bool empty() const { return text.empty() && tokens.empty(); }
};

// How much of an answer is read.
constexpr std::size_t kMostAnswerBytes = std::size_t{16} << 20;

// The choices of a chat completion or of a completion, in the order of their indices; log-probabilities in OpenAI's form of
// either API (llama.cpp answers completions in that of chats). `name` is put in front of errors. kCorrupt for what is not an
// answer: malformed JSON, no choice, an index twice, a logprob that is no number, an "error" in place of choices.
Result<std::vector<Answer>> read_answers(std::string_view body, const std::string& name);

struct Difference {
  bool text_differs = false;  // false: the same text, with other log-probabilities
  bool at_token = false;      // false: of texts alone, `position` is a byte
  std::size_t position = 0;   // of the first token that differs
  std::string first, second;  // the tokens there; empty where the answer had ended. Of texts alone: 20 bytes at least
  std::optional<double> first_logprob, second_logprob;
  // Between the two tokens, by the first answer's own log-probabilities, where they differ (near 0: it was a tie); else
  // between the two log-probabilities of the one token.
  std::optional<double> gap;
};

// Nothing where they are the same: texts, and log-probabilities to the last bit where both have them.
std::optional<Difference> difference(const Answer& first, const Answer& second);

}  // namespace rowmax::audit
