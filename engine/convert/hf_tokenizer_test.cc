// Ids as Hugging Face `tokenizers` gives them (testdata/*_ids.txt, tools/oracle/make_hf_folders.py).
#include "engine/convert/hf_tokenizer.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "engine/convert/spm_scores.h"
#include "engine/convert/test_folder.h"
#include "rowmax/engine/tokenizer.h"

namespace rowmax::engine {
namespace {

using Text = nlohmann::json;  // a tokenizer.json that can be changed

const std::string kTestdata = ROWMAX_SOURCE_DIR "/engine/convert/testdata/";
constexpr std::int64_t kVocab[] = {280, 472};

class HfTokenizer : public FolderTest {
 protected:
  static Text stored(const std::string& name) { return Text::parse(content(kTestdata + name + ".json")); }
  static JsonDocument read(const Text& text) {
    auto document = parse_json(text.dump(), "test");
    EXPECT_TRUE(document.ok());
    return std::move(*document);
  }
  static std::string recognise(const Text& pre_tokenizer, bool ignore_merges) {
    return recognise_pre_tokenizer(read(pre_tokenizer).root(), ignore_merges).name;
  }
  static Result<std::vector<std::string>> write(const Text& tokenizer, GgufWriter& keys, const std::string& pre = "",
                                                std::int64_t vocab_size = 512) {
    HfTokenizerFiles files;
    files.folder = "folder";
    files.tokenizer = read(tokenizer);
    const JsonDocument config = read(Text::object());
    return write_tokenizer(files, config.root(), vocab_size, pre, keys);
  }
  static void refused(const Text& tokenizer, ErrorCode code, std::initializer_list<std::string_view> texts,
                      const std::string& pre = "", std::int64_t vocab_size = 512) {
    GgufWriter keys;
    const auto result = write(tokenizer, keys, pre, vocab_size);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(error_code_name(result.error().code), std::string_view(error_code_name(code))) << result.error().message;
    for (const std::string_view text : texts) {
      EXPECT_NE(result.error().message.find(text), std::string::npos) << result.error().message << "\nhas no " << text;
    }
  }
};

std::string from_hex(const std::string& hex) {
  std::string text;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    text += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return text;
}

// What transformers puts around a text, and GGUF has no key for, is refused rather than dropped.
TEST_F(HfTokenizer, PostProcessorsAreBosInFrontOrRefused) {
  const Text text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const auto special = [](const std::string& id) { return Text{{"SpecialToken", {{"id", id}, {"type_id", 0}}}}; };
  const auto with = [&](const Text& post_processor) {
    Text tokenizer = stored("tokenizer");
    tokenizer["post_processor"] = post_processor;
    return tokenizer;
  };
  const auto single = [](Text parts) { return Text{{"type", "TemplateProcessing"}, {"single", std::move(parts)}}; };
  const std::string token = stored("tokenizer")["added_tokens"][0]["content"];
  for (const Text& fine : {Text(nullptr), Text{{"type", "ByteLevel"}}, single({text}),
                           Text{{"type", "Sequence"}, {"processors", {{{"type", "ByteLevel"}}, single({text})}}}}) {
    GgufWriter keys;
    const auto result = write(with(fine), keys);
    EXPECT_TRUE(result.ok()) << result.error().message;
  }
  for (const Text& rule :
       {single({text, special(token)}), single({special(token), text, special(token)}),
        single({special(token), special(token), text}), Text{{"type", "Foo"}}, Text{{"type", "BertProcessing"}},
        Text{{"type", "Sequence"}, {"processors", {{{"type", "Foo"}}}}}}) {
    refused(with(rule), ErrorCode::kUnsupported, {"post_processor", "BOS"});
  }
}

TEST_F(HfTokenizer, TheSameIdsAsTokenizers) {
  for (const std::string name : {"tokenizer", "spm_tokenizer"}) {
    SCOPED_TRACE(name);
    GgufWriter keys;
    const auto notices = write(stored(name), keys);
    ASSERT_TRUE(notices.ok()) << notices.error().message;
    const auto bytes = keys.bytes();
    ASSERT_TRUE(bytes.ok()) << bytes.error().message;
    const auto file = GgufFile::parse(*bytes, name);
    const auto tokenizer = Tokenizer::from_gguf(*file);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    std::ifstream lines(kTestdata + name + "_ids.txt");
    int n_lines = 0;
    for (std::string line; std::getline(lines, line); ++n_lines) {
      const std::string text = from_hex(line.substr(0, line.find(';')));
      std::istringstream ids(line.substr(line.find(';') + 1));
      std::vector<TokenId> expected;
      for (TokenId id; ids >> id;) expected.push_back(id);
      EXPECT_EQ(*tokenizer->encode(text, true), expected) << text;
    }
    EXPECT_EQ(n_lines, 9);
  }
}

// testdata/variant_ids.txt: the stored tokenizers with flags on an added token, and with Metaspace in its schemes.
TEST_F(HfTokenizer, FlagsOfAddedTokensAndSchemesOfSpaces) {
  std::ifstream lines(kTestdata + "variant_ids.txt");
  int n_lines = 0;
  for (std::string line; std::getline(lines, line); ++n_lines) {
    SCOPED_TRACE(line);
    const std::string variant = line.substr(0, line.find(';'));
    line = line.substr(variant.size() + 1);
    const std::string text = from_hex(line.substr(0, line.find(';')));
    std::istringstream ids(line.substr(line.find(';') + 1));
    std::vector<TokenId> expected;
    for (TokenId id; ids >> id;) expected.push_back(id);
    Text made;
    if (variant.size() == 1) {
      const int flags = variant[0] - '0';
      made = stored("tokenizer");
      made["added_tokens"].push_back({{"id", 280u},
                                      {"content", "cat"},
                                      {"lstrip", (flags & 1) != 0},
                                      {"rstrip", (flags & 2) != 0},
                                      {"single_word", (flags & 4) != 0},
                                      {"normalized", false},
                                      {"special", false}});
    } else {
      made = stored("spm_tokenizer");
      made["normalizer"] = nullptr;
      made["pre_tokenizer"] = {
          {"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", variant}, {"split", false}};
      made["added_tokens"].erase(made["added_tokens"].size() - 1);
      made["model"]["vocab"].erase("\u2581\u2581");
    }
    GgufWriter keys;
    const auto notices = write(made, keys);
    ASSERT_TRUE(notices.ok()) << notices.error().message;
    const auto bytes = keys.bytes();
    ASSERT_TRUE(bytes.ok());
    const auto file = GgufFile::parse(*bytes, "m");
    const auto tokenizer = Tokenizer::from_gguf(*file);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    EXPECT_EQ(*tokenizer->encode(text, true), expected);
    // Every variant but the plain ones says what it keeps beside GGUF's own keys.
    const auto said = [](const std::string& notice) { return notice.find("rowmax.tokenizer.") != std::string::npos; };
    EXPECT_EQ(std::ranges::any_of(*notices, said), variant != "0" && variant != "never");
  }
  EXPECT_EQ(n_lines, 8 * 7 + 3 * 6);
}

// One of tools/oracle/added_tokens.py's tokenizers: a stored one with other steps and added tokens.
Text patched(const Text& patch, Text made) {
  if (patch["base"] == "spm_tokenizer") made["model"]["vocab"].erase("\u2581\u2581");
  for (const char* key : {"normalizer", "pre_tokenizer", "added_tokens"}) made[key] = patch[key];
  made["model"]["vocab"].update(patch["vocab"]);
  for (const Text& merge : patch["merges"]) made["model"]["merges"].push_back(merge);
  return made;
}

// testdata/added_tokens.jsonl; ROWMAX_ADDED_TOKENS: another file that the script has written.
TEST_F(HfTokenizer, RandomAddedTokens) {
  const char* other = std::getenv("ROWMAX_ADDED_TOKENS");
  std::ifstream lines(other != nullptr ? other : kTestdata + "added_tokens.jsonl");
  std::string line;
  std::getline(lines, line);  // the source
  std::map<std::string, int> refused;
  int n_tokenizers = 0, n_texts = 0, n_refused = 0;
  for (; std::getline(lines, line); ++n_tokenizers) {
    const Text patch = Text::parse(line);
    SCOPED_TRACE(patch["kind"].get<std::string>() + " " + patch["added_tokens"].dump());
    GgufWriter keys;
    const auto notices = write(patched(patch, stored(patch["base"])), keys, "", 544);
    if (!notices.ok()) {
      EXPECT_EQ(error_code_name(notices.error().code), std::string_view("unsupported")) << notices.error().message;
      ++refused[notices.error().message];
      ++n_refused;
      continue;
    }
    const auto bytes = keys.bytes();
    ASSERT_TRUE(bytes.ok());
    const auto file = GgufFile::parse(*bytes, "m");
    const auto tokenizer = Tokenizer::from_gguf(*file);
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    if (!tokenizer.ok()) continue;
    for (const Text& pair : patch["texts"]) {
      ++n_texts;
      EXPECT_EQ(*tokenizer->encode(pair[0].get<std::string>(), true), pair[1].get<std::vector<TokenId>>()) << pair[0];
    }
  }
  if (other == nullptr) {
    EXPECT_EQ(n_tokenizers, 90);
    EXPECT_EQ(n_texts, 462);
    EXPECT_EQ(n_refused, 13);
  } else {
    for (const auto& [message, count] : refused) printf("%d refused: %s\n", count, message.c_str());
    printf("%d tokenizers, %d refused, %d texts\n", n_tokenizers, n_refused, n_texts);
  }
}

TEST_F(HfTokenizer, AddedTokensThatCannotBeWritten) {
  const auto with = [](const std::string& base, const Text& token) {
    Text made = stored(base);
    made["added_tokens"].push_back(token);
    return made;
  };
  // `tokenizers` numbers them itself.
  refused(with("tokenizer", {{"id", 281u}, {"content", "cat"}}), ErrorCode::kCorrupt,
          {"tokenizer.json: added_tokens: 'cat': expected id 280 (the next that is free", "found 281"});
  refused(with("tokenizer", {{"id", 280u}, {"content", "\u0120the"}}), ErrorCode::kCorrupt,
          {"expected id 261 (as in model.vocab", "found 280"});
  // A control token that a model's text can become.
  refused(with("tokenizer", {{"id", 236u}, {"content", "\u00e9"}, {"special", true}}), ErrorCode::kUnsupported,
          {"is special, and the model makes it by merging too"});
  refused(with("spm_tokenizer", {{"id", 464u}, {"content", "x \u2581y"}, {"special", false}}), ErrorCode::kUnsupported,
          {"added_tokens", "expected spaces or U+2581, found both"});
  refused(with("spm_tokenizer", {{"id", 464u}, {"content", "  "}, {"special", false}}), ErrorCode::kUnsupported,
          {"expected texts that differ once normalised, found ids 4 and 464"});
  GgufWriter keys;
  EXPECT_TRUE(write(with("tokenizer", {{"id", 280u}, {"content", "cat"}, {"special", true}}), keys).ok());
}

TEST_F(HfTokenizer, MetaspaceThatCutsWhereTokensReachOver) {
  Text made = stored("spm_tokenizer");
  made["normalizer"] = nullptr;
  made["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "never"}};
  made["added_tokens"].erase(made["added_tokens"].size() - 1);
  made["model"]["vocab"].erase("\u2581\u2581");
  GgufWriter keys;
  EXPECT_TRUE(write(made, keys).ok());
  made["model"]["vocab"]["e\u2581t"] = 480u;
  refused(made, ErrorCode::kUnsupported, {"pre_tokenizer.split", "U+2581"});
}

TEST_F(HfTokenizer, RowsWithoutATokenAreFilledUp) {
  GgufWriter keys;
  const auto notices = write(stored("tokenizer"), keys, "", kVocab[0] + 2);
  ASSERT_TRUE(notices.ok());
  ASSERT_EQ(notices->size(), 1u);
  EXPECT_NE((*notices)[0].find("2 rows"), std::string::npos);
  const auto bytes = keys.bytes();
  const auto file = GgufFile::parse(*bytes, "m");
  EXPECT_EQ((*file->get_array("tokenizer.ggml.tokens", GgufType::kString))->strings[281], "[PAD281]");
  EXPECT_EQ((*file->get_int_array("tokenizer.ggml.token_type"))->as_int(281), 5);
  EXPECT_EQ((*file->get_int_array("tokenizer.ggml.token_type"))->as_int(1), 3);
  refused(stored("tokenizer"), ErrorCode::kCorrupt, {"tokenizer.json", "279"}, "", kVocab[0] - 1);
}

TEST_F(HfTokenizer, PreTokenizersByTheirExpressions) {
  const auto split = [](const char* regex, const char* behavior = "Isolated") {
    return Text{{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", behavior}, {"invert", false}};
  };
  const auto with_bytes = [](Text first, bool use_regex) {
    return Text{{"type", "Sequence"},
                {"pretokenizers",
                 {std::move(first), {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", use_regex}}}}};
  };
  const char* llama3 =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  const char* qwen2 =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  EXPECT_EQ(recognise(with_bytes(split(llama3), false), true), "llama-bpe");
  EXPECT_EQ(recognise(with_bytes(split(llama3), false), false), "smaug-bpe");
  const char* const lfm25 =
      R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s)";
  EXPECT_EQ(recognise(with_bytes(split(lfm25), false), true), "lfm2");
  EXPECT_EQ(recognise(with_bytes(split(lfm25), false), false), "smaug-bpe");
  EXPECT_EQ(recognise(with_bytes(split(qwen2), false), false), "qwen2");
  EXPECT_EQ(recognise(with_bytes({{"type", "Digits"}, {"individual_digits", true}}, true), false), "smollm");
  EXPECT_EQ(recognise({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}, false), "gpt-2");
  // Nearly the same is not the same.
  EXPECT_EQ(recognise(with_bytes(split(qwen2), false), true), "");
  EXPECT_EQ(recognise(with_bytes(split(qwen2), true), false), "");
  EXPECT_EQ(recognise(with_bytes(split(qwen2, "Removed"), false), false), "");
  EXPECT_EQ(recognise(with_bytes(split("\\s+"), false), false), "");
  EXPECT_EQ(recognise(with_bytes({{"type", "Digits"}, {"individual_digits", false}}, true), false), "");
  // A space in front of the text can be said; one in front of every word cannot.
  const Text spaced = {{"type", "ByteLevel"}, {"add_prefix_space", true}};
  EXPECT_EQ(recognise(spaced, false), "gpt-2");
  EXPECT_TRUE(recognise_pre_tokenizer(read(spaced).root(), false).add_prefix_space);
  EXPECT_FALSE(recognise_pre_tokenizer(read({{"type", "ByteLevel"}, {"add_prefix_space", false}}).root(), false)
                   .add_prefix_space);
  EXPECT_EQ(
      recognise({{"type", "Sequence"}, {"pretokenizers", {{{"type", "Digits"}, {"individual_digits", true}}, spaced}}},
                false),
      "");
  EXPECT_EQ(recognise({{"type", "Whitespace"}}, false), "");
  EXPECT_EQ(recognise(Text(), false), "");
}

TEST_F(HfTokenizer, WhatCouldNotBeWrittenIsRefused) {
  const Text sound = stored("tokenizer");
  Text bad = sound;
  bad["pre_tokenizer"]["pretokenizers"][0]["individual_digits"] = false;
  refused(bad, ErrorCode::kUnsupported, {"folder/tokenizer.json", "pre_tokenizer", "--pre NAME"});
  GgufWriter keys;
  EXPECT_TRUE(write(bad, keys, "qwen2").ok());
  refused(sound, ErrorCode::kInvalidArgument, {"--pre", "'nosuch'"}, "nosuch");
  bad = sound;
  bad["model"]["type"] = "Unigram";
  refused(bad, ErrorCode::kUnsupported, {"model.type", "BPE", "'Unigram'"});
  bad = sound;
  bad["normalizer"] = {{"type", "Lowercase"}};
  refused(bad, ErrorCode::kUnsupported, {"normalizer", "Lowercase"});
  bad = sound;
  bad["model"]["merges"][0] = Text::array({"the", "qqq"});
  refused(bad, ErrorCode::kCorrupt, {"model.merges", "is no token"});
  bad["model"]["merges"][0] = "one";
  refused(bad, ErrorCode::kCorrupt, {"model.merges", "two texts"});
  bad = sound;
  bad["model"]["vocab"]["x"] = -1;
  refused(bad, ErrorCode::kCorrupt, {"'x'", "found -1"});
  bad["model"]["vocab"]["x"] = 0u;
  refused(bad, ErrorCode::kCorrupt, {"stands for two tokens"});
  bad = stored("spm_tokenizer");
  bad["normalizer"]["content"] = "_";
  refused(bad, ErrorCode::kUnsupported, {"U+2581"});
}

// "ab" of 1 and 2, "abc" of it and of ("a", "bc").
TEST(SpmScores, FollowTheMerges) {
  const std::vector<std::string> tokens = {"a", "b", "c", "ab", "bc", "abc", "<s>"};
  const std::vector<bool> normal = {true, true, true, true, true, true, false};
  const auto scores = scores_from_merges(tokens, normal, {{"b", "c"}, {"a", "b"}, {"ab", "c"}, {"a", "bc"}});
  ASSERT_TRUE(scores.ok()) << scores.error().message;
  EXPECT_EQ(*scores, (std::vector<float>{-3, -3, -3, -1, 0, -2, 0}));
  const auto missing = scores_from_merges(tokens, normal, {{"b", "c"}, {"a", "b"}, {"ab", "c"}});
  ASSERT_FALSE(missing.ok());
  EXPECT_NE(missing.error().message.find("'a' and 'bc' make a token, but are no merge"), std::string::npos)
      << missing.error().message;
  EXPECT_FALSE(scores_from_merges(tokens, normal, {{"ab", "c"}, {"b", "c"}, {"a", "b"}, {"a", "bc"}}).ok());
}

}  // namespace
}  // namespace rowmax::engine
