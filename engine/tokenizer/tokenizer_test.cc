#include "rowmax/engine/tokenizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>

#include "engine/tokenizer/test_support.h"

namespace rowmax::engine {
namespace {

using Ids = std::vector<TokenId>;

Tokenizer make(const TokenizerSource& source) {
  Result<Tokenizer> result = Tokenizer::from_source(source);
  EXPECT_TRUE(result.ok()) << result.error().message;
  if (!result.ok()) std::abort();
  return std::move(result).value();
}

void expect_error(const TokenizerSource& source, ErrorCode code, const std::string& part) {
  const Result<Tokenizer> result = Tokenizer::from_source(source);
  ASSERT_FALSE(result.ok()) << part;
  EXPECT_EQ(result.error().code, code) << result.error().message;
  EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
  EXPECT_EQ(result.error().message.find("test.gguf: "), 0u) << result.error().message;
}

bool has_notice(const Tokenizer& tokenizer, const std::string& part) {
  for (const std::string& notice : tokenizer.notices()) {
    if (notice.find(part) != std::string::npos) return true;
  }
  return false;
}

TEST(Tokenizer, WhatOnlyLooksLikeAnEndIsARemark) {
  TestVocabulary vocabulary = byte_vocabulary();
  const TokenId html = vocabulary.add("</s>", 1);  // ordinary, as in Gemma 3
  const TokenId end = vocabulary.add("<end_of_turn>", 3);
  const Tokenizer tokenizer = make(vocabulary.bpe("gpt-2"));
  ASSERT_EQ(tokenizer.remarks().size(), 1u);
  EXPECT_EQ(tokenizer.remarks()[0], "token " + std::to_string(html) +
                                        " '</s>' is not marked as a control token in the file; it is ordinary text and "
                                        "ends nothing");
  EXPECT_FALSE(has_notice(tokenizer, "</s>"));
  EXPECT_FALSE(tokenizer.is_end_of_generation(html));
  EXPECT_TRUE(tokenizer.is_end_of_generation(end));
}

TEST(Tokenizer, SpecialTokensOnlyWhereAllowed) {
  TestVocabulary vocabulary = byte_vocabulary();
  const TokenId end = vocabulary.add("<|im_end|>", 3);
  const TokenId user = vocabulary.add("<user>", 4);
  const TokenId longer = vocabulary.add("<user>>", 4);
  const Tokenizer tokenizer = make(vocabulary.bpe("gpt-2"));
  EXPECT_EQ(*tokenizer.encode("a<|im_end|>", true), (Ids{'a', end}));
  EXPECT_EQ(tokenizer.encode("<|im_end|>", false)->size(), 10u);
  EXPECT_EQ(*tokenizer.encode("a<user>b", false), (Ids{'a', user, 'b'}));
  EXPECT_EQ(*tokenizer.encode("<user>><user>", false), (Ids{longer, user}));
  EXPECT_EQ(*tokenizer.encode("", true), Ids{});
  EXPECT_EQ(*tokenizer.piece(end, false), "");
  EXPECT_EQ(*tokenizer.piece(end, true), "<|im_end|>");
  EXPECT_EQ(*tokenizer.piece(user, false), "<user>");
  EXPECT_EQ(*tokenizer.piece(-1, true), "");
  EXPECT_EQ(*tokenizer.piece(longer + 1, true), "");
  EXPECT_EQ(tokenizer.text(longer + 1), "");
}

// The parts of a chat: the template's own text and a user's words inside it.
TEST(Tokenizer, PartsJoinWordsButNeverMakeAControlToken) {
  TestVocabulary vocabulary = byte_vocabulary();
  const TokenId end = vocabulary.add("<|im_end|>", 3);
  const TokenId two = vocabulary.add("\xC4\x8A\xC4\x8A", 1);  // two line feeds, as the byte alphabet spells them
  vocabulary.merges.push_back("\xC4\x8A \xC4\x8A");
  const Tokenizer tokenizer = make(vocabulary.bpe("gpt-2"));
  const auto encode = [&](std::initializer_list<TextPart> parts) {
    return *tokenizer.encode(std::span<const TextPart>(parts.begin(), parts.size()));
  };
  EXPECT_EQ(encode({{"a", true}, {"<|im_end|>", true}}), (Ids{'a', end}));
  EXPECT_EQ(encode({{"<|im_", true}, {"end|>", true}}), Ids{end});  // both the template's own
  EXPECT_EQ(encode({{"<|im_end|>", false}, {"<|im_end|>", true}}).size(), 11u);
  EXPECT_EQ(encode({{"<|im_", true}, {"end|>", false}}).size(), 10u);
  EXPECT_EQ(encode({{"<|im_", false}, {"end|>", true}}).size(), 10u);
  EXPECT_EQ(encode({{"\n", true}, {"\n", false}}), Ids{two});  // a word may reach over the border
  EXPECT_EQ(encode({}), Ids{});
}

// A user-defined token whose text is the printable form of a byte stands for the character, not for the byte.
TEST(Tokenizer, UserDefinedTextThatLooksLikeAByte) {
  TestVocabulary vocabulary = byte_vocabulary();
  vocabulary.types[0xF5] = 4;
  const Tokenizer tokenizer = make(vocabulary.bpe("deepseek-coder"));
  EXPECT_EQ(*tokenizer.encode("\xC3\xB5", false), Ids{0xF5});
  EXPECT_EQ(*tokenizer.piece(0xF5, false), "\xC3\xB5");
  EXPECT_EQ(*tokenizer.decode(*tokenizer.encode("\xF5", false), false), "\xEF\xBF\xBD");
}

TEST(Tokenizer, SpaceBeforeTextAndAfterSpecialTokens) {
  TestVocabulary vocabulary = spm_vocabulary();
  const TokenId space = vocabulary.add("\xE2\x96\x81", 1, -5);
  const TokenId a = vocabulary.add("a", 1, -6);
  const TokenId space_a = vocabulary.add(
      "\xE2\x96\x81"
      "a",
      1, -1);
  const TokenId end = vocabulary.add("<|end|>", 3);
  const Tokenizer tokenizer = make(vocabulary.spm());
  EXPECT_EQ(*tokenizer.encode("a a", false), (Ids{space_a, space_a}));
  EXPECT_EQ(*tokenizer.encode(" a", false), (Ids{space, space_a}));
  EXPECT_EQ(*tokenizer.encode("a<|end|>a", true), (Ids{space_a, end, space_a}));
  EXPECT_EQ(*tokenizer.encode("<|end|> \n a", true), (Ids{end, space, space, 3 + '\n', space_a}));
  EXPECT_EQ(*tokenizer.decode(Ids{1, space_a, space_a}, false), "a a");
  EXPECT_EQ(*tokenizer.decode(Ids{1, space_a}, true), "<s>a");
  EXPECT_EQ(*tokenizer.decode(Ids{a, space_a}, true), "a a");
  TokenizerSource phi3 = vocabulary.spm();
  phi3.model_name = "Phi-3-mini";
  EXPECT_EQ(*make(phi3).encode("<|end|> \n a<s> a", true), (Ids{end, space_a, 1, space, space_a}));
}

TEST(Tokenizer, EndOfGeneration) {
  TestVocabulary vocabulary = byte_vocabulary();
  const TokenId text_end = vocabulary.add("<|endoftext|>", 3);
  const TokenId im_end = vocabulary.add("<|im_end|>", 1);
  const TokenId html = vocabulary.add("</s>", 4);
  const TokenId repo = vocabulary.add("<reponame>", 3);
  const TokenId eos = vocabulary.add("<fin>", 3);
  TokenizerSource source = vocabulary.bpe("smollm");
  source.ids = {{"eos_token_id", static_cast<std::uint64_t>(eos)},
                {"bos_token_id", static_cast<std::uint64_t>(text_end)}};
  const Tokenizer tokenizer = make(source);
  EXPECT_EQ(Ids(tokenizer.end_of_generation().begin(), tokenizer.end_of_generation().end()),
            (Ids{text_end, im_end, repo, eos}));
  EXPECT_TRUE(tokenizer.is_end_of_generation(im_end));
  EXPECT_FALSE(tokenizer.is_end_of_generation(html));
  EXPECT_EQ(tokenizer.kind(im_end), TokenKind::kControl);
  EXPECT_EQ(tokenizer.kind(html), TokenKind::kUserDefined);
  EXPECT_TRUE(has_notice(tokenizer, "'<|im_end|>' is not marked"));
  EXPECT_EQ(tokenizer.remarks().size(), 1u);  // </s>
  EXPECT_EQ(tokenizer.eos(), eos);
  EXPECT_EQ(tokenizer.bos(), text_end);
  EXPECT_FALSE(tokenizer.add_bos());
  const Tokenizer none = make(byte_vocabulary().bpe("gpt-2"));
  EXPECT_TRUE(none.end_of_generation().empty());
  EXPECT_TRUE(has_notice(none, "no token ends a turn"));
}

TEST(Tokenizer, MessageThatGoesOnIsNoEnd) {
  TestVocabulary vocabulary = byte_vocabulary();
  vocabulary.add("<|end|>", 3);
  const TokenId call = vocabulary.add("<|call|>", 3);
  const TokenId ret = vocabulary.add("<|return|>", 3);
  const Tokenizer tokenizer = make(vocabulary.bpe("gpt-4o"));
  EXPECT_EQ(Ids(tokenizer.end_of_generation().begin(), tokenizer.end_of_generation().end()), (Ids{call, ret}));
}

TEST(Tokenizer, BosDefaults) {
  TestVocabulary vocabulary = byte_vocabulary();
  TokenizerSource source = vocabulary.bpe("llama-bpe");
  EXPECT_FALSE(make(source).add_bos());
  EXPECT_TRUE(has_notice(make(source), "bos_token_id is missing"));
  source.add_bos = true;
  expect_error(source, ErrorCode::kCorrupt, "tokenizer.ggml.add_bos_token is true");
  source.ids = {{"bos_token_id", 7}};
  EXPECT_TRUE(make(source).add_bos());
  source.add_bos.reset();
  EXPECT_TRUE(make(source).add_bos());
  source.add_bos = false;
  EXPECT_FALSE(make(source).add_bos());
  const Tokenizer spm = make(spm_vocabulary().spm());
  EXPECT_TRUE(spm.add_bos());
  EXPECT_EQ(spm.bos(), 1);
  EXPECT_EQ(spm.eos(), 2);
  EXPECT_TRUE(has_notice(spm, "bos_token_id is missing: 1 '<s>' taken"));
}

TEST(Tokenizer, PreTokenizerIsNotGuessed) {
  TokenizerSource source = byte_vocabulary().bpe("x");
  const TestVocabulary vocabulary = byte_vocabulary();
  source = vocabulary.bpe("mystery");
  expect_error(source, ErrorCode::kUnsupported, "tokenizer.ggml.pre: unknown pre-tokenizer 'mystery'");
  expect_error(source, ErrorCode::kUnsupported, "--pre NAME");
  source.pre.reset();
  expect_error(source, ErrorCode::kUnsupported, "tokenizer.ggml.pre is missing");
  expect_error(source, ErrorCode::kUnsupported, "--pre NAME");
  const Result<Tokenizer> forced = Tokenizer::from_source(source, {"qwen2"});
  ASSERT_TRUE(forced.ok());
  EXPECT_EQ(forced->pre(), "qwen2");
  EXPECT_TRUE(has_notice(*forced, "taken from --pre"));
  EXPECT_FALSE(Tokenizer::from_source(source, {"mystery"}).ok());
  // What an architecture's files are known to need stands back behind both the file and the flag.
  const Result<Tokenizer> known = Tokenizer::from_source(source, {"", "llama-bpe"});
  ASSERT_TRUE(known.ok());
  EXPECT_EQ(known->pre(), "llama-bpe");
  EXPECT_TRUE(has_notice(*known, "tokenizer.ggml.pre is missing"));
  EXPECT_EQ(Tokenizer::from_source(source, {"qwen2", "llama-bpe"})->pre(), "qwen2");
  source.pre = "mystery";
  EXPECT_FALSE(Tokenizer::from_source(source, {"", "llama-bpe"}).ok());
  // The flag wins over one that the file names, known or not: "default" is what files say whose maker did not know.
  source.pre = "smollm";
  EXPECT_EQ(Tokenizer::from_source(source, {"qwen2"})->pre(), "qwen2");
  EXPECT_EQ(Tokenizer::from_source(source)->pre(), "smollm");
  source.model = "bert";
  expect_error(source, ErrorCode::kUnsupported, "tokenizer.ggml.model: expected gpt2, llama or gemma4, found 'bert'");
}

TEST(Tokenizer, RefusesBadLists) {
  const TestVocabulary good = byte_vocabulary();
  TokenizerSource source = good.bpe("gpt-2");
  source.token_types->pop_back();
  expect_error(source, ErrorCode::kCorrupt, "tokenizer.ggml.token_type: expected 256 entries");
  source = good.bpe("gpt-2");
  (*source.token_types)[3] = 7;
  expect_error(source, ErrorCode::kCorrupt, "token 3 has type 7");
  source = good.bpe("gpt-2");
  source.tokens[9] = source.tokens[8];
  expect_error(source, ErrorCode::kCorrupt, "tokens 8 and 9 have the same text");
  source = good.bpe("gpt-2");
  const std::string huge(10 << 20, 'x');
  source.tokens[5] = huge;
  expect_error(source, ErrorCode::kCorrupt, "token 5 is 10485760 bytes long");
  source = good.bpe("gpt-2");
  const std::string wide(2000, 'x');
  source.tokens[5] = wide;
  (*source.token_types)[5] = 3;
  expect_error(source, ErrorCode::kCorrupt, "special token 5 is 2000 bytes long");
  source = good.bpe("gpt-2");
  source.tokens.clear();
  expect_error(source, ErrorCode::kCorrupt, "tokenizer.ggml.tokens: expected 1 to");
  for (const char* key : {"bos_token_id", "eos_token_id", "eot_token_id", "eom_token_id", "unknown_token_id"}) {
    source = good.bpe("gpt-2");
    source.ids = {{key, 256}};
    expect_error(source, ErrorCode::kCorrupt,
                 std::string("tokenizer.ggml.") + key + ": 256 is not below the 256 tokens");
    source.ids = {{key, std::numeric_limits<std::uint64_t>::max()}};
    expect_error(source, ErrorCode::kCorrupt, key);
  }
}

TEST(Tokenizer, RefusesBadMerges) {
  TestVocabulary vocabulary = byte_vocabulary();
  vocabulary.add("ab");
  vocabulary.add("<s>", 3);
  TokenizerSource source = vocabulary.bpe("gpt-2");
  source.merges.reset();
  expect_error(source, ErrorCode::kCorrupt, "tokenizer.ggml.merges is missing");
  for (const char* merge : {"", "ab", " ab", "a ", " "}) {
    source.merges = {"a b", merge};
    expect_error(source, ErrorCode::kCorrupt, "merge 1 is not two texts with a space between");
  }
  source.merges = {"a xyz"};
  expect_error(source, ErrorCode::kCorrupt, "merge 0 joins a text that is not a token");
  source.merges = {"b a"};
  expect_error(source, ErrorCode::kCorrupt, "merge 0 makes a text that is not a token");
  vocabulary.add("<s");
  source = vocabulary.bpe("gpt-2");
  source.merges = {"<s >"};
  expect_error(source, ErrorCode::kCorrupt, "merge 0 makes a control token");
  source.merges = {"a b", "a b"};
  EXPECT_TRUE(has_notice(make(source), "1 merges stand there twice"));
}

TEST(Tokenizer, RefusesBadSentencePieceLists) {
  const TestVocabulary good = spm_vocabulary();
  TokenizerSource source = good.spm();
  source.scores.reset();
  expect_error(source, ErrorCode::kCorrupt, "tokenizer.ggml.scores is missing");
  source = good.spm();
  source.scores->push_back(0);
  expect_error(source, ErrorCode::kCorrupt, "tokenizer.ggml.scores: expected 259 entries");
  for (const float bad : {std::nanf(""), INFINITY, -INFINITY}) {
    source = good.spm();
    (*source.scores)[2] = bad;
    expect_error(source, ErrorCode::kCorrupt, "the score of token 2 is not finite");
  }
  source = good.spm();
  source.token_types.reset();
  expect_error(source, ErrorCode::kCorrupt, "tokenizer.ggml.token_type is missing");
  for (const char* text : {"<0x-1>", "<0xZZ>", "<0x1>", "<0x100>", "x", "<0x 1>"}) {
    source = good.spm();
    source.tokens[10] = text;
    expect_error(source, ErrorCode::kCorrupt, "byte token 10 is");
  }
  source = good.spm();
  source.tokens[3 + 0x41] = "<0x0a>";
  expect_error(source, ErrorCode::kCorrupt, "both stand for byte 10");
  source = good.spm();
  (*source.token_types)[10] = 1;
  EXPECT_TRUE(has_notice(make(source), "1 byte values have no token"));
}

TEST(Tokenizer, EmptyTokensMatchNothing) {
  TestVocabulary vocabulary = byte_vocabulary();
  const TokenId first = vocabulary.add("", 3);
  vocabulary.add("", 1);
  const Tokenizer tokenizer = make(vocabulary.bpe("gpt-2"));
  EXPECT_EQ(*tokenizer.encode("ab", true), (Ids{'a', 'b'}));
  EXPECT_EQ(tokenizer.find(""), -1);
  EXPECT_EQ(*tokenizer.piece(first, true), "");
  EXPECT_TRUE(has_notice(tokenizer, "2 tokens have an empty text"));
}

TEST(Tokenizer, FromGguf) {
  TestVocabulary vocabulary = byte_vocabulary();
  vocabulary.add("ab");
  const auto write = [&](bool types_as_strings) {
    GgufWriter writer;
    writer.set_string("tokenizer.ggml.model", "gpt2");
    writer.set_string("tokenizer.ggml.pre", "gpt-2");
    writer.set_strings("tokenizer.ggml.tokens", vocabulary.tokens);
    writer.set_strings("tokenizer.ggml.merges", {"a b"});
    if (types_as_strings) {
      writer.set_strings("tokenizer.ggml.token_type", vocabulary.tokens);
    } else {
      writer.set_int32s("tokenizer.ggml.token_type", std::vector<std::int32_t>(257, 1));
    }
    writer.set_uint32("tokenizer.ggml.eos_token_id", 3);
    writer.set_bool("tokenizer.ggml.add_bos_token", false);
    return std::move(writer.bytes()).value();
  };
  const std::vector<std::byte> bytes = write(false);
  const Result<GgufFile> file = GgufFile::parse(bytes, "test.gguf");
  ASSERT_TRUE(file.ok()) << file.error().message;
  const Result<Tokenizer> tokenizer = Tokenizer::from_gguf(*file);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  EXPECT_EQ(*tokenizer->encode("abc", false), (Ids{256, 'c'}));
  EXPECT_EQ(tokenizer->eos(), 3);
  EXPECT_EQ(tokenizer->model(), "gpt2");
  EXPECT_EQ(tokenizer->size(), 257);
  const std::vector<std::byte> bad = write(true);
  const Result<GgufFile> bad_file = GgufFile::parse(bad, "test.gguf");
  ASSERT_TRUE(bad_file.ok());
  const Result<Tokenizer> refused = Tokenizer::from_gguf(*bad_file);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("tokenizer.ggml.token_type: expected an array of i32"), std::string::npos)
      << refused.error().message;
}

}  // namespace
}  // namespace rowmax::engine
