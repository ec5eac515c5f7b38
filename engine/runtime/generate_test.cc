#include "rowmax/engine/generate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::engine::generate_test {
namespace {

struct Engine {
  std::vector<std::byte> bytes;
  SerialExecutor executor;
  std::unique_ptr<Model> model;
  std::unique_ptr<Session> session;
  SequenceId sequence = 0;

  explicit Engine(const std::string& arch = "llama", std::int64_t context = 128) {
    tools::SyntheticSpec spec;
    spec.arch = arch;
    bytes = std::move(tools::synthetic_model_bytes(spec)).value();
    ModelOptions options;
    options.isa = supported_isas().back();
    model = std::make_unique<Model>(
        std::move(Model::load(std::move(GgufFile::parse(bytes, "synthetic")).value(), options, executor)).value());
    SessionOptions session_options;
    session_options.context = context;
    session_options.max_sequences = 2;
    session = std::make_unique<Session>(std::move(Session::create(*model, session_options, executor)).value());
    sequence = *session->open();
  }

  // The definition: one token at a time, always the highest logit.
  std::vector<TokenId> greedy(std::vector<TokenId> tokens, int n) {
    const SequenceId other = *session->open();
    std::vector<TokenId> out;
    std::span<const TokenId> next(tokens);
    for (int i = 0; i < n; ++i) {
      const BatchItem item{other, next, LogitsFor::kLast};
      EXPECT_TRUE(session->forward({&item, 1}).ok());
      out.push_back(*argmax(session->logits(0)));
      next = std::span<const TokenId>(&out.back(), 1);
    }
    session->close(other);
    return out;
  }
};

GenerateOptions greedy_options(std::int64_t max_tokens) {
  GenerateOptions options;
  options.sampling.temperature = 0;
  options.max_tokens = max_tokens;
  options.ignore_eos = true;
  return options;
}

TEST(Load, OneErrorNamesTheRefusedKeysOfModelAndTokenizer) {
  auto writer = tools::make_synthetic_model({});
  ASSERT_TRUE(writer.ok());
  writer->set_uint32("llama.of_tomorrow", 3);
  writer->set_uint32("tokenizer.ggml.of_tomorrow", 4);
  const auto bytes = writer->bytes();
  SerialExecutor executor;
  const auto model = Model::load(std::move(GgufFile::parse(*bytes, "m.gguf")).value(), {}, executor);
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.error().code, ErrorCode::kUnsupported);
  for (const char* part : {"m.gguf: 2 keys", "'llama.of_tomorrow' = 3", "'tokenizer.ggml.of_tomorrow' = 4"}) {
    EXPECT_NE(model.error().message.find(part), std::string::npos) << model.error().message;
  }
}

TEST(Generate, GreedyIsArgmaxOfTheForwardPass) {
  Engine engine;
  const std::vector<TokenId> prompt = *engine.model->tokenizer().encode("the cat sat on", false);
  const std::vector<TokenId> want = engine.greedy(prompt, 12);
  std::string streamed;
  auto result = generate(*engine.session, engine.sequence, prompt, greedy_options(12), [&](std::string_view text) {
    streamed += text;
    return true;
  });
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(result->tokens, want);
  EXPECT_EQ(result->reason, StopReason::kLength);
  EXPECT_EQ(result->text, streamed);
  EXPECT_EQ(result->timings.prompt_tokens, static_cast<std::int64_t>(prompt.size()));
  // greedy() computed it before.
  EXPECT_EQ(result->timings.cached_tokens, static_cast<std::int64_t>(prompt.size()) - 1);
  // Again, from the cache: only the last prompt token is computed, with the same answer.
  auto again = generate(*engine.session, engine.sequence, prompt, greedy_options(12));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->tokens, want);
  EXPECT_EQ(again->timings.cached_tokens, static_cast<std::int64_t>(prompt.size()) - 1);
}

TEST(Generate, EndsForEachReason) {
  Engine engine;
  const std::vector<TokenId> prompt = *engine.model->tokenizer().encode("ab", false);
  const std::vector<TokenId> free = engine.greedy(prompt, 20);
  auto all = generate(*engine.session, engine.sequence, prompt, greedy_options(20));
  ASSERT_TRUE(all.ok());

  GenerateOptions stopping = greedy_options(20);
  ASSERT_GE(all->text.size(), 6u);
  std::size_t at = 3;  // some place inside the text, at a character's start
  while (at < all->text.size() && (all->text[at] & 0xC0) == 0x80) ++at;
  std::size_t end = at + 1;
  while (end < all->text.size() && (all->text[end] & 0xC0) == 0x80) ++end;
  stopping.stop = {all->text.substr(at, end - at)};
  auto stopped = generate(*engine.session, engine.sequence, prompt, stopping);
  ASSERT_TRUE(stopped.ok());
  if (stopping.stop[0] != "\xEF\xBF\xBD") {  // bytes that are no UTF-8 are replaced after stop strings were looked for
    EXPECT_EQ(stopped->reason, StopReason::kStop);
    EXPECT_EQ(stopped->text, all->text.substr(0, all->text.find(stopping.stop[0])));
    EXPECT_EQ(stopped->stop_string, stopping.stop[0]);
  }

  auto context = generate(*engine.session, engine.sequence, prompt, greedy_options(-1));
  ASSERT_TRUE(context.ok());
  EXPECT_EQ(context->reason, StopReason::kContext);
  EXPECT_EQ(static_cast<std::int64_t>(prompt.size() + context->tokens.size()), engine.session->context() + 1);

  auto cancelled =
      generate(*engine.session, engine.sequence, prompt, greedy_options(20), [](std::string_view) { return false; });
  ASSERT_TRUE(cancelled.ok());
  EXPECT_EQ(cancelled->reason, StopReason::kCancelled);
  GenerateOptions early = greedy_options(20);
  early.cancelled = [] { return true; };
  auto nothing = generate(*engine.session, engine.sequence, prompt, early);
  ASSERT_TRUE(nothing.ok());
  EXPECT_EQ(nothing->reason, StopReason::kCancelled);
  EXPECT_TRUE(nothing->tokens.empty());

  // An end-of-generation token ends it and is not part of the answer.
  GenerateOptions eos = greedy_options(20);
  eos.ignore_eos = false;
  eos.sampling.logit_bias = {{engine.model->tokenizer().eos(), 1000.0f}};
  auto ended = generate(*engine.session, engine.sequence, prompt, eos);
  ASSERT_TRUE(ended.ok());
  EXPECT_EQ(ended->reason, StopReason::kEos);
  EXPECT_TRUE(ended->tokens.empty());
}

TEST(Generate, RefusesWhatCannotBeDone) {
  Engine engine;
  const std::vector<TokenId> prompt(200, 5);
  auto too_long = generate(*engine.session, engine.sequence, prompt, greedy_options(1));
  ASSERT_FALSE(too_long.ok());
  EXPECT_EQ(too_long.error().code, ErrorCode::kLimit);
  EXPECT_FALSE(generate(*engine.session, engine.sequence, {}, greedy_options(1)).ok());
  GenerateOptions options = greedy_options(1);
  options.stop = {""};
  EXPECT_FALSE(generate(*engine.session, engine.sequence, std::span(prompt).first(3), options).ok());
}

TEST(Generate, GivesLogProbabilitiesAndStopsAtTokens) {
  Engine engine;
  const std::vector<TokenId> prompt = *engine.model->tokenizer().encode("the cat", false);
  const std::vector<TokenId> want = engine.greedy(prompt, 8);
  GenerateOptions options = greedy_options(8);
  options.log_probability = true;
  options.top_log_probabilities = 2;
  auto result = generate(*engine.session, engine.sequence, prompt, options);
  ASSERT_TRUE(result.ok()) << result.error().message;
  ASSERT_EQ(result->log_probabilities.size(), 8u);
  ASSERT_EQ(result->top_log_probabilities.size(), 8u);
  for (std::size_t i = 0; i < 8; ++i) {
    ASSERT_EQ(result->top_log_probabilities[i].size(), 2u);
    EXPECT_EQ(result->top_log_probabilities[i][0].token, want[i]);  // greedy: the likeliest
    EXPECT_EQ(result->top_log_probabilities[i][0].value, result->log_probabilities[i]);
  }
  options.stop_tokens = {want[5]};
  const auto first = static_cast<std::size_t>(std::find(want.begin(), want.end(), want[5]) - want.begin());
  auto stopped = generate(*engine.session, engine.sequence, prompt, options);
  ASSERT_TRUE(stopped.ok());
  EXPECT_EQ(stopped->reason, StopReason::kStop);
  EXPECT_EQ(stopped->stop_string, "");
  EXPECT_EQ(stopped->tokens, std::vector<TokenId>(want.begin(), want.begin() + static_cast<int>(first)));
  EXPECT_EQ(stopped->log_probabilities.size(), first + 1);
}

// A long prompt is computed in pieces, between which it can be cancelled; what was computed stays in the cache.
TEST(Generate, IsCancelledBetweenThePiecesOfAPrompt) {
  Engine engine("llama", 512);
  const std::vector<TokenId> prompt(500, 5);
  GenerateOptions options = greedy_options(3);
  int asked = 0;
  options.cancelled = [&] { return ++asked == 2; };
  auto result = generate(*engine.session, engine.sequence, prompt, options);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->reason, StopReason::kCancelled);
  EXPECT_TRUE(result->tokens.empty());
  EXPECT_EQ(result->timings.generate_ms, 0);
  EXPECT_EQ(engine.session->tokens(engine.sequence).size(), 480u);
}

TEST(Score, IsTheMeanOfTheWindowsLogProbabilities) {
  Engine engine;
  std::vector<TokenId> tokens;
  for (int i = 0; i < 70; ++i) tokens.push_back(3 + (i * 37) % 250);
  ScoreOptions options;
  options.window = 32;
  int windows = 0;
  options.progress = [&](std::int64_t, std::int64_t total) {
    EXPECT_EQ(total, 2);
    ++windows;
    return true;
  };
  auto result = score(*engine.session, tokens, options);
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(windows, 2);
  EXPECT_EQ(result->n_scored, 2 * 15);
  double sum = 0;
  std::size_t at = 0;
  for (int w = 0; w < 2; ++w) {
    const std::span<const TokenId> window(tokens.data() + 32 * w, 32);
    const SequenceId sequence = *engine.session->open();
    const BatchItem item{sequence, window, LogitsFor::kAll};
    ASSERT_TRUE(engine.session->forward({&item, 1}).ok());
    for (std::size_t i = 17; i < 32; ++i, ++at) {
      const std::span<const float> row = engine.session->logits(static_cast<std::int64_t>(i) - 1);
      long double total = 0;
      for (float x : row) total += std::exp(static_cast<long double>(x));
      const double want = static_cast<double>(row[static_cast<std::size_t>(window[i])] - std::log(total));
      EXPECT_EQ(result->tokens[at], window[i]);
      EXPECT_NEAR(result->log_probs[at], want, 1e-12);
      sum -= want;
    }
    engine.session->close(sequence);
  }
  EXPECT_NEAR(result->nll, sum / 30, 1e-12);
  options.window = 100;
  EXPECT_FALSE(score(*engine.session, tokens, options).ok());
}

TEST(FastestIsa, IsASupportedOneAndCanBeForced) {
  auto measured = fastest_isa();
  ASSERT_TRUE(measured.ok());
  EXPECT_TRUE(isa_supported(*measured));
  setenv("ROWMAX_ISA", "scalar", 1);
  auto forced = fastest_isa();
  setenv("ROWMAX_ISA", "z80", 1);
  auto unknown = fastest_isa();
  unsetenv("ROWMAX_ISA");
  ASSERT_TRUE(forced.ok());
  EXPECT_EQ(*forced, Isa::kScalar);
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.error().message.find("z80"), std::string::npos);
  EXPECT_EQ(*fastest_isa({"scalar", {}}), Isa::kScalar);
  KernelChoice only_scalar;
  for (const KernelVariant& variant : kernel_variants()) {
    if (variant.name != "scalar") only_scalar.forbid.emplace_back(variant.name);
  }
  EXPECT_EQ(*fastest_isa(only_scalar), Isa::kScalar);
}

}  // namespace
}  // namespace rowmax::engine::generate_test
