// Scores beside what the final states that Hugging Face transformers computed (tests/golden/README.md) give by the
// definition, in long double; the text of a pair; and files that lack something.
#include "rowmax/engine/rank.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "engine/runtime/golden_file.h"
#include "engine/runtime/test_models.h"
#include "rowmax/engine/embed.h"

namespace rowmax::engine::rank_test {
namespace {

constexpr std::size_t kWidth = 40;
const std::string kGolden = std::string(ROWMAX_SOURCE_DIR) + "/tests/golden/bitnet_embed_qwen3";

// A row for each label, of numbers large enough that probabilities are neither 0, nor 1, nor one half.
std::vector<float> rows_of(std::size_t n_label) {
  std::vector<float> rows;
  for (std::size_t i = 0; i < n_label * kWidth; ++i) rows.push_back(std::sin(static_cast<float>(i * i % 97)) * 0.7f);
  return rows;
}

// The embedding model with a head; `change` makes it another file.
Result<Model> model_with(
    std::size_t n_label, const std::vector<std::string>& labels,
    const std::function<void(GgufWriter&)>& change = [](GgufWriter&) {}) {
  auto file = GgufFile::open(kGolden + ".gguf");
  EXPECT_TRUE(file.ok());
  GgufWriter writer;
  for (const auto& [key, value] : file->metadata()) writer.set_value(std::string(key), value);
  for (const GgufTensor& tensor : file->tensors()) {
    writer.add_tensor(std::string(tensor.name), tensor.type, tensor.shape, {tensor.data.begin(), tensor.data.end()});
  }
  writer.remove("qwen3.pooling_type");
  writer.set_uint32("qwen3.pooling_type", 4);
  writer.set_strings("qwen3.classifier.output_labels", labels);
  writer.set_string("tokenizer.chat_template.rerank", "<|im_start|>that {query} with {document}<|im_end|>");
  const std::vector<float> rows = rows_of(n_label);
  std::vector<std::byte> bytes(rows.size() * sizeof(float));
  std::memcpy(bytes.data(), rows.data(), bytes.size());
  writer.add_tensor("cls.output.weight", 0, {kWidth, static_cast<std::int64_t>(n_label)}, std::move(bytes));
  change(writer);
  static std::deque<std::vector<std::byte>> kept;  // what models look at
  auto written = writer.bytes();
  if (!written.ok()) return written.error();
  kept.push_back(std::move(written).value());
  auto parsed = GgufFile::parse(kept.back(), "rank.gguf");
  if (!parsed.ok()) return parsed.error();
  ModelOptions options;
  options.activations = Activations::kF32;
  return Model::load(std::move(parsed).value(), options, test_executor());
}

std::string error_of(
    std::size_t n_label, const std::vector<std::string>& labels,
    const std::function<void(GgufWriter&)>& change = [](GgufWriter&) {}) {
  const auto model = model_with(n_label, labels, change);
  if (!model.ok()) return model.error().message;
  const auto head = RankHead::of(*model);
  return head.ok() ? "" : head.error().message;
}

TEST(Rank, ScoresAreTheSoftmaxOfTransformersStates) {
  const Golden states = read_golden(kGolden + ".states.golden");
  ASSERT_EQ(states.n_vocab, kWidth);
  for (const auto& labels : {std::vector<std::string>{"yes", "no"}, {"no", "yes"}, {"maybe", "no", "yes"}}) {
    const auto model = model_with(labels.size(), labels);
    ASSERT_TRUE(model.ok()) << model.error().message;
    const auto head = RankHead::of(*model);
    ASSERT_TRUE(head.ok()) << head.error().message;
    SessionOptions options;
    options.kv_type = KvType::kF32;
    Session session = std::move(Session::create(*model, options, test_executor())).value();
    const std::vector<float> rows = rows_of(labels.size());
    const auto yes = static_cast<std::size_t>(std::ranges::find(labels, "yes") - labels.begin());
    double least = 1, most = 0;
    for (const std::size_t n : {1, 2, 7, 25, 64, 65, 160}) {
      const std::vector<TokenId> tokens(states.tokens.begin(), states.tokens.begin() + static_cast<std::ptrdiff_t>(n));
      const std::span<const TokenId> text = tokens;
      const auto embedded = embed(session, {&text, 1}, {.pooling = Pooling::kLast, .normalize = false});
      ASSERT_TRUE(embedded.ok() && embedded->front().status.ok());
      std::vector<long double> exps(labels.size());
      long double sum = 0;
      for (std::size_t label = 0; label < labels.size(); ++label) {
        long double logit = 0;
        for (std::size_t i = 0; i < kWidth; ++i) {
          logit += static_cast<long double>(rows[label * kWidth + i]) * states.logits[(n - 1) * kWidth + i];
        }
        sum += exps[label] = std::exp(logit);
      }
      const double want = static_cast<double>(exps[yes] / sum), got = head->score(embedded->front().values);
      EXPECT_NEAR(got, want, 2e-5) << n;
      least = std::min(least, got);
      most = std::max(most, got);
    }
    EXPECT_GT(most - least, 0.1);  // they tell something apart
  }
}

TEST(Rank, APairIsTheFilesTextAndNothingOfItIsAControlToken) {
  const auto model = model_with(2, {"yes", "no"});
  ASSERT_TRUE(model.ok()) << model.error().message;
  const auto head = RankHead::of(*model);
  ASSERT_TRUE(head.ok());
  const Tokenizer& tokenizer = model->tokenizer();
  EXPECT_EQ(*head->encode("said", "each"), *tokenizer.encode("<|im_start|>that said with each<|im_end|>", true));
  const std::vector<TokenId> ids = *head->encode("{document}<|im_end|>", "{query}");
  const TokenId start = tokenizer.encode("<|im_start|>", true)->front(),
                end = tokenizer.encode("<|im_end|>", true)->front();
  EXPECT_EQ(ids.front(), start);
  EXPECT_EQ(ids.back(), end);
  EXPECT_EQ(std::ranges::count(ids, end), 1);
  EXPECT_EQ(*tokenizer.decode(ids, true), "<|im_start|>that {document}<|im_end|> with {query}<|im_end|>");
}

TEST(Rank, WhatAFileLacksIsNamed) {
  const auto plain = Model::load(kGolden + ".gguf", {}, test_executor());
  EXPECT_EQ(RankHead::of(*plain).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(error_of(2, {"yes", "no"}), "");
  EXPECT_NE(error_of(2, {"yes"}).find("output_labels' has 1 labels, cls.output.weight rows of 2"), std::string::npos);
  EXPECT_NE(error_of(2, {"0", "1"}).find("one of them \"yes\""), std::string::npos);
  EXPECT_NE(error_of(1, {"yes"}).find("expected two labels or more"), std::string::npos);
  EXPECT_NE(error_of(2, {"yes", "no"}, [](GgufWriter& w) { w.remove("qwen3.classifier.output_labels"); })
                .find("output_labels"),
            std::string::npos);
  EXPECT_NE(error_of(2, {"yes", "no"},
                     [](GgufWriter& w) {
                       w.remove("qwen3.pooling_type");
                       w.set_uint32("qwen3.pooling_type", 3);
                     })
                .find("expected 4 (rank)"),
            std::string::npos);
  EXPECT_NE(
      error_of(2, {"yes", "no"}, [](GgufWriter& w) { w.remove("tokenizer.chat_template.rerank"); }).find("rerank"),
      std::string::npos);
  EXPECT_NE(error_of(2, {"yes", "no"},
                     [](GgufWriter& w) {
                       w.remove("tokenizer.chat_template.rerank");
                       w.set_string("tokenizer.chat_template.rerank", "{query}");
                     })
                .find("expected a text with {document}"),
            std::string::npos);
}

}  // namespace
}  // namespace rowmax::engine::rank_test
