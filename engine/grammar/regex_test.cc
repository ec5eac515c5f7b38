// Regular expressions against Python's re (testdata/regex.jsonl, made by tools/grammar/make_regex_vectors.py).
#include <string>

#include "engine/grammar/test_grammars.h"

namespace rowmax::engine {
namespace {

using test::expect_error;
using test::matches;

TEST(GrammarRegex, AgreesWithPython) {
  int n_yes = 0, n_no = 0;
  for (const auto& row : test::read_json_lines("regex.jsonl")) {
    const std::string source = row["regex"];
    const auto grammar = Grammar::from_regex(source);
    for (const std::string text : row["yes"])
      EXPECT_TRUE(matches(grammar, text)) << source << "\n  " << ++n_yes << text;
    for (const std::string text : row["no"]) EXPECT_FALSE(matches(grammar, text)) << source << "\n  " << ++n_no << text;
    n_yes += static_cast<int>(row["yes"].size());
    n_no += static_cast<int>(row["no"].size());
  }
  EXPECT_GT(n_yes, 1500);
  EXPECT_GT(n_no, 4000);
}

TEST(GrammarRegex, EcmaEscapesAndAnchors) {
  EXPECT_TRUE(matches(Grammar::from_regex("^(?<year>\\d{4})$|^x$"), "2026"));
  EXPECT_TRUE(matches(Grammar::from_regex("\\u{1F600}\\uD83D\\uDE00"), "\xF0\x9F\x98\x80\xF0\x9F\x98\x80"));
  EXPECT_TRUE(matches(Grammar::from_regex("[\\b\\cJ\\0\\v\\f]{5}"), std::string_view("\b\n\0\v\f", 5)));
  EXPECT_TRUE(matches(Grammar::from_regex("a]}/-"), "a]}/-"));
  EXPECT_FALSE(matches(Grammar::from_regex("."), "\xE2\x80\xA8"));
  EXPECT_TRUE(matches(Grammar::from_regex("\\s+"), "\xC2\xA0\xE3\x80\x80"));
  EXPECT_TRUE(matches(Grammar::from_regex("[^]"), "\n"));
  EXPECT_FALSE(matches(Grammar::from_regex(".*"), "\xFF"));  // no UTF-8
}

TEST(GrammarRegex, WhatIsNotSupportedIsNamedWithItsPlace) {
  expect_error(Grammar::from_regex("a(?=b)"), ErrorCode::kUnsupported, "byte 3: look-around");
  expect_error(Grammar::from_regex("a(?<!b)"), ErrorCode::kUnsupported, "byte 3: look-around");
  expect_error(Grammar::from_regex("(a)\\1"), ErrorCode::kUnsupported, "byte 4: back references");
  expect_error(Grammar::from_regex("(?<n>a)\\k<n>"), ErrorCode::kUnsupported, "byte 8: back references");
  expect_error(Grammar::from_regex("\\bword"), ErrorCode::kUnsupported, "byte 1: \\b");
  expect_error(Grammar::from_regex("\\p{L}"), ErrorCode::kUnsupported, "byte 1: \\p");
  expect_error(Grammar::from_regex("(^a)"), ErrorCode::kUnsupported, "byte 2: ^");
  expect_error(Grammar::from_regex("a$b"), ErrorCode::kUnsupported, "byte 2: $");
  expect_error(Grammar::from_regex("(?i)a"), ErrorCode::kUnsupported, "byte 2: this kind of group");
}

TEST(GrammarRegex, MalformedOnesAreRefusedWithTheirPlace) {
  expect_error(Grammar::from_regex("(a"), ErrorCode::kCorrupt, "byte 3: expected ')', found the end");
  expect_error(Grammar::from_regex("a)"), ErrorCode::kCorrupt, "byte 2: expected the end");
  expect_error(Grammar::from_regex("*a"), ErrorCode::kCorrupt, "byte 1: expected something to repeat");
  expect_error(Grammar::from_regex("a**"), ErrorCode::kCorrupt, "byte 3: expected something to repeat");
  expect_error(Grammar::from_regex("a{3,2}"), ErrorCode::kCorrupt, "byte 5: expected at least 3 repetitions, found 2");
  expect_error(Grammar::from_regex("a{,2}"), ErrorCode::kCorrupt, "byte 3: expected a number of repetitions");
  expect_error(Grammar::from_regex("[b-a]"), ErrorCode::kCorrupt, "byte 2: a range whose end");
  expect_error(Grammar::from_regex("[\\w-a]"), ErrorCode::kCorrupt, "byte 4: a range that begins with a set");
  expect_error(Grammar::from_regex("[a"), ErrorCode::kCorrupt, "byte 1: a set of characters that does not end");
  expect_error(Grammar::from_regex("\\q"), ErrorCode::kCorrupt, "byte 1: unknown escape");
  expect_error(Grammar::from_regex("\\uD83D"), ErrorCode::kCorrupt, "none of its surrogates");
  expect_error(Grammar::from_regex("a\xC3"), ErrorCode::kCorrupt, "byte 2: malformed UTF-8");
  expect_error(Grammar::from_regex("[]"), ErrorCode::kInvalidArgument, "no text belongs to it");
}

TEST(GrammarRegex, LargeOnesAreCountedOrRefused) {
  const auto counted = Grammar::from_regex("(ab?){0,1000000000}c");
  EXPECT_TRUE(matches(counted, "aababac"));
  EXPECT_LT(counted->n_states(), 50u);
  EXPECT_TRUE(matches(Grammar::from_regex("((a{1,9}b){2,99}c){3,999}"), "abaabcabababcaabaabc"));
  EXPECT_FALSE(matches(Grammar::from_regex("((a{1,9}b){2,99}c){3,999}"), "abaabcabababcaabc"));
  EXPECT_TRUE(matches(Grammar::from_regex("(a?){70,90}"), ""));  // a body that may be empty needs no repetition
  EXPECT_FALSE(matches(Grammar::from_regex("(a?){70,90}"), std::string(91, 'a')));
  EXPECT_TRUE(matches(Grammar::from_regex("(a?){1000000000}"), "aaa"));
  expect_error(Grammar::from_regex("a{1000000001}"), ErrorCode::kLimit, "byte 3: more than 1000000000 repetitions");
  expect_error(Grammar::from_regex(std::string(60'000, '(') + "a" + std::string(60'000, ')')), ErrorCode::kLimit,
               "byte 201: groups nested deeper than max_depth = 200");
  GrammarLimits limits;
  limits.max_source_bytes = 10;
  expect_error(Grammar::from_regex("aaaaaaaaaaa", limits), ErrorCode::kLimit, "max_source_bytes = 10");
  limits = {};
  limits.max_states = 100;
  expect_error(Grammar::from_regex(std::string(1000, 'a'), limits), ErrorCode::kLimit, "max_states = 100");
  limits = {};
  limits.max_nodes = 100;
  expect_error(Grammar::from_regex(std::string(1000, 'a'), limits), ErrorCode::kLimit, "max_nodes = 100");
}

}  // namespace
}  // namespace rowmax::engine
