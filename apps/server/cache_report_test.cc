#include "apps/server/cache_report.h"

#include <gtest/gtest.h>

#include <thread>

namespace rowmax::server {
namespace {

using engine::RequestStart;
using engine::TemplatePiece;
using engine::TemplateValue;
using engine::TokenId;
using Limit = engine::PrefixReuse::Limit;

engine::ChatInput conversation(std::vector<std::pair<std::string, std::string>> turns, bool tools = false) {
  engine::ChatInput input;
  std::vector<TemplateValue> messages;
  for (auto& [role, content] : turns) {
    messages.push_back(
        TemplateValue::make_dict({{"role", TemplateValue::of(role)}, {"content", TemplateValue::of(content)}}));
  }
  input.messages = TemplateValue::make_list(std::move(messages));
  if (tools) input.tools = TemplateValue::make_list({TemplateValue::of(std::string("tool"))});
  return input;
}

// A token a byte.
std::vector<TokenId> tokens_of(const std::string& text) { return {text.begin(), text.end()}; }

// "<role>content\n" of each, as a template prints it.
PromptText rendered(const engine::ChatInput& input, const std::string& tools = "") {
  std::vector<TemplatePiece> pieces;
  for (std::size_t i = 0; i < input.messages.list.size(); ++i) {
    const auto& message = input.messages.list[i].dict;
    pieces.push_back({"<", false});
    pieces.push_back({message[0].second.string, true});
    pieces.push_back({">", false});
    pieces.push_back({message[1].second.string, true});
    if (i == 0 && !tools.empty()) {
      pieces.push_back({" tools: ", false});
      pieces.push_back({tools, true});
    }
    pieces.push_back({"\n", false});
  }
  return chat_prompt_text(pieces, input);
}

RequestStart started(std::int64_t n, std::int64_t cached, std::int64_t found, Limit limit = Limit::kNone) {
  return {n, cached, {cached, found, limit}};
}

std::string text_of(std::size_t n) {
  std::string text;
  while (text.size() < n) text += "word " + std::to_string(text.size()) + " ";
  return text.substr(0, n);
}

class History : public testing::Test {
 protected:
  PromptHistory history_;
  PromptHistory::Entry add(const PromptText& text, PromptOwner owner = {}) {
    return history_.add(owner, tokens_of(text.text), text);
  }
  PromptHistory::Entry add_computed(const PromptText& text, PromptOwner owner = {}) {
    auto entry = add(text, owner);
    history_.computed(entry, {}, 0, "");
    return entry;
  }
};

TEST(PromptText, PartsAreWhoseTheyAre) {
  const auto input = conversation({{"system", "Be brief."}, {"user", "Hello"}, {"assistant", "Hi"}}, true);
  const PromptText prompt = rendered(input, "[{name}]");
  const auto at = [&](std::string_view word) { return part_at(prompt, prompt.text.find(word)); };
  EXPECT_EQ(at("<")->kind, PromptPart::Kind::kTemplate);
  EXPECT_EQ(at("system")->message, 0);
  EXPECT_EQ(at("Be brief")->message, 0);
  EXPECT_EQ(at("Be brief")->role, "system");
  EXPECT_EQ(at("[{name}]")->kind, PromptPart::Kind::kTools);
  EXPECT_EQ(at("user")->message, 1);
  EXPECT_EQ(at("Hello")->message, 1);
  EXPECT_EQ(at("Hi")->message, 2);
  EXPECT_EQ(part_at(prompt, prompt.text.size()), nullptr);
  for (std::size_t i = 1; i < prompt.parts.size(); ++i) EXPECT_EQ(prompt.parts[i].begin, prompt.parts[i - 1].end);
}

// What a hostile conversation may cost: roles as long as texts, contents that are never found, values that no template
// prints.
TEST(PromptText, IsBounded) {
  const auto input = conversation({{std::string(100000, 'r'), "Hello"}});
  EXPECT_LE(rendered(input).parts[1].role.size(), 64U);
  std::vector<std::pair<std::string, std::string>> turns(30000, {"user", "never printed like this"});
  engine::ChatInput many = conversation(turns);
  std::vector<TemplatePiece> pieces;
  for (std::size_t i = 0; i < turns.size(); ++i) {
    pieces.push_back({"x", true});
    pieces.push_back({"-", false});
  }
  const PromptText prompt = chat_prompt_text(pieces, many);
  EXPECT_EQ(prompt.parts.size(), pieces.size());
  EXPECT_EQ(part_at(prompt, 40000)->kind, PromptPart::Kind::kMessage);
  EXPECT_GT(footprint(many, 1 << 30), 30000U * sizeof(TemplateValue));
  EXPECT_LT(footprint(many, 1 << 30), 30000U * 2000);
  EXPECT_GT(footprint(many, 1000), 1000U);
  many.tools = TemplateValue::make_list(std::vector<TemplateValue>(5000, TemplateValue::of(std::string(100, 'a'))));
  many.messages = {};
  EXPECT_GT(footprint(many, 1 << 30), 5000U * 100);
}

TEST_F(History, SaysWhatDiffersAndWhere) {
  const std::string before = text_of(200), behind = text_of(100);
  add_computed(rendered(conversation({{"system", before + " cch=a1 " + behind}, {"user", "Hello"}})));
  const PromptText now = rendered(conversation({{"system", before + " cch=b2 " + behind}, {"user", "Hello"}}));
  const auto entry = add(now);
  const auto n = std::ssize(now.text);
  const auto byte = now.text.find("b2");
  const auto common = static_cast<std::int64_t>(byte);
  const CacheReport report = cache_report(started(n, common, common), entry.own, false);
  EXPECT_EQ(report.cause, "differs");
  ASSERT_TRUE(report.difference);
  EXPECT_EQ(report.difference->byte, byte);
  EXPECT_EQ(report.difference->token, static_cast<std::int64_t>(byte));
  EXPECT_EQ(report.difference->where, "message");
  EXPECT_EQ(report.difference->message, 0);
  EXPECT_EQ(report.difference->cached, "cch=a1");
  EXPECT_EQ(report.difference->now, "cch=b2");
  EXPECT_EQ(report.sentence(true),
            std::to_string(byte) + " of " + std::to_string(n) + " tokens reused; miss from byte " +
                std::to_string(byte) +
                " of the rendered prompt, message 0 (system): cached \"cch=a1\", now \"cch=b2\"");
  EXPECT_EQ(report.json(false).dump().find("cch"), std::string::npos);
}

TEST_F(History, AToolThatChangedIsOfTheTools) {
  const auto input = conversation({{"system", text_of(200)}, {"user", "Hello"}}, true);
  add_computed(rendered(input, "[first]"));
  const auto entry = add(rendered(input, "[second]"));
  EXPECT_EQ(entry.own.difference->where, "tools");
  EXPECT_EQ(entry.own.difference->now, "[second]");
}

TEST_F(History, TheTemplatesDateIsFoundByRenderingAgain) {
  const auto dated = [](std::int64_t now, const std::string& year) {
    engine::ChatInput input = conversation({{"user", "Hello"}});
    input.now = now;
    PromptText prompt = chat_prompt_text({{"Today is " + year + ". ", false}, {"Hello", true}}, input);
    prompt.at_another_time = [](std::int64_t at) { return "Today is " + std::to_string(at) + ". Hello"; };
    return prompt;
  };
  add_computed(dated(2025, "2025"));
  EXPECT_EQ(add(dated(2026, "2026")).own.difference->where, "date");
  // Where the time would have been no other, it was the template.
  PromptHistory other;
  const PromptText was = dated(2025, "2025");
  other.add({}, tokens_of(was.text), was);
  PromptText not_by_date = dated(2026, "2026");
  not_by_date.at_another_time = [](std::int64_t) { return "Today is 2026. Hello"; };
  EXPECT_EQ(other.add({}, tokens_of(not_by_date.text), not_by_date).own.difference->where, "template");
}

TEST_F(History, OtherCausesThanTheText) {
  const PromptText prompt = rendered(conversation({{"user", text_of(500)}}));
  const auto n = std::ssize(prompt.text);
  const auto cause = [&](std::int64_t cached, std::int64_t found, Limit limit, const NearestPrompt& nearest) {
    return cache_report(started(n, cached, found, limit), nearest, false).cause;
  };
  const auto first = add(prompt);
  EXPECT_EQ(cause(0, 0, Limit::kNone, first.own), "first");
  EXPECT_EQ(cause(0, 0, Limit::kNone, add(prompt).own), "not_computed");
  history_.computed(add(prompt), {}, 0, "");
  const auto again = add(prompt);
  EXPECT_EQ(cause(n - 1, n - 1, Limit::kNone, again.own), "complete");
  EXPECT_EQ(cause(n - 2, n - 2, Limit::kNone, again.own), "evicted");
  EXPECT_EQ(cause(128, 128, Limit::kNone, again.own), "evicted");
  RequestStart from_disk = started(n, 448, 448);
  from_disk.disk_tokens = 448;
  EXPECT_EQ(cache_report(from_disk, first.own, false).cause, "complete");
  from_disk.damaged_pages = 1;
  EXPECT_EQ(cache_report(from_disk, first.own, false).cause, "damaged");
  EXPECT_EQ(cause(128, 448, Limit::kCheckpoint, again.own), "checkpoint");
  EXPECT_EQ(cause(128, 448, Limit::kWindow, again.own), "window");
  EXPECT_EQ(cache_report(started(n, 0, 0), again.own, true).cause, "scored");
  EXPECT_EQ(cache_report(started(1, 0, 0), again.own, false).cause, "short");
  EXPECT_EQ(cache_report(started(2, 1, 1), again.own, false).cause, "complete");
}

TEST_F(History, AConversationGoesOnBehindItsAnswer) {
  const PromptText first = rendered(conversation({{"user", text_of(300)}}));
  const std::string answer = text_of(90);
  history_.computed(add(first), tokens_of(answer), std::ssize(answer) - 1, answer);
  PromptText next = first;
  next.text += answer + " and more" + text_of(80);
  next.parts.push_back({first.text.size(), next.text.size(), PromptPart::Kind::kMessage, 1, "assistant"});
  const auto entry = add(next);
  EXPECT_EQ(entry.own.common_tokens, std::ssize(first.text) + std::ssize(answer));
  // The answer's last token was sampled, and not computed.
  EXPECT_EQ(entry.own.computed_tokens, entry.own.common_tokens - 1);
  EXPECT_EQ(entry.own.difference->where, "end");
  EXPECT_EQ(entry.own.difference->token, static_cast<std::int64_t>(*entry.own.difference->byte));
  const auto n = entry.own.common_tokens;
  EXPECT_EQ(cache_report(started(std::ssize(next.text), n, n), entry.own, false).cause, "continues");
}

TEST_F(History, OwnersDoNotSeeEachOther) {
  const auto prompt = [](const std::string& secret) {
    return rendered(conversation({{"system", text_of(200) + secret}, {"user", "Hello"}}));
  };
  add_computed(prompt("secret-of-1"), {1, true});
  const auto other = add(prompt("guess"), {2, true});
  EXPECT_FALSE(other.own.exists);
  EXPECT_FALSE(other.own.difference);
  EXPECT_EQ(other.own.computed_tokens, 0);
  ASSERT_TRUE(other.any.exists);  // what the operator is told
  EXPECT_EQ(other.any.difference->cached.substr(other.any.difference->cached.size() - 11), "secret-of-1");
  EXPECT_TRUE(add(prompt("again"), {1, true}).own.exists);
  // Strangers: each alone.
  PromptHistory open;
  const PromptText secret = prompt("secret");
  open.add({0, false}, tokens_of(secret.text), secret);
  const auto stranger = open.add({0, false}, tokens_of(secret.text), secret);
  EXPECT_FALSE(stranger.own.exists);
  EXPECT_TRUE(stranger.any.exists);
}

TEST_F(History, SameTextInOtherTokens) {
  PromptText text = plain_prompt_text("aaaa");
  history_.add({}, {1, 2, 3, 4}, text);
  const auto entry = history_.add({}, {1, 2, 34}, text);
  EXPECT_EQ(entry.own.common_tokens, 2);
}

TEST(PromptHistory, StaysWithinItsBytes) {
  constexpr std::size_t kBytes = 20000;
  PromptHistory history(nullptr, kBytes);
  for (int i = 0; i < 100; ++i) {
    const PromptText text = plain_prompt_text(std::to_string(i) + text_of(500));
    history.computed(history.add({}, tokens_of(text.text), text), {1, 2, 3}, 3, "abc");
    EXPECT_LE(history.bytes(), kBytes);
  }
  EXPECT_GT(history.bytes(), kBytes / 2);
  const std::size_t before = history.bytes();
  const PromptText large = plain_prompt_text(text_of(kBytes));
  history.add({}, tokens_of(large.text), large);
  EXPECT_EQ(history.bytes(), before);
}

TEST(PromptHistory, BytesOfAnythingAreCutAtCharacters) {
  PromptHistory history;
  const PromptText was = plain_prompt_text("gr\xC3\xBC\xC3\x9F"), is = plain_prompt_text("gr\xC3\xB6\xC3\x9F");
  history.add({}, tokens_of(was.text), was);
  const auto entry = history.add({}, tokens_of(is.text), is);
  EXPECT_EQ(entry.own.difference->byte, 2U);
  EXPECT_EQ(entry.own.difference->now, is.text);
  EXPECT_EQ(entry.own.difference->cached, was.text);
}

TEST(PromptHistory, ManyThreads) {
  PromptHistory history(nullptr, 50000);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&history, t] {
      for (int i = 0; i < 200; ++i) {
        const PromptText text = plain_prompt_text(text_of(static_cast<std::size_t>(100 + 7 * t + i)));
        history.computed(history.add({}, tokens_of(text.text), text), {}, 0, "");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(history.bytes(), 50000U);
}

}  // namespace
}  // namespace rowmax::server
