// The matcher against a table of all derivations, however few places it holds as they are, and what ambiguity costs it.
#include "engine/grammar/machine.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "engine/grammar/gbnf.h"
#include "engine/grammar/test_grammars.h"

namespace rowmax::engine::grammar {
namespace {

Result<Automaton> automaton_of(std::string_view gbnf) {
  Syntax syntax({});
  const auto root = parse_gbnf(syntax, gbnf);
  if (!root.ok()) return root.error();
  return build_automaton(syntax, *root);
}

bool takes(Machine& machine, std::string_view text) {
  machine.begin_work();
  const StateId state = machine.steps(machine.start(), text);
  EXPECT_FALSE(machine.failed()) << machine.failure().error().message;
  return machine.accepts(state);
}

// Rules by their letters, S the whole; each has choices, each choice symbols.
using Table = std::map<char, std::vector<std::string>>;

std::string as_gbnf(const Table& table) {
  std::string out = "root ::= rule-S\n";
  for (const auto& [rule, choices] : table) {
    out += std::string("rule-") + rule + " ::= ";
    for (std::size_t i = 0; i < choices.size(); ++i) {
      out += i > 0 ? " | \"\"" : "\"\"";
      for (const char c : choices[i]) out += c >= 'a' ? std::string(" \"") + c + '"' : std::string(" rule-") + c;
    }
    out += "\n";
  }
  return out;
}

// Which rule has which stretch of the text: from the definition, again and again until nothing is new.
bool derives(const Table& table, const std::string& text) {
  const std::size_t n = text.size();
  std::map<char, std::vector<std::vector<bool>>> has;
  for (const auto& [rule, choices] : table) has[rule].assign(n + 1, std::vector<bool>(n + 1));
  for (bool grew = true; grew;) {
    grew = false;
    for (const auto& [rule, choices] : table) {
      for (const std::string& choice : choices) {
        for (std::size_t begin = 0; begin <= n; ++begin) {
          std::vector<bool> ends(n + 1);
          ends[begin] = true;
          for (const char symbol : choice) {
            std::vector<bool> next(n + 1);
            for (std::size_t i = begin; i <= n; ++i) {
              if (!ends[i]) continue;
              if (symbol >= 'a' && i < n && text[i] == symbol) next[i + 1] = true;
              for (std::size_t k = i; symbol < 'a' && k <= n; ++k) next[k] = next[k] || has[symbol][i][k];
            }
            ends = std::move(next);
          }
          for (std::size_t end = begin; end <= n; ++end) {
            if (!ends[end] || has[rule][begin][end]) continue;
            has[rule][begin][end] = true;
            grew = true;
          }
        }
      }
    }
  }
  return has['S'][0][n];
}

Table random_table(std::uint64_t& random) {
  Table table;
  const std::uint64_t n_rules = 1 + test::next_random(random) % 3;
  for (std::uint64_t r = 0; r < n_rules; ++r) {
    std::vector<std::string>& choices = table["SAB"[r]];
    const std::uint64_t n_choices = 2 + test::next_random(random) % 3;
    for (std::uint64_t i = 0; i < n_choices; ++i) {
      std::string& symbols = choices.emplace_back();
      if (test::next_random(random) % 5 == 0) continue;
      symbols += "ab"[test::next_random(random) % 2];  // no rule begins with a rule: none is left-recursive
      const std::uint64_t n_symbols = test::next_random(random) % 4;
      for (std::uint64_t k = 0; k < n_symbols; ++k) {
        const std::uint64_t pick = test::next_random(random) % 5;
        symbols += pick < 2 ? "ab"[pick] : "SAB"[test::next_random(random) % n_rules];
      }
    }
  }
  return table;
}

TEST(Machine, TakesWhatTheTableOfDerivationsHas) {
  std::uint64_t random = 21;
  int n_taken = 0, n_refused = 0, n_grammars = 0;
  for (int i = 0; i < 200; ++i) {
    const Table table = random_table(random);
    const auto automaton = automaton_of(as_gbnf(table));
    if (!automaton.ok()) continue;  // nothing belongs to it
    ++n_grammars;
    Machine few(*automaton, {}), none(*automaton, {}, 0), some(*automaton, {}, 3);
    for (int t = 0; t < 12; ++t) {
      std::string text(1 + test::next_random(random) % 14, 'a');
      const std::uint64_t one_in = 2 + test::next_random(random) % 3;
      for (char& c : text) c = test::next_random(random) % one_in == 0 ? 'b' : 'a';
      const bool expected = derives(table, text);
      ASSERT_EQ(takes(few, text), expected) << as_gbnf(table) << text;
      ASSERT_EQ(takes(some, text), expected) << as_gbnf(table) << text;
      ASSERT_EQ(takes(none, text), expected) << as_gbnf(table) << text;
      ++(expected ? n_taken : n_refused);
    }
  }
  EXPECT_GT(n_grammars, 100);
  EXPECT_GT(n_taken, 200);
  EXPECT_GT(n_refused, 200);
}

// A letter may belong to any of a growing number of rules that were begun. Counted: work grows with the text, not with its
// square, and what is held of a byte does not grow at all.
TEST(Machine, AmbiguityCostsAsMuchAsTheTextIsLong) {
  for (const char* source :
       {"root ::= s\ns ::= [a-z] (s (s (s s?)?)?)?", "root ::= s\ns ::= [a-z] | [a-z] s s | [a-z] s",
        "root ::= s+\ns ::= [a-z] (s (s \"\"?)?)? | \"a\" s"}) {
    const auto automaton = automaton_of(source);
    ASSERT_TRUE(automaton.ok()) << source;
    Machine machine(*automaton, {});
    StateId state = machine.start();
    std::int64_t early = 0, late = 0;
    std::size_t bytes_early = 0, bytes_late = 0;
    for (int i = 0; i < 1600; ++i) {
      if (i == 400) bytes_early = machine.bytes();
      if (i == 800) bytes_late = machine.bytes();
      machine.begin_work();
      state = machine.step(state, static_cast<std::uint8_t>('a' + i % 7));
      ASSERT_NE(state, Machine::kDead) << source << i;
      if (i >= 400 && i < 440) early += machine.steps_used();
      if (i >= 1560) late += machine.steps_used();
    }
    EXPECT_TRUE(machine.accepts(state));
    EXPECT_LT(late, 5 * early) << source;       // 4 times the text
    EXPECT_LT(late / 40, 1600 * 60) << source;  // some steps for each byte before
    EXPECT_LT(machine.bytes() - bytes_late, 4 * (bytes_late - bytes_early) + (std::size_t{1} << 20)) << source;
  }
}

// What ends a rule by calling it again is as deep as what called it: no state is new.
TEST(Machine, ACallAtTheEndOfARuleIsALoop) {
  const auto automaton = automaton_of("root ::= list \".\"\nlist ::= [a-z] list | [a-z]");
  ASSERT_TRUE(automaton.ok());
  Machine machine(*automaton, {});
  const StateId after_two = machine.steps(machine.start(), "ab");
  const std::size_t bytes = machine.bytes();
  EXPECT_EQ(machine.steps(after_two, std::string(5000, 'c')), after_two);
  EXPECT_EQ(machine.bytes(), bytes);
}

}  // namespace
}  // namespace rowmax::engine::grammar
