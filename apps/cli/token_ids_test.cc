#include "apps/cli/token_ids.h"

#include <gtest/gtest.h>

#include <string>

namespace rowmax::cli {
namespace {

constexpr std::int64_t kVocab = 100;

std::string message_of(std::string_view text, ErrorCode code = ErrorCode::kCorrupt) {
  const auto ids = parse_token_ids(text, "ids.json", kVocab);
  EXPECT_FALSE(ids.ok()) << text.substr(0, 40);
  if (ids.ok()) return {};
  EXPECT_EQ(ids.error().code, code) << ids.error().message;
  return ids.error().message;
}

TEST(TokenIds, AListOrAnObjectWithOne) {
  const std::vector<engine::TokenId> expected{1, 99, 0};
  EXPECT_EQ(*parse_token_ids("[1, 99, 0]", "ids.json", kVocab), expected);
  EXPECT_EQ(*parse_token_ids("\n [1,99,0] ", "ids.json", kVocab), expected);
  EXPECT_EQ(*parse_token_ids(R"({"pieces": [["a"], {"b": [2]}], "tokens": [1, 99, 0]})", "ids.json", kVocab), expected);
  EXPECT_TRUE(parse_token_ids("[]", "ids.json", kVocab)->empty());
}

TEST(TokenIds, ErrorsNameFileAndPlace) {
  EXPECT_EQ(message_of("[1, 2, 100]"),
            "ids.json: expected a JSON list of token ids, found 100 as element 2 (ids are 0 to 99)");
  EXPECT_EQ(message_of("[1, -1]"),
            "ids.json: expected a JSON list of token ids, found -1 as element 1 (ids are 0 to 99)");
  EXPECT_EQ(message_of("[1.5]"),
            "ids.json: expected a JSON list of token ids, found 1.5 as element 0 (ids are 0 to 99)");
  EXPECT_EQ(message_of("[1, 2"), "ids.json: malformed JSON at byte 6; expected a list of token ids");
  EXPECT_EQ(message_of("3"), "ids.json: expected a JSON list of token ids, found a number");
  EXPECT_EQ(message_of("{}"), "ids.json: expected a JSON list of token ids, found null as \"tokens\" of an object");
  EXPECT_EQ(message_of(R"({"tokens": "x"})"),
            "ids.json: expected a JSON list of token ids, found a string as \"tokens\" of an object");
}

// Nothing is made of a text that cannot be a list of ids: the place says how far it was read.
TEST(TokenIds, WhatNestsIsRefusedWhereItBegins) {
  std::string text = "[1,[]";
  while (text.size() < (std::size_t{4} << 20)) text += ",[]";
  EXPECT_EQ(message_of(text + "]"),
            "ids.json: JSON values nested deeper than 1 at byte 4; expected a list of token ids");
}

TEST(TokenIds, AreCountedBeforeMemoryIsTaken) {
  std::string text = R"({"tokens":[1)";
  for (int i = 0; i < (1 << 24); ++i) text += ",1";
  EXPECT_EQ(message_of(text + "]}", ErrorCode::kLimit),
            "ids.json: JSON with more than 16777216 values at byte 33554437");
}

}  // namespace
}  // namespace rowmax::cli
