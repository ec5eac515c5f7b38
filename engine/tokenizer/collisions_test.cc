// Files whose tokens or merges were chosen to meet in one place of a hash table.
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "engine/tokenizer/bpe.h"
#include "engine/tokenizer/test_support.h"
#include "engine/tokenizer/vocabulary.h"

namespace rowmax::engine {
namespace {

// Half full tables with linear probing: about log n looks for the unluckiest key.
constexpr std::size_t kMostLooks = 128;

// 2000 texts whose std::hash ends in the same 12 bits: with it, the last of them would be found after 2000 looks.
TEST(Collisions, TokensChosenForStdHash) {
  TestVocabulary vocabulary = byte_vocabulary();
  for (std::uint64_t number = 0; vocabulary.tokens.size() < 2256; ++number) {
    std::string text = "t" + std::to_string(number);
    if ((std::hash<std::string_view>{}(text)&4095) == 0) vocabulary.add(std::move(text));
  }
  std::vector<std::string> notices;
  const TokenizerSource source = vocabulary.bpe("gpt-2");
  auto list = Vocabulary::create(source, notices);
  ASSERT_TRUE(list.ok()) << list.error().message;
  EXPECT_LE(list->longest_probe(), kMostLooks);
  EXPECT_GE(list->find(vocabulary.tokens.back()), 0);
}

std::uint64_t unseeded(std::uint64_t left, std::uint64_t right) {
  std::uint64_t x = left << 32 | right;
  x *= 0x9E3779B97F4A7C15u;
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93u;
  return x ^ x >> 32;
}

// Merges of tokens a and b for which a known mixing of the two ids ends in the same 12 bits.
TEST(Collisions, MergesChosenForAKnownMixing) {
  TestVocabulary vocabulary = byte_vocabulary();
  constexpr int kWords = 600;
  for (int i = 0; i < kWords; ++i) vocabulary.add("w" + std::to_string(i) + ".");
  int n_merges = 0;
  for (int left = 0; left < kWords && n_merges < 1500; ++left) {
    for (int right = 0; right < kWords && n_merges < 1500; ++right) {
      if ((unseeded(256 + left, 256 + right) & 255) != 0) continue;
      const std::string a = vocabulary.tokens[256 + left], b = vocabulary.tokens[256 + right];
      vocabulary.add(a + b);
      vocabulary.merges.push_back(a + " " + b);
      ++n_merges;
    }
  }
  ASSERT_GT(n_merges, 1000);
  std::vector<std::string> notices;
  const TokenizerSource source = vocabulary.bpe("gpt-2");
  auto list = Vocabulary::create(source, notices);
  ASSERT_TRUE(list.ok()) << list.error().message;
  auto merges = BpeMerges::create(source, *list, false, notices);
  ASSERT_TRUE(merges.ok()) << merges.error().message;
  EXPECT_LE(merges->longest_probe(), kMostLooks);
}

}  // namespace
}  // namespace rowmax::engine
