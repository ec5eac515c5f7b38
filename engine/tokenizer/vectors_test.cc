// Whole vocabularies and real models, when they are at hand; skipped otherwise.
//   ROWMAX_VOCAB_DIR   a folder with ggml-vocab-NAME.gguf, .gguf.inp and .gguf.out (llama.cpp's tree has them
//                      in models/); several folders with ':' between
//   ROWMAX_SMOLLM2     SmolLM2-135M-Instruct as GGUF
//   ROWMAX_GEMMA3      Gemma-3-270M as GGUF
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "engine/tokenizer/test_support.h"
#include "rowmax/engine/tokenizer.h"

namespace rowmax::engine {
namespace {

using Ids = std::vector<TokenId>;

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::string> split_inputs(const std::string& text) {
  static const std::string kSeparator = "\n__ggml_vocab_test__\n";
  std::vector<std::string> out;
  std::size_t at = 0;
  for (std::size_t end; (end = text.find(kSeparator, at)) != std::string::npos; at = end + kSeparator.size()) {
    out.push_back(text.substr(at, end - at));
  }
  out.push_back(text.substr(at));
  return out;
}

struct Loaded {
  GgufFile file;
  Tokenizer tokenizer;
};

Result<Loaded> load(const std::string& path, const std::string& pre = "") {
  Result<GgufFile> file = GgufFile::open(path);
  if (!file.ok()) return std::move(file).error();
  Result<Tokenizer> tokenizer = Tokenizer::from_gguf(*file, {pre});
  if (!tokenizer.ok()) return std::move(tokenizer).error();
  return Loaded{std::move(file).value(), std::move(tokenizer).value()};
}

void check_vocabulary(const std::string& path) {
  SCOPED_TRACE(path);
  const Result<Loaded> loaded = load(path);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  const Tokenizer& tokenizer = loaded->tokenizer;
  const std::vector<std::string> inputs = split_inputs(read_file(path + ".inp"));
  const std::vector<std::string> outputs = split_fields(read_file(path + ".out"), '\n');
  ASSERT_GE(outputs.size() + 1, inputs.size());
  std::size_t n_checked = 0;
  for (std::size_t i = 0; i < inputs.size() && i < outputs.size(); ++i) {
    EXPECT_EQ(*tokenizer.encode(inputs[i], false), to_ids(outputs[i])) << "'" << inputs[i] << "'";
    EXPECT_EQ(*tokenizer.decode(*tokenizer.encode(inputs[i], false), false), inputs[i]);
    ++n_checked;
  }
  EXPECT_GT(n_checked, 40u);
}

TEST(Vectors, GgmlVocabularies) {
  const char* folders = std::getenv("ROWMAX_VOCAB_DIR");
  if (folders == nullptr) GTEST_SKIP() << "ROWMAX_VOCAB_DIR is not set";
  static const std::set<std::string> kNames = {"gpt-2",  "llama-bpe", "qwen2",     "deepseek-llm", "deepseek-coder",
                                               "falcon", "command-r", "starcoder", "refact",       "mpt",
                                               "phi-3",  "llama-spm", "qwen35"};
  std::size_t n_found = 0;
  for (const std::string& folder : split_fields(folders, ':')) {
    for (const std::string& name : kNames) {
      const std::string path = folder + "/ggml-vocab-" + name + ".gguf";
      if (!std::filesystem::exists(path) || !std::filesystem::exists(path + ".inp")) continue;
      check_vocabulary(path);
      ++n_found;
    }
  }
  EXPECT_GT(n_found, 0u) << folders;
}

// Oracle: a public test of the same model in another engine.
TEST(Vectors, SmolLm2) {
  const char* path = std::getenv("ROWMAX_SMOLLM2");
  if (path == nullptr) GTEST_SKIP() << "ROWMAX_SMOLLM2 is not set";
  const Result<Loaded> loaded = load(path);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  const Tokenizer& tokenizer = loaded->tokenizer;
  const std::vector<std::pair<std::string, Ids>> cases = {
      {"The capital of France is", {504, 3575, 282, 4649, 314}},
      {"Hello, we can use", {19556, 28, 392, 416, 722}},
      {"Hello world! 123", {19556, 905, 17, 216, 33, 34, 35}},
      {"Caf\xC3\xA9 d\xC3\xA9j\xC3\xA0 vu.", {51, 1939, 2756, 32564, 90, 16739, 386, 101, 30}},
      {"  multiple   spaces", {216, 2701, 256, 5600}},
      {"\n", {198}},
  };
  for (const auto& [text, ids] : cases) {
    EXPECT_EQ(*tokenizer.encode(text, false), ids) << text;
    EXPECT_EQ(*tokenizer.decode(ids, false), text);
  }
  EXPECT_EQ(tokenizer.encode("<|im_start|>user", true)->front(), 1);
  EXPECT_NE(tokenizer.encode("<|im_start|>user", false)->front(), 1);
  EXPECT_EQ(Ids(tokenizer.end_of_generation().begin(), tokenizer.end_of_generation().end()), (Ids{0, 2, 4}));
  EXPECT_EQ(tokenizer.bos(), 1);
  EXPECT_EQ(tokenizer.eos(), 2);
  EXPECT_FALSE(tokenizer.add_bos());
  EXPECT_EQ(tokenizer.pre(), "smollm");
}

// Oracle: the published file's own dump of special ids; the ids of the texts from llama.cpp.
TEST(Vectors, Gemma3) {
  const char* path = std::getenv("ROWMAX_GEMMA3");
  if (path == nullptr) GTEST_SKIP() << "ROWMAX_GEMMA3 is not set";
  const Result<Loaded> loaded = load(path);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  const Tokenizer& tokenizer = loaded->tokenizer;
  EXPECT_EQ(tokenizer.bos(), 2);
  EXPECT_EQ(tokenizer.eos(), 1);
  EXPECT_TRUE(tokenizer.add_bos());
  EXPECT_EQ(Ids(tokenizer.end_of_generation().begin(), tokenizer.end_of_generation().end()), (Ids{1, 106}));
  EXPECT_EQ(*tokenizer.encode("\n\n", false), (Ids{108}));
  EXPECT_EQ(tokenizer.encode("a</s>", false)->back(), 212);
  EXPECT_EQ(*tokenizer.encode("<start_of_turn>", true), (Ids{105}));
  EXPECT_NE(*tokenizer.encode("<start_of_turn>", false), (Ids{105}));
  const std::string text = "The  quick\n\n\tbrown fox \xF0\x9F\xA6\x8A";
  EXPECT_EQ(*tokenizer.decode(*tokenizer.encode(text, false), false), text);
}

}  // namespace
}  // namespace rowmax::engine
