// Requests of all kinds, what each is given alone (by a plain loop on a session of its own, without the scheduler), and
// a listener that records what a scheduler gives.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/runtime/test_models.h"
#include "rowmax/engine/scheduler.h"

namespace rowmax::engine {

struct GivenChoice {
  std::vector<TokenId> sampled;
  std::string text;
  std::vector<double> log_probabilities;
  std::vector<std::vector<TokenLogProbability>> top;
  std::optional<StopReason> reason;  // none: it did not end
  std::string stop_string;
  std::optional<TokenId> end_token;
  bool budget_used_up = false;
};

struct Given {
  std::vector<GivenChoice> choices;
  PromptLogProbabilities scores;
  std::vector<float> embedding;
  std::string error;
};
// All of it, numbers by their bits: equal where every bit is.
std::string text_of(const Given& given);

struct RecordedRequest {
  std::string name;
  std::vector<TokenId> prompt;
  std::variant<GenerationRequest, EmbedOptions, ObserveRequest> work;

  int choices() const;
};

// n requests: greedy, seeds, penalties, masks, log-probabilities, stop strings, drafts (good and bad ones), several
// choices, scored prompts, embeddings; half of the prompts begin alike. The prompts have up to 150 tokens, up to 96
// follow.
std::vector<RecordedRequest> recorded_requests(const Model& model, int n);
std::vector<TokenId> test_prompt(int n, int seed);

// The truth.
Given alone(const Model& model, const RecordedRequest& request, std::int64_t kv_budget = 0);

// What a listener heard. Where `given` is not what it should be, `faults` says so: calls out of order, after the end.
struct Heard {
  Given given;
  RequestStart start;
  RequestEnd end;
  int n_started = 0, n_scored = 0, n_ended = 0;
  std::vector<std::string> faults;
  bool destroyed = false;
};

class Recorder : public RequestListener {
 public:
  Recorder(Heard& heard, int choices, std::function<void()> at_step = {}, std::function<void()> at_end = {});
  ~Recorder() override { heard_->destroyed = true; }
  void started(RequestId id, const RequestStart& start) override;
  void prompt_scored(RequestId id, PromptLogProbabilities scores) override;
  void stepped(RequestId id, int choice, const GenerationStep& step) override;
  void choice_ended(RequestId id, int choice, const ChoiceEnd& end) override;
  void ended(RequestId id, RequestEnd end) override;

 private:
  Heard* heard_;
  std::function<void()> at_step_, at_end_;

  void expect_running(const char* call);
};

Request request_of(const RecordedRequest& recorded, std::unique_ptr<RequestListener> listener);

}  // namespace rowmax::engine
