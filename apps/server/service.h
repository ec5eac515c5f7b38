// What stands between the network and the model: access, routes, readiness, the log.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "apps/server/access.h"
#include "apps/server/http.h"
#include "apps/server/metrics.h"
#include "apps/server/served_model.h"
#include "apps/server/workers.h"
#include "apps/text/json.h"

namespace rowmax::server {

struct ServiceOptions {
  AccessRules access;
  int workers = 2;
  bool log_prompts = false;
  bool page = true;                            // the web page under "/"
  std::function<void(const text::Json&)> log;  // one event; called from any thread, one at a time. Empty: no log
};

class Service final : public HttpHandler {
 public:
  explicit Service(ServiceOptions options);
  ~Service() override;

  // From now on requests are answered; until then all are 503 but /health. served must outlive the service.
  void open(const ServedModel& served);
  // Those that wait to be read are dropped, no more may come. Waits so long for requests that are being read; how many are
  // then, which is where the process should end, as close() would wait for them.
  int end(std::chrono::milliseconds most);
  // Waits for requests that are being read.
  void close();
  void log(std::string_view event, text::Json more = text::Json::object());

  std::optional<HttpAnswer> look_at_head(const HttpRequest& request) override;
  void answer(HttpRequest request, std::shared_ptr<Exchange> exchange) override;
  HttpAnswer refuse(int status, std::string_view message, std::string_view path) override;
  std::vector<HttpHeader> headers_for(const HttpRequest& request) override;
  void draining() override;
  void finished(const Finished& what) override;

 private:
  std::optional<HttpAnswer> refuse_access(const HttpRequest& request, ErrorStyle style, bool key_needed);
  HttpAnswer preflight(const HttpRequest& request) const;
  HttpAnswer ready(bool health) const;
  HttpAnswer metrics() const;
  void run(const HttpRequest& request, const std::shared_ptr<Exchange>& exchange);
  void reused(std::uint64_t request, int prompt, const CacheReport& report);
  void generated(std::uint64_t request, const AnswerTotals& totals, bool succeeded);
  void call_route(const HttpRequest& request, const std::shared_ptr<Exchange>& exchange, ErrorStyle style);

  const ServiceOptions options_;
  std::atomic<const ServedModel*> served_ = nullptr;
  std::atomic<bool> draining_ = false;
  Metrics metrics_;
  std::mutex log_mutex_;
  std::unique_ptr<Workers> workers_;
};

}  // namespace rowmax::server
