#include "rowmax/engine/scheduler.h"

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "engine/serving/test_requests.h"
#include "rowmax/engine/generate.h"

namespace rowmax::engine {
namespace {

RecordedRequest generation(std::vector<TokenId> prompt, std::int64_t max_tokens, int choices = 1) {
  GenerationRequest work;
  work.options.max_tokens = max_tokens;
  work.options.ignore_eos = true;
  work.options.sampling.temperature = 1;
  work.choices = choices;
  return {"", std::move(prompt), work};
}

// A session, its scheduler, and what the listeners of its requests heard.
struct Service {
  Session session;
  Scheduler scheduler;
  std::deque<Heard> heard;

  explicit Service(const std::string& arch, int max_sequences = 8, const SchedulerOptions& options = {},
                   std::int64_t kv_budget = 0, bool reuse = true)
      : session(make(arch, max_sequences, kv_budget, reuse)),
        scheduler(std::move(Scheduler::create(session, options)).value()) {}
  static Session make(const std::string& arch, int max_sequences, std::int64_t kv_budget, bool reuse) {
    SessionOptions options;
    options.max_sequences = max_sequences;
    options.kv_budget_bytes = kv_budget;
    options.reuse_prefixes = reuse;
    return std::move(Session::create(test_model(arch), options, test_executor())).value();
  }

  RequestId submit(const RecordedRequest& request, std::function<void()> at_step = {}) {
    Heard& own = heard.emplace_back();
    const auto id =
        scheduler.submit(request_of(request, std::make_unique<Recorder>(own, request.choices(), std::move(at_step))));
    EXPECT_TRUE(id.ok()) << id.error().message;
    return id.ok() ? *id : 0;
  }
  void finish() {
    for (int steps = 0; scheduler.step(); ++steps) ASSERT_LT(steps, 20000);
  }
  std::size_t n_tokens(std::size_t i, std::size_t choice = 0) const {
    return heard[i].given.choices[choice].sampled.size();
  }
};

class OfScheduler : public testing::TestWithParam<const char*> {
 protected:
  const std::string arch_ = GetParam();
};
INSTANTIATE_TEST_SUITE_P(Models, OfScheduler, testing::Values("llama", "qwen35", "gemma2"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(OfScheduler, GenerationsGetATokenInEachStepWhilePromptsAreRead) {
  Service service(arch_, 8, {.step_rows = 16});
  for (int i = 0; i < 3; ++i) service.submit(generation(test_prompt(1, i), 60));
  service.scheduler.step();
  service.submit(generation(test_prompt(300, 4), 2));  // long
  service.submit(generation(test_prompt(20, 5), 2));   // short, behind it
  int short_steps = 0;
  for (int step = 0; step < 50; ++step) {
    const std::size_t before = service.n_tokens(0);
    service.scheduler.step();
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(service.n_tokens(i), before + 1);
    short_steps += service.n_tokens(4) == 0;
  }
  // 13 rows a step for two prompts: 6 for the younger one.
  EXPECT_EQ(short_steps, 3);
  EXPECT_EQ(service.n_tokens(3), 2u);
  service.finish();
}

TEST_P(OfScheduler, WhatSeveralBeginWithIsComputedOnce) {
  Service service(arch_, 16, {.step_rows = 50});
  const std::vector<TokenId> common = test_prompt(256, 1);
  for (int i = 0; i < 10; ++i) {
    std::vector<TokenId> prompt = common;
    for (int k = 0; k < 5; ++k) prompt.push_back(50 + 11 * i + k);
    service.submit(generation(prompt, 1));
  }
  service.submit(generation(test_prompt(30, 2), 1));  // another one does not wait for them
  service.scheduler.step();
  EXPECT_EQ(service.heard[10].n_started, 1);
  EXPECT_EQ(service.heard[1].n_started, 0);
  service.finish();
  EXPECT_EQ(service.scheduler.statistics().rows, 256 + 10 * 5 + 30);
  EXPECT_EQ(service.heard[0].start.cached_tokens, 0);
  for (std::size_t i = 1; i < 10; ++i) EXPECT_EQ(service.heard[i].start.cached_tokens, 256);
  EXPECT_EQ(service.scheduler.statistics().cached_tokens, 9 * 256);
}

// Recurrent states and windows are there to be taken up where a piece ended.
TEST_P(OfScheduler, PiecesEndWhereOthersGoOn) {
  Service service(arch_, 4);
  std::vector<TokenId> first = test_prompt(300, 1), second(first.begin(), first.begin() + 130);
  second.push_back(7);
  service.submit(generation(first, 1));
  service.submit(generation(second, 1));
  service.finish();
  EXPECT_EQ(service.heard[1].start.cached_tokens, 130);
  EXPECT_EQ(service.scheduler.statistics().rows, 300 + 1);
}

// One that goes first, but does not come to what both have: its company has the steps. Nobody waits forever.
TEST(Scheduler, PatienceHasAnEnd) {
  Service service("llama", 16, {.step_rows = 2});
  for (int i = 0; i < 12; ++i) service.submit(generation(test_prompt(1, i), 400));
  service.scheduler.step();
  std::vector<TokenId> first = test_prompt(64, 20), second = first;
  first.push_back(5);
  second.push_back(6);
  service.submit(generation(first, 1));
  service.submit(generation(second, 1));
  const std::int64_t before = service.scheduler.statistics().rows;
  while (service.heard[13].n_started == 0) ASSERT_TRUE(service.scheduler.step());
  // Each step has 12 rows for the generations and one for the prompt, of which it needs 64.
  EXPECT_EQ(service.heard[12].n_ended, 0);
  EXPECT_LE(service.scheduler.statistics().rows - before, 8 * 64 + 26);
  service.finish();
}

TEST_P(OfScheduler, ChoicesShareThePromptsComputation) {
  for (const bool reuse : {true, false}) {
    Service service(arch_, 8, {.step_rows = 37}, 0, reuse);
    service.submit(generation(test_prompt(100, 1), 4, 5));
    service.finish();
    // The prompt but for its last token once; that one and three of those that follow for each choice.
    EXPECT_EQ(service.scheduler.statistics().rows, 99 + 5 * 4);
    EXPECT_EQ(service.heard[0].end.generated_tokens, 20);
    EXPECT_EQ(service.heard[0].start.prompt_tokens, 100);
  }
}

TEST_P(OfScheduler, ChoicesWithoutASequenceFollow) {
  Service service(arch_, 2);
  service.submit(generation(test_prompt(128 + 10, 1), 3, 5));
  service.finish();
  EXPECT_EQ(service.scheduler.statistics().succeeded, 1);
  EXPECT_EQ(service.scheduler.statistics().rows, 138 + 1 + 3 * 1 + 5 * 2);
}

TEST_P(OfScheduler, WithoutRoomTheYoungestGoesBackAndTheOldestNever) {
  const std::int64_t one = test_session(arch_, 512, 1).cost(300)->kv_peak_bytes;
  Service service(arch_, 8, {.step_rows = 20}, 2 * one, false);
  for (int i = 0; i < 6; ++i) service.submit(generation(test_prompt(90 + i, i), 200));
  for (std::int64_t before = 0; service.scheduler.step();) {
    // What is computed again shares the step with prompts.
    EXPECT_LE(service.scheduler.statistics().rows - before, 20);
    before = service.scheduler.statistics().rows;
  }
  EXPECT_GT(service.scheduler.statistics().preemptions, arch_ == "llama" ? 0 : -1);
  EXPECT_EQ(service.heard[0].end.preemptions, 0);
  std::int64_t total = 0;
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(text_of(service.heard[i].given),
              text_of(alone(test_model(arch_), generation(test_prompt(90 + int(i), int(i)), 200))));
    total += service.heard[i].end.preemptions;
  }
  EXPECT_EQ(total, service.scheduler.statistics().preemptions);
}

TEST(Scheduler, WhoStartsHasRoomForTheNextTokens) {
  const std::int64_t page = test_session("llama", 512, 1).cost(64)->kv_peak_bytes;
  Service service("llama", 8, {}, 7 * page, false);
  for (int i = 0; i < 6; ++i) service.submit(generation(test_prompt(60, i), 40));
  service.scheduler.step();
  EXPECT_EQ(service.scheduler.statistics().running, 3);  // of two pages each
  service.finish();
  EXPECT_EQ(service.scheduler.statistics().preemptions, 0);
}

// A budget that ends before the text does: the text ends where it ends alone, whoever runs beside it.
TEST_P(OfScheduler, ABudgetThatIsUsedUpEndsTheTextAsItDoesAlone) {
  const std::int64_t budget = test_session(arch_, 512, 1).cost(192)->kv_peak_bytes;
  const RecordedRequest longest = generation(test_prompt(100, 1), 600), other = generation(test_prompt(70, 2), 300);
  const Given want = alone(test_model(arch_), longest, budget), want_other = alone(test_model(arch_), other, budget);
  EXPECT_TRUE(want.choices[0].budget_used_up);
  for (const bool drafts : {false, true}) {
    Service service(arch_, 4, {.step_rows = 20}, budget);
    RecordedRequest request = longest;
    if (drafts) std::get<GenerationRequest>(request.work).draft = *ngram_drafts(1, 3, 8);
    service.submit(request);
    service.submit(other);
    service.submit(request);
    service.finish();
    EXPECT_EQ(text_of(service.heard[0].given), text_of(want));
    EXPECT_EQ(text_of(service.heard[1].given), text_of(want_other));
    EXPECT_EQ(text_of(service.heard[2].given), text_of(want));
  }
}

TEST(Scheduler, RefusesWhatCanNeverBeComputed) {
  const std::int64_t budget = test_session("llama", 512, 1).cost(64)->kv_peak_bytes;
  Service service("llama", 2, {}, budget);
  const auto refused = [&](const RecordedRequest& request) {
    Heard heard;
    const auto id = service.scheduler.submit(request_of(request, std::make_unique<Recorder>(heard, 0)));
    EXPECT_FALSE(id.ok());
    EXPECT_TRUE(heard.destroyed);
    EXPECT_EQ(heard.n_started + heard.n_ended, 0);
    return id.ok() ? Error{} : id.error();
  };
  const auto with = [&](const auto& change) {
    RecordedRequest request = generation(test_prompt(5, 1), 3);
    change(std::get<GenerationRequest>(request.work));
    return refused(request);
  };
  EXPECT_EQ(refused(generation({}, 3)).message, "prompt: expected at least one token, found none");
  EXPECT_EQ(refused(generation({1, 431}, 3)).message, "prompt: expected token ids 0 to 430, found 431");
  EXPECT_EQ(with([](auto& work) { work.choices = 0; }).message, "choices: expected 1 to 1024, found 0");
  EXPECT_EQ(with([](auto& work) { work.options.max_tokens = -2; }).code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(with([](auto& work) { work.options.stop = {""}; }).code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(with([](auto& work) { work.options.stop_tokens = {431}; }).code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(with([](auto& work) { work.options.sampling.top_p = 2; }).code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(with([](auto& work) { work.prompt_top_log_probabilities = 432; }).message,
            "prompt_top_log_probabilities: expected 0 to 431, found 432");
  EXPECT_EQ(refused({"", {1}, EmbedOptions{.pooling = static_cast<Pooling>(4)}}).code, ErrorCode::kInvalidArgument);
  const Error context = refused(generation(test_prompt(1001, 1), 3)), room = refused(generation(test_prompt(65, 1), 3));
  EXPECT_EQ(context.code, ErrorCode::kLimit);
  EXPECT_EQ(context.message, "prompt of 1001 tokens does not fit the context of 1000");
  EXPECT_EQ(room.code, ErrorCode::kLimit);
  EXPECT_EQ(room.message, "prompt of 65 tokens: its keys and values need " + std::to_string(2 * budget) +
                              " bytes, kv_budget_bytes is " + std::to_string(budget));
  EXPECT_FALSE(service.scheduler.step());
  for (const SchedulerOptions& options :
       {SchedulerOptions{.step_rows = 0}, SchedulerOptions{.max_running = -1}, SchedulerOptions{.max_waiting = 0}}) {
    EXPECT_EQ(Scheduler::create(service.session, options).error().code, ErrorCode::kInvalidArgument);
  }
}

TEST(Scheduler, AFullQueueRefusesWithItsFigures) {
  Service service("llama", 1, {.max_waiting = 3});
  for (int i = 0; i < 3; ++i) service.submit(generation(test_prompt(5, i), 2));
  EXPECT_EQ(service.scheduler.statistics().waiting, 3);
  Heard heard;
  const auto submit = [&] {
    return service.scheduler.submit(request_of(generation({1}, 2), std::make_unique<Recorder>(heard, 1)));
  };
  const auto id = submit();
  ASSERT_FALSE(id.ok());
  EXPECT_EQ(id.error().code, ErrorCode::kBusy);
  EXPECT_EQ(id.error().message, "the queue is full: 3 of 3 requests wait");
  service.scheduler.step();  // one of them starts
  EXPECT_EQ(service.scheduler.statistics().waiting, 2);
  EXPECT_TRUE(submit().ok());
  service.finish();
  EXPECT_EQ(service.scheduler.statistics().refused, 1);
  EXPECT_EQ(service.scheduler.statistics().succeeded, 4);
}

TEST(Scheduler, CancelledRequestsAreInNoLaterStep) {
  Service service("llama", 1);
  const RequestId running = service.submit(generation(test_prompt(5, 1), 50, 2));
  const RequestId waiting = service.submit(generation(test_prompt(5, 2), 50));
  service.submit(generation(test_prompt(5, 3), 4));
  for (int i = 0; i < 3; ++i) service.scheduler.step();  // the prompt but for its last token, and two tokens
  EXPECT_TRUE(service.scheduler.cancel(running).ok());
  EXPECT_TRUE(service.scheduler.cancel(waiting).ok());
  EXPECT_EQ(service.heard[0].n_ended, 0);
  service.scheduler.step();
  EXPECT_EQ(service.heard[0].n_ended, 1);
  EXPECT_EQ(service.n_tokens(0), 2u);
  EXPECT_EQ(service.heard[0].end.status.error().code, ErrorCode::kCancelled);
  EXPECT_FALSE(service.heard[0].given.choices[0].reason.has_value());
  EXPECT_EQ(service.heard[1].n_started, 0);
  EXPECT_EQ(service.heard[1].n_ended, 1);
  EXPECT_EQ(service.heard[2].n_started, 1);
  EXPECT_EQ(service.scheduler.cancel(running).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(service.scheduler.cancel(99).error().code, ErrorCode::kNotFound);
  service.finish();
  EXPECT_EQ(service.n_tokens(2), 4u);
  EXPECT_EQ(service.scheduler.statistics().cancelled, 2);
}

TEST_P(OfScheduler, PausedRequestsAreInNoStepAndGoOnAsIfNothingWere) {
  const RecordedRequest long_one = generation(test_prompt(90, 1), 60, 2);
  const Given truth = alone(test_model(arch_), long_one);
  Service service(arch_, 2);
  const RequestId paused = service.submit(long_one);
  while (service.heard[0].given.choices[1].sampled.size() < 5) service.scheduler.step();
  EXPECT_TRUE(service.scheduler.pause(paused).ok());
  service.scheduler.step();
  EXPECT_EQ(service.scheduler.statistics().paused, 2);
  const std::size_t n_before = service.n_tokens(0);
  // Both sequences are the paused one's; others need them, and all of the room.
  service.submit(generation(test_prompt(70, 2), 30, 2));
  for (int i = 0; i < 60; ++i) service.scheduler.step();
  EXPECT_EQ(service.n_tokens(1), 30u);
  EXPECT_EQ(service.n_tokens(0), n_before);
  EXPECT_TRUE(service.scheduler.step());  // it is left to be done
  EXPECT_EQ(service.scheduler.statistics().memory.kv_held_bytes, 0);
  EXPECT_EQ(service.heard[0].n_ended, 0);
  EXPECT_TRUE(service.scheduler.resume(paused).ok());
  service.finish();
  EXPECT_EQ(text_of(service.heard[0].given), text_of(truth));
  EXPECT_EQ(service.scheduler.pause(paused).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(service.scheduler.resume(99).error().code, ErrorCode::kNotFound);
}

// What nobody needs stays where it is.
TEST(Scheduler, APausedRequestKeepsItsMemoryWhileThereIsRoom) {
  Service service("llama", 4);
  const RequestId paused = service.submit(generation(test_prompt(90, 1), 20));
  for (int i = 0; i < 4; ++i) service.scheduler.step();
  EXPECT_TRUE(service.scheduler.pause(paused).ok());
  service.scheduler.step();
  EXPECT_GT(service.scheduler.statistics().memory.kv_held_bytes, 0);
  EXPECT_TRUE(service.scheduler.resume(paused).ok());
  const std::int64_t rows = service.scheduler.statistics().rows;
  service.scheduler.step();
  EXPECT_EQ(service.scheduler.statistics().rows, rows + 1);
  EXPECT_TRUE(service.scheduler.pause(paused).ok());
  EXPECT_TRUE(service.scheduler.cancel(paused).ok());
  EXPECT_FALSE(service.scheduler.step());
  EXPECT_EQ(service.heard[0].end.status.error().code, ErrorCode::kCancelled);
}

TEST(Scheduler, AListenerMaySubmitAndCancel) {
  Service service("llama", 4);
  RequestId other = service.submit(generation(test_prompt(5, 1), 50));
  bool done = false;
  service.submit(generation(test_prompt(5, 2), 5), [&] {
    if (done) return;
    done = true;
    EXPECT_TRUE(service.scheduler.cancel(other).ok());
    service.submit(generation(test_prompt(5, 3), 3));
  });
  service.finish();
  ASSERT_EQ(service.heard.size(), 3u);
  EXPECT_EQ(service.n_tokens(0), 1u);
  EXPECT_EQ(service.n_tokens(2), 3u);
}

TEST(Scheduler, DrainFinishesAndStopCancels) {
  Service service("llama", 1);
  service.submit(generation(test_prompt(5, 1), 3));
  service.submit(generation(test_prompt(5, 2), 3));
  service.scheduler.drain();
  service.scheduler.run();
  EXPECT_EQ(service.scheduler.statistics().succeeded, 2);
  EXPECT_EQ(service.scheduler.submit(request_of(generation({1}, 1), nullptr)).error().code, ErrorCode::kCancelled);

  Service stopped("llama", 1);
  stopped.submit(generation(test_prompt(5, 1), 300), [&] { stopped.scheduler.stop(); });
  stopped.submit(generation(test_prompt(5, 2), 3));
  stopped.scheduler.run();
  EXPECT_EQ(stopped.scheduler.statistics().cancelled, 2);
  EXPECT_EQ(stopped.n_tokens(0), 1u);

  std::deque<Heard> heard;
  {
    Service left("llama", 1);
    left.submit(generation(test_prompt(5, 1), 300));
    left.scheduler.step();
    left.heard.swap(heard);
  }
  EXPECT_EQ(heard[0].n_ended, 1);
  EXPECT_TRUE(heard[0].destroyed);
}

TEST(Scheduler, AFailingMaskEndsItsRequestAlone) {
  Service service("llama", 4);
  RecordedRequest failing = generation(test_prompt(5, 1), 50, 2);
  bool failed = false;
  std::get<GenerationRequest>(failing.work).options.token_mask = [&](std::span<const TokenId> generated,
                                                                     std::span<std::uint64_t> allowed) -> Status {
    if (generated.size() == 3 && !failed) {
      failed = true;
      return Error::unsupported("no more");
    }
    allowed[0] = ~std::uint64_t{0};
    return {};
  };
  service.submit(failing);
  service.submit(generation(test_prompt(5, 2), 10));
  service.finish();
  EXPECT_EQ(service.heard[0].end.status.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(service.n_tokens(0), 3u);
  EXPECT_EQ(service.n_tokens(0, 1), 3u);
  EXPECT_EQ(service.n_tokens(1), 10u);
  EXPECT_EQ(service.scheduler.statistics().failed, 1);
  EXPECT_EQ(service.session.memory().kv_held_bytes, 0);
}

TEST_P(OfScheduler, GuessesSaveStepsWhereTheyAreRightAndStopWhereTheyAreNot) {
  const RecordedRequest plain = generation(test_prompt(40, 1), 200);
  const Given want = alone(test_model(arch_), plain);
  const auto run = [&](TokenId off) {
    std::vector<TokenId> all = plain.prompt;
    all.insert(all.end(), want.choices[0].sampled.begin(), want.choices[0].sampled.end());
    RecordedRequest request = plain;
    std::get<GenerationRequest>(request.work).draft = [=](std::span<const TokenId> tokens, std::int64_t at_most) {
      std::vector<TokenId> draft;
      for (std::size_t i = tokens.size(); i < all.size() && std::ssize(draft) < at_most; ++i)
        draft.push_back((all[i] + off) % 431);
      return draft;
    };
    Service service(arch_);
    service.submit(request);
    service.finish();
    EXPECT_EQ(text_of(service.heard[0].given), text_of(want));
    const SchedulerStatistics figures = service.scheduler.statistics();
    EXPECT_EQ(figures.draft_tokens, service.heard[0].end.draft_tokens);
    return figures;
  };
  const SchedulerStatistics right = run(0), wrong = run(1);
  EXPECT_LT(right.steps, 12);
  EXPECT_EQ(right.accepted_draft_tokens, right.draft_tokens);
  EXPECT_EQ(wrong.steps, 200);
  EXPECT_EQ(wrong.accepted_draft_tokens, 0);
  EXPECT_LT(wrong.draft_tokens, 80);
}

TEST(Scheduler, EmbeddingsAndScoresCountNoTokens) {
  Service service("llama", 4, {.step_rows = 10});
  service.submit({"", test_prompt(70, 1), EmbedOptions{.pooling = Pooling::kMean}});
  RecordedRequest scored = generation(test_prompt(30, 2), 0);
  std::get<GenerationRequest>(scored.work).prompt_log_probability = true;
  service.submit(scored);
  service.submit(generation(test_prompt(30, 3), 0));
  service.finish();
  EXPECT_EQ(service.heard[0].given.embedding.size(), 96u);
  EXPECT_EQ(service.heard[1].given.scores.tokens.size(), 29u);
  EXPECT_EQ(service.heard[1].n_scored, 1);
  EXPECT_EQ(service.heard[2].given.choices[0].reason, StopReason::kLength);
  EXPECT_EQ(service.scheduler.statistics().rows, 70 + 29);
  EXPECT_EQ(service.scheduler.statistics().generated_tokens, 0);
  EXPECT_EQ(service.heard[0].end.first_token_ms, 0);
  EXPECT_GT(service.heard[0].end.prompt_ms, 0);
}

// A model one of whose tokens gives logits that are not finite.
TEST(Scheduler, ANumericFaultEndsItsRequestAlone) {
  constexpr TokenId kPoison = 77;
  constexpr std::size_t kEmbd = 64;
  tools::SyntheticSpec spec;
  spec.untied = true;
  std::vector<std::byte> bytes = std::move(tools::synthetic_model_bytes(spec)).value();
  GgufFile file = std::move(GgufFile::parse(bytes, "synthetic")).value();
  const auto set = [&](const char* name, std::size_t index, float value) {
    std::memcpy(bytes.data() + (file.find_tensor(name)->data.data() - bytes.data()) + index * sizeof value, &value,
                sizeof value);
  };
  for (std::size_t d = 0; d < kEmbd; ++d) set("token_embd.weight", kPoison * kEmbd + d, d == 0 ? 1e6f : 0);
  set("output_norm.weight", 0, 7.5e37f);
  const std::size_t n_vocab = file.find_tensor("output.weight")->data.size() / sizeof(float) / kEmbd;
  for (std::size_t id = 0; id < n_vocab; ++id) set("output.weight", id * kEmbd, 0);
  ModelOptions options;
  options.isa = supported_isas().back();
  options.activations = Activations::kF32;
  const Model model = std::move(Model::load(std::move(file), options, test_executor())).value();

  SessionOptions session_options;
  session_options.max_sequences = 4;
  Session session = std::move(Session::create(model, session_options, test_executor())).value();
  Scheduler scheduler = std::move(Scheduler::create(session, {})).value();
  std::vector<Heard> heard(3);
  std::vector<RecordedRequest> requests = {generation({100, 101, 102}, 6), generation({100, kPoison}, 6),
                                           generation({103, 104}, 6)};
  for (RecordedRequest& request : requests) {
    std::get<GenerationRequest>(request.work).options.sampling.logit_bias = {{kPoison, -1000.0f}};
  }
  for (std::size_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(scheduler.submit(request_of(requests[i], std::make_unique<Recorder>(heard[i], 1))).ok());
  }
  while (scheduler.step()) {
  }
  EXPECT_EQ(heard[1].end.status.error().code, ErrorCode::kNumericFault);
  EXPECT_EQ(text_of(heard[0].given), text_of(alone(model, requests[0])));
  EXPECT_EQ(text_of(heard[2].given), text_of(alone(model, requests[2])));
}

}  // namespace
}  // namespace rowmax::engine
