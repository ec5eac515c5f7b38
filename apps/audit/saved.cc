#include "apps/audit/saved.h"

#include "apps/text/json.h"
#include "engine/io/json.h"
#include "rowmax/try.h"

namespace rowmax::audit {
namespace {

using text::Json;

constexpr int kMostWords = 100000;
constexpr std::size_t kMostSaved = 1000;

Error wrong(const std::string& name, const std::string& what) {
  return Error{ErrorCode::kCorrupt, name + ": no file of rowmax audit --save: " + what};
}

Result<SavedAnswer> read_answer(const engine::Json& json, const std::string& name) {
  SavedAnswer out;
  const engine::Json api = json.find("api"), text = json.find("text");
  if (!(api.is("chat") || api.is("completions")) || !text.is_string())
    return wrong(name, "an answer without api or text");
  out.api = api.is("chat") ? Api::kChat : Api::kCompletions;
  out.answer.text = text.as_string();
  for (const engine::Json token : json.find("tokens").elements()) {
    if (!token.at(0).is_string() || !token.at(1).is_number()) return wrong(name, "a token without its log-probability");
    out.answer.tokens.push_back({std::string(token.at(0).as_string()), token.at(1).as_double(), {}});
  }
  return out;
}

}  // namespace

Json to_json(const Saved& saved) {
  Json answers = Json::array();
  for (const SavedAnswer& each : saved.answers) {
    Json tokens = Json::array();
    for (const AnswerToken& token : each.answer.tokens) {
      Json pair = Json::array();
      pair.push_back(token.text);
      pair.push_back(token.logprob);
      tokens.push_back(std::move(pair));
    }
    answers.push_back(Json{{"api", each.api == Api::kChat ? "chat" : "completions"},
                           {"text", each.answer.text},
                           {"tokens", std::move(tokens)}});
  }
  return Json{{"rowmax_audit", 1},
              {"seed", saved.seed},
              {"long_words", saved.long_words},
              {"max_tokens", saved.max_tokens},
              {"answers", std::move(answers)}};
}

Result<Saved> read_saved(std::string_view text, const std::string& name) {
  ROWMAX_TRY(document, engine::parse_json(text, name, {.depth = 8, .values = std::size_t{1} << 20}));
  const engine::Json root = document.root();
  const auto number = [&](const char* key, std::int64_t most) {
    const std::int64_t value = root.find(key).as_int().value_or(-1);
    return value > most ? -1 : value;
  };
  Saved out;
  const std::int64_t seed = number("seed", INT64_MAX), words = number("long_words", kMostWords),
                     tokens = number("max_tokens", 1 << 20);
  if (number("rowmax_audit", 1) != 1) return wrong(name, "rowmax_audit is not 1");
  if (seed < 0 || words < 0 || tokens < 1) return wrong(name, "seed, long_words or max_tokens is out of range");
  out.seed = static_cast<std::uint64_t>(seed);
  out.long_words = static_cast<int>(words);
  out.max_tokens = static_cast<int>(tokens);
  const engine::Json answers = root.find("answers");
  if (answers.size() > kMostSaved) return wrong(name, "more than 1000 answers");
  for (const engine::Json each : answers.elements()) {
    ROWMAX_TRY(answer, read_answer(each, name));
    out.answers.push_back(std::move(answer));
  }
  return out;
}

}  // namespace rowmax::audit
