// Conversations, turn by turn: what is computed of each turn is what is behind the beginning that it has in common with
// what was computed before, to the token, and every answer has the bits of a request that is alone.
#include <gtest/gtest.h>

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "engine/serving/test_requests.h"

namespace rowmax::engine {
namespace {

using Tokens = std::vector<TokenId>;

Tokens joined(std::span<const TokenId> a, std::span<const TokenId> b) {
  Tokens all(a.begin(), a.end());
  all.insert(all.end(), b.begin(), b.end());
  return all;
}

// A server's engine: a session, its scheduler, and what the listeners heard.
class Turns : public testing::TestWithParam<const char*> {
 protected:
  static constexpr int kAnswer = 11;
  const std::string arch_ = GetParam();
  const bool has_state_ = arch_ == "qwen35" || arch_ == "lfm2";
  std::optional<Session> session_;
  std::optional<Scheduler> scheduler_;
  std::deque<Heard> heard_;

  void open(std::int64_t kv_budget = 0, std::int64_t step_rows = 240, std::int64_t checkpoint_bytes = 1 << 30) {
    scheduler_.reset();
    SessionOptions options;
    options.context = 512;
    options.max_sequences = 4;
    options.kv_budget_bytes = kv_budget;
    options.checkpoint_bytes = checkpoint_bytes;
    session_.emplace(std::move(Session::create(test_model(arch_), options, test_executor())).value());
    scheduler_.emplace(std::move(Scheduler::create(*session_, {.step_rows = step_rows})).value());
  }
  static RecordedRequest request(Tokens prompt, std::vector<std::int64_t> places = {}) {
    GenerationRequest work;
    work.options.max_tokens = kAnswer;
    work.options.ignore_eos = true;
    work.options.sampling.temperature = 1;
    work.places = std::move(places);
    return {"", std::move(prompt), work};
  }
  Heard& submit(const RecordedRequest& asked) {
    Heard& heard = heard_.emplace_back();
    EXPECT_TRUE(scheduler_->submit(request_of(asked, std::make_unique<Recorder>(heard, 1))).ok());
    return heard;
  }
  void finish() {
    for (int steps = 0; scheduler_->step(); ++steps) ASSERT_LT(steps, 20000);
  }
  // Its answer; `cached` of its tokens need not be computed, and none but the others are.
  Tokens answer(Tokens prompt, std::int64_t cached, const char* what, std::vector<std::int64_t> places = {}) {
    const RecordedRequest asked = request(std::move(prompt), std::move(places));
    const std::int64_t before = scheduler_->statistics().rows;
    const Heard& heard = submit(asked);
    finish();
    EXPECT_EQ(text_of(heard.given), text_of(alone(test_model(arch_), asked))) << what;
    EXPECT_EQ(heard.start.cached_tokens, cached) << what;
    EXPECT_EQ(heard.end.cached_tokens, cached) << what;
    EXPECT_EQ(scheduler_->statistics().rows - before, std::ssize(asked.prompt) - cached + kAnswer - 1) << what;
    return heard.given.choices[0].sampled;
  }
};
INSTANTIATE_TEST_SUITE_P(Models, Turns, testing::Values("llama", "gemma2", "gemma3", "deepseek2", "qwen35", "lfm2"),
                         [](const auto& info) { return std::string(info.param); });

// The answer comes back as it was written. What was sampled last was not computed.
TEST_P(Turns, AConversationGoesOnBehindItsAnswer) {
  for (const std::int64_t step_rows : {240, 50, 7}) {
    open(0, step_rows);
    Tokens said = test_prompt(100, 1);
    std::int64_t cached = 0;
    for (int turn = 0; turn < 7; ++turn) {
      const Tokens sampled = answer(said, cached, "goes on");
      cached = std::ssize(said) + kAnswer - 1;
      said = joined(joined(said, sampled), test_prompt(3 + 9 * turn, 20 + turn));
    }
  }
}

// The template writes the answer in other words.
TEST_P(Turns, AnotherAnswerIsPutBehindThePrompt) {
  open();
  Tokens said = test_prompt(100, 1);
  std::int64_t cached = 0;
  for (int turn = 0; turn < 6; ++turn) {
    Tokens sampled = answer(said, cached, "rewritten");
    cached = std::ssize(said);
    sampled[0] = (sampled[0] + 1) % 200;
    said = joined(joined(said, sampled), test_prompt(17, 20 + turn));
  }
}

// The template leaves out the end of the prompt, too: a place that only its owner can know.
TEST_P(Turns, ThoughtsThatAreLeftOut) {
  open();
  Tokens said = test_prompt(120, 1);
  std::int64_t cached = 0;
  for (int turn = 0; turn < 6; ++turn) {
    const auto next = std::ssize(said);
    const Tokens thinks = joined(said, test_prompt(5, 77));
    answer(thinks, cached, "left out", {next});
    cached = next;
    said = joined(said, test_prompt(26, 30 + turn));
  }
}

TEST_P(Turns, TheSamePromptAgainComputesItsLastToken) {
  open();
  for (const std::int64_t n : {2, 40, 64, 65, 128, 129, 200}) {
    const Tokens prompt = test_prompt(static_cast<int>(n), static_cast<int>(n));
    answer(prompt, 0, "first");
    answer(prompt, n - 1, "again");
    answer(prompt, n - 1, "and again");
  }
}

TEST_P(Turns, TheLastMessageIsEdited) {
  open();
  const Tokens before = test_prompt(150, 1);
  answer(joined(before, test_prompt(30, 2)), 0, "first", {150});
  answer(joined(before, test_prompt(40, 3)), 150, "edited", {150});
  answer(joined(before, test_prompt(20, 4)), 150, "edited again", {150});
  // And back to the first, which is there still.
  answer(joined(before, test_prompt(30, 2)), 179, "undone", {150});
}

// Where recurrent states were not asked for, the second one that parts from a prompt leaves a state there.
TEST_P(Turns, APlaceThatNobodyNamedIsKnownFromTheSecondOn) {
  open();
  const Tokens before = test_prompt(90, 1);
  answer(joined(before, test_prompt(33, 2)), 0, "first");
  answer(joined(before, test_prompt(21, 3)), has_state_ ? 64 : 90, "second");
  answer(joined(before, test_prompt(42, 4)), 90, "third");
  answer(joined(before, test_prompt(10, 5)), 90, "fourth");
}

// Two clients at once: what both begin with is computed once, to the token.
TEST_P(Turns, TwoClientsFromOnePrefix) {
  open(0, 40);
  const Tokens before = test_prompt(150, 1);
  const RecordedRequest a = request(joined(before, test_prompt(60, 2))),
                        b = request(joined(before, test_prompt(50, 3)));
  const Heard &of_a = submit(a), &of_b = submit(b);
  finish();
  EXPECT_EQ(text_of(of_a.given), text_of(alone(test_model(arch_), a)));
  EXPECT_EQ(text_of(of_b.given), text_of(alone(test_model(arch_), b)));
  EXPECT_EQ(of_b.start.cached_tokens, 150);
  EXPECT_EQ(scheduler_->statistics().rows, 150 + 60 + 50 + 2 * (kAnswer - 1));
  // Both go on, beside each other.
  const Tokens next_a = joined(joined(a.prompt, of_a.given.choices[0].sampled), test_prompt(9, 4));
  const Tokens next_b = joined(joined(b.prompt, of_b.given.choices[0].sampled), test_prompt(8, 5));
  answer(next_a, 210 + kAnswer - 1, "a");
  answer(next_b, 200 + kAnswer - 1, "b");
  answer(next_a, std::ssize(next_a) - 1, "a again");
}

// One that is being answered is gone on from by others, who do not disturb it.
TEST_P(Turns, ARunningOneIsGoneOnFrom) {
  open();
  const RecordedRequest first = request(test_prompt(100, 1));
  const Heard& heard = submit(first);
  scheduler_->step();
  scheduler_->step();
  EXPECT_EQ(heard.n_ended, 0);
  const RecordedRequest second = request(joined(first.prompt, test_prompt(13, 2)));
  const Heard& other = submit(second);
  finish();
  EXPECT_EQ(other.start.cached_tokens, 100);
  EXPECT_EQ(text_of(heard.given), text_of(alone(test_model(arch_), first)));
  EXPECT_EQ(text_of(other.given), text_of(alone(test_model(arch_), second)));
}

// What was asked by others is found by whole pages alone, beside one another as in turn: nobody learns it token by token.
TEST_P(Turns, OwnersShareWholePagesAlone) {
  open(0, 40);
  const Tokens prompt = test_prompt(150, 1);
  const auto of = [&](std::uint64_t owner, Tokens asked) {
    Heard& heard = heard_.emplace_back();
    Request made = request_of(request(std::move(asked), {100}), std::make_unique<Recorder>(heard, 1));
    made.owner = owner;
    EXPECT_TRUE(scheduler_->submit(std::move(made)).ok());
    return &heard;
  };
  const Heard *first = of(1, prompt), *beside = of(2, joined(prompt, test_prompt(9, 2)));
  finish();
  EXPECT_EQ(first->start.cached_tokens, 0);
  EXPECT_EQ(beside->start.cached_tokens, 128);
  for (const std::int64_t n : {1, 40, 63, 64, 100, 127, 128, 149}) {
    const Tokens guess = joined(std::span(prompt).first(static_cast<std::size_t>(n)), Tokens{199, 198});
    const Heard* heard = of(static_cast<std::uint64_t>(100 + n), guess);
    finish();
    EXPECT_EQ(heard->start.cached_tokens % 64, 0) << n;
    EXPECT_LE(heard->start.reuse.found_tokens, n / 64 * 64) << n;
    if (!has_state_) {
      EXPECT_EQ(heard->start.cached_tokens, n / 64 * 64) << n;
    }
  }
  // Each still has his own to the token.
  for (const std::uint64_t owner : {1, 2}) {
    const Tokens next = joined(prompt, owner == 1 ? Tokens{3} : joined(test_prompt(9, 2), Tokens{3}));
    const Heard* heard = of(owner, next);
    finish();
    EXPECT_EQ(heard->start.cached_tokens, std::ssize(next) - 1);
  }
}

// Pages and states have to make room between the turns. More is computed then, and nothing else.
TEST_P(Turns, EvictionBetweenCostsTimeAlone) {
  const std::int64_t one = test_session(arch_, 512, 1).cost(400)->kv_peak_bytes;
  const std::int64_t state = std::max<std::int64_t>(1, test_session(arch_, 512, 1).page_layout().state_bytes);
  int n_less = 0, n_all = 0;
  for (const std::int64_t n_states : {0, 1, 2, 5, 100}) {
    open(one + one / 4, 60, n_states * state);
    Tokens said[2] = {test_prompt(70, 1), joined(test_prompt(50, 1), test_prompt(40, 2))};
    std::int64_t most[2] = {0, 0};
    for (int turn = 0; turn < 10; ++turn) {
      const int who = turn % 2;
      if (turn % 3 == 2) submit(request(test_prompt(90 + 50 * (turn % 4), 50 + turn)));
      const RecordedRequest asked = request(said[who]);
      const Heard& heard = submit(asked);
      finish();
      ASSERT_EQ(text_of(heard.given), text_of(alone(test_model(arch_), asked))) << n_states << ", turn " << turn;
      if (turn >= 2) {
        EXPECT_LE(heard.start.cached_tokens, most[who]);
        ++(heard.start.cached_tokens < most[who] ? n_less : n_all);
      }
      most[who] = std::ssize(said[who]) + kAnswer - 1;
      said[who] = joined(joined(said[who], heard.given.choices[0].sampled), test_prompt(12, 20 + turn));
      const Session::Memory memory = session_->memory();
      EXPECT_LE(memory.kv_held_bytes + memory.kv_kept_bytes, memory.kv_budget_bytes);
      EXPECT_LE(memory.checkpoint_bytes, n_states * state);
    }
    EXPECT_EQ(session_->memory().kv_held_bytes, 0);
  }
  if (arch_ != "gemma3") {  // which holds a window of 37 tokens in most layers: there is room for all
    EXPECT_GT(n_less, 0);
  }
  EXPECT_GT(n_all, 0);
}

}  // namespace
}  // namespace rowmax::engine
