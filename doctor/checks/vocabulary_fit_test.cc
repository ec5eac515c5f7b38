#include "doctor/checks/vocabulary_fit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "engine/tokenizer/pre_tokenizer.h"
#include "engine/tokenizer/source.h"

namespace rowmax::doctor {
namespace {

// The single bytes (as byte-level BPE spells the printable ones), then `more`.
engine::Tokenizer tokenizer_of(const std::vector<std::string>& more, const std::string& pre) {
  static std::vector<std::string> tokens;
  tokens.clear();
  for (char c = '!'; c <= '~'; ++c) tokens.emplace_back(1, c);
  tokens.insert(tokens.end(), more.begin(), more.end());
  engine::TokenizerSource source;
  source.name = "m.gguf";
  source.model = "gpt2";
  source.pre = pre;
  source.tokens = {tokens.begin(), tokens.end()};
  source.merges.emplace();
  auto tokenizer = engine::Tokenizer::from_source(source);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  return std::move(tokenizer).value();
}

VocabularyFit fit(const std::vector<std::string>& more, const std::string& pre) {
  const auto result = fit_vocabulary(tokenizer_of(more, pre));
  EXPECT_TRUE(result.ok());
  return *result;
}

std::vector<std::string> words(int n) {
  std::vector<std::string> out;
  for (int i = 0; i < n; ++i) {
    std::string word = i % 2 == 0 ? "\xC4\xA0" : "";
    for (int rest = i + 26; rest > 0; rest /= 26) word += static_cast<char>('a' + rest % 26);
    out.push_back(word + "q");
  }
  return out;
}

// Numbers of three digits, which Llama 3 keeps together and Qwen and SmolLM take one by one.
TEST(VocabularyFit, DigitsUnderAPreTokenizerThatTakesThemOneByOne) {
  std::vector<std::string> tokens = words(3000);
  for (int i = 100; i < 1000; ++i) tokens.push_back(std::to_string(i));
  for (const char* pre : {"qwen2", "smollm"}) {
    const VocabularyFit found = fit(tokens, pre);
    EXPECT_TRUE(found.wrong()) << pre;
    EXPECT_EQ(found.n_impossible, 900) << pre;
    EXPECT_EQ(found.n_impossible_best, 0) << pre;
    EXPECT_EQ(found.example, "100");
    EXPECT_FALSE(fit(tokens, found.best).wrong()) << found.best;
  }
  const VocabularyFit own = fit(tokens, "llama-bpe");
  EXPECT_FALSE(own.wrong());
  EXPECT_EQ(own.n_impossible, 0);
  EXPECT_EQ(own.n_tokens, 3900);
}

// "(word" is one word for Llama 3 and Qwen and two for GPT-2.
TEST(VocabularyFit, PunctuationBeforeLetters) {
  std::vector<std::string> tokens;
  for (const std::string& word : words(4000)) tokens.push_back(word.starts_with("\xC4") ? word : "(" + word);
  EXPECT_TRUE(fit(tokens, "gpt-2").wrong());
  EXPECT_TRUE(fit(tokens, "smollm").wrong());
  EXPECT_EQ(fit(tokens, "gpt-2").best, "qwen2");  // digits one by one, as the vocabulary has none together
  EXPECT_FALSE(fit(tokens, "qwen2").wrong());
  EXPECT_FALSE(fit(tokens, "llama-bpe").wrong());
}

TEST(VocabularyFit, PlainWordsFitEveryPreTokenizer) {
  for (const engine::PreTokenizer& pre : engine::pre_tokenizers()) {
    EXPECT_FALSE(fit(words(3000), std::string(pre.name)).wrong()) << pre.name;
  }
}

engine::GgufFile file_with(const std::function<void(engine::GgufWriter&)>& set) {
  static std::vector<std::byte> bytes;
  engine::GgufWriter writer;
  writer.set_string("general.architecture", "llama");
  set(writer);
  bytes = std::move(writer.bytes()).value();
  return std::move(engine::GgufFile::parse(bytes, "m.gguf")).value();
}

// Merge i makes the token number i behind the bytes, as learning numbers them.
TEST(VocabularyOrder, IdsAscendWithTheMergesThatMakeThem) {
  std::vector<std::string> tokens, merges;
  for (int i = 0; i < 20 * 20; ++i) {
    const char a = static_cast<char>('a' + i / 20), b = static_cast<char>('a' + i % 20);
    tokens.push_back({a, b});
    merges.push_back({a, ' ', b});
  }
  const engine::GgufFile file =
      file_with([&](engine::GgufWriter& writer) { writer.set_strings("tokenizer.ggml.merges", merges); });
  const auto order = [&](std::vector<std::string> changed) {
    return vocabulary_order(file, tokenizer_of(changed, "gpt-2"));
  };
  const VocabularyOrder sound = order(tokens);
  EXPECT_EQ(sound.n_steps, 399);
  EXPECT_EQ(sound.n_ascending, 399);
  EXPECT_FALSE(sound.wrong());
  std::vector<std::string> changed = tokens;
  std::ranges::rotate(changed, changed.begin() + 1);  // one id off
  EXPECT_FALSE(order(changed).wrong());
  changed = tokens;
  std::ranges::reverse(changed);
  EXPECT_EQ(order(changed).n_ascending, 0);
  EXPECT_TRUE(order(changed).wrong());
  std::ranges::shuffle(changed, std::mt19937(1));
  EXPECT_TRUE(order(changed).wrong());
  EXPECT_FALSE(vocabulary_order(file_with([](engine::GgufWriter&) {}), tokenizer_of(tokens, "gpt-2")).wrong());
}

}  // namespace
}  // namespace rowmax::doctor
