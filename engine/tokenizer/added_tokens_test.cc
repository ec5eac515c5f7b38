// What the vectors of engine/convert (testdata/added_tokens.jsonl) cannot say: parts, and files that contradict
// themselves.
#include "engine/tokenizer/added_tokens.h"

#include <gtest/gtest.h>

#include "engine/tokenizer/test_support.h"

namespace rowmax::engine {
namespace {

using Ids = std::vector<TokenId>;

Result<Tokenizer> with_flags(TokenizerSource source, std::vector<std::pair<std::int64_t, std::int64_t>> flags) {
  source.added_token_flags = std::move(flags);
  return Tokenizer::from_source(source);
}

TEST(AddedTokens, TheSecondPassKeepsToTheParts) {
  TestVocabulary vocabulary = spm_vocabulary();
  const TokenId mark = vocabulary.add("\u2581");
  const TokenId a = vocabulary.add("a");
  const TokenId user = vocabulary.add("a a", 4);     // in normalised text, behind its mark
  const TokenId control = vocabulary.add("<a>", 3);  // likewise, and only where control tokens are asked for
  const auto tokenizer =
      with_flags(vocabulary.spm(), {{user, kSecondPass | kInNormalText}, {control, kSecondPass | kInNormalText}});
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  const auto encode = [&](std::initializer_list<TextPart> parts) {
    return *tokenizer->encode(std::span<const TextPart>(parts.begin(), parts.size()));
  };
  EXPECT_EQ(encode({{"a a", false}}), Ids{user});
  EXPECT_EQ(encode({{"a a<s>a", true}}), (Ids{user, 1, mark, a}));
  EXPECT_EQ(encode({{"a a a", false}}), (Ids{user, mark, a}));
  EXPECT_EQ(encode({{"aa a", false}}), (Ids{mark, a, a, mark, a}));
  EXPECT_EQ(encode({{"a ", false}, {"a", true}}), (Ids{mark, a, mark, a}));  // none is put together of two parts
  EXPECT_EQ(encode({{"a <a> a", true}}), (Ids{mark, a, control, mark, a}));
  EXPECT_EQ(encode({{"a <a> a", false}}).size(), 2u + 1u + 3u + 2u);
  EXPECT_EQ(encode({{"a", true}, {" <a>", false}, {" <a>", true}}).size(), 2u + 4u + 1u);
}

TEST(AddedTokens, FilesThatContradictThemselves) {
  TestVocabulary vocabulary = spm_vocabulary();
  const TokenId first = vocabulary.add("x y", 4), second = vocabulary.add("x\u2581y", 4);
  const auto refused = [&](std::vector<std::pair<std::int64_t, std::int64_t>> flags, const std::string& part) {
    const auto result = with_flags(vocabulary.spm(), std::move(flags));
    ASSERT_FALSE(result.ok()) << part;
    EXPECT_EQ(result.error().code, ErrorCode::kCorrupt);
    for (const std::string& text : {std::string("test.gguf: rowmax.tokenizer.added_token_flags: "), part}) {
      EXPECT_NE(result.error().message.find(text), std::string::npos) << result.error().message;
    }
  };
  refused({{first, 128}}, "flags from 0 to 127, found 259 with 128");
  refused({{second, -1}}, "found 260 with -1");
  refused({{1000, 1}}, "found 1000 with 1");
  refused({{first, kInNormalText}}, "expected 64 for all tokens of the second pass (8) or for none, found 259 with 64");
  refused({{first, kSecondPass}, {second, kSecondPass | kInNormalText}}, "found 260 with 72");
  refused({{first, kSecondPass | kInNormalText}, {second, kSecondPass}}, "found 260 with 8");
  refused({{first, kSecondPass | kInNormalText}, {second, kSecondPass | kInNormalText}},
          "texts that differ once normalised, found tokens 259 and 260");
  TokenizerSource source = vocabulary.spm();
  source.normalizer = "NFC";
  const auto result = with_flags(source, {});
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(result.error().message.find("rowmax.tokenizer.normalizer: expected none beside a llama model, found 'NFC'"),
            std::string::npos)
      << result.error().message;
}

// A piece that is a user-defined token too stands for its bytes wherever the model makes it.
TEST(AddedTokens, PiecesOfTheModel) {
  TestVocabulary vocabulary = byte_vocabulary();
  vocabulary.types[0xE9] = 4;
  const auto plain = with_flags(vocabulary.bpe("gpt-2"), {});
  const auto merged = with_flags(vocabulary.bpe("gpt-2"), {{0xE9, kAlsoMerged}});
  ASSERT_TRUE(plain.ok() && merged.ok());
  EXPECT_EQ(*merged->encode("\u00E9", false), Ids{0xE9});
  EXPECT_EQ(*merged->encode("\u9000", false), (Ids{0xE9, 0x80, 0x80}));
  EXPECT_EQ(*merged->decode(*merged->encode("\u9000", false), false), "\u9000");
  EXPECT_NE(*plain->encode("\u9000", false), (Ids{0xE9, 0x80, 0x80}));
}

}  // namespace
}  // namespace rowmax::engine
