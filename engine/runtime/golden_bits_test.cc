// One answer of every golden model, whatever its architecture (session_bits_test.cc has long texts and quantised
// weights of some): the logits of all positions have the same bits for any instruction set, thread count, chunking,
// batch and reused prefix.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/runtime/golden_file.h"
#include "rowmax/engine/session.h"

namespace rowmax::engine::golden_bits_test {
namespace {

namespace fs = std::filesystem;

std::string folder() { return std::string(ROWMAX_SOURCE_DIR) + "/tests/golden/"; }

std::vector<std::string> golden_models() {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder())) {
    if (entry.path().extension() == ".gguf") names.push_back(entry.path().stem().string());
  }
  std::ranges::sort(names);
  return names;
}

class GoldenBits : public testing::TestWithParam<std::string> {
 protected:
  struct Engine {
    std::unique_ptr<Executor> pool;
    std::unique_ptr<Model> model;
    std::unique_ptr<Session> session;
  };

  static Engine engine(Isa isa, int threads) {
    Engine out;
    out.pool = std::move(make_thread_pool(threads)).value();
    ModelOptions options;
    options.isa = isa;
    out.model =
        std::make_unique<Model>(std::move(Model::load(folder() + GetParam() + ".gguf", options, *out.pool)).value());
    SessionOptions session;
    session.max_sequences = 4;
    out.session = std::make_unique<Session>(std::move(Session::create(*out.model, session, *out.pool)).value());
    return out;
  }
  static void append(const Session& session, std::vector<float>& logits) {
    for (std::int64_t row = 0; row < session.n_logit_rows(); ++row) {
      logits.insert(logits.end(), session.logits(row).begin(), session.logits(row).end());
    }
  }
  std::vector<float> logits(Session& session, std::size_t chunk) const {
    const SequenceId sequence = *session.open();
    std::vector<float> all;
    const std::span<const TokenId> tokens(tokens_);
    for (std::size_t begin = 0; begin < tokens.size(); begin += chunk) {
      const BatchItem item{sequence, tokens.subspan(begin, std::min(chunk, tokens.size() - begin)), LogitsFor::kAll};
      EXPECT_TRUE(session.forward({&item, 1}).ok());
      append(session, all);
    }
    session.close(sequence);
    return all;
  }
  void expect_same(const std::vector<float>& got, const std::string& what, std::size_t from = 0) const {
    const std::size_t begin = from * want_.size() / tokens_.size();
    ASSERT_EQ(got.size(), want_.size() - begin) << what;
    EXPECT_EQ(std::memcmp(got.data(), want_.data() + begin, got.size() * sizeof(float)), 0) << what;
  }

  void SetUp() override {
    tokens_ = read_golden(folder() + GetParam() + ".golden").tokens;
    ASSERT_FALSE(tokens_.empty());
    Engine plain = engine(Isa::kScalar, 1);
    want_ = logits(*plain.session, tokens_.size());
  }

  std::vector<TokenId> tokens_;
  std::vector<float> want_;
};

TEST_P(GoldenBits, OnEveryInstructionSetAndForAnyThreadsAndChunks) {
  for (const Isa isa : supported_isas()) {
    Engine one = engine(isa, 1);
    for (const std::size_t chunk : {tokens_.size(), std::size_t{7}, std::size_t{1}}) {
      expect_same(logits(*one.session, chunk), std::string(isa_name(isa)) + ", chunks of " + std::to_string(chunk));
    }
  }
  Engine three = engine(supported_isas().back(), 3);
  expect_same(logits(*three.session, tokens_.size()), "three threads");
}

TEST_P(GoldenBits, InABatchAndBehindAReusedPrefix) {
  Engine one = engine(supported_isas().back(), 2);
  Session& session = *one.session;
  const std::span<const TokenId> tokens(tokens_);
  const std::vector<TokenId> reversed(tokens_.rbegin(), tokens_.rend());
  const SequenceId before = *session.open(), sequence = *session.open(), behind = *session.open();
  const BatchItem items[] = {{before, std::span(reversed).first(31), LogitsFor::kNone},
                             {sequence, tokens, LogitsFor::kAll},
                             {behind, tokens.first(70), LogitsFor::kNone}};
  ASSERT_TRUE(session.forward(items).ok());
  std::vector<float> batched, behind_prefix;
  append(session, batched);
  expect_same(batched, "a batch of three");

  const SequenceId again = *session.open();
  const auto reused = session.reuse(again, tokens);
  ASSERT_TRUE(reused.ok());
  ASSERT_GE(*reused, 64);
  const BatchItem rest{again, tokens.subspan(static_cast<std::size_t>(*reused)), LogitsFor::kAll};
  ASSERT_TRUE(session.forward({&rest, 1}).ok());
  append(session, behind_prefix);
  expect_same(behind_prefix, "behind a prefix", static_cast<std::size_t>(*reused));
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenBits, testing::ValuesIn(golden_models()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace rowmax::engine::golden_bits_test
