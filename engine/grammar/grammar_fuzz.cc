// Any bytes as each kind of grammar: no crash and no hang, and a mask allows what the automaton takes, never more.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "rowmax/engine/grammar.h"

using namespace rowmax::engine;

namespace {

constexpr TokenId kEnd = 0;

const GrammarVocabulary& vocabulary() {
  static const GrammarVocabulary built = [] {
    std::vector<std::string> pieces = {""};
    for (int byte = 0; byte < 256; ++byte) pieces.emplace_back(1, static_cast<char>(byte));
    for (const char* piece : {"ab", "aaa", "\":", "\",\"", "{\"", "}]", "0.", "true", "\xC3\xA9", "\\u"})
      pieces.emplace_back(piece);
    const TokenId ends[] = {kEnd};
    return *GrammarVocabulary::from_pieces(pieces, ends);
  }();
  return built;
}

std::string_view piece_of(TokenId id) {
  static const std::vector<std::string> more = {"ab", "aaa", "\":",  "\",\"",    "{\"",
                                                "}]", "0.",  "true", "\xC3\xA9", "\\u"};
  static const std::string bytes = [] {
    std::string all;
    for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
    return all;
  }();
  const auto i = static_cast<std::size_t>(id - 1);
  return i < 256 ? std::string_view(bytes).substr(i, 1) : std::string_view(more[i - 256]);
}

void walk(const Grammar& grammar, std::uint8_t seed) {
  const auto constraint = GrammarConstraint::create(grammar, vocabulary());
  if (!constraint.ok()) std::abort();
  const TokenMask mask = *constraint->token_mask();
  std::vector<TokenId> tokens;
  std::string text;
  std::uint32_t random = seed;
  for (int step = 0; step < 12; ++step) {
    std::vector<std::uint64_t> allowed(static_cast<std::size_t>(vocabulary().size() + 63) / 64);
    if (!mask(tokens, allowed).ok()) return;
    std::vector<TokenId> choices;
    for (TokenId id = 1; id < vocabulary().size(); ++id) {
      if ((allowed[static_cast<std::size_t>(id) / 64] >> (id % 64) & 1) != 0) choices.push_back(id);
    }
    const auto whole = grammar.matches(text);
    if (!whole.ok()) return;
    if (*whole != ((allowed[0] & 1) != 0)) std::abort();
    if (choices.empty() && !*whole) std::abort();  // all bytes are tokens: what begins can be ended
    if (choices.empty()) return;
    random = random * 1664525 + 1013904223;
    tokens.push_back(choices[random / 65536 % choices.size()]);
    text += piece_of(tokens.back());
    const auto length = grammar.match_length(text);
    if (!length.ok()) return;
    if (*length != text.size()) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  GrammarLimits limits;
  limits.max_nodes = 20'000;
  limits.max_states = 20'000;
  limits.max_rules = 2'000;
  limits.max_depth = 40;
  limits.max_mask_steps = 200'000;
  limits.max_items = 2'000;
  limits.max_cache_bytes = 4 << 20;
  const std::string_view source(reinterpret_cast<const char*>(data) + 2, size - 2);
  JsonOptions options;
  options.whitespace = (data[0] & 4) != 0 ? JsonWhitespace::kNone : JsonWhitespace::kBounded;
  options.closed_objects = (data[0] & 8) != 0;
  options.strict = (data[0] & 16) != 0;
  const auto grammar = data[0] % 3 == 0   ? Grammar::from_gbnf(source, limits)
                       : data[0] % 3 == 1 ? Grammar::from_regex(source, limits)
                                          : Grammar::from_json_schema(source, options, limits);
  if (grammar.ok()) walk(*grammar, data[1]);
  return 0;
}
