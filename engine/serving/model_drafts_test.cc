// A model's guesses are what it would write itself, however its sequences were used; and what is generated with them is
// what is generated without.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <string>
#include <vector>

#include "engine/serving/test_requests.h"
#include "rowmax/engine/generate.h"
#include "rowmax/engine/sampler.h"

namespace rowmax::engine {
namespace {

// The truth: greedily, token by token, in a session of its own.
std::vector<TokenId> greedy(const Model& model, std::vector<TokenId> tokens, std::int64_t n) {
  Session session = std::move(Session::create(model, {}, test_executor())).value();
  const SequenceId sequence = *session.open();
  std::vector<TokenId> written;
  std::span<const TokenId> next = tokens;
  while (std::ssize(written) < n) {
    const BatchItem item{sequence, next, LogitsFor::kLast};
    EXPECT_TRUE(session.forward({&item, 1}).ok());
    written.push_back(*argmax(session.logits(0)));
    if (model.tokenizer().is_end_of_generation(written.back())) break;
    next = std::span(written).last(1);
  }
  return written;
}

Session session_of(const Model& model, int max_sequences) {
  SessionOptions options;
  options.max_sequences = max_sequences;
  return std::move(Session::create(model, options, test_executor())).value();
}

std::vector<TokenId> joined(std::vector<TokenId> a, std::span<const TokenId> b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

class ModelDrafts : public testing::TestWithParam<const char*> {
 protected:
  const Model& model_ = test_model(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Models, ModelDrafts, testing::Values("llama", "gemma2", "gemma3", "qwen35"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(ModelDrafts, AreWhatTheModelWouldWrite) {
  Session session = session_of(model_, 3);  // fewer than texts
  const DraftFunction draft = *model_drafts(session, 6);
  std::vector<std::vector<TokenId>> texts;
  for (int i = 0; i < 4; ++i) texts.push_back(test_prompt(30 + 35 * i, i));
  for (int round = 0; round < 6; ++round) {
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const std::vector<TokenId> guesses = draft(texts[i], 6);
      ASSERT_EQ(guesses, greedy(model_, texts[i], 6)) << "round " << round << ", text " << i;
      // Asked again: all of it is there already.
      const auto first = std::span(guesses).first(std::min<std::size_t>(guesses.size(), 3));
      ASSERT_EQ(draft(texts[i], 3), std::vector(first.begin(), first.end()));
      // All, some or none of them are right; then comes another token.
      const std::size_t right = std::min(guesses.size(), (static_cast<std::size_t>(round) * 2 + i) % 7);
      texts[i] = joined(texts[i], std::span(guesses).first(right));
      texts[i].push_back(static_cast<TokenId>(3 + (round * 17 + static_cast<int>(i)) % 90));
    }
  }
  // Of a text that got shorter, of fewer tokens, and of one of which nothing is left to guess.
  texts[0].resize(20);
  EXPECT_EQ(draft(texts[0], 2), greedy(model_, texts[0], 2));
  EXPECT_TRUE(draft(texts[0], 0).empty());
  EXPECT_TRUE(draft({}, 4).empty());
  texts[1].resize(static_cast<std::size_t>(session.context()), 5);
  EXPECT_TRUE(draft(texts[1], 4).empty());
}

TEST_P(ModelDrafts, ALongTextIsReadInPieces) {
  Session session = session_of(model_, 2);
  const DraftFunction draft = *model_drafts(session, 4);
  const std::vector<TokenId> text = test_prompt(256 + 256 + 10, 3);
  EXPECT_TRUE(draft(text, 4).empty());
  EXPECT_TRUE(draft(text, 4).empty());
  EXPECT_EQ(draft(text, 4), greedy(model_, text, 4));
}

// Answers under load are those of each request alone, whoever guesses for them.
TEST_P(ModelDrafts, ChangeNoAnswer) {
  for (const char* guesser : {"llama", "gemma2", "qwen35", GetParam()}) {
    Session drafts = session_of(test_model(guesser), 4);
    const DraftFunction draft = *model_drafts(drafts, 5);
    Session session = session_of(model_, 6);
    Scheduler scheduler = std::move(Scheduler::create(session, {.step_rows = 64})).value();
    std::vector<RecordedRequest> requests = recorded_requests(model_, 20);
    std::deque<Heard> heard;
    for (RecordedRequest& request : requests) {
      if (auto* work = std::get_if<GenerationRequest>(&request.work)) work->draft = draft;
      Heard& own = heard.emplace_back();
      auto listener = std::make_unique<Recorder>(own, request.choices());
      ASSERT_TRUE(scheduler.submit(request_of(request, std::move(listener))).ok());
    }
    for (int steps = 0; scheduler.step(); ++steps) ASSERT_LT(steps, 20000);
    for (std::size_t i = 0; i < requests.size(); ++i) {
      if (auto* work = std::get_if<GenerationRequest>(&requests[i].work)) work->draft = {};
      EXPECT_EQ(text_of(heard[i].given), text_of(alone(model_, requests[i]))) << guesser << ": " << requests[i].name;
    }
    const SchedulerStatistics figures = scheduler.statistics();
    EXPECT_GT(figures.draft_tokens, 0);
    if (std::string(guesser) == GetParam()) {
      EXPECT_GT(figures.accepted_draft_tokens, 0);
    }
  }
}

TEST_P(ModelDrafts, ChangeNothingThatGenerateGives) {
  const std::vector<TokenId> prompt = test_prompt(90, 2);
  for (int kind = 0; kind < 4; ++kind) {
    GenerateOptions options;
    options.max_tokens = 50;
    options.ignore_eos = kind != 1;
    options.log_probability = kind == 2;
    options.top_log_probabilities = kind == 2 ? 3 : 0;
    options.sampling.temperature = kind == 0 ? 0.0f : 0.7f;
    options.sampling.seed = 7;
    Session plain = session_of(model_, 1), session = session_of(model_, 1), drafts = session_of(model_, 2);
    const GenerateResult want = std::move(generate(plain, *plain.open(), prompt, options)).value();
    if (kind == 3) options.stop = {want.text.substr(want.text.size() / 2, 3)};
    Session again = session_of(model_, 1);
    const GenerateResult right = std::move(generate(again, *again.open(), prompt, options)).value();
    options.draft = *model_drafts(drafts, 7);
    const GenerateResult got = std::move(generate(session, *session.open(), prompt, options)).value();
    EXPECT_EQ(got.tokens, right.tokens) << kind;
    EXPECT_EQ(got.text, right.text);
    EXPECT_EQ(got.reason, right.reason);
    EXPECT_EQ(got.stop_string, right.stop_string);
    EXPECT_EQ(got.end_token, right.end_token);
    EXPECT_EQ(got.log_probabilities, right.log_probabilities);
    EXPECT_EQ(got.timings.generated_tokens, right.timings.generated_tokens);
    EXPECT_EQ(right.timings.draft_tokens, 0);
    if (kind == 0) {
      // Its own guesses are all right.
      EXPECT_GT(got.timings.draft_tokens, 20);
      EXPECT_EQ(got.timings.accepted_draft_tokens, got.timings.draft_tokens);
    }
  }
}

// A budget that has room for the text and none for guesses beside it.
TEST(ModelDraftsOfGenerate, GuessesTakeNoRoomThatTheTextNeeds) {
  const Model& model = test_model("llama");
  GenerateOptions options;
  options.max_tokens = 100;
  options.ignore_eos = true;
  options.sampling.temperature = 0;
  Session wide = session_of(model, 1), drafts = session_of(model, 1);
  const std::vector<TokenId> prompt = test_prompt(60, 2);
  const std::vector<TokenId> want = std::move(generate(wide, *wide.open(), prompt, options)).value().tokens;
  SessionOptions tight;
  tight.kv_budget_bytes = sequence_cost(model.description(), 128)->kv_peak_bytes;
  Session session = std::move(Session::create(model, tight, test_executor())).value();
  options.draft = *model_drafts(drafts, 8);
  const auto got = generate(session, *session.open(), prompt, options);
  ASSERT_TRUE(got.ok()) << got.error().message;
  EXPECT_TRUE(got->budget_used_up);
  ASSERT_GE(std::ssize(got->tokens), 128 - 60);
  EXPECT_TRUE(std::equal(got->tokens.begin(), got->tokens.end(), want.begin()));
}

TEST(ModelDraftsOf, RefusesWhatMakesNoSense) {
  for (const int most : {0, 65}) {
    Session session = session_of(test_model("llama"), 1);
    EXPECT_EQ(model_drafts(session, most).error().code, ErrorCode::kInvalidArgument);
  }
  Session one = session_of(test_model("qwen35"), 1);  // recurrent: it needs a fork
  EXPECT_EQ(model_drafts(one).error().code, ErrorCode::kInvalidArgument);
  Session full = session_of(test_model("llama"), 1);
  ASSERT_TRUE(full.open().ok());
  EXPECT_EQ(model_drafts(full).error().code, ErrorCode::kInvalidArgument);
}

TEST(ModelDraftsOf, VocabulariesMustBeTheSame) {
  const auto load = [](std::vector<std::byte>& bytes) {
    ModelOptions options;
    options.isa = supported_isas().back();
    return Model::load(std::move(GgufFile::parse(bytes, "other.gguf")).value(), options, test_executor());
  };
  std::vector<std::byte> bytes = std::move(tools::synthetic_model_bytes(tools::odd_spec("llama"))).value();
  const Model& model = test_model("llama");
  const Tokenizer& tokenizer = model.tokenizer();
  const auto same = load(bytes);
  ASSERT_TRUE(same.ok());
  EXPECT_TRUE(check_same_vocabulary(model, *same).ok());
  // One letter of one token, that no merge is made of.
  TokenId changed_id = static_cast<TokenId>(tokenizer.size()) - 1;
  while (changed_id > 0 && tokenizer.kind(changed_id) != TokenKind::kControl) --changed_id;
  const std::string text(tokenizer.text(changed_id));
  ASSERT_GE(text.size(), 3u);
  std::string stored(8, '\0');
  stored[0] = static_cast<char>(text.size());
  stored += text;
  auto* begin = reinterpret_cast<char*>(bytes.data());
  char* found = std::search(begin, begin + bytes.size(), stored.begin(), stored.end());
  ASSERT_NE(found, begin + bytes.size());
  found[9] = found[9] == 'z' ? 'y' : 'z';
  const auto changed = load(bytes);
  ASSERT_TRUE(changed.ok()) << changed.error().message;
  const Status status = check_same_vocabulary(model, *changed);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(status.error().message.find("token " + std::to_string(changed_id) + " is \"" + text), std::string::npos)
      << status.error().message;
}

}  // namespace
}  // namespace rowmax::engine
