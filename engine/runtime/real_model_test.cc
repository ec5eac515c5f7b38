// The promises on a real model. ROWMAX_SMOLLM2 names SmolLM2-135M-Instruct as GGUF (`rowmax pull smollm2` says where it
// put it); skipped without.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "rowmax/engine/generate.h"

namespace rowmax::engine::real_model_test {
namespace {

const char* model_path() { return std::getenv("ROWMAX_SMOLLM2"); }

struct Engine {
  std::unique_ptr<Executor> pool;
  std::unique_ptr<Model> model;
  std::unique_ptr<Session> session;

  Engine(int threads, Isa isa, int max_sequences = 6) {
    pool = std::move(make_thread_pool(threads)).value();
    ModelOptions options;
    options.isa = isa;
    auto loaded = Model::load(model_path(), options, *pool);
    EXPECT_TRUE(loaded.ok()) << loaded.error().message;
    model = std::make_unique<Model>(std::move(loaded).value());
    SessionOptions session_options;
    session_options.max_sequences = max_sequences;
    session = std::make_unique<Session>(std::move(Session::create(*model, session_options, *pool)).value());
  }

  std::vector<float> logits(std::span<const TokenId> tokens, std::size_t chunk) {
    const SequenceId sequence = *session->open();
    const std::size_t reused = static_cast<std::size_t>(*session->reuse(sequence, tokens));
    std::vector<float> all;
    for (std::size_t begin = reused; begin < tokens.size(); begin += chunk) {
      const std::size_t n = std::min(chunk, tokens.size() - begin);
      const BatchItem item{sequence, tokens.subspan(begin, n), LogitsFor::kAll};
      EXPECT_TRUE(session->forward({&item, 1}).ok());
      for (std::int64_t row = 0; row < session->n_logit_rows(); ++row) {
        all.insert(all.end(), session->logits(row).begin(), session->logits(row).end());
      }
    }
    session->close(sequence);
    return all;
  }
};

std::vector<TokenId> story(const Model& model, std::size_t n) {
  std::string text;
  for (int i = 0; text.size() < 8 * n; ++i) text += "In year " + std::to_string(i * i + 3) + " the river rose again. ";
  std::vector<TokenId> ids = *model.tokenizer().encode(text, false);
  ids.resize(n);
  return ids;
}

// got ends where want ends.
bool same_tail(const std::vector<float>& got, const std::vector<float>& want) {
  return !got.empty() && got.size() <= want.size() &&
         std::memcmp(got.data(), want.data() + (want.size() - got.size()), got.size() * sizeof(float)) == 0;
}

TEST(SmolLm2, SameBitsHoweverItIsComputed) {
  if (model_path() == nullptr) GTEST_SKIP() << "ROWMAX_SMOLLM2 names no model";
  const Isa best = supported_isas().back();
  Engine one(1, best);
  const std::vector<TokenId> tokens = story(*one.model, 600);  // crosses a split of 512 keys
  const std::vector<float> want = one.logits(tokens, tokens.size());
  for (const int threads : {2, 3, 7})
    EXPECT_TRUE(same_tail(Engine(threads, best).logits(tokens, 512), want)) << threads;
  for (const std::size_t chunk : {std::size_t{7}, std::size_t{64}}) {
    EXPECT_TRUE(same_tail(Engine(2, best).logits(tokens, chunk), want)) << "chunks of " << chunk;
  }
  EXPECT_TRUE(same_tail(one.logits(tokens, 512), want)) << "after a prefix was reused";
  const std::size_t head = 40;
  const std::vector<float> want_head(want.begin(),
                                     want.begin() + static_cast<std::ptrdiff_t>(head * want.size() / tokens.size()));
  for (const Isa isa : supported_isas()) {
    EXPECT_TRUE(same_tail(Engine(2, isa).logits(std::span(tokens).first(head), 1), want_head)) << isa_name(isa);
  }
}

// With one int8 number an activation (what other engines do) the first word of the answer is "L".
TEST(SmolLm2, KnowsTheCapitalOfFrance) {
  if (model_path() == nullptr) GTEST_SKIP() << "ROWMAX_SMOLLM2 names no model";
  Engine engine(2, supported_isas().back());
  auto chat_template = ChatTemplate::parse(engine.model->chat_template());
  ASSERT_TRUE(chat_template.ok()) << chat_template.error().message;
  const ChatMessage message{"user", "What is the capital of France?"};
  auto prompt = encode_chat(*engine.model, *chat_template, {&message, 1}, true, 0, nullptr);
  ASSERT_TRUE(prompt.ok()) << prompt.error().message;
  GenerateOptions options;
  options.sampling.temperature = 0;
  options.max_tokens = 32;
  auto answer = generate(*engine.session, *engine.session->open(), *prompt, options);
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  EXPECT_EQ(answer->text, "The capital of France is Paris.");  // as transformers answers in f32, greedily
  EXPECT_EQ(answer->reason, StopReason::kEos);
}

}  // namespace
}  // namespace rowmax::engine::real_model_test
