#include "apps/server/fields.h"

#include <gtest/gtest.h>

#include "apps/server/sampling_input.h"
#include "apps/server/template_values.h"

namespace rowmax::server {
namespace {

engine::JsonDocument parse(const std::string& text) {
  auto document = engine::parse_json(text, "test");
  EXPECT_TRUE(document.ok()) << text;
  return std::move(document).value();
}

TEST(Fields, NullIsAbsentAndOthersAreIgnored) {
  const auto document = parse(R"({"a": null, "b": 3, "zzz": {"deep": [1]}})");
  Fields fields(document.root());
  EXPECT_FALSE(fields.integer("a", 0, 9));
  EXPECT_FALSE(fields.string("absent"));
  EXPECT_EQ(fields.integer("b", 0, 9), 3);
  EXPECT_TRUE(fields.ok());
}

TEST(Fields, ErrorsNameTheField) {
  const auto error_of = [](const std::string& text, auto read) {
    const auto document = parse(text);
    Fields fields(document.root(), "outer");
    read(fields);
    EXPECT_FALSE(fields.ok()) << text;
    EXPECT_EQ(fields.error().status, 400);
    EXPECT_EQ(fields.error().param, "outer.f") << text;
    return fields.error().message;
  };
  const auto integer = [](Fields& fields) { fields.integer("f", 1, 128); };
  EXPECT_EQ(error_of(R"({"f": 0})", integer), "outer.f: expected an integer from 1 to 128, found 0");
  for (const char* bad : {"-1", "129", "1.5", "1e30", "\"3\"", "true", "[]", "{}", "18446744073709551615"}) {
    error_of("{\"f\": " + std::string(bad) + "}", integer);
  }
  for (const char* bad : {"-0.1", "2.5", "1e400", "\"1\"", "false", "[1]"}) {
    if (std::string(bad) == "1e400") continue;  // no JSON number; the reader refuses it
    error_of("{\"f\": " + std::string(bad) + "}", [](Fields& fields) { fields.number("f", 0, 2); });
  }
  error_of(R"({"f": 1})", [](Fields& fields) { fields.boolean("f"); });
  error_of(R"({"f": 1})", [](Fields& fields) { fields.string("f"); });
  error_of(R"({"f": 1})", [](Fields& fields) { fields.array("f"); });
  error_of(R"({"f": 1})", [](Fields& fields) { fields.object("f"); });
  error_of(R"({})", [](Fields& fields) { fields.needed_string("f"); });
  error_of(R"({"f": null})", [](Fields& fields) { fields.needed_array("f"); });
}

TEST(Fields, TheFirstErrorCounts) {
  const auto document = parse(R"({"a": 1, "b": 2})");
  Fields fields(document.root());
  fields.string("a");
  fields.string("b");
  EXPECT_FALSE(fields.integer("b", 0, 9));
  EXPECT_EQ(fields.error().param, "a");
  const auto list = parse("[1]");
  EXPECT_FALSE(Fields(list.root()).ok());
}

TEST(SamplingInput, ValuesAndWhereTheyCameFrom) {
  engine::SamplingParams line;
  line.temperature = 0.5f;
  const SamplingDefaults defaults = sampling_defaults(line);
  const auto document = parse(R"({"top_k": -1, "seed": -1, "logit_bias": {"3": -100}, "top_p": null, "min_p": 0.1})");
  Fields fields(document.root());
  const SamplingInput input = read_sampling(fields, defaults, 10);
  ASSERT_TRUE(fields.ok());
  EXPECT_EQ(input.params.top_k, 0);
  EXPECT_EQ(input.params.seed, ~std::uint64_t{0});
  EXPECT_EQ(input.params.logit_bias, (std::vector<std::pair<engine::TokenId, float>>{{3, -100.0f}}));
  const std::string json = input.json().dump();
  EXPECT_NE(json.find(R"("temperature":{"value":0.5,"source":"command line"})"), std::string::npos) << json;
  EXPECT_NE(json.find(R"("top_k":{"value":0,"source":"request"})"), std::string::npos) << json;
  EXPECT_NE(json.find(R"("top_p":{"value":0.95,"source":"default"})"), std::string::npos) << json;
  EXPECT_NE(json.find(R"("min_p":{"value":0.1,"source":"request"})"), std::string::npos) << json;
}

TEST(SamplingInput, BiasesOfTokensThatAreNone) {
  for (const char* bad : {R"({"10": 1})", R"({"-1": 1})", R"({"a": 1})", R"({"": 1})", R"({"1": "x"})", R"({"1": 1e7})",
                          R"([1])", R"({"99999999999999999999": 1})"}) {
    const auto document = parse("{\"logit_bias\": " + std::string(bad) + "}");
    Fields fields(document.root());
    read_sampling(fields, {}, 10);
    ASSERT_FALSE(fields.ok()) << bad;
    EXPECT_TRUE(fields.error().param.starts_with("logit_bias")) << bad;
  }
}

const engine::TemplateValue* find(const engine::TemplateValue& dict, std::string_view key) {
  for (const auto& [name, value] : dict.dict) {
    if (name == key) return &value;
  }
  return nullptr;
}

TEST(TemplateValues, Messages) {
  const auto document = parse(R"({"messages": [
    {"role": "developer", "content": "be brief"},
    {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": null},
    {"role": "assistant", "content": null,
     "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"x\": 1}"}},
                    {"id": "2", "type": "function", "function": {"name": "g", "arguments": "{\"x\": "}}]},
    {"role": "tool", "tool_call_id": "1", "content": "ok"}]})");
  Fields fields(document.root());
  const engine::TemplateValue messages = read_messages(fields, "messages");
  ASSERT_TRUE(fields.ok());
  ASSERT_EQ(messages.list.size(), 4u);
  EXPECT_EQ(find(messages.list[0], "role")->string, "system");
  EXPECT_EQ(find(messages.list[1], "content")->string, "a\nb");
  EXPECT_EQ(find(messages.list[1], "name"), nullptr);
  const auto& calls = find(messages.list[2], "tool_calls")->list;
  using Kind = engine::TemplateValue::Kind;
  EXPECT_EQ(find(*find(calls[0], "function"), "arguments")->kind, Kind::kDict);
  // What a model wrote wrongly comes back as it is.
  EXPECT_EQ(find(*find(calls[1], "function"), "arguments")->string, "{\"x\": ");
}

TEST(TemplateValues, MessagesThatAreNone) {
  for (const auto& [bad, param] : std::vector<std::pair<std::string, std::string>>{
           {"null", "messages"},
           {"\"hi\"", "messages"},
           {"[]", "messages"},
           {"[123]", "messages[0]"},
           {"[{}]", "messages[0].role"},
           {R"([{"role": 1, "content": ""}])", "messages[0].role"},
           {R"([{"role": "", "content": ""}])", "messages[0].role"},
           {R"([{"role": "user"}])", "messages[0].content"},
           {R"([{"role": "user", "content": null}])", "messages[0].content"},
           {R"([{"role": "user", "content": 5}])", "messages[0].content"},
           {R"([{"role": "user", "content": ["a"]}])", "messages[0].content[0]"},
           {R"([{"role": "user", "content": [{"type": "text"}]}])", "messages[0].content[0].text"},
           {R"([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}])",
            "messages[0].content[0].type"},
           {R"([{"role": "assistant", "tool_calls": 3}])", "messages[0].tool_calls"},
           {R"([{"role": "assistant", "tool_calls": [3]}])", "messages[0].tool_calls[0]"}}) {
    const auto document = parse("{\"messages\": " + bad + "}");
    Fields fields(document.root());
    read_messages(fields, "messages");
    ASSERT_FALSE(fields.ok()) << bad;
    EXPECT_EQ(fields.error().param, param) << bad;
  }
}

}  // namespace
}  // namespace rowmax::server
