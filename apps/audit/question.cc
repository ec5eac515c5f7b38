#include "apps/audit/question.h"

namespace rowmax::audit {
namespace {

using text::Json;

// Common words, most of which are one token anywhere.
constexpr const char* kWords[] = {
    "the",   "river", "old",   "house", "said",   "that", "nobody", "could",  "open",  "door",  "because", "it",
    "was",   "late",  "and",   "cold",  "when",   "they", "came",   "back",   "from",  "north", "with",    "seven",
    "boxes", "of",    "white", "paper", "where",  "a",    "small",  "number", "stood", "under", "each",    "name",
    "we",    "asked", "her",   "why",   "summer", "is",   "longer", "than",   "day",   "in",    "which",   "you",
    "first", "saw",   "light", "on",    "water",  "then", "wrote",  "down",   "three", "words", "about",   "time"};
constexpr std::uint64_t kWordCount = sizeof(kWords) / sizeof(kWords[0]);

// SplitMix64 (public domain, Sebastiano Vigna): a stream of numbers that is the same everywhere.
class Numbers {
 public:
  explicit Numbers(std::uint64_t state) : state_(state) {}
  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }

 private:
  std::uint64_t state_;
};

std::string joined(const Question& question) {
  std::string out;
  for (const std::string& part : question.parts) out += (out.empty() ? "" : "\n") + part;
  return out;
}

void append_options(const Question& question, Json& body) {
  body.append("max_tokens", question.max_tokens);
  body.append("temperature", question.sampled ? 0.8 : 0.0);
  if (question.sampled) body.append("seed", question.seed);
  if (!question.logprobs) return;
  if (question.api == Api::kChat) {
    body.append("logprobs", true);
    body.append("top_logprobs", 5);
  } else {
    body.append("logprobs", 5);
  }
}

}  // namespace

const char* api_path(Api api) { return api == Api::kChat ? "/v1/chat/completions" : "/v1/completions"; }

Question beginning(const Question& whole, std::size_t n_part) {
  Question out = whole;
  out.parts.resize(std::min(n_part | 1, whole.parts.size()));
  out.max_tokens = 1;
  return out;
}

Json request_body(const Question& question, const std::string& model) {
  Json body{{"model", model}};
  if (question.api == Api::kChat) {
    Json messages = Json::array();
    for (std::size_t i = 0; i < question.parts.size(); ++i) {
      messages.push_back(Json{{"role", i % 2 == 0 ? "user" : "assistant"}, {"content", question.parts[i]}});
    }
    body.append("messages", std::move(messages));
  } else {
    body.append("prompt", joined(question));
  }
  append_options(question, body);
  return body;
}

Json request_body(std::span<const Question> questions, const std::string& model) {
  Json body{{"model", model}}, prompts = Json::array();
  for (const Question& question : questions) prompts.push_back(joined(question));
  body.append("prompt", std::move(prompts));
  append_options(questions[0], body);
  return body;
}

std::string curl_line(const std::string& url, Api api, const Json& body, bool with_key) {
  std::string line = "curl -s " + url + api_path(api) + " -H 'Content-Type: application/json'";
  if (with_key) line += " -H \"Authorization: Bearer $ROWMAX_API_KEY\"";
  line += " -d '";
  for (const char c : body.dump()) line += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return line + "'";
}

std::string Questions::text(std::uint64_t number, int n_word) const {
  Numbers numbers(seed_ ^ (number * 0xD1342543DE82EF95ULL + 1));
  // Unlike from the first word on: numbers as words, since a server's template may be all that stands before.
  std::string out = std::to_string(numbers.next() % 100000) + " " + std::to_string(numbers.next() % 100000) + ":";
  for (int i = 0; i < n_word; ++i) {
    out += std::string(" ") + kWords[numbers.next() % kWordCount];
    if (i % 12 == 11) out += i % 24 == 23 ? "." : ",";
  }
  return out;
}

}  // namespace rowmax::audit
