// No memory for the scheduler: every allocation of submit() and of the steps fails once. Then requests end with
// kOutOfMemory, or are refused with it, and what is submitted next gets what it always gets.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "rowmax/engine/scheduler.h"
#include "tests/memory/test_failing_memory.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::memory_test {
namespace {

using namespace engine;

constexpr int kRequests = 4;

// Takes no memory while it listens.
struct Heard {
  std::vector<TokenId> tokens[2];
  std::vector<float> embedding;
  Status status;
  int n_ended = 0;

  Heard() {
    for (auto& own : tokens) own.reserve(64);
  }
};

class Listener : public RequestListener {
 public:
  explicit Listener(Heard& heard) : heard_(&heard) {}
  void stepped(RequestId /*id*/, int choice, const GenerationStep& step) override {
    heard_->tokens[choice].push_back(step.token);
  }
  void ended(RequestId /*id*/, RequestEnd end) override {
    heard_->status = std::move(end.status);
    heard_->embedding = std::move(end.embedding);
    ++heard_->n_ended;
  }

 private:
  Heard* heard_;
};

Request request(int i, Heard& heard) {
  std::vector<TokenId> prompt;
  for (int k = 0; k < 70 + i; ++k) prompt.push_back(10 + k % 40);
  if (i == 3) return {std::move(prompt), EmbedOptions{}, std::make_unique<Listener>(heard)};
  GenerationRequest work;
  work.options.max_tokens = 5;
  work.options.ignore_eos = true;
  work.choices = i == 1 ? 2 : 1;
  work.prompt_log_probability = i == 2;
  work.draft = *ngram_drafts();
  return {std::move(prompt), std::move(work), std::make_unique<Listener>(heard)};
}

std::string text_of(const Heard& heard) {
  std::string text;
  for (const auto& tokens : heard.tokens) {
    for (const TokenId token : tokens) text += std::to_string(token) + " ";
    text += "/";
  }
  for (const float value : heard.embedding) text += std::to_string(value) + " ";
  return text;
}

TEST(SchedulerOutOfMemory, Scheduling) {
  SerialExecutor executor;
  const std::vector<std::byte> bytes = std::move(tools::synthetic_model_bytes({})).value();
  ModelOptions options;
  options.isa = supported_isas().back();
  const Model model =
      std::move(Model::load(std::move(GgufFile::parse(bytes, "synthetic")).value(), options, executor)).value();
  const auto trial = [&](Fault& fault) -> Result<std::string> {
    SessionOptions session_options;
    session_options.max_sequences = 3;
    Session session = std::move(Session::create(model, session_options, executor)).value();
    Scheduler scheduler = std::move(Scheduler::create(session, {.step_rows = 40})).value();
    std::vector<Heard> heard(kRequests);
    std::vector<Request> requests;
    for (int i = 0; i < kRequests; ++i) requests.push_back(request(i, heard[static_cast<std::size_t>(i)]));
    Status submitted[kRequests];
    const Status ran = fault.during([&]() -> Status {
      for (int i = 0; i < kRequests; ++i) {
        auto id = scheduler.submit(std::move(requests[static_cast<std::size_t>(i)]));
        if (!id.ok()) submitted[i] = std::move(id).error();
      }
      while (scheduler.step()) {
      }
      return {};
    });
    if (!ran.ok()) return ran.error();
    std::string text;
    bool failed = false;
    for (std::size_t i = 0; i < kRequests; ++i) {
      const Status& status = submitted[i].ok() ? heard[i].status : submitted[i];
      EXPECT_EQ(heard[i].n_ended, submitted[i].ok() ? 1 : 0);
      Heard again;
      if (!status.ok()) {
        failed = true;
        EXPECT_EQ(status.error().code, ErrorCode::kOutOfMemory) << status.error().message;
        EXPECT_TRUE(scheduler.submit(request(static_cast<int>(i), again)).ok());
        while (scheduler.step()) {
        }
        EXPECT_TRUE(again.status.ok());
      }
      text += text_of(status.ok() ? heard[i] : again);
    }
    EXPECT_EQ(session.memory().kv_held_bytes, 0);
    static const std::string kText = text;
    EXPECT_EQ(text, kText) << "after a fault the same requests got something else";
    if (failed) return Error::out_of_memory();
    return text;
  };
  fail_each_allocation("scheduler", trial);
}

}  // namespace
}  // namespace rowmax::memory_test
