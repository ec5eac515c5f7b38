#include "engine/serving/test_requests.h"

#include <algorithm>
#include <bit>
#include <cinttypes>
#include <cstdio>
#include <numeric>
#include <utility>

#include "rowmax/engine/generate.h"

namespace rowmax::engine {
namespace {

std::string bits(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.6g/%" PRIx64, value, std::bit_cast<std::uint64_t>(value));
  return text;
}

std::string text_of(const std::vector<std::vector<TokenLogProbability>>& rows) {
  std::string text;
  for (const auto& row : rows) {
    text += "[";
    for (const TokenLogProbability& p : row) text += std::to_string(p.token) + ":" + bits(p.value) + " ";
    text += "]";
  }
  return text;
}

std::string text_of(const GivenChoice& choice) {
  std::string text = "tokens";
  for (const TokenId token : choice.sampled) text += " " + std::to_string(token);
  text += "\ntext '" + choice.text + "'\nlog";
  for (const double p : choice.log_probabilities) text += " " + bits(p);
  text += "\ntop " + text_of(choice.top) + "\nend ";
  text += choice.reason ? stop_reason_name(*choice.reason) : "none";
  text += " stop '" + choice.stop_string + "' by ";
  text += choice.end_token ? std::to_string(*choice.end_token) : "none";
  return text + (choice.budget_used_up ? " (budget)\n" : "\n");
}

// Every third token and those that end a text.
TokenMask some_tokens(const Model& model, int seed) {
  return [&model, seed](std::span<const TokenId> generated, std::span<std::uint64_t> allowed) -> Status {
    const TokenId n_vocab = static_cast<TokenId>(model.shape().n_vocab);
    for (TokenId id = 0; id < n_vocab; ++id) {
      if ((id + seed + std::ssize(generated)) % 3 != 0 && !model.tokenizer().is_end_of_generation(id)) continue;
      allowed[static_cast<std::size_t>(id / 64)] |= std::uint64_t{1} << (id % 64);
    }
    return {};
  };
}

// What is generated after all, but for each `wrong`th token; 1: none is right.
DraftFunction guesses_of(const Model& model, const RecordedRequest& request, int wrong) {
  std::vector<TokenId> all = request.prompt;
  const Given given = alone(model, request);
  all.insert(all.end(), given.choices[0].sampled.begin(), given.choices[0].sampled.end());
  return [all, wrong](std::span<const TokenId> tokens, std::int64_t at_most) {
    std::vector<TokenId> draft;
    for (std::size_t i = tokens.size(); i < all.size() && std::ssize(draft) < at_most; ++i) {
      const bool is_wrong = wrong == 1 || (wrong > 1 && i % static_cast<std::size_t>(wrong) == 0);
      draft.push_back(is_wrong ? (all[i] + 1) % 200 : all[i]);
    }
    return draft;
  };
}

RecordedRequest recorded_request(const Model& model, int i) {
  RecordedRequest request;
  const int kind = i % 10, turn = i / 10;
  const int lengths[] = {1, 7, 63, 64, 65, 100, 128, 129, 150, 30};
  // The seed of the half that begins alike is the same.
  request.prompt = test_prompt(lengths[(i * 7 + turn) % 10], i % 2 == 0 ? 0 : i);
  if (i % 4 == 0 && request.prompt.size() > 8) request.prompt[request.prompt.size() - 3] = 20 + i;
  GenerationRequest work;
  GenerationOptions& options = work.options;
  options.max_tokens = i % 6 == 1 ? 70 + i % 27 : 3 + (i * 5) % 22;
  options.sampling.temperature = kind == 0 || kind == 6 ? 0.0f : 1.1f;
  options.sampling.seed = static_cast<std::uint64_t>(100 + i);
  options.ignore_eos = i % 3 != 0;
  options.log_probability = i % 2 == 0;
  const char* names[] = {"greedy", "seed",   "penalties", "mask",   "logprobs",
                         "stop",   "drafts", "choices",   "scored", "embedding"};
  request.name = std::string(names[kind]) + " " + std::to_string(i);
  if (kind == 2) {
    options.sampling.repetition_penalty = 1.3f;
    options.sampling.frequency_penalty = 0.4f;
    options.sampling.presence_penalty = 0.2f;
    options.sampling.logit_bias = {{30, 2.0f}, {31, -5.0f}};
  }
  if (kind == 3) options.token_mask = some_tokens(model, i);
  if (kind == 4) {
    options.log_probability = true;
    options.top_log_probabilities = 1 + turn;
  }
  if (kind == 7) work.choices = 2 + turn % 3;
  if (kind == 8) {
    work.prompt_log_probability = true;
    work.prompt_top_log_probabilities = turn;
    work.choices = turn == 2 ? 3 : 1;
    if (turn == 1) options.max_tokens = 0;
  }
  request.work = work;
  if (kind == 9) {
    const Pooling poolings[] = {Pooling::kMean, Pooling::kLast, Pooling::kCls};
    request.work = EmbedOptions{.pooling = poolings[turn % 3], .normalize = turn % 2 == 0};
  }
  return request;
}

}  // namespace

std::string text_of(const Given& given) {
  std::string text;
  for (const GivenChoice& choice : given.choices) text += text_of(choice);
  text += "scores";
  for (const TokenLogProbability& p : given.scores.tokens) text += " " + std::to_string(p.token) + ":" + bits(p.value);
  text += "\ntop " + text_of(given.scores.top) + "\nembedding";
  for (const float x : given.embedding) text += " " + bits(x);
  return text + "\nerror '" + given.error + "'\n";
}

int RecordedRequest::choices() const {
  const auto* generation = std::get_if<GenerationRequest>(&work);
  return generation != nullptr ? generation->choices : 0;
}

std::vector<TokenId> test_prompt(int n, int seed) {
  std::vector<TokenId> tokens;
  for (int i = 0; i < n; ++i) tokens.push_back(10 + (i * 37 + seed * 101 + i / 5) % 240);
  return tokens;
}

std::vector<RecordedRequest> recorded_requests(const Model& model, int n) {
  std::vector<RecordedRequest> requests;
  for (int i = 0; i < n; ++i) {
    RecordedRequest request = recorded_request(model, i);
    auto* work = std::get_if<GenerationRequest>(&request.work);
    if (i % 10 == 5) {  // a text that comes
      const std::string text = alone(model, request).choices[0].text;
      work->options.stop = {"never to be found", text.size() < 4 ? "z" : text.substr(text.size() / 2, 2)};
      if (i > 30) work->options.stop_tokens = {alone(model, request).choices[0].sampled.back()};
    }
    if (i % 10 == 6) work->draft = i / 10 == 0 ? *ngram_drafts(1, 3, 6) : guesses_of(model, request, i / 10);
    requests.push_back(std::move(request));
  }
  return requests;
}

namespace {

GivenChoice choice_alone(Session& session, const std::vector<TokenId>& prompt, const GenerationOptions& options) {
  GivenChoice choice;
  const SequenceId sequence = *session.open();
  auto generation = Generation::start(session, sequence, prompt, options);
  EXPECT_TRUE(generation.ok()) << generation.error().message;
  while (!generation->done()) {
    const BatchItem item = *generation->pending();
    const Status status = session.forward({&item, 1});
    if (!status.ok()) {  // the budget is used up
      EXPECT_EQ(status.error().code, ErrorCode::kLimit);
      choice.text += *generation->cancel();
      choice.budget_used_up = true;
      break;
    }
    if (item.logits == LogitsFor::kNone) continue;
    const auto step = generation->accept(session.logits(0));
    EXPECT_TRUE(step.ok()) << step.error().message;
    choice.sampled.push_back(step->token);
    choice.text += step->text;
    choice.log_probabilities.push_back(step->log_probability);
    choice.top.push_back(step->top_log_probabilities);
    if (step->done && std::ssize(generation->tokens()) < std::ssize(choice.sampled)) choice.end_token = step->token;
  }
  choice.reason = choice.budget_used_up ? StopReason::kContext : generation->reason();
  choice.stop_string = generation->stop_string();
  session.close(sequence);
  return choice;
}

PromptLogProbabilities scores_alone(Session& session, const std::vector<TokenId>& prompt, int n_top) {
  PromptLogProbabilities scores;
  const SequenceId sequence = *session.open();
  const BatchItem item{sequence, prompt, LogitsFor::kAll};
  EXPECT_TRUE(session.forward({&item, 1}).ok());
  for (std::size_t i = 0; i + 1 < prompt.size(); ++i) {
    const std::span<const float> logits = session.logits(static_cast<std::int64_t>(i));
    scores.tokens.push_back({prompt[i + 1], log_probability(logits, prompt[i + 1])});
    if (n_top == 0) continue;
    std::vector<TokenId> ids(logits.size());
    std::iota(ids.begin(), ids.end(), 0);
    std::ranges::stable_sort(ids,
                             [&](TokenId a, TokenId b) { return logits[std::size_t(a)] > logits[std::size_t(b)]; });
    std::vector<TokenLogProbability>& top = scores.top.emplace_back();
    for (int k = 0; k < n_top; ++k) top.push_back({ids[std::size_t(k)], log_probability(logits, ids[std::size_t(k)])});
  }
  session.close(sequence);
  return scores;
}

}  // namespace

Given alone(const Model& model, const RecordedRequest& request, std::int64_t kv_budget) {
  SessionOptions options;
  options.kv_budget_bytes = kv_budget;
  options.reuse_prefixes = false;
  Session session = std::move(Session::create(model, options, test_executor())).value();
  Given given;
  if (const auto* embedding = std::get_if<EmbedOptions>(&request.work)) {
    const std::span<const TokenId> text = request.prompt;
    auto found = embed(session, {&text, 1}, *embedding);
    EXPECT_TRUE(found.ok() && found->front().status.ok());
    given.embedding = found->front().values;
    return given;
  }
  const auto& work = std::get<GenerationRequest>(request.work);
  for (int choice = 0; choice < work.choices; ++choice) {
    GenerationOptions own = work.options;
    own.sampling.seed += static_cast<std::uint64_t>(choice);
    given.choices.push_back(choice_alone(session, request.prompt, own));
  }
  if (work.prompt_log_probability) {
    given.scores = scores_alone(session, request.prompt, work.prompt_top_log_probabilities);
  }
  return given;
}

Recorder::Recorder(Heard& heard, int choices, std::function<void()> at_step, std::function<void()> at_end)
    : heard_(&heard), at_step_(std::move(at_step)), at_end_(std::move(at_end)) {
  heard.given.choices.resize(static_cast<std::size_t>(choices));
}

void Recorder::expect_running(const char* call) {
  if (heard_->n_started != 1 || heard_->n_ended != 0) heard_->faults.push_back(std::string(call) + " out of order");
}
void Recorder::started(RequestId /*id*/, const RequestStart& start) {
  ++heard_->n_started;
  expect_running("started");
  heard_->start = start;
}
void Recorder::prompt_scored(RequestId /*id*/, PromptLogProbabilities scores) {
  expect_running("prompt_scored");
  ++heard_->n_scored;
  heard_->given.scores = std::move(scores);
}
void Recorder::stepped(RequestId /*id*/, int choice, const GenerationStep& step) {
  expect_running("stepped");
  GivenChoice& own = heard_->given.choices[static_cast<std::size_t>(choice)];
  if (own.reason) heard_->faults.push_back("a step after the choice's end");
  own.sampled.push_back(step.token);
  own.text += step.text;
  own.log_probabilities.push_back(step.log_probability);
  own.top.push_back(step.top_log_probabilities);
  if (at_step_) at_step_();
}
void Recorder::choice_ended(RequestId /*id*/, int choice, const ChoiceEnd& end) {
  expect_running("choice_ended");
  GivenChoice& own = heard_->given.choices[static_cast<std::size_t>(choice)];
  if (own.reason) heard_->faults.push_back("a choice ended twice");
  own.text += end.text;
  own.reason = end.reason;
  own.stop_string = end.stop_string;
  own.end_token = end.end_token;
  own.budget_used_up = end.budget_used_up;
}
void Recorder::ended(RequestId /*id*/, RequestEnd end) {
  if (++heard_->n_ended > 1) heard_->faults.push_back("ended twice");
  heard_->given.embedding = end.embedding;
  if (!end.status.ok()) heard_->given.error = error_code_name(end.status.error().code);
  heard_->end = std::move(end);
  if (at_end_) at_end_();
}

Request request_of(const RecordedRequest& recorded, std::unique_ptr<RequestListener> listener) {
  return {.prompt = recorded.prompt, .work = recorded.work, .listener = std::move(listener)};
}

}  // namespace rowmax::engine
