#include "apps/audit/client.h"

#include <algorithm>
#include <system_error>
#include <thread>

#include "apps/store/http.h"
#include "base/guarded.h"
#include "engine/io/json.h"
#include "rowmax/try.h"

namespace rowmax::audit {
namespace {

using text::Json;

constexpr int kMostFailures = 5;

ErrorCode code_of(const store::HttpOutcome& outcome) {
  switch (outcome.head.status) {
    case 400:
    case 413:
    case 422: return ErrorCode::kInvalidArgument;
    case 404:
    case 405:
    case 501: return ErrorCode::kNotFound;
    default: return outcome.status.error().code;
  }
}

// What a server says of its error, in the forms that there are; else the beginning of its text.
std::string said(const std::string& text) {
  const auto document = engine::parse_json(text, "error", {.depth = 16, .values = 1024, .string_bytes = 8192});
  std::string words;
  if (document.ok()) {
    const engine::Json error = document->root().find("error");
    for (const engine::Json each : {error.find("message"), error, document->root().find("message")}) {
      if (words.empty() && each.is_string()) words = each.as_string();
    }
  }
  if (words.empty()) words = text;
  return words.substr(0, 300);
}

Error error_of(const store::HttpOutcome& outcome) {
  Error error = outcome.status.error();
  error.code = code_of(outcome);
  if (outcome.head.error_message.empty() && !outcome.error_text.empty())
    error.message += ": " + said(outcome.error_text);
  return error;
}

}  // namespace

Client::Client(ClientSettings settings) : settings_(std::move(settings)), begun_(std::chrono::steady_clock::now()) {}

int Client::seconds_left() const {
  if (settings_.most_seconds <= 0) return settings_.timeout_seconds;
  const std::chrono::duration<double> used = std::chrono::steady_clock::now() - begun_;
  const double left = settings_.most_seconds - used.count();
  return left <= 0 ? 0 : std::clamp(static_cast<int>(left) + 1, 1, settings_.timeout_seconds);
}

Status Client::may_ask() {
  if (settings_.cancelled && settings_.cancelled()) return store::interrupted_error();
  if (seconds_left() == 0) return Error::limit("no time was left");
  if (failures_in_a_row_ >= kMostFailures) {
    const std::lock_guard lock(mutex_);
    return Error::limit("the last " + std::to_string(kMostFailures) + " requests failed: " + last_failure_);
  }
  return {};
}

void Client::remember(const Status& status) {
  if (status.ok()) {
    failures_in_a_row_ = 0;
    return;
  }
  ++failures_in_a_row_;
  const std::lock_guard lock(mutex_);
  last_failure_ = status.error().message;
}

Result<std::string> Client::first_model() {
  ROWMAX_RETURN_IF_ERROR(may_ask());
  std::string answer;
  store::HttpHandlers handlers;
  handlers.body = [&](std::string_view bytes) -> Status {
    if (answer.size() + bytes.size() > kMostAnswerBytes) return Error::limit(settings_.url + ": a list without end");
    answer += bytes;
    return {};
  };
  handlers.tick = [this] { return !(settings_.cancelled && settings_.cancelled()); };
  store::HttpRequest request;
  request.url = settings_.url + "/v1/models";
  request.token = settings_.key;
  request.stall_seconds = request.total_seconds = seconds_left();
  const store::HttpOutcome outcome = store::http_get(request, handlers);
  if (!outcome.status.ok()) return error_of(outcome);
  ROWMAX_TRY(document, engine::parse_json(answer, request.url, {.depth = 32, .values = 1 << 20}));
  const engine::Json name = document.root().find("data").at(0).find("id");
  if (!name.is_string()) return Error{ErrorCode::kCorrupt, request.url + ": lists no model"};
  return std::string(name.as_string());
}

Result<std::vector<Answer>> Client::post(Api api, const Json& body, std::size_t n_answer) {
  ROWMAX_RETURN_IF_ERROR(may_ask());
  auto answers = post_once(api, body, n_answer);
  const bool refused = !answers.ok() && (answers.error().code == ErrorCode::kInvalidArgument ||
                                         answers.error().code == ErrorCode::kNotFound);
  remember(answers.ok() || refused ? Status() : answers.error());
  return answers;
}

Result<std::vector<Answer>> Client::post_once(Api api, const Json& body, std::size_t n_answer) {
  std::string answer;
  store::HttpHandlers handlers;
  handlers.body = [&](std::string_view bytes) -> Status {
    if (answer.size() + bytes.size() > kMostAnswerBytes) {
      return Error::limit(settings_.url + api_path(api) + ": answers with more than 16 MiB");
    }
    answer += bytes;
    return {};
  };
  handlers.tick = [this] { return !(settings_.cancelled && settings_.cancelled()); };
  store::HttpRequest request;
  request.url = settings_.url + api_path(api);
  request.token = settings_.key;
  request.stall_seconds = request.total_seconds = seconds_left();
  const store::HttpOutcome outcome = store::http_post(request, body.dump(), handlers);
  if (!outcome.status.ok()) return error_of(outcome);
  ROWMAX_TRY(answers, read_answers(answer, request.url));
  if (answers.size() != n_answer) {
    return Error{ErrorCode::kCorrupt, request.url + ": " + std::to_string(answers.size()) + " choices for " +
                                          std::to_string(n_answer) + " prompts"};
  }
  return answers;
}

Result<Answer> Client::ask(const Question& question, bool anew) {
  Json body = request_body(question, settings_.model);
  if (anew) {
    body.append("cache_prompt", false);
    body.append("cache_salt", "audit-" + std::to_string(++n_anew_));
  }
  ROWMAX_TRY(answers, post(question.api, body, 1));
  return std::move(answers[0]);
}

Result<std::vector<Answer>> Client::ask_list(std::span<const Question> questions) {
  return post(Api::kCompletions, request_body(questions, settings_.model), questions.size());
}

std::vector<Result<Answer>> Client::ask_at_once(std::span<const Question> questions) {
  std::vector<std::optional<Result<Answer>>> found(questions.size());
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    for (std::size_t i = next++; i < questions.size(); i = next++) {
      found[i].emplace(base::guarded([&] { return ask(questions[i]); }));
    }
  };
  {
    std::vector<std::jthread> workers;
    workers.reserve(questions.size());
    try {
      for (std::size_t i = 0; i < questions.size(); ++i) workers.emplace_back(work);
    } catch (const std::system_error&) {  // fewer at once, then
    }
    if (workers.empty()) work();
  }
  std::vector<Result<Answer>> out;
  for (std::optional<Result<Answer>>& each : found) out.push_back(std::move(*each));
  return out;
}

void Client::generate(const Question& question, Background& background) {
  static_cast<void>(base::guarded([&]() -> Status {
    Json body = request_body(question, settings_.model);
    body.append("stream", true);
    store::HttpHandlers handlers;
    handlers.body = [&](std::string_view) -> Status {
      background.started = true;
      return {};
    };
    handlers.tick = [&] { return !background.stop && !(settings_.cancelled && settings_.cancelled()); };
    store::HttpRequest request;
    request.url = settings_.url + api_path(question.api);
    request.token = settings_.key;
    request.stall_seconds = request.total_seconds = std::max(1, seconds_left());
    return store::http_post(request, body.dump(), handlers).status;
  }));
  background.ended = true;
}

std::string Client::curl_line(const Question& question) const {
  return audit::curl_line(settings_.url, question.api, request_body(question, settings_.model), !settings_.key.empty());
}

std::string Client::curl_line(std::span<const Question> questions) const {
  return audit::curl_line(settings_.url, Api::kCompletions, request_body(questions, settings_.model),
                          !settings_.key.empty());
}

}  // namespace rowmax::audit
