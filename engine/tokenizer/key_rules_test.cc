#include "engine/tokenizer/key_rules.h"

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <sstream>

#include "engine/tokenizer/test_support.h"
#include "rowmax/engine/tokenizer.h"

namespace rowmax::engine {
namespace {

// The bytes of a vocabulary of bytes, with "ab" merged and a BOS, as a file.
std::vector<std::byte> file_with(const std::function<void(GgufWriter&)>& change) {
  TestVocabulary vocabulary = byte_vocabulary();
  vocabulary.add("ab");
  vocabulary.add("<s>", 3);
  GgufWriter writer;
  writer.set_string("general.architecture", "llama");
  writer.set_string("tokenizer.ggml.model", "gpt2");
  writer.set_string("tokenizer.ggml.pre", "default");
  writer.set_strings("tokenizer.ggml.tokens", vocabulary.tokens);
  writer.set_int32s("tokenizer.ggml.token_type", {vocabulary.types.begin(), vocabulary.types.end()});
  writer.set_strings("tokenizer.ggml.merges", {"a b"});
  writer.set_uint32("tokenizer.ggml.bos_token_id", 257);
  change(writer);
  auto bytes = writer.bytes();
  EXPECT_TRUE(bytes.ok()) << bytes.error().message;
  return std::move(bytes).value();
}

Result<Tokenizer> tokenizer_of(const std::vector<std::byte>& bytes, const TokenizerOptions& options = {}) {
  auto file = GgufFile::parse(bytes, "m.gguf");
  EXPECT_TRUE(file.ok()) << file.error().message;
  return Tokenizer::from_gguf(*file, options);
}

const auto unchanged = [](GgufWriter&) {};

void expect_refused(const Result<Tokenizer>& result, ErrorCode code, std::initializer_list<std::string_view> parts) {
  ASSERT_FALSE(result.ok()) << *parts.begin();
  EXPECT_EQ(result.error().code, code) << result.error().message;
  for (const std::string_view part : parts) {
    EXPECT_NE(result.error().message.find(part), std::string::npos) << part << " in " << result.error().message;
  }
}

TEST(TokenizerKeys, EveryKeyThatGgufKnows) {
  std::ifstream list(std::string(ROWMAX_SOURCE_DIR) + "/engine/arch/testdata/gguf_keys.txt");
  int n_keys = 0;
  for (std::string line; std::getline(list, line);) {
    std::istringstream words(line);
    std::string key, expected;
    words >> key >> expected;
    if (!key.starts_with("tokenizer.")) continue;
    ++n_keys;
    if (expected == "read") continue;
    if (const auto brace = key.find('{'); brace != std::string::npos) key = key.substr(0, brace) + "tool_use";
    const auto bytes = file_with([&](GgufWriter& writer) { writer.set_uint32(key, 7); });
    auto file = GgufFile::parse(bytes, "m.gguf");
    bool seen = false;
    const auto reports = Tokenizer::report_keys(*file);
    ASSERT_TRUE(reports.ok());
    for (const KeyReport& report : *reports) {
      if (report.key != key) continue;
      seen = true;
      EXPECT_EQ(key_use_name(report.use), expected) << key;
    }
    EXPECT_TRUE(seen) << key;
    auto tokenizer = tokenizer_of(bytes);
    EXPECT_EQ(tokenizer.ok(), expected == "harmless") << key;
  }
  EXPECT_GE(n_keys, 30);
}

TEST(TokenizerKeys, WhatWouldChangeIdsIsRefusedAndCanBeIgnored) {
  const std::string key = "tokenizer.ggml.add_cls_token";
  EXPECT_TRUE(tokenizer_of(file_with([&](GgufWriter& w) { w.set_bool(key, false); })).ok());
  const auto bytes = file_with([&](GgufWriter& w) { w.set_bool(key, true); });
  expect_refused(tokenizer_of(bytes), ErrorCode::kUnsupported, {"m.gguf", key, "true", "--ignore-key"});
  TokenizerOptions options;
  options.ignored_keys = {key};
  EXPECT_TRUE(tokenizer_of(bytes, options).ok());
  options.ignored_keys = {"tokenizer.ggml.merges"};
  expect_refused(tokenizer_of(bytes, options), ErrorCode::kInvalidArgument, {"--ignore-key tokenizer.ggml.merges"});
  expect_refused(tokenizer_of(file_with([](GgufWriter& w) { w.set_uint32("tokenizer.ggml.of_tomorrow", 1); })),
                 ErrorCode::kUnsupported, {"tokenizer.ggml.of_tomorrow", "does not know"});
}

// What ollama's converter writes: a list of ids beside the one, and a switch for each special token.
TEST(TokenizerKeys, OllamasListOfEnds) {
  auto tokenizer = tokenizer_of(file_with([](GgufWriter& w) {
    w.set_uint32("tokenizer.ggml.eos_token_id", 97);
    w.set_int32s("tokenizer.ggml.eos_token_ids", {97, 98, 257});
    w.set_bool("tokenizer.ggml.add_padding_token", true);
    w.set_bool("tokenizer.ggml.add_unknown_token", true);
    w.set_bool("tokenizer.ggml.add_mask_token", true);
    w.set_bool("tokenizer.ggml.add_cls_token", false);
  }));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  for (const TokenId id : {97, 98, 257}) EXPECT_TRUE(tokenizer->is_end_of_generation(id)) << id;
  EXPECT_FALSE(tokenizer->is_end_of_generation(99));
  EXPECT_EQ(tokenizer->eos(), 97);
  expect_refused(tokenizer_of(file_with([](GgufWriter& w) {
                   w.set_int32s("tokenizer.ggml.eos_token_ids", {97, 9999});
                 })),
                 ErrorCode::kCorrupt, {"m.gguf", "tokenizer.ggml.eos_token_ids", "9999"});
  expect_refused(tokenizer_of(file_with([](GgufWriter& w) { w.set_string("tokenizer.ggml.eos_token_ids", "97"); })),
                 ErrorCode::kCorrupt, {"m.gguf", "tokenizer.ggml.eos_token_ids", "an array of integers"});
}

TEST(TokenizerKeys, AllThatAreRefusedAreNamedAtOnce) {
  const auto bytes = file_with([](GgufWriter& w) {
    w.set_bool("tokenizer.ggml.add_cls_token", true);
    w.set_uint32("tokenizer.ggml.of_tomorrow", 1);
  });
  expect_refused(tokenizer_of(bytes), ErrorCode::kUnsupported,
                 {"m.gguf: 2 keys", "'tokenizer.ggml.add_cls_token' = true", "'tokenizer.ggml.of_tomorrow' = 1",
                  "--ignore-key tokenizer.ggml.add_cls_token --ignore-key tokenizer.ggml.of_tomorrow"});
}

TEST(TokenizerKeys, OverridesStandForKeys) {
  const auto bytes = file_with([](GgufWriter& w) { w.set_bool("tokenizer.ggml.add_bos_token", true); });
  EXPECT_TRUE(tokenizer_of(bytes)->add_bos());
  const auto with = [&](const std::string& key, const std::string& value) {
    TokenizerOptions options;
    options.overrides = {{"llama.block_count", "3"}, {key, value}};
    return tokenizer_of(bytes, options);
  };
  EXPECT_FALSE(with("tokenizer.ggml.add_bos_token", "false")->add_bos());
  EXPECT_EQ(with("tokenizer.ggml.eos_token_id", "97")->eos(), 97);
  EXPECT_EQ(with("tokenizer.ggml.pre", "llama-bpe")->pre(), "llama-bpe");
  expect_refused(with("tokenizer.ggml.add_bos_token", "perhaps"), ErrorCode::kInvalidArgument,
                 {"tokenizer.ggml.add_bos_token", "true or false", "perhaps"});
  expect_refused(with("tokenizer.ggml.eos_token_id", "-1"), ErrorCode::kInvalidArgument, {"eos_token_id", "'-1'"});
  expect_refused(with("tokenizer.ggml.eos_token_id", "258"), ErrorCode::kCorrupt, {"eos_token_id", "258"});
  expect_refused(with("tokenizer.ggml.tokens", "a"), ErrorCode::kInvalidArgument, {"single value"});
  expect_refused(with("tokenizer.chat_template", "{{ 1 }}"), ErrorCode::kInvalidArgument,
                 {"m.gguf", "tokenizer.chat_template", "--chat-template FILE"});
  expect_refused(with("tokenizer.ggml.add_box_token", "1"), ErrorCode::kInvalidArgument, {"does not read"});
}

TEST(TokenizerKeys, PreOverridesWhatTheFileNames) {
  TokenizerOptions options;
  options.pre_override = "llama-bpe";
  auto tokenizer = tokenizer_of(file_with(unchanged), options);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->pre(), "llama-bpe");
  ASSERT_FALSE(tokenizer->notices().empty());
  EXPECT_NE(tokenizer->notices()[0].find("the file names 'default'"), std::string::npos);
  options.pre_override = "default";
  EXPECT_EQ(tokenizer_of(file_with(unchanged), options)->pre(), "default");
  options.pre_override = "bogus";
  expect_refused(tokenizer_of(file_with(unchanged), options), ErrorCode::kInvalidArgument,
                 {"--pre", "llama-bpe", "'bogus'"});
}

TEST(TokenizerKeys, SentencePieceHasNoPreTokenizer) {
  const TestVocabulary vocabulary = spm_vocabulary();
  TokenizerOptions options;
  options.pre_override = "llama-bpe";
  expect_refused(Tokenizer::from_source(vocabulary.spm(), options), ErrorCode::kInvalidArgument,
                 {"--pre llama-bpe", "SentencePiece"});
}

}  // namespace
}  // namespace rowmax::engine
