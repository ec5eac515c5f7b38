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
  const auto all = normalise(rules({"cch:/cch=[0-9a-f]+/cch=0/"}), input).value();
  EXPECT_EQ(content(input, 0), "cch=0 and cch=0, today");
  EXPECT_EQ(content(input, 1), text);
  EXPECT_EQ(normalised_json(all).dump(), R"([{"rule":"cch","message":0,"count":2}])");
}

TEST(Normalise, NamedRules) {
  engine::ChatInput input = conversation(
      "2024-05-06 12:34:56.789, 2024-05-06T12:34:56Z 550e8400-e29b-41d4-a716-446655440000, 12:34, x2024-05-06");
  EXPECT_TRUE(normalise(rules({"timestamp", "date", "time", "uuid"}), input).ok());
  EXPECT_EQ(content(input, 0),
            "0000-00-00T00:00:00, 0000-00-00T00:00:00 00000000-0000-0000-0000-000000000000, 00:00, x2024-05-06");
}

TEST(Normalise, InOrderAndWithoutMatches) {
  engine::ChatInput input = conversation("abc");
  EXPECT_EQ(normalise(rules({"one:|b|c|", "two:,c+,,", "three:/zzz/y/"}), input)->size(), 2u);
  EXPECT_EQ(content(input, 0), "a");
  EXPECT_TRUE(normalise({}, input)->empty());
}

TEST(Normalise, WrongRulesAreNamed) {
  for (const char* wrong :
       {"", "dates", "name", ":/a/b/", "n:/a/b", "n:/a/b/c/", "n:a", "na me:/a/b/", "n://b/", "n:/(/b/"}) {
    const auto rule = NormaliseRule::parse(wrong);
    ASSERT_FALSE(rule.ok()) << wrong;
    EXPECT_TRUE(rule.error().message.starts_with("--normalise: " + std::string(wrong) + ": ")) << rule.error().message;
  }
}

// A message may be as long as it likes for the rules that there are, whatever it says.
TEST(Normalise, NamedRulesStayWithinTheirSteps) {
  for (const char* piece : {"1", "11:", "2024-05-06 ", "2024-05-06T12:34:56.78", "deadbeef-0000-", "ab ", "0"}) {
    std::string text;
    while (text.size() < 1'000'000) text += piece;
    engine::ChatInput input = conversation(text);
    const auto all = normalise(rules({"timestamp", "date", "time", "uuid"}), input);
    EXPECT_TRUE(all.ok()) << piece << ": " << all.error().message;
  }
}

TEST(Normalise, WhatWouldTakeTooLongOrGrowsTooFarIsNamed) {
  engine::ChatInput input = conversation(std::string(200'000, 'a'));
  const auto slow = normalise(rules({"far:/a|a.*Z/T/"}), input);
  ASSERT_FALSE(slow.ok());
  EXPECT_NE(slow.error().message.find("--normalise far: expected"), std::string::npos) << slow.error().message;
  // Many messages share what there is.
  engine::ChatInput many = conversation(std::string(2'000, 'a'));
  for (int i = 0; i < 100; ++i) many.messages.list.push_back(many.messages.list.front());
  EXPECT_FALSE(normalise(rules({"far:/a|a.*Z/T/"}), many).ok());
  input = conversation(std::string(200'000, 'a'));
  const std::string grows = "grows:/a/" + std::string(400, 'b') + "/";
  const auto large = normalise(rules({grows.c_str()}), input);
  ASSERT_FALSE(large.ok());
  EXPECT_NE(large.error().message.find("--normalise grows: expected at most 67108864 bytes"), std::string::npos);
}

}  // namespace
}  // namespace rowmax::server
