#include "apps/server/metrics.h"

#include <charconv>

namespace rowmax::server {
namespace {

std::string digits(double value) {
  char text[40];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

class Page {
 public:
  template <class T>
  void counter(std::string_view name, std::string_view help, T value) {
    one(name, "counter", help, std::to_string(value));
  }
  void gauge(std::string_view name, std::string_view help, std::int64_t value) {
    one(name, "gauge", help, std::to_string(value));
  }
  void heading(std::string_view name, std::string_view type, std::string_view help) {
    out.append("# HELP rowmax_").append(name).append(" ").append(help).append("\n");
    out.append("# TYPE rowmax_").append(name).append(" ").append(type).append("\n");
  }
  void line(std::string_view name, std::string_view labels, std::string_view value) {
    out.append("rowmax_").append(name).append(labels).append(" ").append(value).append("\n");
  }

  std::string out;

 private:
  void one(std::string_view name, std::string_view type, std::string_view help, std::string_view value) {
    heading(name, type, help);
    line(name, "", value);
  }
};

}  // namespace

void Metrics::Histogram::add(double seconds) {
  ++count;
  sum += seconds;
  for (std::size_t i = 0; i < kBounds.size(); ++i) counts[i] += seconds <= kBounds[i] ? 1 : 0;
}

void Metrics::Histogram::print(std::string& out, std::string_view name, std::string_view help) const {
  Page page;
  page.heading(name, "histogram", help);
  const std::string bucket = std::string(name) + "_bucket";
  for (std::size_t i = 0; i < kBounds.size(); ++i) {
    page.line(bucket, "{le=\"" + digits(kBounds[i]) + "\"}", std::to_string(counts[i]));
  }
  page.line(bucket, "{le=\"+Inf\"}", std::to_string(count));
  page.line(std::string(name) + "_sum", "", digits(sum));
  page.line(std::string(name) + "_count", "", std::to_string(count));
  out += page.out;
}

void Metrics::count_http(int status, double milliseconds, bool complete) {
  const std::lock_guard lock(mutex_);
  if (!complete) {
    ++abandoned_;
    return;
  }
  ++answers_[status];
  http_seconds_.add(milliseconds / 1000);
}

void Metrics::count_answer(const AnswerTotals& totals, bool succeeded) {
  const std::lock_guard lock(mutex_);
  ++(succeeded ? generations_ : failed_generations_);
  if (!succeeded) return;
  first_token_.add(totals.first_token_ms / 1000);
  queued_.add(totals.queued_ms / 1000);
}

std::string Metrics::text(const engine::SchedulerStatistics& s, std::string_view fingerprint, bool draining) const {
  Page page;
  page.heading("info", "gauge", "What runs.");
  page.line("info", "{fingerprint=\"" + std::string(fingerprint) + "\"}", "1");
  page.gauge("draining", "1 while the server finishes what runs and takes nothing new.", draining ? 1 : 0);
  page.gauge("requests_waiting", "Requests that were not started.", s.waiting);
  page.gauge("requests_running", "Choices and embeddings in batches.", s.running);
  page.gauge("requests_preempted", "Those that gave their memory back and wait to be computed again.", s.preempted);
  page.gauge("requests_paused", "Those whose client is behind with reading.", s.paused);
  page.counter("requests_submitted_total", "Requests given to the scheduler.", s.submitted);
  page.counter("requests_refused_total", "Requests that the queue had no room for.", s.refused);
  page.counter("requests_succeeded_total", "Requests that were answered.", s.succeeded);
  page.counter("requests_cancelled_total", "Requests whose client went away.", s.cancelled);
  page.counter("requests_failed_total", "Requests that ended with an error.", s.failed);
  page.counter("steps_total", "Batches computed.", s.steps);
  page.counter("rows_total", "Tokens computed.", s.rows);
  page.counter("prompt_tokens_total", "Tokens of prompts.", s.prompt_tokens);
  page.counter("cached_tokens_total", "Tokens of prompts that were not computed again.", s.cached_tokens);
  page.counter("disk_tokens_total", "Of these, tokens that were read from the disk.", s.disk_tokens);
  page.counter("tokens_predicted_total", "Tokens generated.", s.generated_tokens);
  page.counter("draft_tokens_total", "Tokens guessed ahead.", s.draft_tokens);
  page.counter("accepted_draft_tokens_total", "Guesses that were right.", s.accepted_draft_tokens);
  page.counter("preemptions_total", "Times that a request gave its memory back.", s.preemptions);
  page.gauge("kv_budget_bytes", "Most bytes of keys and values.", s.memory.kv_budget_bytes);
  page.gauge("kv_held_bytes", "Keys and values of running requests.", s.memory.kv_held_bytes);
  page.gauge("kv_kept_bytes", "Keys and values kept for prompts that begin alike.", s.memory.kv_kept_bytes);
  page.gauge("checkpoint_bytes", "States of recurrent layers kept for such prompts.", s.memory.checkpoint_bytes);
  const std::lock_guard lock(mutex_);
  page.counter("generations_total", "Answers generated.", generations_);
  page.counter("generations_failed_total", "Answers that failed or were abandoned.", failed_generations_);
  page.counter("http_abandoned_total", "Answers whose client was gone before they were complete.", abandoned_);
  page.heading("http_answers_total", "counter", "Answers by status.");
  for (const auto& [status, n] : answers_) {
    page.line("http_answers_total", "{status=\"" + std::to_string(status) + "\"}", std::to_string(n));
  }
  http_seconds_.print(page.out, "http_seconds", "From the first byte of a request to the last of its answer.");
  first_token_.print(page.out, "first_token_seconds", "From a request to its first token.");
  queued_.print(page.out, "queued_seconds", "Until a request started.");
  return page.out;
}

}  // namespace rowmax::server
