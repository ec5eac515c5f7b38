// Asks a server. Every wait and every answer is bounded. Calls from several threads at once are fine.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apps/audit/answer.h"
#include "apps/audit/question.h"
#include "apps/text/json.h"
#include "rowmax/result.h"

namespace rowmax::audit {

struct ClientSettings {
  std::string url;  // without /v1
  std::string key, model;
  int timeout_seconds = 120;  // of one request
  double most_seconds = 0;    // of all together; 0: no bound
  std::function<bool()> cancelled;
};

class Client {
 public:
  explicit Client(ClientSettings settings);
  const ClientSettings& settings() const { return settings_; }
  void use_model(std::string model) { settings_.model = std::move(model); }

  // The first model that /v1/models lists; kCorrupt, kNotFound or the transfer's error.
  Result<std::string> first_model();

  // kInvalidArgument: the server refuses the request (400, 413, 422); kNotFound: it has no such route (404, 405, 501);
  // kLimit: no time is left, the answer is too long or five requests failed in a row; kCancelled; else as read_answers
  // or the transfer (kIo). `anew`: with the fields that make servers compute a prompt without their cache, where they
  // have them (llama.cpp's cache_prompt, vLLM's cache_salt).
  Result<Answer> ask(const Question& question, bool anew = false);
  // Of completions in one request: as many answers as questions, or kCorrupt.
  Result<std::vector<Answer>> ask_list(std::span<const Question> questions);
  // All at once, a connection each; in order.
  std::vector<Result<Answer>> ask_at_once(std::span<const Question> questions);
  // Streams an answer that nobody reads, until `stop`. `started` at its first bytes, `ended` when it is over.
  struct Background {
    std::atomic<bool> started = false, ended = false, stop = false;
  };
  void generate(const Question& question, Background& background);

  // As a user would repeat it.
  std::string curl_line(const Question& question) const;
  std::string curl_line(std::span<const Question> questions) const;

 private:
  // The answers to one request, of which there must be n_answer; failures in a row are counted.
  Result<std::vector<Answer>> post(Api api, const text::Json& body, std::size_t n_answer);
  Result<std::vector<Answer>> post_once(Api api, const text::Json& body, std::size_t n_answer);
  // What is left of the time for one request, in whole seconds; 0: none.
  int seconds_left() const;
  Status may_ask();
  void remember(const Status& status);

  ClientSettings settings_;
  std::chrono::steady_clock::time_point begun_;
  std::atomic<int> failures_in_a_row_ = 0;
  std::atomic<std::int64_t> n_anew_ = 0;
  std::mutex mutex_;
  std::string last_failure_;
};

}  // namespace rowmax::audit
