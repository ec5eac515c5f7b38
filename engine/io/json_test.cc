#include "engine/io/json.h"

#include <gtest/gtest.h>

#include <string>

namespace rowmax::engine {
namespace {

void expect_refused(std::string_view text, std::string_view says, int depth = 64) {
  const auto value = parse_json(text, "file", {.depth = depth});
  ASSERT_FALSE(value.ok()) << text;
  EXPECT_EQ(value.error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(value.error().message.find("file: "), 0u) << value.error().message;
  EXPECT_NE(value.error().message.find(says), std::string::npos) << value.error().message;
}

TEST(Json, ValuesOfEveryKind) {
  const auto value =
      parse_json(R"( {"a": [1, -2, 2.5, "x\u00e9", null, true, [], {}], "b": {"c": [[3], {"d": 4}]}} )", "file");
  ASSERT_TRUE(value.ok()) << value.error().message;
  const Json a = value->root().find("a");
  EXPECT_EQ(a.text(), R"([1,-2,2.5,"xé",null,true,[],{}])");
  EXPECT_EQ(value->root().find("b").text(), R"({"c":[[3],{"d":4}]})");
  EXPECT_EQ(a.at(0).as_int(), 1);
  EXPECT_EQ(a.at(1).as_int(), -2);
  EXPECT_EQ(a.at(2).as_double(), 2.5);
  EXPECT_FALSE(a.at(2).as_int().has_value());
  EXPECT_EQ(a.at(3).as_string(), "xé");
  EXPECT_FALSE(a.at(4));
  EXPECT_TRUE(a.at(5).as_bool());
  EXPECT_TRUE(a.at(6).is_array() && a.at(7).is_object() && a.at(8).is_null());
  EXPECT_EQ(value->root().find("b").find("c").at(1).find("d").as_int(), 4);
  EXPECT_TRUE(value->root().find("c").find("d").is_null());
  EXPECT_EQ(parse_json("18446744073709551615", "file")->root().as_int(), std::nullopt);
  EXPECT_EQ(parse_json("18446744073709551615", "file")->root().as_uint(), UINT64_MAX);
  EXPECT_EQ(parse_json("18446744073709551616", "file")->root().as_uint(), std::nullopt);
  EXPECT_EQ(parse_json("-1", "file")->root().as_uint(), std::nullopt);
  EXPECT_EQ(parse_json("-9223372036854775808", "file")->root().as_int(), INT64_MIN);
}

TEST(Json, CutsWhatAMessageShows) {
  const auto value = parse_json("[\"" + std::string(100, 'x') + "\", \"\\u001b[2J\"]", "file");
  ASSERT_TRUE(value.ok());
  EXPECT_EQ(value->root().text(), "[\"" + std::string(55, 'x') + "...");
  EXPECT_EQ(value->root().at(1).text(), "\"?[2J\"");
}

// A value takes 16 bytes; a library's own tree took 3.5 GB for 240 MB of "[]".
TEST(Json, ValuesAndStringsAreCountedBeforeMemoryIsTaken) {
  const auto refused = [](std::string_view text, const JsonLimits& limits) {
    const auto value = parse_json(text, "file", limits);
    return !value.ok() && value.error().code == ErrorCode::kLimit;
  };
  std::string many = "[[]";
  for (int i = 1; i < 10; ++i) many += ",[]";
  many += "]";
  EXPECT_TRUE(refused(many, {.values = 20}));
  EXPECT_TRUE(parse_json(many, "file", {.values = 21}).ok());
  EXPECT_TRUE(refused(R"({"a":1,"b":2})", {.values = 4}));
  EXPECT_TRUE(parse_json(R"({"a":"[,,,:]\",,","b":2})", "file", {.values = 5}).ok());
  EXPECT_TRUE(refused(R"({"abcd":1})", {.string_bytes = 3}));
  // What exceeds a limit is seen where it stands: nothing behind it is looked at.
  EXPECT_EQ(parse_json("[1,2,3,4,5]", "file", {.values = 4}).error().message,
            "file: JSON with more than 4 values at byte 7");
  EXPECT_EQ(parse_json("[ [ [", "file", {.depth = 2}).error().message,
            "file: JSON values nested deeper than 2 at byte 5");
  EXPECT_TRUE(parse_json(R"({"abcd":"\"\""})", "file", {.string_bytes = 4}).ok());
  std::string large = "[[]";
  for (int i = 0; i < (1 << 23); ++i) large += ",[]";
  EXPECT_TRUE(refused(large + "]", {}));
}

TEST(Json, Refuses) {
  expect_refused("", "malformed");
  expect_refused("{\"a\": 1,}", "malformed JSON at byte 9");
  expect_refused("{\"a\": 1} x", "malformed");
  for (const char* cut : {"[1]@", "[1]@[2]", "[1,@2]", "{\"a@\": 1}"}) {  // the parser alone would end at the NUL
    std::string text = cut;
    text[text.find('@')] = '\0';
    expect_refused(text, "malformed JSON: a NUL byte at ");
  }
  expect_refused("{\"a\": \"\xff\"}", "malformed");
  expect_refused(R"({"a": 1, "b": {"c": 1}, "a": 2})", "'a' was given twice");
  expect_refused(R"({"a": {"c": 1, "c": 1}})", "'c' was given twice");
  // The same key in two objects is no repetition.
  EXPECT_TRUE(parse_json(R"([{"a": 1}, {"a": 2}])", "file").ok());
}

TEST(Json, DepthIsBounded) {
  const std::string deep = std::string(5, '[') + std::string(5, ']');
  EXPECT_TRUE(parse_json(deep, "file", {.depth = 5}).ok());
  expect_refused(deep, "deeper than 4", 4);
  expect_refused(std::string(1 << 20, '['), "deeper than 64");
  expect_refused(R"({"a":{"a":{"a":1}}})", "deeper than 2", 2);
}

}  // namespace
}  // namespace rowmax::engine
