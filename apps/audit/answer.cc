#include "apps/audit/answer.h"

#include <algorithm>
#include <cmath>

#include "engine/io/json.h"
#include "rowmax/try.h"

namespace rowmax::audit {
namespace {

using engine::Json;

constexpr std::size_t kMostChoices = 1024;

Error wrong(const std::string& name, const std::string& what, const Json& found) {
  return Error{ErrorCode::kCorrupt, name + ": expected " + what + ", found " + found.text()};
}

// One list of objects, a token each: chats, and llama.cpp's completions.
Status read_content(const Json& content, const std::string& name, Answer& answer) {
  for (const Json item : content.elements()) {
    const Json text = item.find("token"), logprob = item.find("logprob");
    if (!text.is_string() || !logprob.is_number()) return wrong(name, "a token with its logprob", item);
    AnswerToken token{std::string(text.as_string()), logprob.as_double(), {}};
    for (const Json other : item.find("top_logprobs").elements()) {
      token.likeliest.emplace_back(other.find("token").as_string(), other.find("logprob").as_double());
    }
    answer.tokens.push_back(std::move(token));
  }
  return {};
}

// Lists side by side: completions.
Status read_lists(const Json& logprobs, const std::string& name, Answer& answer) {
  const Json texts = logprobs.find("tokens"), values = logprobs.find("token_logprobs");
  if (!values.is_array()) return wrong(name, "an array of numbers as token_logprobs", values);
  if (texts.size() != values.size()) return wrong(name, "as many token_logprobs as tokens", logprobs);
  for (const Json text : texts.elements()) {
    if (!text.is_string()) return wrong(name, "texts as tokens", text);
    answer.tokens.push_back({std::string(text.as_string()), 0, {}});
  }
  std::size_t i = 0;
  for (const Json value : values.elements()) {
    if (!value.is_number()) return wrong(name, "numbers as token_logprobs", value);
    answer.tokens[i++].logprob = value.as_double();
  }
  i = 0;
  for (const Json likeliest : logprobs.find("top_logprobs").elements()) {
    if (i == answer.tokens.size()) break;
    for (const auto& [text, value] : likeliest.members()) {
      answer.tokens[i].likeliest.emplace_back(text, value.as_double());
    }
    ++i;
  }
  return {};
}

Result<Answer> read_choice(const Json& choice, const std::string& name) {
  Answer answer;
  const Json message = choice.find("message");
  if (message) {
    for (const char* key : {"reasoning_content", "reasoning", "content"}) answer.text += message.find(key).as_string();
  } else if (choice.find("text").is_string()) {
    answer.text = choice.find("text").as_string();
  } else {
    return wrong(name, "a message or a text in each choice", choice);
  }
  const Json logprobs = choice.find("logprobs");
  if (logprobs.find("content").is_array()) {
    ROWMAX_RETURN_IF_ERROR(read_content(logprobs.find("content"), name, answer));
  } else if (logprobs.find("tokens").is_array()) {
    ROWMAX_RETURN_IF_ERROR(read_lists(logprobs, name, answer));
  }
  return answer;
}

// Not in the middle of a character.
std::string piece_of(const std::string& text, std::size_t position) {
  if (position >= text.size()) return {};
  std::size_t end = std::min(text.size(), position + 20);
  while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) ++end;
  return text.substr(position, end - position);
}

Difference of_texts(const Answer& first, const Answer& second) {
  Difference out;
  out.text_differs = true;
  const auto parted = std::ranges::mismatch(first.text, second.text);
  out.position = static_cast<std::size_t>(parted.in1 - first.text.begin());
  while (out.position > 0 && out.position < first.text.size() &&
         (static_cast<unsigned char>(first.text[out.position]) & 0xC0) == 0x80) {
    --out.position;
  }
  out.first = piece_of(first.text, out.position);
  out.second = piece_of(second.text, out.position);
  return out;
}

}  // namespace

Result<std::vector<Answer>> read_answers(std::string_view body, const std::string& name) {
  const engine::JsonLimits limits{.depth = 32, .values = std::size_t{1} << 20, .string_bytes = std::size_t{4} << 20};
  ROWMAX_TRY(document, engine::parse_json(body, name, limits));
  const Json root = document.root(), choices = root.find("choices");
  if (root.find("error")) return wrong(name, "an answer", root.find("error"));
  if (choices.size() == 0 || choices.size() > kMostChoices || !choices.is_array()) {
    return wrong(name, "choices", root);
  }
  std::vector<Answer> answers(choices.size());
  std::vector<bool> seen(choices.size());
  std::size_t i = 0;
  for (const Json choice : choices.elements()) {
    const Json index = choice.find("index");
    const std::int64_t at = index ? index.as_int().value_or(-1) : static_cast<std::int64_t>(i);
    if (at < 0 || static_cast<std::size_t>(at) >= answers.size() || seen[static_cast<std::size_t>(at)]) {
      return wrong(name, "each choice's index once, from 0 on", index);
    }
    seen[static_cast<std::size_t>(at)] = true;
    ROWMAX_TRY(answer, read_choice(choice, name));
    answers[static_cast<std::size_t>(at)] = std::move(answer);
    ++i;
  }
  const Json usage = root.find("usage");
  const Json cached = usage.find("prompt_tokens_details").find("cached_tokens");
  for (Answer& answer : answers) {
    answer.prompt_tokens = usage.find("prompt_tokens").as_int().value_or(-1);
    answer.cached_tokens = (cached ? cached : root.find("timings").find("cache_n")).as_int().value_or(-1);
    answer.fingerprint = root.find("system_fingerprint").as_string();
  }
  return answers;
}

std::optional<Difference> difference(const Answer& first, const Answer& second) {
  const bool by_tokens = !first.tokens.empty() && !second.tokens.empty();
  if (!by_tokens) {
    if (first.text == second.text) return std::nullopt;
    return of_texts(first, second);
  }
  const std::size_t n = std::max(first.tokens.size(), second.tokens.size());
  for (std::size_t i = 0; i < n; ++i) {
    const AnswerToken* a = i < first.tokens.size() ? &first.tokens[i] : nullptr;
    const AnswerToken* b = i < second.tokens.size() ? &second.tokens[i] : nullptr;
    if (a != nullptr && b != nullptr && a->text == b->text && a->logprob == b->logprob) continue;
    Difference out;
    out.text_differs = first.text != second.text;
    out.at_token = true;
    out.position = i;
    if (a != nullptr) out.first = a->text, out.first_logprob = a->logprob;
    if (b != nullptr) out.second = b->text, out.second_logprob = b->logprob;
    if (a != nullptr && b != nullptr && a->text == b->text) {
      out.gap = std::fabs(a->logprob - b->logprob);
    } else if (a != nullptr && b != nullptr) {
      const auto rival = std::ranges::find(a->likeliest, b->text, &std::pair<std::string, double>::first);
      if (rival != a->likeliest.end()) out.gap = a->logprob - rival->second;
    }
    return out;
  }
  if (first.text != second.text) return of_texts(first, second);
  return std::nullopt;
}

}  // namespace rowmax::audit
