// Grammars of calls: what they allow is read again as the calls that it is, and the model's own form is among it.
#include "apps/tool_calls/call_grammar.h"

#include <gtest/gtest.h>

#include <regex>

#include "apps/tool_calls/call_mask.h"
#include "apps/tool_calls/reply_parser.h"
#include "engine/io/json.h"
#include "rowmax/engine/gguf.h"

namespace rowmax::tool_calls {
namespace {

using engine::Grammar;

ToolFunction function(const std::string& name, const std::string& schema, bool strict = false) {
  const auto parsed = engine::parse_json(schema, "schema");
  return tool_function(name, parsed->root(), schema, strict);
}

const std::vector<ToolFunction>& functions() {
  static const auto* all = new std::vector<ToolFunction>{
      function("f",
               R"({"type":"object","additionalProperties":false,"required":["s","n"],"$defs":{"c":{"enum":["x","y"]}},
                        "properties":{"s":{"type":"string"},"n":{"type":"integer"},"e":{"$ref":"#/$defs/c"},
                                      "m":{"anyOf":[{"$ref":"#/$defs/c"},{"type":"null"}],"default":null},
                                      "o":{"type":"array","items":{"$ref":"#/$defs/c"}}}})"),
      function("g", R"({"type":"object","additionalProperties":false,"properties":{}})")};
  return *all;
}

Result<Grammar> compiled(const ToolFormat& format, const CallGrammarOptions& options = {}) {
  auto parts = call_grammar(format, functions(), options);
  if (!parts.ok()) return parts.error();
  return Grammar::from_parts(*parts);
}

// Calls of f and g as a format's patterns say it, made without the grammar.
std::string written(const ToolFormat& format, const std::string& text, bool twice) {
  const auto with = [](std::string pattern, const std::string& name, const std::string& value) {
    for (std::size_t at = pattern.find(name); at != std::string::npos; at = pattern.find(name, at + value.size())) {
      pattern.replace(at, name.size(), value);
    }
    return pattern;
  };
  const std::string id = format.name == "kimi-k2" ? "0" : "abcdefgh1";
  const std::string parameter(format.parameter), call(format.call);
  const std::string parameters =
      with(with(parameter, "%k", "s"), "%v", text) + with(with(parameter, "%k", "n"), "%v", "7");
  const std::string json = "{\"s\": " + json_string(text) + ", \"n\": 7}";
  const std::string first = with(with(with(with(call, "%n", "f"), "%j", json), "%p", parameters), "%i", id);
  const std::string other = with(with(with(with(call, "%n", "g"), "%j", "{}"), "%p", ""), "%i", id);
  return std::string(format.begin) + first + (twice ? std::string(format.between) + other : "") +
         std::string(format.end);
}

TEST(CallGrammar, AllowsWhatTheModelsFormWritesAndTheParserReadsIt) {
  for (const ToolFormat& format : tool_formats()) {
    if (format.call.empty()) {
      EXPECT_EQ(compiled(format).error().code, ErrorCode::kUnsupported) << format.name;
      continue;
    }
    const auto grammar = compiled(format);
    ASSERT_TRUE(grammar.ok()) << format.name << grammar.error().message;
    for (const std::string& text :
         std::vector<std::string>{"plain", "two\nlines <b>bold</b> \"quoted\" {é}", "</", "</param", ""}) {
      const bool twice = format.many && format.name != "mistral-args";
      const std::string whole = written(format, text, twice);
      EXPECT_TRUE(*grammar->matches(whole)) << format.name << "\n" << whole;
      ReplyParser parser(
          std::make_shared<const ReplyOptions>(ReplyOptions{.format = &format, .functions = functions()}));
      std::string seen;
      for (const ReplyPiece& piece : parser.push(whole)) seen += piece.text + "|";
      EXPECT_TRUE(parser.finish().empty()) << format.name;
      EXPECT_EQ(seen, "f|{\"s\": " + json_string(text) + ", \"n\": 7}||" + (twice ? "g|{}||" : "")) << format.name;
    }
    for (const std::string& wrong :
         std::vector<std::string>{"", "text", written(format, "x", false) + "!", "!" + written(format, "x", false),
                                  std::regex_replace(written(format, "x", false), std::regex("7"), "\"7\""),
                                  std::regex_replace(written(format, "x", false), std::regex("\\bf\\b"), "h")}) {
      EXPECT_FALSE(*grammar->matches(wrong)) << format.name << "\n" << wrong;
    }
    const auto one = compiled(format, {.many = false});
    EXPECT_TRUE(*one->matches(written(format, "x", false))) << format.name;
    EXPECT_FALSE(format.many && *one->matches(written(format, "x", true))) << format.name;
  }
}

TEST(CallGrammar, FunctionsThatAreNotStrictMayHaveAnyArgumentsBehindAMark) {
  const ToolFormat& format = *find_tool_format("hermes");
  std::vector<ToolFunction> both = functions();
  both[1].strict = true;
  const auto parts =
      call_grammar(format, both, {.all_schemas = false, .mark = "<tool_call>", .mark_is_of_calls = true});
  ASSERT_TRUE(parts.ok());
  const auto grammar = Grammar::from_parts(*parts);
  ASSERT_TRUE(grammar.ok()) << grammar.error().message;
  EXPECT_TRUE(*grammar->matches(" so<tool_call>\n{\"name\": \"f\", \"arguments\": {\"other\": [1]}}\n</tool_call>"));
  EXPECT_FALSE(*grammar->matches("<tool_call>\n{\"name\": \"g\", \"arguments\": {\"other\": [1]}}\n</tool_call>"));
}

TEST(CallGrammar, WhatAFormCannotHoldIsNamed) {
  const ToolFormat& tags = *find_tool_format("qwen3-coder");
  for (const auto& [schema, says] : std::vector<std::pair<std::string, std::string>>{
           {R"({"type":"object","properties":{"a":{"type":"string","pattern":"x"}}})", "property \"a\": pattern"},
           {R"({"type":"object","properties":{"a":{"type":"string","format":"date"}}})", "property \"a\": format"},
           {R"({"anyOf":[{"type":"object"}]})", "anyOf"}}) {
    const auto parts = call_grammar(tags, {function("f", schema)}, {});
    ASSERT_FALSE(parts.ok()) << schema;
    EXPECT_EQ(parts.error().code, ErrorCode::kUnsupported);
    EXPECT_NE(parts.error().message.find(says), std::string::npos) << parts.error().message;
  }
  for (const char* reference : {"#", "#/properties/a", "#/$defs"}) {
    const std::string schema =
        R"({"type":"object","properties":{"a":{"type":"array","items":{"$ref":")" + std::string(reference) + "\"}}}}";
    const auto parts = call_grammar(tags, {function("f", schema)}, {});
    ASSERT_FALSE(parts.ok()) << schema;
    EXPECT_TRUE(parts.error().message.starts_with("function \"f\": property \"a\": $ref to ")) << parts.error().message;
  }
  EXPECT_EQ(call_grammar(tags, {function("a b", "{}")}, {}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(call_grammar(tags, {}, {}).error().code, ErrorCode::kInvalidArgument);
}

std::size_t bytes_of(const std::vector<engine::GrammarPart>& parts) {
  std::size_t bytes = 0;
  for (const engine::GrammarPart& part : parts) {
    bytes += sizeof(part) + part.source.size() + part.name.size();
    for (const auto& each : part.choices) bytes += bytes_of(each);
  }
  return bytes;
}

// A property has the definitions that it leads to, by way of others and under names that are escaped, and no more.
TEST(CallGrammar, DefinitionsComeWithThePropertiesThatReferToThem) {
  const ToolFormat& tags = *find_tool_format("glm");
  const std::string large(100'000, 'd');
  std::string properties;
  for (int i = 0; i < 500; ++i) properties += "\"p" + std::to_string(i) + "\":{\"type\":\"integer\"},";
  const std::string schema = R"({"type":"object","required":["a","b"],"properties":{)" + properties +
                             R"("a":{"$ref":"#/$defs/x"},"b":{"type":"number","$ref":"#/definitions/o~1n"},
      "c":{"type":"array","items":{"$ref":"#/$defs/x"},"$defs":{"x":{"type":"null"}}}},
      "$defs":{"x":{"type":"array","items":{"$ref":"#/definitions/y"}},"unused":{"description":")" +
                             large + R"("}},"definitions":{"y":{"type":"boolean"},"o/n":{"type":"integer"}}})";
  const auto parts = call_grammar(tags, {function("f", schema)}, {.many = false});
  ASSERT_TRUE(parts.ok()) << parts.error().message;
  EXPECT_LT(bytes_of(*parts), 1'000'000U);
  const auto grammar = Grammar::from_parts(*parts);
  ASSERT_TRUE(grammar.ok()) << grammar.error().message;
  const auto call = [&](const std::string& a, const std::string& b, const std::string& c) {
    const auto parameter = [](const char* name, const std::string& value) {
      return "<arg_key>" + std::string(name) + "</arg_key>\n<arg_value>" + value + "</arg_value>\n";
    };
    return *grammar->matches("<tool_call>f\n" + parameter("a", a) + parameter("b", b) + parameter("c", c) +
                             "</tool_call>");
  };
  EXPECT_TRUE(call("[true]", "7", "[[false]]"));
  EXPECT_FALSE(call("[1]", "7", "[]"));
  EXPECT_FALSE(call("[true]", "true", "[]"));
  EXPECT_FALSE(call("[true]", "7", "[null]"));  // a reference begins at the root of the whole schema
}

// Small schemas that stand for much: every way in which a property can refer to something large.
TEST(CallGrammar, WhatAllPartsTakeIsBounded) {
  const ToolFormat& tags = *find_tool_format("qwen3-coder");
  std::string texts = R"("t")", union_of_i, union_of_u, properties;
  for (int i = 0; i < 5'000; ++i) texts += ",\"t" + std::to_string(i) + "\"";
  for (int i = 0; i < 30; ++i) union_of_i += (i > 0 ? "," : "") + std::string(R"({"$ref":"#/$defs/i"})");
  for (int i = 0; i < 30; ++i) union_of_u += (i > 0 ? "," : "") + std::string(R"({"$ref":"#/$defs/u"})");
  for (int i = 0; i < 1'000; ++i) properties += ",\"p" + std::to_string(i) + R"(":{"$ref":"#/$defs/x"})";
  for (const std::string& definition : {R"({"type":"integer","description":")" + std::string(100'000, 'd') + "\"}",
                                        R"({"enum":[)" + texts + "]}", R"({"anyOf":[)" + union_of_u + "]}"}) {
    const std::string schema = R"({"type":"object","properties":{"a":{})" + properties +
                               R"(},"$defs":{"i":{"type":"string"},"u":{"anyOf":[)" + union_of_i + R"(]},"x":)" +
                               definition + "}}";
    const std::vector<std::string> places = {"tools[0].function.parameters", "tools[1].function.parameters"};
    const auto parts = call_grammar(tags, {function("g", "{}"), function("f", schema)}, {.places = places});
    ASSERT_FALSE(parts.ok()) << definition.substr(0, 100);
    EXPECT_EQ(parts.error().code, ErrorCode::kLimit) << parts.error().message;
    EXPECT_TRUE(parts.error().message.starts_with("tools[1].function.parameters: ")) << parts.error().message;
  }
}

// 50 ways at every step: the types of it are found in bounded time, or this never ends.
TEST(ToolFunction, AUnionOfItselfIsNotFollowedForLong) {
  std::string itself = R"({"type":"null"})";
  for (int i = 0; i < 50; ++i) itself += R"(,{"$ref":"#/$defs/u"})";
  const ToolFunction found =
      function("f", R"({"properties":{"a":{"$ref":"#/$defs/u"},"b":{"anyOf":[{"type":"null"},{"type":"boolean"}]}},
                        "$defs":{"u":{"anyOf":[)" +
                        itself + "]}}}");
  EXPECT_EQ(found.types_of("a"), kAnyType);
  EXPECT_EQ(found.types_of("b"), kNull | kBool);
}

// By hand, over all short texts of the bytes that matter.
TEST(CallGrammar, TextWithoutATag) {
  const auto grammar = Grammar::from_regex(text_without("</ab>"));
  ASSERT_TRUE(grammar.ok()) << grammar.error().message;
  const std::string bytes = "</ab>x";
  for (int length = 0; length <= 7; ++length) {
    int n = 1;
    for (int i = 0; i < length; ++i) n *= 6;
    for (int code = 0; code < n; ++code) {
      std::string text;
      for (int i = 0, rest = code; i < length; ++i, rest /= 6) text += bytes[static_cast<std::size_t>(rest % 6)];
      if (length == 7 && text.find("</ab") == std::string::npos) continue;
      ASSERT_EQ(*grammar->matches(text), text.find("</ab>") == std::string::npos) << text;
    }
  }
}

// Before the mark everything is allowed; from it on what the grammar says; and tokens may hold both sides of the mark.
TEST(CallMask, HoldsFromTheMarkOn) {
  const auto file = engine::GgufFile::open(std::string(ROWMAX_SOURCE_DIR) + "/models/stories.gguf");
  ASSERT_TRUE(file.ok());
  const auto tokenizer = engine::Tokenizer::from_gguf(*file);
  ASSERT_TRUE(tokenizer.ok());
  const auto vocabulary = engine::GrammarVocabulary::create(*tokenizer);
  const ToolFormat& format = *find_tool_format("hermes");
  const auto parts = call_grammar(format, functions(), {.mark = "<tool_call>", .mark_is_of_calls = true});
  const auto constraint = engine::GrammarConstraint::create(*Grammar::from_parts(*parts), *vocabulary);
  ASSERT_TRUE(constraint.ok());
  const auto options = std::make_shared<const ReplyOptions>(ReplyOptions{.format = &format});
  const engine::TokenMask mask = mask_behind(MaskBehind::kCallMark, options, *tokenizer, {}, *constraint->token_mask());
  const std::string text =
      "Once <tool> upon <tool_call>\n{\"name\": \"f\", \"arguments\": {\"s\": \"a\", \"n\": 7}}\n</tool_call>";
  const auto ids = tokenizer->encode(text, false);
  ASSERT_TRUE(ids.ok());
  const auto n = static_cast<std::size_t>(tokenizer->size());
  int n_free = 0, n_held = 0;
  std::string behind;
  for (std::size_t i = 0; i <= ids->size(); ++i) {
    std::vector<std::uint64_t> allowed((n + 63) / 64);
    const Status status = mask(std::span(*ids).first(i), allowed);
    ASSERT_TRUE(status.ok()) << status.error().message << " behind: " << behind;
    const auto has = [&](engine::TokenId id) {
      return (allowed[static_cast<std::size_t>(id) / 64] >> (id % 64) & 1) != 0;
    };
    std::size_t count = 0;
    for (std::size_t id = 0; id < n; ++id) count += has(static_cast<engine::TokenId>(id));
    const bool marked = behind.find("<tool_call>") != std::string::npos;
    EXPECT_EQ(count == n, !marked) << behind;
    (marked ? n_held : n_free) += 1;
    if (i < ids->size()) {
      EXPECT_TRUE(has((*ids)[i])) << behind;
      behind += *tokenizer->piece((*ids)[i], false);
    } else {
      EXPECT_TRUE(has(tokenizer->eos()));
    }
  }
  EXPECT_GT(n_free, 5);
  EXPECT_GT(n_held, 10);
  // Thoughts cannot end the text, and what follows them is held.
  const auto thinking = std::make_shared<const ReplyOptions>(
      ReplyOptions{.format = &format, .reasoning = {"<think>", "</think>"}, .reasoning_open = true});
  const auto forced = call_grammar(format, functions(), {.mark = "</think>"});
  const auto held = engine::GrammarConstraint::create(*Grammar::from_parts(*forced), *vocabulary);
  const engine::TokenMask late = mask_behind(MaskBehind::kReasoning, thinking, *tokenizer, {}, *held->token_mask());
  for (const auto& [before, free] : {std::pair("Once", true), std::pair("Once</think>", false)}) {
    const auto so_far = *tokenizer->encode(before, false);
    std::vector<std::uint64_t> allowed((n + 63) / 64);
    ASSERT_TRUE(late(so_far, allowed).ok());
    const auto has = [&](engine::TokenId id) {
      return (allowed[static_cast<std::size_t>(id) / 64] >> (id % 64) & 1) != 0;
    };
    EXPECT_FALSE(has(tokenizer->eos()));
    EXPECT_EQ(has(tokenizer->encode("x", false)->back()), free);
  }
}

}  // namespace
}  // namespace rowmax::tool_calls
