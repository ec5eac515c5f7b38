// GBNF against all short texts of random grammars, made from the definition of a grammar.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/grammar/test_grammars.h"

namespace rowmax::engine {
namespace {

using test::expect_error;
using test::matches;

// A grammar as a table: each rule has choices, each choice symbols; upper-case letters are rules, S the whole.
using Table = std::map<char, std::vector<std::string>>;

// All texts of at most `length` letters, from the definition: what a rule's choices make of the texts that are known of
// their symbols, until nothing is new.
std::set<std::string> derive_all(const Table& table, std::size_t length) {
  std::map<char, std::set<std::string>> texts;
  for (bool grew = true; grew;) {
    grew = false;
    for (const auto& [rule, choices] : table) {
      for (const std::string& choice : choices) {
        std::set<std::string> made = {""};
        for (const char symbol : choice) {
          std::set<std::string> longer;
          for (const std::string& text : made) {
            const std::set<std::string> own = {std::string(1, symbol)};
            for (const std::string& more : symbol >= 'a' ? own : texts[symbol]) {
              if (text.size() + more.size() <= length) longer.insert(text + more);
            }
          }
          made = std::move(longer);
        }
        for (const std::string& text : made) grew = texts[rule].insert(text).second || grew;
      }
    }
  }
  return texts['S'];
}

std::string as_gbnf(const Table& table) {
  std::string out;
  for (const auto& [rule, choices] : table) {
    out += rule == 'S' ? "root" : std::string("rule-") + rule;
    out += " ::=";
    for (std::size_t i = 0; i < choices.size(); ++i) {
      if (i > 0) out += " |";
      if (choices[i].empty()) out += " \"\"";  // a line end behind | does not end a rule
      for (const char c : choices[i]) {
        out += c >= 'a' ? std::string(" \"") + c + '"' : c == 'S' ? std::string(" root") : std::string(" rule-") + c;
      }
    }
    out += "\n";
  }
  return out;
}

Table random_table(std::uint64_t& random) {
  Table table;
  const int n_rules = 1 + static_cast<int>(test::next_random(random) % 4);
  for (int r = 0; r < n_rules; ++r) {
    std::vector<std::string>& choices = table["SABC"[r]];
    const std::uint64_t n_choices = 1 + test::next_random(random) % 3;
    for (std::uint64_t i = 0; i < n_choices; ++i) {
      std::string& symbols = choices.emplace_back();
      const std::uint64_t n_symbols = test::next_random(random) % 4;
      for (std::uint64_t k = 0; k < n_symbols; ++k) {
        const std::uint64_t pick = test::next_random(random) % 5;
        symbols += pick < 3 ? "aab"[pick] : "SABC"[test::next_random(random) % static_cast<std::uint64_t>(n_rules)];
      }
    }
  }
  return table;
}

std::vector<std::string> all_texts(std::size_t length) {
  std::vector<std::string> texts = {""};
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].size() == length) continue;
    texts.push_back(texts[i] + 'a');
    texts.push_back(texts[i] + 'b');
  }
  return texts;
}

TEST(Gbnf, RandomGrammarsHaveTheTextsOfTheirDerivations) {
  constexpr std::size_t kLength = 4;
  std::uint64_t random = 5;
  int n_grammars = 0, n_texts = 0, n_left = 0;
  for (int i = 0; i < 2000; ++i) {
    const Table table = random_table(random);
    const auto grammar = Grammar::from_gbnf(as_gbnf(table));
    const std::set<std::string> expected = derive_all(table, kLength);
    if (!grammar.ok()) {
      const bool left = grammar.error().code == ErrorCode::kUnsupported;
      n_left += left;
      EXPECT_TRUE(left || expected.empty()) << as_gbnf(table) << grammar.error().message;
      continue;
    }
    ++n_grammars;
    for (const std::string& text : all_texts(kLength)) {
      ASSERT_EQ(matches(grammar, text), expected.contains(text)) << as_gbnf(table) << "text: " << text;
      n_texts += expected.contains(text);
    }
  }
  EXPECT_GT(n_grammars, 700);
  EXPECT_GT(n_texts, 2000);
  EXPECT_GT(n_left, 100);
}

TEST(Gbnf, LlamaCppsForms) {
  const auto grammar = Grammar::from_gbnf(R"(# a comment
root  ::= ( "1." " " move " " move "\n" )? ([1-9] [0-9]? ". " move){0,3}   # another
move ::= (pawn |
          castle) [+#]?
pawn ::= ([a-h] "x")? [a-h] [1-8] ("=" [NBQR])?
castle ::= "O-O" "-O"?

)");
  EXPECT_TRUE(matches(grammar, "1. e4 e5\n2. O-O-O+13. exd5=Q#"));
  EXPECT_FALSE(matches(grammar, "1. e4 e9\n"));
  EXPECT_TRUE(matches(Grammar::from_gbnf("root ::= \"\\x41\\u00e9\\U0001F600\\t\\r\\n\\\\\\\"\\[\\]\""),
                      "A\xC3\xA9\xF0\x9F\x98\x80\t\r\n\\\"[]"));
  EXPECT_TRUE(matches(Grammar::from_gbnf("root ::= [^a-c\\n\\]-] . \"ab\"* \"x\"{2,} \"\""), "d\nababxx"));
  EXPECT_FALSE(matches(Grammar::from_gbnf("root ::= [^a-c\\n\\]-] ."), "--"));
  EXPECT_TRUE(matches(Grammar::from_gbnf("root ::= ws \"x\"\nws ::= | \" \" ws\r\n"), "   x"));
  EXPECT_TRUE(matches(Grammar::from_gbnf("root ::= \"a\" {2,3}\n"), "aaa"));
}

TEST(Gbnf, MalformedOnesAreRefusedWithLineAndColumn) {
  expect_error(Grammar::from_gbnf("root ::= \"a\"\nx y"), ErrorCode::kCorrupt,
               "grammar, line 2, column 3: expected ::=");
  expect_error(Grammar::from_gbnf("root ::= nothing"), ErrorCode::kCorrupt, "column 10: rule 'nothing' is not defined");
  expect_error(Grammar::from_gbnf("a ::= \"x\""), ErrorCode::kCorrupt, "no rule named root");
  expect_error(Grammar::from_gbnf(""), ErrorCode::kCorrupt, "no rule named root");
  expect_error(Grammar::from_gbnf("root ::= \"a\"\nroot ::= \"b\""), ErrorCode::kCorrupt,
               "line 2, column 1: rule 'root' is defined twice");
  expect_error(Grammar::from_gbnf("root ::= (\"a\""), ErrorCode::kCorrupt, "column 14: expected ')', found the end");
  expect_error(Grammar::from_gbnf("root ::= \"a"), ErrorCode::kCorrupt, "column 10: a text that does not end");
  expect_error(Grammar::from_gbnf("root ::= [a"), ErrorCode::kCorrupt,
               "column 10: a set of characters that does not end");
  expect_error(Grammar::from_gbnf("root ::= *"), ErrorCode::kCorrupt, "column 10: expected something to repeat");
  expect_error(Grammar::from_gbnf("root ::= \"a\"{2,1}"), ErrorCode::kCorrupt,
               "expected at least 2 repetitions, found 1");
  expect_error(Grammar::from_gbnf("root ::= \"\\q\""), ErrorCode::kCorrupt, "column 11: unknown escape");
  expect_error(Grammar::from_gbnf("root ::= <think>"), ErrorCode::kUnsupported, "column 10: tokens");
  expect_error(Grammar::from_gbnf("root ::= \"a\" ]"), ErrorCode::kCorrupt, "column 14: expected a line end");
}

TEST(Gbnf, LeftRecursionIsNamedAndEndlessRulesAreRefused) {
  expect_error(Grammar::from_gbnf("root ::= sum\nsum ::= sum \"+\" \"1\" | \"1\""), ErrorCode::kUnsupported,
               "rule 'sum' begins with itself");
  expect_error(Grammar::from_gbnf("root ::= a\na ::= b \"x\" | \"y\"\nb ::= (\"\" | \"z\"?) a"),
               ErrorCode::kUnsupported, "begins with itself");
  expect_error(Grammar::from_gbnf("root ::= a | \"x\"\na ::= b\nb ::= a | \"\""), ErrorCode::kUnsupported,
               "begins with itself");
  expect_error(Grammar::from_gbnf("root ::= \"a\" root"), ErrorCode::kInvalidArgument, "no text belongs to it");
  // A way without an end is no way.
  const auto grammar = Grammar::from_gbnf("root ::= \"a\" | \"b\" endless\nendless ::= \"c\" endless");
  EXPECT_TRUE(matches(grammar, "a"));
  EXPECT_EQ(*grammar->match_length("bc"), 0u);
}

TEST(Gbnf, LargeOnesAreRefusedOrCheap) {
  expect_error(Grammar::from_gbnf("root ::= " + std::string(60'000, '(') + "\"a\"" + std::string(60'000, ')')),
               ErrorCode::kLimit, "line 1, column 210: groups nested deeper than max_depth = 200");
  expect_error(Grammar::from_gbnf("root ::= \"a\"" + std::string(60'000, '?')), ErrorCode::kLimit,
               "nested deeper than");
  std::string many = "root ::= r0\n";
  for (int i = 0; i < 150'000; ++i) many += "r" + std::to_string(i) + " ::= r" + std::to_string(i + 1) + "\n";
  many += "r150000 ::= \"x\"\n";
  EXPECT_TRUE(matches(Grammar::from_gbnf(many), "x"));  // a chain of rules, not a recursion of ours
  GrammarLimits limits;
  limits.max_rules = 1000;
  expect_error(Grammar::from_gbnf(many, limits), ErrorCode::kLimit, "max_rules = 1000");
  // Twice itself, forty times.
  std::string doubled = "root ::= r0\n";
  for (int i = 0; i < 40; ++i) {
    const std::string next = "r" + std::to_string(i + 1);
    doubled += "r" + std::to_string(i) + " ::= " + next + " " + next + "\n";
  }
  doubled += "r40 ::= \"x\"\n";
  EXPECT_EQ(*Grammar::from_gbnf(doubled)->match_length(std::string(500, 'x')), 500u);
}

}  // namespace
}  // namespace rowmax::engine
