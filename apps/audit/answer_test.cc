// Answers as servers really write them, and where two of them part.
#include "apps/audit/answer.h"

#include <gtest/gtest.h>

namespace rowmax::audit {
namespace {

// The example of OpenAI's API reference ("Create chat completion", logprobs), its first two tokens.
constexpr const char* kOpenAiChat = R"({"id":"chatcmpl-123","object":"chat.completion","created":1702685778,
  "model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"Hello!"},"logprobs":{"content":[
  {"token":"Hello","logprob":-0.31725305,"bytes":[72,101,108,108,111],"top_logprobs":[
    {"token":"Hello","logprob":-0.31725305,"bytes":[72,101,108,108,111]},
    {"token":"Hi","logprob":-1.3190403,"bytes":[72,105]}]},
  {"token":"!","logprob":-0.02380986,"bytes":[33],"top_logprobs":[{"token":"!","logprob":-0.02380986,"bytes":[33]},
    {"token":" there","logprob":-3.787621,"bytes":null}]}]},"finish_reason":"stop"}],
  "usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11},"system_fingerprint":null})";

// What llama.cpp's server wrote to a request of /v1/completions, shortened to two tokens.
constexpr const char* kLlamaCompletion =
    R"({"choices":[{"text":"-by","index":0,"logprobs":{"content":[{"id":29,"token":"-","bytes":[45],
  "logprob":-0.7805696725845337,"top_logprobs":[{"id":29,"token":"-","bytes":[45],"logprob":-0.7805696725845337},
  {"id":28,"token":",","bytes":[44],"logprob":-2.4213244915008545}]},{"id":1717,"token":"by","bytes":[98,121],
  "logprob":-2.133594036102295,"top_logprobs":[]}]},"finish_reason":"length"}],"created":1796072864,"model":"m",
  "system_fingerprint":"b0-unknown","object":"text_completion","usage":{"completion_tokens":4,"prompt_tokens":1,
  "total_tokens":5,"prompt_tokens_details":{"cached_tokens":0}},"timings":{"cache_n":0,"prompt_n":1}})";

// OpenAI's older form of completions, as its reference describes it (the Logprobs object).
constexpr const char* kOpenAiCompletion = R"({"choices":[
  {"text":" b","index":1,"logprobs":{"tokens":[" b"],"token_logprobs":[-0.5],"top_logprobs":[{" b":-0.5," c":-1.5}],
   "text_offset":[1]},"finish_reason":"length"},
  {"text":" a","index":0,"logprobs":{"tokens":[" a"],"token_logprobs":[-0.25],"top_logprobs":null,"text_offset":[1]}}]})";

Answer only(const char* body) {
  auto answers = read_answers(body, "test");
  EXPECT_TRUE(answers.ok()) << answers.error().message;
  if (!answers.ok()) return {};
  EXPECT_EQ(answers->size(), 1u);
  return (*answers)[0];
}

TEST(Answer, OpenAiChat) {
  const Answer answer = only(kOpenAiChat);
  EXPECT_EQ(answer.text, "Hello!");
  ASSERT_EQ(answer.tokens.size(), 2u);
  EXPECT_EQ(answer.tokens[0].text, "Hello");
  EXPECT_EQ(answer.tokens[0].logprob, -0.31725305);
  EXPECT_EQ(answer.tokens[0].likeliest[1].first, "Hi");
  EXPECT_EQ(answer.tokens[0].likeliest[1].second, -1.3190403);
  EXPECT_EQ(answer.prompt_tokens, 9);
  EXPECT_EQ(answer.cached_tokens, -1);
}

TEST(Answer, LlamaCppCompletion) {
  const Answer answer = only(kLlamaCompletion);
  EXPECT_EQ(answer.text, "-by");
  ASSERT_EQ(answer.tokens.size(), 2u);
  EXPECT_EQ(answer.tokens[1].logprob, -2.133594036102295);
  EXPECT_EQ(answer.cached_tokens, 0);
  EXPECT_EQ(answer.fingerprint, "b0-unknown");
}

TEST(Answer, CompletionsGoByTheirIndex) {
  const auto answers = read_answers(kOpenAiCompletion, "test");
  ASSERT_TRUE(answers.ok()) << answers.error().message;
  ASSERT_EQ(answers->size(), 2u);
  EXPECT_EQ((*answers)[0].text, " a");
  EXPECT_EQ((*answers)[0].tokens[0].logprob, -0.25);
  EXPECT_EQ((*answers)[1].tokens[0].likeliest[1].second, -1.5);
}

TEST(Answer, ListsAreListsOfOneLength) {
  for (const char* logprobs :
       {R"({"tokens":["a"],"token_logprobs":{"0":-0.5}})", R"({"tokens":[],"token_logprobs":{}})",
        R"({"tokens":["a"],"token_logprobs":[-0.5,-1]})", R"({"tokens":["a"],"token_logprobs":["-0.5"]})",
        R"({"tokens":["a"]})", R"({"tokens":[{}],"token_logprobs":[-0.5]})"}) {
    const std::string body = R"({"choices":[{"text":"a","logprobs":)" + std::string(logprobs) + "}]}";
    const auto answers = read_answers(body, "test");
    ASSERT_FALSE(answers.ok()) << logprobs;
    EXPECT_TRUE(answers.error().message.starts_with("test: expected ")) << answers.error().message;
  }
}

TEST(Answer, ThoughtsAreText) {
  const Answer answer =
      only(R"({"choices":[{"message":{"reasoning_content":"hm","content":null}}],"timings":{"cache_n":7}})");
  EXPECT_EQ(answer.text, "hm");
  EXPECT_EQ(answer.cached_tokens, 7);
}

Answer made(const std::string& text, std::vector<AnswerToken> tokens) {
  Answer out;
  out.text = text;
  out.tokens = std::move(tokens);
  return out;
}

TEST(Difference, TheTokenAndItsGap) {
  const Answer first = made("ab", {{"a", -0.5, {}}, {"b", -0.25, {{"b", -0.25}, {"c", -0.375}}}});
  EXPECT_FALSE(difference(first, first));
  // Another token: how near they were by the first answer's own numbers.
  auto found = difference(first, made("ac", {{"a", -0.5, {}}, {"c", -0.3, {}}}));
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->text_differs && found->at_token);
  EXPECT_EQ(found->position, 1u);
  EXPECT_EQ(found->first, "b");
  EXPECT_EQ(found->second, "c");
  EXPECT_EQ(found->gap, 0.125);
  // The same token, the last bit of its number.
  found = difference(first, made("ab", {{"a", -0.5000000000000001, {}}, {"b", -0.25, {}}}));
  ASSERT_TRUE(found);
  EXPECT_FALSE(found->text_differs);
  EXPECT_EQ(found->position, 0u);
  EXPECT_GT(*found->gap, 0);
  // One ends before the other.
  found = difference(first, made("a", {{"a", -0.5, {}}}));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->position, 1u);
  EXPECT_EQ(found->second, "");
  EXPECT_FALSE(found->second_logprob);
}

TEST(Difference, OfTextsAlone) {
  const auto found = difference(made("na\xC3\xAFve", {}), made("na\xC3\xAEve", {{"x", -1, {}}}));
  ASSERT_TRUE(found);
  EXPECT_FALSE(found->at_token);
  EXPECT_EQ(found->position, 2u);  // the character's first byte, although the second one differs
  EXPECT_EQ(found->first, "\xC3\xAFve");
  EXPECT_FALSE(difference(made("same", {}), made("same", {{"same", -1, {}}})));
}

}  // namespace
}  // namespace rowmax::audit
