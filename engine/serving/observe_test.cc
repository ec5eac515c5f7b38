// Looks at a prompt's last token: what the observer is shown is what a plain session shows of that token, whatever else
// runs, and nobody's answer hangs on it.
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/serving/test_requests.h"

namespace rowmax::engine {
namespace {

using Weights = std::map<std::int64_t, std::vector<float>>;  // of each layer with attention, [n_head, n_kv]

// Keeps the weights of one position.
class Watcher final : public TraceObserver {
 public:
  explicit Watcher(std::int64_t position, bool throws = false) : position_(position), throws_(throws) {}
  bool wants(Stage stage, std::int64_t) override { return stage == Stage::kScores; }
  void see(const TraceView& view) override {
    if (throws_) std::vector<float>().reserve(std::vector<float>().max_size() + 1);
    for (std::size_t i = 0; i < view.rows.size(); ++i) {
      ++rows_seen;
      if (view.rows[i].position != position_) continue;
      const float* row = view.data + static_cast<std::int64_t>(i) * view.row_stride;
      weights[view.layer].assign(row, row + view.n_group * view.width);
    }
  }
  Weights weights;
  std::size_t rows_seen = 0;

 private:
  std::int64_t position_;
  bool throws_;
};

// The truth: a session of its own, the whole prompt at once.
Weights alone(const Model& model, const std::vector<TokenId>& prompt) {
  Session session = std::move(Session::create(model, {}, test_executor())).value();
  Watcher watcher(std::ssize(prompt) - 1);
  session.set_observer(&watcher);
  const BatchItem item{*session.open(), prompt, LogitsFor::kLast};
  EXPECT_TRUE(session.forward({&item, 1}).ok());
  return watcher.weights;
}

class Observe : public testing::TestWithParam<const char*> {
 protected:
  const Model& model_ = test_model(GetParam());
  std::deque<Heard> heard_;

  Session session(std::int64_t kv_budget = 0) const {
    SessionOptions options;
    options.max_sequences = 6;
    options.kv_budget_bytes = kv_budget;
    return std::move(Session::create(model_, options, test_executor())).value();
  }
  void submit(Scheduler& scheduler, const RecordedRequest& request) {
    Heard& own = heard_.emplace_back();
    const auto id = scheduler.submit(request_of(request, std::make_unique<Recorder>(own, request.choices())));
    ASSERT_TRUE(id.ok()) << id.error().message;
  }
};
INSTANTIATE_TEST_SUITE_P(Models, Observe, testing::Values("llama", "qwen35", "gemma2", "gpt-oss"),
                         [](const auto& info) {
                           return std::string(info.param == std::string("gpt-oss") ? "gptoss" : info.param);
                         });

TEST_P(Observe, WhatIsSeenIsThePromptsAloneWhateverRuns) {
  const std::vector<RecordedRequest> company = recorded_requests(model_, 12);
  std::vector<Given> truths;
  for (const RecordedRequest& request : company) truths.push_back(alone(model_, request));
  const std::int64_t most = sequence_cost(model_.description(), 250)->kv_peak_bytes;
  for (const std::int64_t budget : {std::int64_t{0}, most}) {
    heard_.clear();
    Session own = session(budget);
    Scheduler scheduler = std::move(Scheduler::create(own, {.step_rows = 32, .headroom_tokens = 0})).value();
    std::vector<std::pair<std::vector<TokenId>, std::shared_ptr<Watcher>>> looks;
    for (std::size_t i = 0; i < company.size(); ++i) {
      submit(scheduler, company[i]);
      // One token, pages' edges, the same prompt again, one that begins like others.
      const int lengths[] = {1, 64, 65, 100, 100, 3};
      std::vector<TokenId> prompt = test_prompt(lengths[i % 6], static_cast<int>(i / 6));
      auto watcher = std::make_shared<Watcher>(std::ssize(prompt) - 1);
      submit(scheduler, {"", prompt, ObserveRequest{watcher}});
      looks.emplace_back(std::move(prompt), std::move(watcher));
    }
    for (int steps = 0; scheduler.step(); ++steps) ASSERT_LT(steps, 20000);
    for (std::size_t i = 0; i < company.size(); ++i) {
      EXPECT_EQ(text_of(heard_[2 * i].given), text_of(truths[i])) << company[i].name;
      const auto& [prompt, watcher] = looks[i];
      const Heard& look = heard_[2 * i + 1];
      EXPECT_TRUE(look.end.status.ok()) << look.end.status.error().message;
      EXPECT_TRUE(look.destroyed);
      EXPECT_EQ(look.end.prompt_tokens, std::ssize(prompt));
      const Weights want = alone(model_, prompt);
      EXPECT_FALSE(want.empty());
      EXPECT_EQ(watcher->weights, want) << prompt.size();
      EXPECT_EQ(watcher->rows_seen, want.size()) << "rows of others, or a row twice";
    }
    EXPECT_EQ(budget != 0, scheduler.statistics().preemptions > 0) << "the budget is there to press";
  }
}

TEST_P(Observe, GenerationsHaveTheirTokenInEachStep) {
  Session own = session();
  Scheduler scheduler = std::move(Scheduler::create(own, {.step_rows = 16})).value();
  GenerationRequest work;
  work.options.max_tokens = 60;
  work.options.ignore_eos = true;
  submit(scheduler, {"", test_prompt(1, 1), work});
  scheduler.step();
  for (int i = 0; i < 3; ++i) {
    submit(scheduler, {"", test_prompt(20, 4), ObserveRequest{std::make_shared<Watcher>(19)}});
  }
  while (heard_.back().n_ended == 0) {
    const std::size_t before = heard_[0].given.choices[0].sampled.size();
    ASSERT_TRUE(scheduler.step());
    ASSERT_EQ(heard_[0].given.choices[0].sampled.size(), before + 1);
  }
  scheduler.stop();
}

TEST_P(Observe, AnObserverWithoutMemoryFailsAlone) {
  Session own = session();
  Scheduler scheduler = std::move(Scheduler::create(own, {})).value();
  const RecordedRequest company = recorded_requests(model_, 1).front();
  submit(scheduler, company);
  submit(scheduler, {"", test_prompt(20, 4), ObserveRequest{std::make_shared<Watcher>(19, true)}});
  auto seen = std::make_shared<Watcher>(19);
  submit(scheduler, {"", test_prompt(20, 4), ObserveRequest{seen}});
  for (int steps = 0; scheduler.step(); ++steps) ASSERT_LT(steps, 20000);
  ASSERT_FALSE(heard_[1].end.status.ok());
  EXPECT_EQ(heard_[1].end.status.error().code, ErrorCode::kOutOfMemory);
  EXPECT_EQ(text_of(heard_[0].given), text_of(alone(model_, company)));
  EXPECT_EQ(seen->weights, alone(model_, test_prompt(20, 4)));
}

TEST_P(Observe, NobodyToLookIsRefused) {
  Session own = session();
  Scheduler scheduler = std::move(Scheduler::create(own, {})).value();
  const auto id = scheduler.submit({{1}, ObserveRequest{}, nullptr});
  ASSERT_FALSE(id.ok());
  EXPECT_EQ(id.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(id.error().message.find("observer"), std::string::npos);
}

}  // namespace
}  // namespace rowmax::engine
