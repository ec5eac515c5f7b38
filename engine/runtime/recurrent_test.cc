// Hybrid models: a sequence's recurrent state can go back to a checkpoint or to the beginning, and wherever it goes on
// from, the logits have the bits of a computation from nothing.

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/runtime/kv_cache.h"
#include "rowmax/engine/session.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::engine::recurrent_test {
namespace {

// A model with recurrent layers of one kind, and what it makes of the tokens.
struct Subject {
  std::vector<std::byte> bytes;
  std::unique_ptr<Model> model;
  std::vector<float> want;
};

class Recurrent : public testing::TestWithParam<const char*> {
 protected:
  static void SetUpTestSuite() {
    for (TokenId i = 0; i < 2500; ++i) tokens_.push_back((i * 7919 + i / 7) % 431);
  }
  static void TearDownTestSuite() {
    subjects_.clear();
    tokens_.clear();
  }
  void SetUp() override {
    Subject& subject = subjects_[GetParam()];
    model_ = subject.model.get();
    if (model_ == nullptr) {
      tools::SyntheticSpec spec = tools::odd_spec(GetParam());
      spec.context = 4096;
      subject.bytes = std::move(tools::synthetic_model_bytes(spec)).value();
      auto file = GgufFile::parse(subject.bytes, "synthetic");
      ModelOptions options;
      options.isa = supported_isas().back();
      subject.model =
          std::make_unique<Model>(std::move(Model::load(std::move(file).value(), options, executor_)).value());
      model_ = subject.model.get();
      Session session = make({});
      subject.want = run(session, *session.open(), tokens_);
    }
    want_ = subject.want;
  }

  Session make(SessionOptions options) const {
    options.context = 4096;
    options.max_sequences = 3;
    auto session = Session::create(*model_, options, executor_);
    EXPECT_TRUE(session.ok()) << session.error().message;
    return std::move(session).value();
  }
  static std::vector<float> run(Session& session, SequenceId sequence, std::span<const TokenId> tokens) {
    const BatchItem item{sequence, tokens, LogitsFor::kAll};
    const Status status = session.forward({&item, 1});
    EXPECT_TRUE(status.ok()) << status.error().message;
    std::vector<float> all;
    for (std::int64_t row = 0; row < session.n_logit_rows(); ++row) {
      all.insert(all.end(), session.logits(row).begin(), session.logits(row).end());
    }
    return all;
  }
  // Computes the tokens behind the sequence's own, and compares.
  void expect_rest(Session& session, SequenceId sequence, std::int64_t end, const char* what) const {
    const auto begin = static_cast<std::int64_t>(session.tokens(sequence).size());
    ASSERT_LT(begin, end) << what;
    const auto got = run(session, sequence, std::span(tokens_).subspan(begin, end - begin));
    const auto n_vocab = static_cast<std::size_t>(model_->shape().n_vocab);
    ASSERT_EQ(got.size(), static_cast<std::size_t>(end - begin) * n_vocab) << what;
    EXPECT_EQ(
        std::memcmp(got.data(), want_.data() + static_cast<std::size_t>(begin) * n_vocab, got.size() * sizeof(float)),
        0)
        << what;
  }
  static std::span<const TokenId> first(std::int64_t n) {
    return std::span(tokens_).first(static_cast<std::size_t>(n));
  }

  static SerialExecutor executor_;
  static std::map<std::string, Subject> subjects_;
  static std::vector<TokenId> tokens_;
  const Model* model_ = nullptr;
  std::span<const float> want_;
};
SerialExecutor Recurrent::executor_;
std::map<std::string, Subject> Recurrent::subjects_;
std::vector<TokenId> Recurrent::tokens_;
INSTANTIATE_TEST_SUITE_P(Models, Recurrent, testing::Values("qwen35", "lfm2"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(Recurrent, TruncateGoesBackToAKeptState) {
  Session session = make({});
  const SequenceId sequence = *session.open();
  run(session, sequence, first(2200));
  EXPECT_EQ(*session.truncate(sequence, 2200), 2200);
  EXPECT_EQ(*session.truncate(sequence, 2199), 2176);  // the last page edge of the prompt
  expect_rest(session, sequence, 2300, "from the last edge");
  EXPECT_EQ(*session.truncate(sequence, 2100), 2048);
  expect_rest(session, sequence, 2110, "from 2048");
  EXPECT_EQ(*session.truncate(sequence, 2047), 1024);
  expect_rest(session, sequence, 1100, "from 1024");
  EXPECT_EQ(*session.truncate(sequence, 1000), 0);
  expect_rest(session, sequence, 70, "from the beginning");
}

TEST_P(Recurrent, APrefixIsTheSameColdWarmAndEvicted) {
  Session session = make({});
  const SequenceId a = *session.open(), b = *session.open();
  EXPECT_EQ(*session.reuse(a, first(1500)), 0);
  run(session, a, first(1500));
  EXPECT_EQ(*session.reuse(b, first(1600)), 1472);  // another's checkpoint at its last edge
  expect_rest(session, b, 1600, "warm");
  EXPECT_EQ(*session.reuse(a, first(1700)), 1600);  // its own end is 1500, the other went further
  expect_rest(session, a, 1700, "warm, further");
  std::vector<TokenId> other(tokens_.begin(), tokens_.begin() + 1480);
  other[1200] = 7;
  EXPECT_EQ(*session.reuse(b, other), 1024);
  // A sequence that goes on does so from where it is.
  EXPECT_EQ(*session.reuse(a, first(1800)), 1700);
  expect_rest(session, a, 1800, "its own");
}

TEST_P(Recurrent, WithoutABudgetEverythingIsComputedAgain) {
  SessionOptions options;
  options.checkpoint_bytes = 0;
  Session session = make(options);
  const SequenceId a = *session.open(), b = *session.open();
  run(session, a, first(1500));
  EXPECT_EQ(*session.reuse(b, first(1600)), 0);
  expect_rest(session, b, 1600, "cold");
  EXPECT_EQ(*session.truncate(a, 1499), 0);
}

TEST_P(Recurrent, ASequenceThatIsOpenedAgainBeginsFromNothing) {
  SessionOptions options;
  options.reuse_prefixes = false;
  Session session = make(options);
  for (int i = 0; i < 3; ++i) {
    const SequenceId sequence = *session.open();
    expect_rest(session, sequence, 90, "a new sequence");
    session.close(sequence);
  }
}

// A convolution's inputs of before come from the state wherever a chunk ends, of one token, too.
TEST_P(Recurrent, EveryCutGivesTheSameBits) {
  for (const std::int64_t step : {1, 2, 3, 5}) {
    Session session = make({});
    const SequenceId sequence = *session.open();
    for (std::int64_t end = step; end <= 40; end += step) expect_rest(session, sequence, end, "in steps");
  }
}

bool append(KvCache& cache, SequenceId id, std::span<const TokenId> tokens) {
  cache.begin_batch();
  return cache.append(id, tokens).ok();
}

// The budget holds two states; the least recently used goes first, and one that was evicted costs time alone.
TEST(Checkpoints, LiveWithinTheirBudgetAndDieWithTheirPage) {
  constexpr std::int64_t kPage = KvCache::kPageTokens;
  auto made = KvCache::create({.layers = {{1, 4}},
                               .type = KvType::kF32,
                               .context = 8 * kPage,
                               .max_sequences = 2,
                               .state_floats = 3,
                               .checkpoint_bytes = 2 * 3 * sizeof(float)});
  ASSERT_TRUE(made.ok());
  KvCache& cache = *made;
  const SequenceId a = *cache.open();
  std::vector<TokenId> tokens(static_cast<std::size_t>(5 * kPage), 1);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<TokenId>(i);
  ASSERT_TRUE(append(cache, a, tokens));
  const auto keep = [&](std::int64_t position, float value) {
    cache.state(a)[0] = value;
    cache.save_checkpoint(a, position);
  };
  keep(kPage, 1);
  keep(3 * kPage, 3);
  EXPECT_EQ(cache.n_checkpoints(), 2);
  keep(4 * kPage, 4);  // the one at 1 goes
  EXPECT_EQ(cache.n_checkpoints(), 2);
  cache.publish(a);
  const SequenceId b = *cache.open();
  EXPECT_EQ(cache.state(b)[0], 0.0f);
  EXPECT_EQ(cache.reuse(b, std::span(tokens).first(static_cast<std::size_t>(3 * kPage + 5))), 3 * kPage);
  EXPECT_EQ(cache.state(b)[0], 3.0f);  // used: the one at 4 is older now
  cache.state(b)[0] = 30;
  EXPECT_EQ(cache.truncate(a, 3 * kPage + 1), 3 * kPage);
  EXPECT_EQ(cache.state(a)[0], 3.0f);  // a copy of its own
  cache.state(a)[0] = 2;
  EXPECT_EQ(cache.truncate(a, kPage), 0);
  EXPECT_EQ(cache.state(a)[0], 0.0f);
  // Pages that are needed for other tokens take their checkpoints with them.
  cache.close(b);
  std::vector<TokenId> others(static_cast<std::size_t>(8 * kPage), 999);
  ASSERT_TRUE(append(cache, a, others));
  const SequenceId c = *cache.open();
  ASSERT_TRUE(append(cache, c, others));
  EXPECT_EQ(cache.n_checkpoints(), 0);
}

// A mark serves any position, beside the checkpoints, until the tokens before it are gone.
TEST(Checkpoints, AMarkIsAStateAtAnyPosition) {
  constexpr std::int64_t kPage = KvCache::kPageTokens;
  auto made = KvCache::create(
      {.layers = {{1, 4}}, .type = KvType::kF32, .context = 4 * kPage, .max_sequences = 2, .state_floats = 3});
  ASSERT_TRUE(made.ok());
  KvCache& cache = *made;
  const SequenceId a = *cache.open();
  std::vector<TokenId> tokens(static_cast<std::size_t>(2 * kPage), 1);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<TokenId>(i);
  ASSERT_TRUE(append(cache, a, tokens));
  const auto state = [&](float value) { cache.state(a)[0] = value; };
  state(64);
  cache.save_checkpoint(a, kPage);
  state(100);
  cache.save_mark(a, 100);
  state(128);
  cache.save_checkpoint(a, 2 * kPage);
  EXPECT_EQ(cache.truncate(a, 110), 100);
  EXPECT_EQ(cache.state(a)[0], 100.0f);
  // Other tokens fill the page: the state that was kept at its end was of those before.
  ASSERT_TRUE(append(cache, a, std::vector<TokenId>(static_cast<std::size_t>(kPage), 7)));
  EXPECT_EQ(cache.n_checkpoints(), 1);
  state(5);
  EXPECT_EQ(cache.truncate(a, 2 * kPage), 100);
  EXPECT_EQ(cache.state(a)[0], 100.0f);
  EXPECT_EQ(cache.truncate(a, 99), kPage);
  EXPECT_EQ(cache.state(a)[0], 64.0f);
  ASSERT_TRUE(append(cache, a, tokens));
  EXPECT_EQ(cache.truncate(a, 120), kPage);  // the mark went with the tokens that led to it
  cache.close(a);
  ASSERT_EQ(*cache.open(), a);
  ASSERT_TRUE(append(cache, a, tokens));
  EXPECT_EQ(cache.truncate(a, 120), 0);
}

}  // namespace
}  // namespace rowmax::engine::recurrent_test
