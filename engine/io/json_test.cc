#include "engine/io/json.h"

#include <gtest/gtest.h>

#include <string>

namespace rowmax::engine {
namespace {

void expect_refused(std::string_view text, std::string_view says, int depth = kMaxJsonDepth) {
  const auto value = parse_json(text, "file", depth);
  ASSERT_FALSE(value.ok()) << text;
  EXPECT_EQ(value.error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(value.error().message.find("file: "), 0u) << value.error().message;
  EXPECT_NE(value.error().message.find(says), std::string::npos) << value.error().message;
}

TEST(Json, ValuesOfEveryKind) {
  const auto value =
      parse_json(R"( {"a": [1, -2, 2.5, "x\u00e9", null, true, [], {}], "b": {"c": [[3], {"d": 4}]}} )", "file");
  ASSERT_TRUE(value.ok()) << value.error().message;
  EXPECT_EQ(value->dump(), R"({"a":[1,-2,2.5,"xé",null,true,[],{}],"b":{"c":[[3],{"d":4}]}})");
}

TEST(Json, Refuses) {
  expect_refused("", "malformed");
  expect_refused("{\"a\": 1,}", "malformed JSON at byte 9");
  expect_refused("{\"a\": 1} x", "malformed");
  expect_refused("{\"a\": \"\xff\"}", "malformed");
  expect_refused(R"({"a": 1, "b": {"c": 1}, "a": 2})", "'a' was given twice");
  expect_refused(R"({"a": {"c": 1, "c": 1}})", "'c' was given twice");
  // The same key in two objects is no repetition.
  EXPECT_TRUE(parse_json(R"([{"a": 1}, {"a": 2}])", "file").ok());
}

TEST(Json, DepthIsBounded) {
  const std::string deep = std::string(5, '[') + std::string(5, ']');
  EXPECT_TRUE(parse_json(deep, "file", 5).ok());
  expect_refused(deep, "deeper than 4", 4);
  expect_refused(std::string(1 << 20, '['), "deeper than 64");
  expect_refused(R"({"a":{"a":{"a":1}}})", "deeper than 2", 2);
}

}  // namespace
}  // namespace rowmax::engine
