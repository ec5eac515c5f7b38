// JSON schemas against the JSON Schema Test Suite's verdicts (testdata/schema_suite.jsonl, made by
// tools/grammar/check_schemas.py), and what is refused.
#include <set>
#include <string>

#include "engine/grammar/test_grammars.h"

namespace rowmax::engine {
namespace {

using test::expect_error;
using test::matches;

Result<Grammar> compact(const std::string& source) {
  return Grammar::from_json_schema(source, {.whitespace = JsonWhitespace::kNone});
}

TEST(JsonSchema, AgreesWithTheTestSuite) {
  int n_compiled = 0, n_valid = 0, n_invalid = 0, n_refused = 0;
  for (const auto& row : test::read_json_lines("schema_suite.jsonl")) {
    const std::string name = row["name"];
    const auto grammar = compact(row["schema"]);
    if (row.contains("refused")) {
      ++n_refused;
      ASSERT_FALSE(grammar.ok()) << name;
      EXPECT_EQ(grammar.error().message, row["refused"].get<std::string>()) << name;
      continue;
    }
    ++n_compiled;
    for (const std::string text : row["valid"]) EXPECT_TRUE(matches(grammar, text)) << name << "\n  " << text;
    for (const std::string text : row["invalid"]) EXPECT_FALSE(matches(grammar, text)) << name << "\n  " << text;
    n_valid += static_cast<int>(row["valid"].size());
    n_invalid += static_cast<int>(row["invalid"].size());
  }
  EXPECT_GT(n_compiled, 150);
  EXPECT_GT(n_refused, 150);
  EXPECT_GT(n_valid, 400);
  EXPECT_GT(n_invalid, 400);
}

TEST(JsonSchema, EveryKeywordThatIsNotSupportedIsNamed) {
  const char* const kKeywords[] = {"not",
                                   "if",
                                   "then",
                                   "else",
                                   "contains",
                                   "minContains",
                                   "dependentRequired",
                                   "dependentSchemas",
                                   "dependencies",
                                   "propertyNames",
                                   "unevaluatedProperties",
                                   "unevaluatedItems",
                                   "contentEncoding",
                                   "$anchor",
                                   "$dynamicRef",
                                   "divisibleBy",
                                   "extends",
                                   "order",
                                   "Type",
                                   ""};
  for (const std::string keyword : kKeywords) {
    expect_error(compact(R"({"properties": {"a/b": {")" + keyword + R"(": {}}}})"), ErrorCode::kUnsupported,
                 "JSON schema, #/properties/a~1b/" + keyword + ": the keyword is not supported");
  }
  expect_error(compact(R"({"uniqueItems": true})"), ErrorCode::kUnsupported, "#/uniqueItems");
  EXPECT_TRUE(matches(compact(R"({"uniqueItems": false, "type": "array"})"), "[1,1]"));
  expect_error(compact(R"({"multipleOf": 5})"), ErrorCode::kUnsupported, "#/multipleOf");
  expect_error(compact(R"({"format": "regex"})"), ErrorCode::kUnsupported,
               "#/format: format \"regex\" is not supported");
  expect_error(compact(R"({"format": "int32"})"), ErrorCode::kUnsupported, "#/format: supported for numbers alone");
  expect_error(compact(R"({"items": [{}], "prefixItems": []})"), ErrorCode::kCorrupt, "#/items: expected a schema");
  for (const std::string id : {"$id", "id"}) {
    expect_error(compact(R"({"items": {")" + id + R"(": "x", "items": [{"$ref": "#"}]}})"), ErrorCode::kUnsupported,
                 "#/items/" + id + ": supported in the root");
    expect_error(compact(R"({"items": {")" + id + R"(": 5}})"), ErrorCode::kCorrupt,
                 "#/items/" + id + ": expected a text");
  }
  expect_error(compact(R"s({"pattern": "a(?=b)"})s"), ErrorCode::kUnsupported, "#/pattern: byte 3: look-around");
  expect_error(compact(R"({"enum": ["a"], "pattern": "a"})"), ErrorCode::kUnsupported,
               "#/enum: values beside the pattern");
  expect_error(compact(R"({"enum": [{}], "properties": {"a": {}}})"), ErrorCode::kUnsupported,
               "#/enum: values beside properties");
  expect_error(compact(R"({"pattern": "^(ab)+$", "maxLength": 7})"), ErrorCode::kUnsupported, "#/pattern: a length");
  expect_error(compact(R"({"const": 123456789012345678901})"), ErrorCode::kUnsupported, "#/const: the number");
  expect_error(compact(R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})"), ErrorCode::kUnsupported,
               "#/oneOf: alternatives 0 and 1 could both be true");
  expect_error(compact(R"({"nullable": true, "enum": [1]})"), ErrorCode::kUnsupported, "#/nullable");
  expect_error(compact(R"({"$ref": "other.json"})"), ErrorCode::kUnsupported,
               "#/$ref: expected a reference into the document");
  expect_error(compact(R"({"minProperties": 3, "required": ["a"]})"), ErrorCode::kUnsupported, "#/minProperties");
}

TEST(JsonSchema, WhatIsNoSchemaIsRefusedWithItsPointer) {
  expect_error(compact("{"), ErrorCode::kCorrupt, "JSON schema: malformed JSON");
  expect_error(compact("3"), ErrorCode::kCorrupt, "JSON schema, #: expected a schema");
  expect_error(compact(R"({"type": "text"})"), ErrorCode::kCorrupt, "#/type: expected null, boolean");
  expect_error(compact(R"({"type": ["null", 3]})"), ErrorCode::kCorrupt, "#/type/1: expected null, boolean");
  expect_error(compact(R"({"properties": []})"), ErrorCode::kCorrupt, "#/properties: expected an object of schemas");
  expect_error(compact(R"({"properties": {"a": null}})"), ErrorCode::kCorrupt, "#/properties/a: expected a schema");
  expect_error(compact(R"({"required": [1]})"), ErrorCode::kCorrupt, "#/required/0: expected a text");
  expect_error(compact(R"({"minLength": -1})"), ErrorCode::kCorrupt, "#/minLength: expected a whole number");
  expect_error(compact(R"({"minimum": "3"})"), ErrorCode::kCorrupt, "#/minimum: expected a number");
  expect_error(compact(R"({"exclusiveMinimum": true})"), ErrorCode::kCorrupt, "#/exclusiveMinimum: expected a number");
  expect_error(compact(R"({"anyOf": []})"), ErrorCode::kCorrupt, "#/anyOf: expected a list of schemas");
  expect_error(compact(R"({"enum": 3})"), ErrorCode::kCorrupt, "#/enum: expected a list");
  expect_error(compact(R"({"$ref": "#/$defs/x"})"), ErrorCode::kNotFound,
               "#/$ref: reference '#/$defs/x': there is no '$defs'");
  expect_error(compact(R"({"$ref": "#"})"), ErrorCode::kUnsupported, "#: the schema is part of itself");
  expect_error(compact(R"({"anyOf": [{"$ref": "#"}, {"type": "null"}]})"), ErrorCode::kUnsupported,
               "#: the schema is part of itself");
  expect_error(compact("false"), ErrorCode::kInvalidArgument, "no text belongs to it");
  expect_error(compact(R"({"type": "integer", "minimum": 4, "maximum": 3})"), ErrorCode::kInvalidArgument,
               "no text belongs to it");
}

TEST(JsonSchema, OlderDraftsAndOtherVocabulariesSayTheSame) {
  const auto list =
      compact(R"({"type": "array", "items": [{"const": 1}, {"const": 2}], "additionalItems": {"const": 3}})");
  for (const char* text : {"[]", "[1]", "[1,2]", "[1,2,3,3]"}) EXPECT_TRUE(matches(list, text)) << text;
  for (const char* text : {"[2]", "[1,3]", "[1,2,1]"}) EXPECT_FALSE(matches(list, text)) << text;
  const auto pair = compact(R"({"type": "array", "items": [{"const": 1}, {"const": 2}], "additionalItems": false})");
  EXPECT_TRUE(matches(pair, "[1,2]"));
  EXPECT_FALSE(matches(pair, "[1,2,3]"));
  EXPECT_TRUE(matches(compact(R"({"type": "array", "items": {"const": 1}, "additionalItems": false})"), "[1,1,1]"));
  const auto named =
      compact(R"({"id": "http://a/b", "x-order": 3, "items": {"$id": "c", "const": 1}, "type": "array"})");
  EXPECT_TRUE(matches(named, "[1]"));
  const auto whole = compact(R"({"type": "integer", "format": "int32"})");
  for (const char* text : {"2147483647", "-2147483648", "0"}) EXPECT_TRUE(matches(whole, text)) << text;
  for (const char* text : {"2147483648", "-2147483649", "1.5"}) EXPECT_FALSE(matches(whole, text)) << text;
  const auto both = compact(R"({"type": "integer", "format": "int64", "minimum": 9223372036854775806})");
  EXPECT_TRUE(matches(both, "9223372036854775807"));
  for (const char* text : {"9223372036854775808", "9223372036854775805"}) EXPECT_FALSE(matches(both, text)) << text;
  EXPECT_TRUE(matches(compact(R"({"type": "number", "format": "double"})"), "-1.5e3"));
  const auto bytes = compact(R"({"type": "string", "format": "byte"})");  // as Python's base64.b64decode(validate=True)
  for (const char* text : {R"("")", R"("AA==")", R"("AAA=")", R"("+/aZ")", R"("+/aZ09A=")"})
    EXPECT_TRUE(matches(bytes, text)) << text;
  for (const char* text : {R"("A")", R"("AA")", R"("AAA")", R"("A===")", R"("====")", R"("AA==AA==")", R"("-_aZ")"}) {
    EXPECT_FALSE(matches(bytes, text)) << text;
  }
}

// A member is written behind a comma and without one; what is in it is not written twice as often with each level.
TEST(JsonSchema, NestedObjectsTakeAsManyStatesAsTheyAreLong) {
  const auto states = [](int depth) {
    std::string schema = R"({"type": "integer"})";
    for (int i = 0; i < depth; ++i) {
      schema = R"({"type": "object", "properties": {"a": {"type": "null"}, "b": )" + schema +
               R"(, "c": {"type": "array", "minItems": 1, "items": )" + (i == 0 ? schema : R"({"type": "null"})") +
               "}}}";
    }
    const auto grammar = compact(schema);
    EXPECT_TRUE(matches(grammar, R"({"b":{"a":null,"b":{"b":{}}}})"));
    EXPECT_FALSE(matches(grammar, R"({"b":{"a":null,"b":{"b":5}}})"));
    return grammar->n_states();
  };
  EXPECT_LT(states(30), 4 * states(10));
}

TEST(JsonSchema, PropertiesComeInTheSchemasOrderAndOptionalOnesMayBeLeftOut) {
  const auto grammar = compact(R"({"type": "object", "additionalProperties": false, "required": ["b"],
                                   "properties": {"a": {"const": 1}, "b": {"const": 2}, "c": {"const": 3}}})");
  for (const char* text : {R"({"b":2})", R"({"a":1,"b":2})", R"({"b":2,"c":3})", R"({"a":1,"b":2,"c":3})"}) {
    EXPECT_TRUE(matches(grammar, text)) << text;
  }
  for (const char* text : {"{}", R"({"a":1})", R"({"b":2,"a":1})", R"({"b":2,"b":2})", R"({"b":2,})", R"({,"b":2})",
                           R"({"b": 2})", R"({"b":2,"d":4})", R"({"b":2} )", R"({"\u0062":2})"}) {
    EXPECT_FALSE(matches(grammar, text)) << text;
  }
}

TEST(JsonSchema, WhiteSpaceIsBounded) {
  const std::string schema =
      R"({"type": "array", "items": {"type": "object", "properties": {"a": {}}, "required": ["a"]}})";
  const auto grammar = Grammar::from_json_schema(schema);
  EXPECT_TRUE(matches(grammar, R"([{"a":1},{"a":[]}])"));
  EXPECT_TRUE(matches(grammar, "[\n  {\n    \"a\": 1,\n\n    \"b\": 2\n  }\n]"));
  EXPECT_TRUE(matches(grammar, "[\n" + std::string(20, ' ') + "]"));
  EXPECT_FALSE(matches(grammar, "[\n" + std::string(21, ' ') + "]"));
  EXPECT_FALSE(matches(grammar, "[  ]"));
  EXPECT_FALSE(matches(grammar, "[] "));
  EXPECT_FALSE(matches(grammar, "[{\"a\" :1}]"));
}

TEST(JsonSchema, OptionsOfObjects) {
  const std::string schema = R"({"type": "object", "properties": {"a": {}}})";
  const JsonOptions closed = {.whitespace = JsonWhitespace::kNone, .closed_objects = true};
  EXPECT_TRUE(matches(compact(schema), R"({"a":1,"b":2})"));
  EXPECT_FALSE(matches(Grammar::from_json_schema(schema, closed), R"({"a":1,"b":2})"));
  EXPECT_TRUE(matches(Grammar::from_json_schema(R"({"type": "object"})", closed), R"({"b":2})"));
  const JsonOptions strict = {.strict = true};
  expect_error(Grammar::from_json_schema(schema, strict), ErrorCode::kInvalidArgument,
               "#: strict mode: expected additionalProperties: false, found none");
  expect_error(
      Grammar::from_json_schema(R"({"items": {"properties": {"a": {}}, "additionalProperties": false}})", strict),
      ErrorCode::kInvalidArgument, "#/items: strict mode: expected every property in required, which lacks 'a'");
  EXPECT_TRUE(matches(
      Grammar::from_json_schema(
          R"({"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"], "additionalProperties": false})",
          strict),
      R"({"a": null})"));
  EXPECT_TRUE(matches(compact(R"({"type": "integer", "nullable": true})"), "null"));
  EXPECT_FALSE(matches(compact(R"({"type": "integer", "nullable": false})"), "null"));
}

TEST(JsonSchema, ValuesObeyTheKeywordsBesideThem) {
  const auto texts =
      compact(R"({"type": "string", "enum": ["a", "ab", "abc", 1, null], "minLength": 2, "maxLength": 2})");
  for (const char* text : {R"("a")", R"("abc")", "1", "null"}) EXPECT_FALSE(matches(texts, text)) << text;
  EXPECT_TRUE(matches(texts, R"("ab")"));
  const auto numbers =
      compact(R"({"type": "integer", "enum": [1, 2, 3.0, 4.5, "5", 9], "minimum": 2, "exclusiveMaximum": 9})");
  for (const char* text : {"1", "4.5", R"("5")", "9", "3.0"}) EXPECT_FALSE(matches(numbers, text)) << text;
  for (const char* text : {"2", "3"}) EXPECT_TRUE(matches(numbers, text)) << text;
  const auto others = compact(R"({"enum": [{"a": 1}, {"b": 1}, [], [1], true], "required": ["a"], "minItems": 1})");
  for (const char* text : {R"({"b":1})", "[]"}) EXPECT_FALSE(matches(others, text)) << text;
  for (const char* text : {R"({"a":1})", "[1]", "true"}) EXPECT_TRUE(matches(others, text)) << text;
}

TEST(JsonSchema, LargeOnesWorkOrAreRefused) {
  std::string values = R"({"enum": ["v-0")";
  for (int i = 1; i < 100'000; ++i) values += ",\"v-" + std::to_string(i * 7919) + "\"";
  const auto grammar = compact(values + "]}");
  EXPECT_TRUE(matches(grammar, "\"v-" + std::to_string(99'999 * 7919) + "\""));
  EXPECT_FALSE(matches(grammar, "\"v-5\""));
  std::string deep;
  for (int i = 0; i < 60'000; ++i) deep += R"({"items":)";
  expect_error(compact(deep + "{}" + std::string(60'000, '}')), ErrorCode::kLimit, "max_depth = 200 at byte 1801");
  // 2^60 ways to choose, each of them a set of schemas of its own.
  std::string wide = R"({"allOf": [)";
  for (int i = 0; i < 60; ++i) {
    wide += std::string(i == 0 ? "" : ",") + R"({"anyOf": [{"minLength": )" + std::to_string(i) +
            R"(}, {"maxLength": 99}]})";
  }
  expect_error(compact(wide + "]}"), ErrorCode::kLimit, "more than max_");
  std::string properties = R"({"type": "object", "properties": {)";
  for (int i = 0; i < 5'000; ++i)
    properties += (i == 0 ? "\"p" : ",\"p") + std::to_string(i) + R"(": {"type": "integer"})";
  const auto many = compact(properties + "}}");
  EXPECT_TRUE(matches(many, R"({"p0":1,"p4999":2,"q":3})"));
  EXPECT_FALSE(matches(many, R"({"p4999":2,"p0":1})"));
}

}  // namespace
}  // namespace rowmax::engine
