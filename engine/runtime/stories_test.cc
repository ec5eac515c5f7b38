// The trained model that ships with rowmax (models/README.md): its logits against PyTorch's, and one story of it, token
// for token and bit for bit on every machine. An AArch64 build runs *AreTheStoredOnes* too.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "rowmax/engine/generate.h"

namespace rowmax::engine::stories_test {
namespace {

constexpr char kPrompt[] = "Once upon a time";
// FNV-1a of the logits of every position of the stored story, as x86-64 with plain C++ code first gave them.
constexpr std::uint64_t kLogitsHash = 0xc9ebd68d97cc45df;

std::string read_file(const std::string& path_in_source) {
  std::ifstream file(std::string(ROWMAX_SOURCE_DIR) + "/" + path_in_source, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

struct Stories {
  std::unique_ptr<Executor> pool;
  std::unique_ptr<Model> model;
  std::unique_ptr<Session> session;

  explicit Stories(Isa isa, int threads = 1, KvType kv_type = KvType::kF16) {
    pool = std::move(make_thread_pool(threads)).value();
    ModelOptions options;
    options.isa = isa;
    auto loaded = Model::load(std::string(ROWMAX_SOURCE_DIR) + "/models/stories.gguf", options, *pool);
    EXPECT_TRUE(loaded.ok()) << loaded.error().message;
    model = std::make_unique<Model>(std::move(loaded).value());
    SessionOptions session_options;
    session_options.kv_type = kv_type;
    session = std::make_unique<Session>(std::move(Session::create(*model, session_options, *pool)).value());
  }

  // What `rowmax run` tells: the default sampling, seed 0. At most max_tokens, -1: the whole story.
  std::string tell(std::int64_t max_tokens) {
    const SequenceId sequence = *session->open();
    GenerateOptions options;
    options.max_tokens = max_tokens;
    auto generation = generate(*session, sequence, *encode_prompt(*model, kPrompt, false), options);
    EXPECT_TRUE(generation.ok()) << generation.error().message;
    if (max_tokens < 0) {
      EXPECT_EQ(generation->reason, StopReason::kEos);
    }
    session->close(sequence);
    return kPrompt + generation->text;
  }

  std::vector<float> logits(std::span<const TokenId> tokens) {
    const SequenceId sequence = *session->open();
    const BatchItem item{sequence, tokens, LogitsFor::kAll};
    EXPECT_TRUE(session->forward({&item, 1}).ok());
    std::vector<float> all;
    for (std::int64_t row = 0; row < session->n_logit_rows(); ++row) {
      all.insert(all.end(), session->logits(row).begin(), session->logits(row).end());
    }
    session->close(sequence);
    return all;
  }
};

std::uint64_t fnv1a(std::span<const float> values) {
  std::uint64_t hash = 0xCBF29CE484222325ull;
  for (const float value : values) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    for (int i = 0; i < 4; ++i) hash = (hash ^ ((bits >> (8 * i)) & 255u)) * 0x100000001B3ull;
  }
  return hash;
}

TEST(StoriesModel, LogitsAgreeWithPyTorch) {
  // tools/train/oracle.py wrote it; the layout is that of tests/golden.
  const std::string bytes = read_file("tests/golden/stories.golden");
  std::uint32_t header[4];
  ASSERT_GT(bytes.size(), 24u);
  ASSERT_EQ(std::memcmp(bytes.data(), "RMGOLD1", 8), 0);
  std::memcpy(header, bytes.data() + 8, sizeof header);
  std::vector<TokenId> tokens(header[0]);
  std::vector<std::uint32_t> rows(header[1]);
  std::vector<float> want(static_cast<std::size_t>(header[1]) * header[2]);
  ASSERT_EQ(bytes.size(), 24 + 4 * (tokens.size() + rows.size() + want.size()));
  std::memcpy(tokens.data(), bytes.data() + 24, 4 * tokens.size());
  std::memcpy(rows.data(), bytes.data() + 24 + 4 * tokens.size(), 4 * rows.size());
  std::memcpy(want.data(), bytes.data() + 24 + 4 * (tokens.size() + rows.size()), 4 * want.size());

  const std::vector<float> got = Stories(supported_isas().back(), 1, KvType::kF32).logits(tokens);
  ASSERT_EQ(got.size(), tokens.size() * header[2]);
  ASSERT_FALSE(rows.empty());
  double worst = 0;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    ASSERT_LT(rows[r], tokens.size());
    for (std::size_t v = 0; v < header[2]; ++v) {
      worst = std::max(worst, std::fabs(static_cast<double>(got[rows[r] * header[2] + v]) - want[r * header[2] + v]));
    }
  }
  EXPECT_LE(worst, 1e-3);
  RecordProperty("worst_delta", std::to_string(worst));
}

TEST(StoriesModel, StoryAndLogitsAreTheStoredOnes) {
  const std::string want = read_file("tests/golden/stories.txt");
  ASSERT_GT(want.size(), 400u);
  Stories stories(supported_isas().back());
  EXPECT_EQ(stories.tell(-1) + "\n", want);
  const std::vector<TokenId> tokens =
      *encode_prompt(*stories.model, std::string_view(want).substr(0, want.size() - 1), false);
  const std::uint64_t hash = fnv1a(stories.logits(tokens));
  EXPECT_EQ(hash, kLogitsHash) << std::hex << hash;
}

TEST(StoriesModel, TheSameStoryOnEveryInstructionSetAndNumberOfThreads) {
  const std::string want = read_file("tests/golden/stories.txt");
  const auto expect_beginning = [&](Isa isa, int threads) {
    const std::string got = Stories(isa, threads).tell(50);
    EXPECT_GT(got.size(), 100u);
    EXPECT_EQ(got, want.substr(0, got.size())) << isa_name(isa) << ", " << threads << " threads";
  };
  for (const Isa isa : supported_isas()) expect_beginning(isa, 1);
  expect_beginning(supported_isas().back(), 3);
}

}  // namespace
}  // namespace rowmax::engine::stories_test
