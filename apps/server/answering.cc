#include "apps/server/answering.h"

#include <algorithm>
#include <mutex>
#include <utility>

namespace rowmax::server {

std::string sse(std::string_view data) { return "data: " + std::string(data) + "\n\n"; }

std::string sse(std::string_view event, std::string_view data) {
  return "event: " + std::string(event) + "\n" + sse(data);
}

ApiError submit_error(const Error& error) {
  if (error.code == ErrorCode::kCancelled) return {503, "the server is shutting down", "", "shutting_down"};
  return api_error(error);
}

std::string text_of(const AnswerChoice& choice, AnswerPart::Kind kind) {
  std::string text;
  for (const AnswerPart& part : choice.parts) {
    if (part.kind == kind) text += part.text;
  }
  return text;
}

namespace {

using tool_calls::ReplyParser;
using tool_calls::ReplyPiece;

// One answer, of one prompt or several. The engine's thread and the one that submits use it; each call under the lock.
class Answering {
 public:
  Answering(const ServedModel& served, std::unique_ptr<AnswerForm> form, std::shared_ptr<Exchange> exchange,
            ErrorStyle style, AnswerCounter counter, const GenerationInput& input)
      : served_(served),
        form_(std::move(form)),
        exchange_(std::move(exchange)),
        style_(style),
        counter_(counter),
        stream_(input.stream),
        per_prompt_(input.work.choices),
        choices_(input.prompts.size() * static_cast<std::size_t>(per_prompt_)),
        left_(static_cast<int>(input.prompts.size())) {
    for (std::size_t i = 0; i < choices_.size(); ++i) {
      choices_[i].prompt = static_cast<int>(i) / per_prompt_;
      choices_[i].not_understood = input.reply_note;
      if (input.reply != nullptr) parsers_.emplace_back(input.reply);
    }
    totals_.tools_note = input.tools_note;
    if (!input.texts.empty()) totals_.normalised = input.texts.front().normalised;
  }

  // Submitted: from now on the client hears that it is waited for.
  void accepted(std::vector<engine::RequestId> ids) {
    const std::lock_guard lock(mutex_);
    ids_ = std::move(ids);
    begin_stream();
    if (broken_) cancel_all();
  }
  // Not all of it could be submitted.
  void refused(const ApiError& error, std::vector<engine::RequestId> ids) {
    const std::lock_guard lock(mutex_);
    ids_ = std::move(ids);
    fail(error);
    cancel_all();
  }

  void started(int prompt, const engine::RequestStart& start, const PromptHistory::Entry& entry, bool scored) {
    const std::lock_guard lock(mutex_);
    if (counter_.log_cache != nullptr) {
      counter_.log_cache(counter_.context, counter_.request, prompt, cache_report(start, entry.any, scored));
    }
    if (prompt == 0) totals_.cache = cache_report(start, entry.own, scored).json(true);
    totals_.prompt_tokens += start.prompt_tokens;
    totals_.cached_tokens += start.cached_tokens;
    if (opened_) return;
    opened_ = true;
    begin_stream();
    send(form_->opening(totals_, static_cast<int>(choices_.size())));
  }

  void prompt_scored(int prompt, const std::vector<engine::TokenId>& ids, engine::PromptLogProbabilities scores) {
    const std::lock_guard lock(mutex_);
    std::vector<AnswerToken> tokens;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      AnswerToken token{ids[i], std::nullopt, {}};
      if (i > 0 && i <= scores.tokens.size()) token.log_probability = scores.tokens[i - 1].value;
      if (i > 0 && i <= scores.top.size()) token.top = std::move(scores.top[i - 1]);
      tokens.push_back(std::move(token));
    }
    for (int c = prompt * per_prompt_; c < (prompt + 1) * per_prompt_; ++c) {
      AnswerChoice& choice = choices_[static_cast<std::size_t>(c)];
      if (stream_) send(form_->prompt_scored(c, tokens));
      if (!stream_) choice.tokens = tokens;
    }
  }

  void stepped(int prompt, int index, const engine::GenerationStep& step, bool log_probabilities) {
    const std::lock_guard lock(mutex_);
    const int c = prompt * per_prompt_ + index;
    AnswerChoice& choice = choices_[static_cast<std::size_t>(c)];
    AnswerToken token{step.token, step.log_probability, step.top_log_probabilities};
    // One that ended the text is no part of it. Of a text that ended it the tokens stay.
    const bool outside = step.done && step.reason == engine::StopReason::kEos;
    const bool shown = log_probabilities && !outside;
    const AnswerToken* shown_token = shown ? &token : nullptr;
    if (parsers_.empty()) {
      told(c, {ReplyPiece::Kind::kText, step.text}, shown_token);
    } else {
      ReplyParser& parser = parsers_[static_cast<std::size_t>(c)];
      const bool thought = parser.in_reasoning();
      const std::vector<ReplyPiece> pieces = parser.push(step.text);
      if (thought || parser.in_reasoning()) ++totals_.reasoning_tokens;
      bool token_told = shown_token == nullptr;
      for (const ReplyPiece& piece : pieces) {
        const bool here = !token_told && piece.kind == ReplyPiece::Kind::kText;
        told(c, piece, here ? shown_token : nullptr);
        token_told = token_told || here;
      }
      if (!token_told) told(c, {}, shown_token);
    }
    if (shown && !stream_) choice.tokens.push_back(std::move(token));
  }

  void choice_ended(int prompt, int index, const engine::ChoiceEnd& end) {
    const std::lock_guard lock(mutex_);
    const int c = prompt * per_prompt_ + index;
    AnswerChoice& choice = choices_[static_cast<std::size_t>(c)];
    choice.reason = end.reason;
    choice.stop_string = end.stop_string;
    choice.generated_tokens = end.generated_tokens;
    choice.ended = true;
    if (parsers_.empty()) {
      told(c, {ReplyPiece::Kind::kText, end.text}, nullptr);
    } else {
      ReplyParser& parser = parsers_[static_cast<std::size_t>(c)];
      for (const ReplyPiece& piece : parser.push(end.text)) told(c, piece, nullptr);
      for (const ReplyPiece& piece : parser.finish()) told(c, piece, nullptr);
      if (choice.n_calls > 0) choice.not_understood.clear();
      if (!parser.not_understood().empty()) choice.not_understood = parser.not_understood();
    }
    send(form_->choice_end(c, choice));
  }

  void ended(const engine::RequestEnd& end) {
    const std::lock_guard lock(mutex_);
    totals_.generated_tokens += end.generated_tokens;
    totals_.draft_tokens += end.draft_tokens;
    totals_.accepted_draft_tokens += end.accepted_draft_tokens;
    totals_.queued_ms = std::max(totals_.queued_ms, end.queued_ms);
    totals_.prompt_ms = std::max(totals_.prompt_ms, end.prompt_ms);
    totals_.first_token_ms = std::max(totals_.first_token_ms, end.first_token_ms);
    totals_.generation_ms = std::max(totals_.generation_ms, end.generation_ms);
    if (!end.status.ok()) {
      const bool stopped = end.status.error().code == ErrorCode::kCancelled;
      fail(stopped ? ApiError{503, "the server is shutting down", "", "shutting_down"} : api_error(end.status.error()));
    }
    if (--left_ > 0) {
      if (broken_) cancel_all();
      return;
    }
    if (counter_.count != nullptr) counter_.count(counter_.context, counter_.request, totals_, !broken_);
    if (broken_) return;
    if (stream_) {
      begin_stream();
      send(form_->closing(choices_, totals_));
      exchange_->end();
    } else {
      exchange_->send({.body = form_->whole(choices_, totals_)});
    }
  }

 private:
  // A piece of a choice, put to what there is of it and sent.
  void told(int c, const ReplyPiece& piece, const AnswerToken* token) {
    AnswerChoice& choice = choices_[static_cast<std::size_t>(c)];
    std::vector<AnswerPart>& parts = choice.parts;
    const auto add = [&](AnswerPart::Kind kind) {
      if (parts.empty() || parts.back().kind != kind) parts.push_back({.kind = kind});
      parts.back().text += piece.text;
    };
    switch (piece.kind) {
      case ReplyPiece::Kind::kText:
        if (!piece.text.empty()) add(AnswerPart::Kind::kText);
        if (!piece.text.empty() || token != nullptr) send(form_->piece(c, piece.text, token));
        break;
      case ReplyPiece::Kind::kReasoning:
        add(AnswerPart::Kind::kReasoning);
        send(form_->reasoning(c, piece.text));
        break;
      case ReplyPiece::Kind::kCallBegin:
        parts.push_back({AnswerPart::Kind::kCall, "", piece.text, piece.id, false});
        send(form_->call_begin(c, choice.n_calls, parts.back()));
        break;
      case ReplyPiece::Kind::kArguments:
        parts.back().text += piece.text;
        send(form_->call_arguments(c, choice.n_calls, piece.text));
        break;
      case ReplyPiece::Kind::kCallEnd:
        parts.back().whole = engine::parse_json(parts.back().text, "arguments").ok();
        send(form_->call_end(c, choice.n_calls, parts.back()));
        if (parts.back().whole) ++choice.n_calls;
        break;
    }
  }

  void begin_stream() {
    if (!stream_ || std::exchange(begun_, true)) return;
    exchange_->begin({.content_type = form_->stream_type(), .headers = {{"Cache-Control", "no-cache"}}}, form_->ping());
  }

  void send(const std::string& piece) {
    if (!stream_ || broken_ || piece.empty()) return;
    if (exchange_->write(piece)) return;
    broken_ = true;
    cancel_all();
  }

  void fail(const ApiError& error) {
    if (std::exchange(broken_, true)) return;
    if (!begun_) return exchange_->send(error_answer(error, style_));
    exchange_->write(form_->broken(error));
    exchange_->end();
  }

  void cancel_all() {
    for (const engine::RequestId id : ids_) (void)served_.scheduler->cancel(id);
  }

  const ServedModel& served_;
  const std::unique_ptr<AnswerForm> form_;
  const std::shared_ptr<Exchange> exchange_;
  const ErrorStyle style_;
  const AnswerCounter counter_;
  const bool stream_;
  const int per_prompt_;

  std::mutex mutex_;
  std::vector<AnswerChoice> choices_;
  std::vector<ReplyParser> parsers_;  // one a choice, where replies are taken apart
  AnswerTotals totals_;
  std::vector<engine::RequestId> ids_;
  int left_;
  bool begun_ = false, opened_ = false;
  bool broken_ = false;  // nothing more is sent
};

class PromptListener final : public engine::RequestListener {
 public:
  PromptListener(std::shared_ptr<Answering> answering, int prompt, std::vector<engine::TokenId> scored_ids,
                 bool log_probabilities, std::shared_ptr<PromptHistory> history, PromptHistory::Entry entry)
      : answering_(std::move(answering)),
        prompt_(prompt),
        scored_ids_(std::move(scored_ids)),
        log_probabilities_(log_probabilities),
        history_(std::move(history)),
        entry_(std::move(entry)) {}

  void started(engine::RequestId, const engine::RequestStart& start) override {
    answering_->started(prompt_, start, entry_, !scored_ids_.empty());
  }
  void prompt_scored(engine::RequestId, engine::PromptLogProbabilities scores) override {
    answering_->prompt_scored(prompt_, scored_ids_, std::move(scores));
  }
  void stepped(engine::RequestId, int choice, const engine::GenerationStep& step) override {
    if (choice == 0) {
      answer_.push_back(step.token);
      ++n_sampled_;
      text_ += step.text;
    }
    answering_->stepped(prompt_, choice, step, log_probabilities_);
  }
  void choice_ended(engine::RequestId, int choice, const engine::ChoiceEnd& end) override {
    if (choice == 0) {
      text_ += end.text;
      if (end.end_token && !answer_.empty()) answer_.pop_back();  // which is no part of the text
    }
    answering_->choice_ended(prompt_, choice, end);
  }
  void ended(engine::RequestId, engine::RequestEnd end) override {
    // What was sampled last is computed with the next token, if at all.
    if (n_sampled_ > 0) history_->computed(entry_, answer_, n_sampled_ - 1, text_);
    answering_->ended(end);
  }

 private:
  const std::shared_ptr<Answering> answering_;
  const int prompt_;
  const std::vector<engine::TokenId> scored_ids_;
  const bool log_probabilities_;
  const std::shared_ptr<PromptHistory> history_;
  const PromptHistory::Entry entry_;
  std::vector<engine::TokenId> answer_;  // of the first choice
  std::int64_t n_sampled_ = 0;
  std::string text_;
};

}  // namespace

void answer_generation(const ServedModel& served, GenerationInput input, std::unique_ptr<AnswerForm> form,
                       std::shared_ptr<Exchange> exchange, ErrorStyle style, AnswerCounter counter, PromptOwner owner) {
  const int n_prompts = static_cast<int>(input.prompts.size());
  if (n_prompts > served.queue) {
    const std::string most = std::to_string(served.queue);
    return exchange->send(
        error_answer({400,
                      "prompt: " + std::to_string(n_prompts) + " of them are more than may wait; ask for " + most +
                          " at a time, or start the server with a larger --queue",
                      "prompt", "invalid_value"},
                     style));
  }
  const engine::GenerationOptions& options = input.work.options;
  const bool log_probabilities = options.log_probability || options.top_log_probabilities > 0;
  const auto answering = std::make_shared<Answering>(served, std::move(form), exchange, style, counter, input);
  std::vector<engine::RequestId> ids;
  for (int i = 0; i < n_prompts; ++i) {
    std::vector<engine::TokenId>& prompt = input.prompts[static_cast<std::size_t>(i)];
    std::vector<engine::TokenId> scored;
    if (input.work.prompt_log_probability) scored = prompt;
    PromptText text;
    if (static_cast<std::size_t>(i) < input.texts.size()) text = std::move(input.texts[static_cast<std::size_t>(i)]);
    engine::GenerationRequest work = input.work;
    work.places = std::move(text.places);
    auto entry = served.history->add(owner, prompt, std::move(text));
    const std::uint64_t pages = page_owner(owner, entry.number);
    auto listener = std::make_unique<PromptListener>(answering, i, std::move(scored), log_probabilities, served.history,
                                                     std::move(entry));
    const auto id = served.scheduler->submit({std::move(prompt), std::move(work), std::move(listener), pages});
    if (!id.ok()) return answering->refused(submit_error(id.error()), std::move(ids));
    ids.push_back(*id);
  }
  // Without the answering's lock, which may be held by who finds that the client is gone.
  exchange->when_gone([&served, ids] {
    for (const engine::RequestId id : ids) (void)served.scheduler->cancel(id);
  });
  exchange->when_behind([&served, ids](bool behind) {
    for (const engine::RequestId id : ids) {
      (void)(behind ? served.scheduler->pause(id) : served.scheduler->resume(id));
    }
  });
  answering->accepted(std::move(ids));
}

}  // namespace rowmax::server
