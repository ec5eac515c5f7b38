// Embeddings beside the final states that Hugging Face transformers computed from the same weights (tests/golden/README.md),
// pooled here by their definition; and that a text's has the same bits in any company.
#include "rowmax/engine/embed.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "engine/runtime/golden_file.h"
#include "engine/runtime/test_models.h"

namespace rowmax::engine::embed_test {
namespace {

using Texts = std::vector<std::vector<TokenId>>;

Result<std::vector<TextEmbedding>> embed_texts(Session& session, const Texts& texts, const EmbedOptions& options) {
  std::vector<std::span<const TokenId>> views(texts.begin(), texts.end());
  return embed(session, views, options);
}

std::vector<double> defined(const Golden& states, std::size_t n_token, const EmbedOptions& options) {
  const std::size_t n = states.n_vocab;
  const std::size_t first = options.pooling == Pooling::kLast ? n_token - 1 : 0;
  const std::size_t end = options.pooling == Pooling::kCls ? 1 : n_token;
  std::vector<double> out(n);
  for (std::size_t t = first; t < end; ++t) {
    for (std::size_t i = 0; i < n; ++i) {
      out[i] += static_cast<double>(states.logits[t * n + i]) / static_cast<double>(end - first);
    }
  }
  double squares = 0;
  for (const double value : out) squares += value * value;
  for (double& value : out) value /= options.normalize ? std::sqrt(squares) : 1;
  return out;
}

class EmbedGolden : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string base = std::string(ROWMAX_SOURCE_DIR) + "/tests/golden/" + GetParam();
    states_ = read_golden(base + ".states.golden");
    ASSERT_FALSE(states_.rows.empty()) << base;
    ModelOptions options;
    options.isa = supported_isas().back();
    options.activations = Activations::kF32;
    auto model = Model::load(base + ".gguf", options, test_executor());
    ASSERT_TRUE(model.ok()) << model.error().message;
    model_ = std::make_unique<Model>(std::move(model).value());
    tokens_.assign(states_.tokens.begin(), states_.tokens.end());
  }
  Session session(int max_sequences, std::int64_t max_batch, Executor& executor) const {
    SessionOptions options;
    options.kv_type = KvType::kF32;
    options.max_sequences = max_sequences;
    options.max_batch = max_batch;
    return std::move(Session::create(*model_, options, executor)).value();
  }
  // Beginnings of the golden tokens: the states of a text's tokens are those of the whole.
  Texts beginnings() const {
    Texts texts;
    for (const std::ptrdiff_t n : {1, 2, 25, 64, 65, 160, 7}) texts.emplace_back(tokens_.begin(), tokens_.begin() + n);
    return texts;
  }
  Golden states_;
  std::unique_ptr<Model> model_;
  std::vector<TokenId> tokens_;
};

TEST_P(EmbedGolden, AsTransformersStatesPooledByDefinition) {
  const Texts texts = beginnings();
  Session one = session(3, 512, test_executor());
  for (const Pooling pooling : {Pooling::kLast, Pooling::kMean, Pooling::kCls}) {
    for (const bool normalize : {true, false}) {
      const EmbedOptions options{pooling, normalize};
      const auto found = embed_texts(one, texts, options);
      ASSERT_TRUE(found.ok()) << found.error().message;
      ASSERT_EQ(found->size(), texts.size());
      for (std::size_t k = 0; k < texts.size(); ++k) {
        const std::vector<double> want = defined(states_, texts[k].size(), options);
        const std::vector<float>& got = (*found)[k].values;
        ASSERT_TRUE((*found)[k].status.ok());
        ASSERT_EQ(got.size(), want.size());
        double worst = 0, most = 0;
        for (std::size_t i = 0; i < want.size(); ++i) {
          worst = std::max(worst, std::fabs(static_cast<double>(got[i]) - want[i]));
          most = std::max(most, std::fabs(want[i]));
        }
        EXPECT_LE(worst / most, 2e-5) << pooling_name(pooling) << ", " << texts[k].size() << " tokens";
      }
    }
  }
}

TEST_P(EmbedGolden, SameBitsInAnyCompany) {
  const Texts texts = beginnings();
  const auto pool = std::move(make_thread_pool(3)).value();
  for (const Pooling pooling : {Pooling::kLast, Pooling::kMean}) {
    std::vector<std::vector<float>> alone;
    Session single = session(1, 512, test_executor());
    for (const std::vector<TokenId>& text : texts) {
      alone.push_back((*embed_texts(single, {text}, {pooling}))[0].values);
    }
    for (const auto& [max_sequences, max_batch] : {std::pair{7, 512}, std::pair{3, 33}, std::pair{1, 5}}) {
      Session other = session(max_sequences, max_batch, *pool);
      const auto together = embed_texts(other, texts, {pooling});
      ASSERT_TRUE(together.ok()) << together.error().message;
      for (std::size_t k = 0; k < texts.size(); ++k) {
        const std::vector<float>& got = (*together)[k].values;
        ASSERT_EQ(got.size(), alone[k].size());
        EXPECT_EQ(std::memcmp(got.data(), alone[k].data(), got.size() * sizeof(float)), 0)
            << max_sequences << " sequences, text " << k;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, EmbedGolden, testing::Values("bitnet_embed_qwen3", "bitnet_embed_gemma3"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Embed, APoolingIsTheFilesOrNone) {
  const auto load = [](const std::string& name) {
    const std::string path = std::string(ROWMAX_SOURCE_DIR) + "/tests/golden/" + name + ".gguf";
    return std::move(Model::load(path, {}, test_executor())).value();
  };
  EXPECT_EQ(*pooling_of(load("bitnet_embed_qwen3")), Pooling::kLast);
  EXPECT_EQ(*pooling_of(load("bitnet_embed_gemma3")), Pooling::kMean);
  const auto none = pooling_of(load("qwen3"));
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code, ErrorCode::kNotFound);
  EXPECT_NE(none.error().message.find("key 'qwen3.pooling_type' is missing"), std::string::npos);
}

// An override stands in for the key, where the file has one and where it has none.
TEST(Embed, AnOverrideSaysThePooling) {
  const auto pooling = [](const std::string& name, const std::string& key, const std::string& value) {
    ModelOptions options;
    options.overrides = {{key, value}};
    const std::string path = std::string(ROWMAX_SOURCE_DIR) + "/tests/golden/" + name + ".gguf";
    auto model = Model::load(path, options, test_executor());
    return model.ok() ? pooling_of(*model) : Result<Pooling>(model.error());
  };
  EXPECT_EQ(*pooling("bitnet_embed_gemma3", "gemma3.pooling_type", "3"), Pooling::kLast);
  EXPECT_EQ(*pooling("qwen3", "qwen3.pooling_type", "2"), Pooling::kCls);
  EXPECT_EQ(pooling("qwen3", "qwen3.pooling_type", "4").error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(pooling("qwen3", "qwen3.pooling_type", "last").error().code, ErrorCode::kInvalidArgument);
  const auto zero = pooling("bitnet_embed_qwen3", "qwen3.pooling_type", "0");
  EXPECT_EQ(zero.error().code, ErrorCode::kNotFound);
  EXPECT_NE(zero.error().message.find("expected 1 (mean), 2 (cls) or 3 (last), found 0"), std::string::npos);
}

TEST(Embed, ATextThatCannotBeFailsForItselfAlone) {
  Session session = test_session("qwen35", 64, 2);
  const Texts texts = {{1, 2, 3}, {}, std::vector<TokenId>(65, 4), {5}, std::vector<TokenId>(64, 6)};
  const auto found = embed_texts(session, texts, {});
  ASSERT_TRUE(found.ok()) << found.error().message;
  const bool sound[] = {true, false, false, true, true};
  for (std::size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ((*found)[i].status.ok(), sound[i]) << i;
    EXPECT_EQ((*found)[i].values.empty(), !sound[i]) << i;
  }
  EXPECT_EQ((*found)[1].status.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ((*found)[2].status.error().code, ErrorCode::kLimit);
  EXPECT_TRUE(session.open().ok() && session.open().ok());  // its sequences are closed
}

// Two texts that have room one after the other only: both get what they get alone.
TEST(Embed, ATextWithoutRoomBesideOthersComesAfterThem) {
  const std::vector<TokenId> text(60, 5);
  Session large = test_session("llama", 64, 1);
  const auto alone = embed_texts(large, {text}, {});
  Session small = test_session("llama", 64, 2, large.memory().kv_budget_bytes);
  const auto both = embed_texts(small, {text, text}, {});
  ASSERT_TRUE(both.ok()) << both.error().message;
  for (const TextEmbedding& each : *both) {
    ASSERT_TRUE(each.status.ok()) << each.status.error().message;
    EXPECT_EQ(each.values, (*alone)[0].values);
  }
}

// A batch may ask for logits and for states, each in its own rows.
TEST(Embed, StatesAndLogitsOfOneBatch) {
  Session session = test_session("llama", 64, 2);
  const std::vector<TokenId> tokens = {7, 8, 9};
  const SequenceId a = *session.open(), b = *session.open();
  const BatchItem items[] = {{.sequence = a, .tokens = tokens, .logits = LogitsFor::kAll, .states = true},
                             {.sequence = b, .tokens = tokens, .logits = LogitsFor::kLast}};
  ASSERT_TRUE(session.forward(items).ok());
  EXPECT_EQ(session.n_state_rows(), 3);
  EXPECT_EQ(session.n_logit_rows(), 1);
  const std::vector<float> logits(session.logits(0).begin(), session.logits(0).end());
  const std::vector<float> state(session.states(2).begin(), session.states(2).end());
  ASSERT_TRUE(session.truncate(b, 0).ok());
  const BatchItem other{.sequence = b, .tokens = tokens, .states = true};
  ASSERT_TRUE(session.forward({&other, 1}).ok());
  EXPECT_EQ(session.n_logit_rows(), 0);
  EXPECT_EQ(std::vector<float>(session.states(0).begin(), session.states(0).end()), state);
  ASSERT_TRUE(session.truncate(a, 0).ok());
  const BatchItem last{.sequence = a, .tokens = tokens};
  ASSERT_TRUE(session.forward({&last, 1}).ok());
  EXPECT_EQ(std::vector<float>(session.logits(0).begin(), session.logits(0).end()), logits);
}

}  // namespace
}  // namespace rowmax::engine::embed_test
