// What is asked: texts of numbered words that no server has seen before, and how they become requests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "apps/text/json.h"

namespace rowmax::audit {

enum class Api { kChat, kCompletions };
// "/v1/chat/completions" or "/v1/completions".
const char* api_path(Api api);

struct Question {
  Api api = Api::kCompletions;
  // One text; in a chat the turns of user and assistant, the first and the last the user's.
  std::vector<std::string> parts;
  int max_tokens = 0;
  bool logprobs = false;
  bool sampled = false;  // by temperature 0.8 and `seed`; else greedily
  std::int64_t seed = 0;
};

// Its first parts alone (an odd number, so that a chat ends with its user), for the shortest answer there is.
Question beginning(const Question& whole, std::size_t n_part);

// The body of the request.
text::Json request_body(const Question& question, const std::string& model);
// Of several completions in one request; all as the first one but for their texts.
text::Json request_body(std::span<const Question> questions, const std::string& model);
// The request as a line for a shell. A key is named by its variable, never shown. `extra`: more fields.
std::string curl_line(const std::string& url, Api api, const text::Json& body, bool with_key);

// Questions by number, the same for the same seed; texts of different numbers differ from their first words on, so that
// nothing of one is in a cache because of another.
class Questions {
 public:
  explicit Questions(std::uint64_t seed) : seed_(seed) {}
  std::string text(std::uint64_t number, int n_word) const;

 private:
  std::uint64_t seed_;
};

}  // namespace rowmax::audit
