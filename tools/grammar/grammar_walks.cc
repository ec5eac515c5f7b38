// Texts that a grammar allows, and what it says of given ones, for judges written elsewhere (check_schemas.py).
//
//   grammar_walks < requests > answers
//
// A line is a JSON object: kind (schema, regex, gbnf), source, walks (how many), seed, length (tokens of one walk at most),
// texts, compact, closed, lengths. The answer has error (a text), or walks (texts that came to an end; drawn token by token from the
// masks over a vocabulary of all bytes and a few pieces) and matches (true or false for each text), and with lengths how many
// of each text's first bytes some text of the grammar begins with.
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "rowmax/engine/grammar.h"

namespace {

using nlohmann::json;
using rowmax::Result;
using namespace rowmax::engine;

std::uint64_t next_random(std::uint64_t& state) {  // splitmix64
  std::uint64_t z = state += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

constexpr TokenId kEnd = 256;

std::vector<std::string> make_pieces() {
  std::vector<std::string> pieces;
  for (int byte = 0; byte < 256; ++byte) pieces.emplace_back(1, static_cast<char>(byte));
  pieces.emplace_back();
  for (const char* piece :
       {"\",\"", "\":",   "{\"",      "true",     "null", "\"}", "\"]", "}]", "]}", "a\"", "12", "0.5", "e+1",
        "abc",   "\\u00", "\xC3\xA9", "\xE2\x82", "\xAC", ",\"", "00",  "-1", " ",  "[[",  "{}", "[]",  "\"\""}) {
    pieces.emplace_back(piece);
  }
  return pieces;
}

Result<Grammar> compile(const json& request) {
  JsonOptions options;
  if (request.value("compact", false)) options.whitespace = JsonWhitespace::kNone;
  options.closed_objects = request.value("closed", false);
  const std::string kind = request["kind"];
  const std::string source = request["source"];
  if (kind == "regex") return Grammar::from_regex(source);
  if (kind == "gbnf") return Grammar::from_gbnf(source);
  return Grammar::from_json_schema(source, options);
}

// One walk; false where it did not come to its end.
Result<bool> walk(const TokenMask& mask, std::uint64_t& random, std::size_t length, std::string& text,
                  const std::vector<std::string>& pieces) {
  std::vector<TokenId> tokens;
  std::vector<std::uint64_t> allowed((pieces.size() + 63) / 64);
  while (tokens.size() < length) {
    std::fill(allowed.begin(), allowed.end(), 0);
    const rowmax::Status status = mask(tokens, allowed);
    if (!status.ok()) return status.error();
    std::vector<TokenId> choices, plain;
    for (std::size_t id = 0; id < pieces.size(); ++id) {
      if ((allowed[id / 64] >> (id % 64) & 1) == 0) continue;
      choices.push_back(static_cast<TokenId>(id));
      if (pieces[id].find_first_not_of("\"}],:{[0123456789") == std::string::npos)
        plain.push_back(static_cast<TokenId>(id));
    }
    if (choices.empty()) return rowmax::Error::corrupt("a mask without a token behind " + text);
    const bool may_end = (allowed[kEnd / 64] >> (kEnd % 64) & 1) != 0;
    if (may_end && (choices.size() == 1 || next_random(random) % 4 == 0)) return true;
    if (may_end) std::erase(choices, kEnd);
    // Signs that close something come more often than chance would have it, or texts would have no end.
    const auto& from =
        !plain.empty() && next_random(random) % 8 < (tokens.size() * 8 > length ? 7u : 4u) ? plain : choices;
    TokenId chosen = from[next_random(random) % from.size()];
    if (chosen == kEnd) continue;
    tokens.push_back(chosen);
    text += pieces[static_cast<std::size_t>(chosen)];
  }
  return false;
}

json answer(const json& request, const GrammarVocabulary& tokens, const std::vector<std::string>& pieces) {
  const auto grammar = compile(request);
  if (!grammar.ok()) return {{"error", grammar.error().message}};
  const auto constraint = GrammarConstraint::create(*grammar, tokens);
  json out = {{"walks", json::array()}, {"matches", json::array()}};
  std::uint64_t random = request.value("seed", 1);
  const TokenMask mask = *constraint->token_mask();
  for (int i = 0; i < request.value("walks", 0); ++i) {
    std::string text;
    const auto ended = walk(mask, random, request.value("length", 120), text, pieces);
    if (!ended.ok()) return {{"error", ended.error().message}};
    if (*ended) out["walks"].push_back(text);
  }
  for (const auto& text : request.value("texts", json::array())) {
    const auto matches = grammar->matches(text.get<std::string>());
    if (!matches.ok()) return {{"error", matches.error().message}};
    out["matches"].push_back(*matches);
    if (!request.value("lengths", false)) continue;
    const auto length = grammar->match_length(text.get<std::string>());
    if (!length.ok()) return {{"error", length.error().message}};
    out["lengths"].push_back(*length);
  }
  return out;
}

}  // namespace

int main() {
  const std::vector<std::string> pieces = make_pieces();
  const TokenId ends[] = {kEnd};
  const auto tokens = GrammarVocabulary::from_pieces(pieces, ends);
  if (!tokens.ok()) return 1;
  std::string line;
  while (std::getline(std::cin, line)) {
    const json out = answer(json::parse(line), *tokens, pieces);
    std::cout << out.dump(-1, ' ', true, json::error_handler_t::replace) << std::endl;
  }
  return 0;
}
