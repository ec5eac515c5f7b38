#include "apps/server/normalise.h"

#include <gtest/gtest.h>

namespace rowmax::server {
namespace {

using engine::TemplateValue;

engine::ChatInput conversation(const std::string& system) {
  engine::ChatInput input;
  const auto message = [](const char* role, const std::string& content) {
    return TemplateValue::make_dict({{"role", TemplateValue::of(role)}, {"content", TemplateValue::of(content)}});
  };
  input.messages = TemplateValue::make_list({message("system", system), message("user", system)});
  return input;
}

std::string content(const engine::ChatInput& input, std::size_t i) {
  return input.messages.list[i].dict[1].second.string;
}

std::vector<NormaliseRule> rules(std::initializer_list<const char*> sources) {
  std::vector<NormaliseRule> made;
  for (const char* source : sources) {
    auto rule = NormaliseRule::parse(source);
    EXPECT_TRUE(rule.ok()) << rule.error().message;
    made.push_back(std::move(rule).value());
  }
  return made;
}

TEST(Normalise, SystemMessagesAlone) {
  const std::string text = "cch=a1 and cch=b2f, today";
  engine::ChatInput input = conversation(text);
  const auto all = normalise(rules({"cch:/cch=[0-9a-f]+/cch=0/"}), input);
  EXPECT_EQ(content(input, 0), "cch=0 and cch=0, today");
  EXPECT_EQ(content(input, 1), text);
  EXPECT_EQ(normalised_json(all).dump(), R"([{"rule":"cch","message":0,"count":2}])");
}

TEST(Normalise, NamedRules) {
  engine::ChatInput input = conversation(
      "2024-05-06 12:34:56.789, 2024-05-06T12:34:56Z 550e8400-e29b-41d4-a716-446655440000, 12:34, x2024-05-06");
  normalise(rules({"timestamp", "date", "time", "uuid"}), input);
  EXPECT_EQ(content(input, 0),
            "0000-00-00T00:00:00, 0000-00-00T00:00:00 00000000-0000-0000-0000-000000000000, 00:00, x2024-05-06");
}

TEST(Normalise, InOrderAndWithoutMatches) {
  engine::ChatInput input = conversation("abc");
  EXPECT_EQ(normalise(rules({"one:|b|c|", "two:,c+,,", "three:/zzz/y/"}), input).size(), 2u);
  EXPECT_EQ(content(input, 0), "a");
  EXPECT_TRUE(normalise({}, input).empty());
}

TEST(Normalise, WrongRulesAreNamed) {
  for (const char* wrong :
       {"", "dates", "name", ":/a/b/", "n:/a/b", "n:/a/b/c/", "n:a", "na me:/a/b/", "n://b/", "n:/(/b/"}) {
    const auto rule = NormaliseRule::parse(wrong);
    ASSERT_FALSE(rule.ok()) << wrong;
    EXPECT_TRUE(rule.error().message.starts_with("--normalise: " + std::string(wrong) + ": ")) << rule.error().message;
  }
}

}  // namespace
}  // namespace rowmax::server
