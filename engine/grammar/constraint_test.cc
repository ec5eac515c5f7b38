// Masks against trying every token of a vocabulary, and what a mask promises of the tokens it is asked about.
#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "engine/grammar/automaton.h"
#include "engine/grammar/code_points.h"
#include "engine/grammar/gbnf.h"
#include "engine/grammar/json_schema.h"
#include "engine/grammar/machine.h"
#include "engine/grammar/regex.h"
#include "engine/grammar/test_grammars.h"
#include "rowmax/engine/gguf.h"

namespace rowmax::engine {
namespace {

using Words = std::vector<std::uint64_t>;

struct TestVocabulary {
  std::vector<std::string> pieces;
  std::vector<TokenId> ends;
  GrammarVocabulary built() const {
    auto vocabulary = GrammarVocabulary::from_pieces(pieces, ends);
    EXPECT_TRUE(vocabulary.ok());
    return std::move(vocabulary).value();
  }
};

// GPT-2's bytes and the first 2,500 of its merges (engine/tokenizer/testdata/bpe.txt), and an end.
TestVocabulary bpe_vocabulary() {
  std::map<std::uint32_t, char> byte_of;
  std::uint32_t next = 256;
  TestVocabulary vocabulary;
  for (int byte = 0; byte < 256; ++byte) {
    const bool shown = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    byte_of[shown ? static_cast<std::uint32_t>(byte) : next++] = static_cast<char>(byte);
    vocabulary.pieces.emplace_back(1, static_cast<char>(byte));
  }
  const auto bytes = [&](const std::string& text) {
    std::string out;
    for (std::size_t i = 0; i < text.size();) {
      const auto c = grammar::decode_utf8(text, i);
      out += byte_of.at(c.value);
      i += c.size;
    }
    return out;
  };
  std::ifstream file(std::string(ROWMAX_SOURCE_DIR) + "/engine/tokenizer/testdata/bpe.txt");
  int left = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with('#')) continue;
    if (left == 0) {
      left = std::stoi(line);
      continue;
    }
    std::istringstream words(line);
    std::string a, b;
    words >> a >> b;
    vocabulary.pieces.push_back(bytes(a) + bytes(b));
    if (--left == 0) break;
  }
  for (const char* piece : {"\"", "\",\"", "\"}]", "{\"", "[[\"", "12345678", "                                ", ""}) {
    vocabulary.pieces.emplace_back(piece);
  }
  vocabulary.ends = {static_cast<TokenId>(vocabulary.pieces.size())};
  vocabulary.pieces.emplace_back("<|end|>");
  return vocabulary;
}

Tokenizer stories_tokenizer() {
  const auto file = GgufFile::open(std::string(ROWMAX_SOURCE_DIR) + "/models/stories.gguf");
  EXPECT_TRUE(file.ok());
  auto tokenizer = Tokenizer::from_gguf(*file);
  EXPECT_TRUE(tokenizer.ok());
  return std::move(tokenizer).value();
}

TestVocabulary stories_vocabulary() {
  const Tokenizer tokenizer = stories_tokenizer();
  TestVocabulary vocabulary;
  for (TokenId id = 0; id < tokenizer.size(); ++id) {
    const TokenKind kind = tokenizer.kind(id);
    const bool is_text = kind == TokenKind::kNormal || kind == TokenKind::kUserDefined || kind == TokenKind::kByte;
    vocabulary.pieces.push_back(is_text ? *tokenizer.piece(id, false) : "");
  }
  vocabulary.ends.assign(tokenizer.end_of_generation().begin(), tokenizer.end_of_generation().end());
  return vocabulary;
}

bool has(const Words& words, std::size_t id) { return (words[id / 64] >> (id % 64) & 1) != 0; }

Result<Words> mask_of(const TokenMask& mask, std::size_t n, const std::vector<TokenId>& tokens) {
  Words words((n + 63) / 64);
  const Status status = mask(tokens, words);
  if (!status.ok()) return status.error();
  return words;
}

using Parts = std::vector<GrammarPart>;
using Kind = GrammarPart::Kind;
struct Case {
  const char* name;
  Parts parts;
};
std::vector<Case> cases() {
  return {
      {"object", {{Kind::kJsonSchema, R"({"type": "object", "properties": {"name": {"type": "string"},
          "n": {"type": "integer", "maximum": 300}, "tags": {"type": "array", "items": {"type": "string", "maxLength": 9},
          "maxItems": 3}, "u": {"enum": ["one", "only", "\u00e9t\u00e9"]}}, "required": ["name"]})"}}},
      {"any value", {{Kind::kJsonSchema, "{}"}}},
      {"lengths", {{Kind::kJsonSchema, R"({"type": "string", "minLength": 12, "maxLength": 30})"}}},
      {"regex", {{Kind::kRegex, "(\\w+ ?){2,40}[\\u00e0-\\u00ff\\u4e00-\\u9fff]*(the|then|thee)+"}}},
      {"rules",
       {{Kind::kGbnf,
         "root ::= item (\",\" \" \"? item)*\nitem ::= word | \"(\" root \")\"\n"
         "word ::= letters\nletters ::= [a-z ]+\n"}}},
      {"ambiguous",
       {{Kind::kGbnf,
         "root ::= (a | b | \"t\" root \"e\" | \"t\" root \"r\")+\na ::= [a-m]* \"e\"\n"
         "b ::= [a-z]* \" \"?\n"}}},
      {"many ways", {{Kind::kRegex, "a*b?c*d?e*f?g*h?i*j?k*l?m*n?o*p?q*r?s*t?u*v?w*x?y*z?"}}},
      {"parts",
       {{Kind::kText, "<call>"},
        {Kind::kJsonSchema, R"({"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]})"},
        {Kind::kRegex, "\\n{1,2}"},
        {Kind::kText, "</call>"}}},
  };
}

// The automaton of the parts, for a matcher without tries and masks.
grammar::Automaton automaton_of(const Parts& parts) {
  grammar::Syntax syntax({});
  const grammar::WriteChars write = [&](const grammar::CodePointSet& set) { return syntax.chars(set); };
  std::vector<grammar::NodeId> nodes;
  for (const GrammarPart& part : parts) {
    const Result<grammar::NodeId> node =
        part.kind == Kind::kText    ? Result<grammar::NodeId>(syntax.literal(part.source))
        : part.kind == Kind::kGbnf  ? grammar::parse_gbnf(syntax, part.source)
        : part.kind == Kind::kRegex ? grammar::parse_regex(syntax, part.source, write, grammar::Anchoring::kWhole)
                                    : grammar::parse_json_schema(syntax, part.source, {});
    EXPECT_TRUE(node.ok());
    nodes.push_back(*node);
  }
  auto automaton = grammar::build_automaton(syntax, syntax.sequence(nodes));
  EXPECT_TRUE(automaton.ok());
  return std::move(automaton).value();
}

// Walks of allowed tokens; behind each, every token of the vocabulary is tried, one byte after the other.
void compare_with_all_tokens(const TestVocabulary& vocabulary, int n_walks, std::size_t length) {
  const GrammarVocabulary built = vocabulary.built();
  std::uint64_t random = 11;
  for (const Case& one : cases()) {
    const auto grammar = Grammar::from_parts(one.parts);
    ASSERT_TRUE(grammar.ok()) << one.name << grammar.error().message;
    const grammar::Automaton automaton = automaton_of(one.parts);
    grammar::Machine machine(automaton, {});
    const auto constraint = GrammarConstraint::create(*grammar, built);
    ASSERT_TRUE(constraint.ok());
    const TokenMask mask = *constraint->token_mask();
    int n_allowed = 0;
    for (int walk = 0; walk < n_walks; ++walk) {
      std::vector<TokenId> tokens;
      std::string text;
      grammar::StateId state = machine.start();
      while (tokens.size() < length) {
        const auto words = mask_of(mask, vocabulary.pieces.size(), tokens);
        ASSERT_TRUE(words.ok()) << one.name << ": " << words.error().message;
        machine.begin_work();
        std::vector<TokenId> choices;
        for (std::size_t id = 0; id < vocabulary.pieces.size(); ++id) {
          const std::string& piece = vocabulary.pieces[id];
          const bool ends = std::ranges::count(vocabulary.ends, static_cast<TokenId>(id)) > 0;
          const bool fits = !piece.empty() && machine.steps(state, piece) != grammar::Machine::kDead;
          ASSERT_EQ(has(*words, id), ends ? machine.accepts(state) : fits)
              << one.name << "\n  text: " << text << "\n  token " << id << ": " << piece;
          if (fits && !ends) choices.push_back(static_cast<TokenId>(id));
        }
        ASSERT_FALSE(machine.failed());
        if (choices.empty()) break;
        n_allowed += static_cast<int>(choices.size());
        tokens.push_back(choices[test::next_random(random) % choices.size()]);
        const std::string& piece = vocabulary.pieces[static_cast<std::size_t>(tokens.back())];
        state = machine.steps(state, piece);
        text += piece;
      }
      EXPECT_EQ(*grammar->match_length(text), text.size()) << one.name;
    }
    EXPECT_GT(n_allowed, 10) << one.name;
  }
}

TEST(GrammarConstraint, MasksAreWhatTheTokensBytesSayOneByOneBpe) { compare_with_all_tokens(bpe_vocabulary(), 4, 25); }
TEST(GrammarConstraint, MasksAreWhatTheTokensBytesSayOneByOneStories) {
  compare_with_all_tokens(stories_vocabulary(), 4, 25);
}

TEST(GrammarConstraint, TheTokenizersTextTokensAloneAreAllowed) {
  const Tokenizer tokenizer = stories_tokenizer();
  const auto vocabulary = GrammarVocabulary::create(tokenizer);
  ASSERT_TRUE(vocabulary.ok());
  const auto constraint = GrammarConstraint::create(*Grammar::from_gbnf("root ::= .*"), *vocabulary);
  ASSERT_TRUE(constraint.ok());
  const auto words = mask_of(*constraint->token_mask(), static_cast<std::size_t>(tokenizer.size()), {});
  ASSERT_TRUE(words.ok());
  int n_text = 0;
  for (TokenId id = 0; id < tokenizer.size(); ++id) {
    const TokenKind kind = tokenizer.kind(id);
    const bool silent = kind == TokenKind::kControl || kind == TokenKind::kUnknown || kind == TokenKind::kUnused;
    if (tokenizer.is_end_of_generation(id)) {
      EXPECT_TRUE(has(*words, static_cast<std::size_t>(id)));
    } else if (silent) {
      EXPECT_FALSE(has(*words, static_cast<std::size_t>(id))) << id;
    } else {
      n_text += has(*words, static_cast<std::size_t>(id));
    }
  }
  EXPECT_GT(n_text, tokenizer.size() / 2);
}

// Control tokens that are named are text, by their stored text.
TEST(GrammarConstraint, NamedControlTokensAreText) {
  const Tokenizer tokenizer = stories_tokenizer();
  TokenId control = 0;
  while (tokenizer.kind(control) != TokenKind::kControl || tokenizer.is_end_of_generation(control)) ++control;
  const auto size = static_cast<std::size_t>(tokenizer.size());
  const GrammarPart mark{GrammarPart::Kind::kText, std::string(tokenizer.text(control))};
  const auto grammar = Grammar::from_parts(std::vector<GrammarPart>{mark});
  for (const bool named : {false, true}) {
    const std::vector<TokenId> ids(named ? 1 : 0, control);
    const auto vocabulary = GrammarVocabulary::create(tokenizer, ids);
    const auto constraint = GrammarConstraint::create(*grammar, *vocabulary);
    const TokenMask mask = *constraint->token_mask();
    EXPECT_EQ(has(*mask_of(mask, size, {}), static_cast<std::size_t>(control)), named);
    if (!named) continue;
    EXPECT_TRUE(has(*mask_of(mask, size, {control}), static_cast<std::size_t>(tokenizer.eos())));
  }
}

TEST(Grammar, ChoicesOfPartsOnceOrAsOftenAsTheySay) {
  using Kind = GrammarPart::Kind;
  const GrammarPart a{Kind::kText, "a"}, number{Kind::kJsonSchema, R"({"type":"integer"})"},
      word{Kind::kRegex, "[x-z]+"};
  const auto matches = [](const std::vector<GrammarPart>& parts, std::string_view text) {
    const auto grammar = Grammar::from_parts(parts);
    EXPECT_TRUE(grammar.ok()) << grammar.error().message;
    return *grammar->matches(text);
  };
  const std::vector<GrammarPart> one = {a, {Kind::kChoice, "", {{number}, {word, a}}}, a};
  for (const char* text : {"a1a", "axaa", "a-12a", "axyzaa"}) EXPECT_TRUE(matches(one, text)) << text;
  for (const char* text : {"aa", "axa", "a1xaa", "a1a1a", "a1"}) EXPECT_FALSE(matches(one, text)) << text;
  const std::vector<GrammarPart> some = {{Kind::kChoice, "", {{a}, {word}}, 2, 3}};
  for (const char* text : {"aa", "aaa", "axa", "xya"}) EXPECT_TRUE(matches(some, text)) << text;
  for (const char* text : {"", "a", "aaaa"}) EXPECT_FALSE(matches(some, text)) << text;
  const std::vector<GrammarPart> any = {{Kind::kChoice, "", {{a, a}}, 0, -1}};
  for (const char* text : {"", "aa", "aaaaaaaa"}) EXPECT_TRUE(matches(any, text)) << text;
  EXPECT_FALSE(matches(any, "aaa"));
  for (const auto& [min, max] : {std::pair(-1, 1), std::pair(2, 1), std::pair(0, -2)}) {
    EXPECT_EQ(Grammar::from_parts(std::vector<GrammarPart>{{Kind::kChoice, "", {{a}}, min, max}}).error().code,
              ErrorCode::kInvalidArgument);
  }
  GrammarPart deep = a;
  for (int i = 0; i < 40; ++i) deep = {Kind::kChoice, "", {{deep}}};
  EXPECT_EQ(Grammar::from_parts(std::vector<GrammarPart>{deep}).error().code, ErrorCode::kLimit);
  const auto wrong =
      Grammar::from_parts(std::vector<GrammarPart>{a, {Kind::kChoice, "", {{a}, {{Kind::kRegex, "("}}}}});
  EXPECT_NE(wrong.error().message.find("part 1, choice"), std::string::npos) << wrong.error().message;
  const auto named = Grammar::from_parts(
      std::vector<GrammarPart>{a, {Kind::kChoice, "", {{a}, {{Kind::kRegex, "(", {}, 1, 1, "tools[1]"}}}}});
  EXPECT_TRUE(named.error().message.starts_with("tools[1]: regular expression, ")) << named.error().message;
}

// The tokens of a text, one byte each.
std::vector<TokenId> bytes_of(std::string_view text) {
  std::vector<TokenId> tokens;
  for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
  return tokens;
}

TEST(GrammarConstraint, AMaskIsAFunctionOfTheTokensAlone) {
  const TestVocabulary vocabulary = bpe_vocabulary();
  const std::size_t n = vocabulary.pieces.size();
  const auto grammar = Grammar::from_json_schema(
      R"({"type": "object", "properties": {"a": {"type": "string", "maxLength": 40}, "b": {"enum": [1, 12]}}})");
  ASSERT_TRUE(grammar.ok());
  const std::vector<TokenId> text = bytes_of(R"({"a": "xyz", "b": 12})");
  std::vector<Words> expected;  // each from a constraint that knows nothing
  for (std::size_t i = 0; i <= text.size(); ++i) {
    const auto fresh = GrammarConstraint::create(*grammar, vocabulary.built());
    expected.push_back(
        *mask_of(*fresh->token_mask(), n, {text.begin(), text.begin() + static_cast<std::ptrdiff_t>(i)}));
  }
  const auto constraint = GrammarConstraint::create(*grammar, vocabulary.built());
  TokenMask mask = *constraint->token_mask(), other = mask;
  std::uint64_t random = 3;
  for (int step = 0; step < 300; ++step) {
    const std::size_t i = test::next_random(random) % (text.size() + 1);
    if (step % 50 == 7) other = mask;
    TokenMask& asked = step % 3 == 0 ? other : mask;
    const auto words = mask_of(asked, n, {text.begin(), text.begin() + static_cast<std::ptrdiff_t>(i)});
    ASSERT_TRUE(words.ok());
    ASSERT_EQ(*words, expected[i]) << i;
    if (step % 5 == 0) {  // a way that is not the text's
      EXPECT_TRUE(mask_of(asked, n, bytes_of(R"({"b": 1)")).ok());
      EXPECT_FALSE(mask_of(asked, n, bytes_of(R"({"b": 2)")).ok());
    }
  }
}

TEST(GrammarConstraint, EndTokensEndAndAreNoText) {
  const TestVocabulary vocabulary = bpe_vocabulary();
  const std::size_t n = vocabulary.pieces.size();
  const auto grammar = Grammar::from_regex("<\\|end\\|>x*|ab");
  const TokenId stop[] = {'b'};
  const auto constraint = GrammarConstraint::create(*grammar, vocabulary.built(), stop);
  const TokenMask mask = *constraint->token_mask();
  EXPECT_FALSE(has(*mask_of(mask, n, {}), n - 1));
  EXPECT_TRUE(has(*mask_of(mask, n, bytes_of("<|end|>")), n - 1));
  EXPECT_TRUE(has(*mask_of(mask, n, bytes_of("<|end|>")), 'b'));
  EXPECT_FALSE(has(*mask_of(mask, n, bytes_of("a")), 'b'));  // a stop token is no text, whatever its bytes
  // With ignore_eos end tokens follow each other, and nothing else does.
  std::vector<TokenId> ended = bytes_of("<|end|>");
  ended.push_back(static_cast<TokenId>(n - 1));
  Words only(Words((n + 63) / 64));
  only[(n - 1) / 64] |= std::uint64_t{1} << ((n - 1) % 64);
  only['b' / 64] |= std::uint64_t{1} << ('b' % 64);
  EXPECT_EQ(*mask_of(mask, n, ended), only);
  ended.push_back(static_cast<TokenId>(n - 1));
  EXPECT_EQ(*mask_of(mask, n, ended), only);
  ended.pop_back();
  EXPECT_EQ(*mask_of(mask, n, ended), only);
  ended.push_back('a');
  const auto refused = mask_of(mask, n, ended);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("token 8 of the generation, 97 ('a'), is none that the grammar allows"),
            std::string::npos)
      << refused.error().message;
}

TEST(GrammarConstraint, ArgumentsAreChecked) {
  const std::vector<std::string> pieces = {"a", "b"};
  const TokenId outside[] = {2};
  EXPECT_FALSE(GrammarVocabulary::from_pieces(pieces, outside).ok());
  const auto vocabulary = GrammarVocabulary::from_pieces(pieces, {});
  const auto grammar = Grammar::from_regex("a*");
  const auto without_end = GrammarConstraint::create(*grammar, *vocabulary);
  ASSERT_FALSE(without_end.ok());
  EXPECT_EQ(without_end.error().code, ErrorCode::kInvalidArgument);
  EXPECT_FALSE(GrammarConstraint::create(*grammar, *vocabulary, outside).ok());
  const TokenId end[] = {1};
  const auto constraint = GrammarConstraint::create(*grammar, *vocabulary, end);
  ASSERT_TRUE(constraint.ok());
  EXPECT_FALSE((*constraint->token_mask())({}, {}).ok());  // no words
  EXPECT_FALSE(mask_of(*constraint->token_mask(), 2, {-1}).ok());
  EXPECT_FALSE(mask_of(*constraint->token_mask(), 2, {5}).ok());
}

// What is forgotten is found again, and the same.
TEST(GrammarConstraint, MemoryIsBoundedAndChangesNoMask) {
  const TestVocabulary vocabulary = bpe_vocabulary();
  const std::string schema = R"({"type": "array", "items": {"type": "string", "maxLength": 2000}})";
  GrammarLimits limits;
  limits.max_cache_bytes = 250'000;
  const auto small = GrammarConstraint::create(*Grammar::from_json_schema(schema, {}, limits), vocabulary.built());
  const auto large = GrammarConstraint::create(*Grammar::from_json_schema(schema), vocabulary.built());
  const TokenMask small_mask = *small->token_mask(), large_mask = *large->token_mask();
  std::vector<TokenId> tokens = bytes_of("[\"");
  for (int i = 0; i < 700; ++i) {
    const auto from_small = mask_of(small_mask, vocabulary.pieces.size(), tokens);
    ASSERT_TRUE(from_small.ok()) << i << from_small.error().message;
    ASSERT_TRUE(*from_small == *mask_of(large_mask, vocabulary.pieces.size(), tokens)) << i;
    tokens.push_back('a' + i % 26);
  }
  EXPECT_GT(small->steps(), 2 * large->steps());  // it forgot
}

TEST(GrammarConstraint, WorkOfAMaskIsBounded) {
  const TestVocabulary vocabulary = bpe_vocabulary();
  const std::size_t n = vocabulary.pieces.size();
  // Ways that differ in how often each of many loops ran: each byte multiplies them.
  const std::string source = "((a{0,500}|[ab]{0,500}|[a-c]{0,500}){0,500}){0,500}c";
  GrammarLimits limits;
  limits.max_mask_steps = limits.sustained_mask_steps = 2'000'000;
  const auto constraint = GrammarConstraint::create(*Grammar::from_regex(source, limits), vocabulary.built());
  const TokenMask mask = *constraint->token_mask();
  std::vector<TokenId> tokens;
  Status status;
  std::int64_t before = 0;
  for (int i = 0; i < 200 && status.ok(); ++i) {
    const auto words = mask_of(mask, n, tokens);
    status = words.ok() ? Status() : Status(words.error());
    EXPECT_LT(constraint->steps() - before, limits.max_mask_steps + limits.max_mask_steps / 2);
    before = constraint->steps();
    tokens.push_back('a');
  }
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::kLimit);
  EXPECT_NE(status.error().message.find("max_mask_steps = 2000000"), std::string::npos) << status.error().message;
  limits = {};
  limits.max_items = 50;
  const auto few = GrammarConstraint::create(*Grammar::from_regex(source, limits), vocabulary.built());
  tokens.assign(100, 'a');
  const auto refused = mask_of(*few->token_mask(), n, tokens);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("max_items = 50"), std::string::npos) << refused.error().message;
}

// A text in which many rules may have begun anywhere. Counted: a mask costs what the text is long, far from its bound.
TEST(GrammarConstraint, AmbiguousGrammarsStayCheap) {
  const TestVocabulary vocabulary = bpe_vocabulary();
  const auto grammar = Grammar::from_gbnf("root ::= s\ns ::= [a-z] (s (s (s s?)?)?)?");
  const auto constraint = GrammarConstraint::create(*grammar, vocabulary.built());
  const TokenMask mask = *constraint->token_mask();
  std::vector<TokenId> tokens;
  std::int64_t before = 0, most = 0;
  for (int i = 0; i < 600; ++i) {
    const auto words = mask_of(mask, vocabulary.pieces.size(), tokens);
    ASSERT_TRUE(words.ok()) << i << ": " << words.error().message;
    EXPECT_TRUE(has(*words, 'q'));
    EXPECT_FALSE(has(*words, 'Q'));
    EXPECT_EQ(has(*words, vocabulary.pieces.size() - 1), i > 0);
    if (i > 500) most = std::max(most, constraint->steps() - before);
    before = constraint->steps();
    tokens.push_back('a' + i % 26);
  }
  EXPECT_LT(most, 600 * 100);
}

// One that takes less than a mask may take, again and again, ends as well.
TEST(GrammarConstraint, WorkOfManyMasksIsBounded) {
  const TestVocabulary vocabulary = bpe_vocabulary();
  GrammarLimits limits;
  limits.max_mask_steps = 300'000;
  limits.sustained_mask_steps = 1'000;
  // Each byte begins a count of its own, which no other state knows.
  const std::string source = "([a-z]{0,9}|[a-y]{1,8}|[b-z]{2,7}){500}";
  const auto constraint = GrammarConstraint::create(*Grammar::from_regex(source, limits), vocabulary.built());
  const TokenMask mask = *constraint->token_mask();
  std::vector<TokenId> tokens;
  Status status;
  for (int i = 0; i < 400 && status.ok(); ++i) {
    const auto words = mask_of(mask, vocabulary.pieces.size(), tokens);
    status = words.ok() ? Status() : Status(words.error());
    tokens.push_back('b' + i % 24);
    EXPECT_LE(constraint->steps(), limits.max_mask_steps + (i + 1) * limits.sustained_mask_steps + 100'000) << i;
  }
  ASSERT_FALSE(status.ok());
  EXPECT_GT(tokens.size(), 2u);
  EXPECT_EQ(status.error().code, ErrorCode::kLimit);
  EXPECT_NE(status.error().message.find("sustained_mask_steps = 1000"), std::string::npos) << status.error().message;
}

// Counted in bytes of tokens tried: what is known of a string serves wherever one stands.
TEST(GrammarConstraint, StringsAreWalkedOnce) {
  const TestVocabulary vocabulary = bpe_vocabulary();
  const auto grammar = Grammar::from_json_schema(
      R"({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}, "c": {"type": "array", "items": {"type": "string"}}}, "required": ["a", "b", "c"]})");
  const auto constraint = GrammarConstraint::create(*grammar, vocabulary.built());
  const TokenMask mask = *constraint->token_mask();
  const auto cost = [&](std::string_view text) {
    const auto tokens = bytes_of(text);
    EXPECT_TRUE(mask_of(mask, vocabulary.pieces.size(), {tokens.begin(), tokens.end() - 1}).ok()) << text;
    const std::int64_t before = constraint->steps();
    EXPECT_TRUE(mask_of(mask, vocabulary.pieces.size(), tokens).ok()) << text;
    return constraint->steps() - before;
  };
  const std::int64_t first = cost(R"({"a": ")");
  EXPECT_LT(cost(R"({"a": "xx)"), 20);
  EXPECT_LT(cost(R"({"a": "x", "b": ")"), first / 4);
  EXPECT_LT(cost(R"({"a": "x", "b": "y", "c": ["z", ")"), first / 4);
}

}  // namespace
}  // namespace rowmax::engine
