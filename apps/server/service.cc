#include "apps/server/service.h"

#include <chrono>
#include <new>
#include <utility>

#include "apps/server/page.h"
#include "apps/server/routes.h"

namespace rowmax::server {

using text::Json;

namespace {

constexpr engine::JsonLimits kJsonLimits = {
    .depth = 64, .values = std::size_t{1} << 20, .string_bytes = std::size_t{16} << 20};

// /health as people ask for it.
bool is_health(std::string_view path) { return path == "/health" || path == "/v1/health"; }

bool has_body(std::string_view method) { return method == "POST" || method == "PUT" || method == "PATCH"; }

// JSON, or what curl -d says where nobody tells it.
bool is_json_type(std::string_view type) {
  std::string_view name = type.substr(0, std::min(type.find(';'), type.size()));
  while (name.ends_with(' ')) name.remove_suffix(1);
  const bool named = name.empty() || equal_ignoring_case(name, "application/json") || name.ends_with("+json") ||
                     equal_ignoring_case(name, "text/json") ||
                     equal_ignoring_case(name, "application/x-www-form-urlencoded");
  const std::size_t charset = type.find("charset=");
  if (!named || charset == std::string_view::npos) return named;
  std::string_view value = type.substr(charset + 8);
  if (value.starts_with('"'))
    value = value.substr(1, value.find('"', 1) == std::string_view::npos ? 0 : value.find('"', 1) - 1);
  return equal_ignoring_case(value.substr(0, 5), "utf-8") || equal_ignoring_case(value.substr(0, 4), "utf8");
}

}  // namespace

Service::Service(ServiceOptions options)
    : options_(std::move(options)), workers_(std::make_unique<Workers>(options_.workers)) {}
Service::~Service() = default;

int Service::end(std::chrono::milliseconds most) { return workers_->end(most); }
void Service::close() { workers_.reset(); }

void Service::open(const ServedModel& served) { served_ = &served; }

void Service::log(std::string_view event, Json more) {
  if (!options_.log) return;
  const double now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  Json line = {{"time", now}, {"event", event}};
  line.update(more);
  const std::lock_guard lock(log_mutex_);
  options_.log(line);
}

std::optional<HttpAnswer> Service::refuse_access(const HttpRequest& request, ErrorStyle style, bool key_needed) {
  switch (check_access(request, options_.access, key_needed)) {
    case AccessVerdict::kAllowed: return std::nullopt;
    case AccessVerdict::kSeveralKeys:
      return error_answer({400, "expected one key, found several headers of it", "", "several_keys"}, style);
    case AccessVerdict::kWrongKey:
      return error_answer(
          {401, "expected a key of this server as Authorization: Bearer KEY or X-Api-Key: KEY", "", "invalid_api_key"},
          style);
    case AccessVerdict::kForeignOrigin:
      return error_answer({403,
                           "Origin: expected a page of this server or one of --allow-origin, found " +
                               std::string(request.header("origin").substr(0, 200)),
                           "Origin", "foreign_origin"},
                          style);
    case AccessVerdict::kForeignHost:
      return error_answer(
          {403,
           "Host: expected an address of this server, found " + std::string(request.header("host").substr(0, 200)) +
               " (--host NAME or --allow-origin URL names it, --api-key allows any)",
           "Host", "foreign_host"},
          style);
  }
  return std::nullopt;
}

HttpAnswer Service::preflight(const HttpRequest& request) const {
  HttpAnswer answer{.status = 204, .content_type = ""};
  const std::string_view wanted = request.header("access-control-request-headers");
  answer.headers = {{"Access-Control-Allow-Methods", "GET, POST, OPTIONS"},
                    {"Access-Control-Allow-Headers", wanted.empty() ? "*" : std::string(wanted)},
                    {"Access-Control-Max-Age", "600"}};
  return answer;
}

std::vector<HttpHeader> Service::headers_for(const HttpRequest& request) {
  const std::string_view origin = shared_origin(request, options_.access);
  if (origin.empty()) return {};
  return {{"Access-Control-Allow-Origin", std::string(origin)}, {"Vary", "Origin"}};
}

std::optional<HttpAnswer> Service::look_at_head(const HttpRequest& request) {
  const std::string_view path = request.path();
  const ErrorStyle style = style_of_path(path);
  if (request.method == "OPTIONS") {
    // A browser asks without the key whether it may send it.
    const AccessVerdict verdict = check_access(request, options_.access, false);
    if (verdict == AccessVerdict::kAllowed) return preflight(request);
  }
  const bool page = options_.page && is_page_path(path);
  if (auto refused = refuse_access(request, style, !page && !is_health(path))) return refused;
  if (page && (request.method == "GET" || request.method == "HEAD")) return page_answer(path);
  if (page || is_health(path) || path == "/ready" || path == "/metrics") {
    if (request.method != "GET" && request.method != "HEAD") {
      HttpAnswer answer = error_answer({405, "expected GET, found " + request.method}, style);
      answer.headers.push_back({"Allow", "GET, HEAD"});
      return answer;
    }
    if (path == "/metrics" && served_ != nullptr) return metrics();
    return ready(is_health(path));
  }
  std::string allowed;
  const Route* route = find_route(request.method, path, allowed);
  if (route == nullptr && allowed.empty()) {
    return error_answer({404, "there is no " + std::string(path.substr(0, 200)) + " here", "", "unknown_path"}, style);
  }
  if (route == nullptr) {
    HttpAnswer answer = error_answer({405, "expected " + allowed + ", found " + request.method}, style);
    answer.headers.push_back({"Allow", allowed});
    return answer;
  }
  if (has_body(request.method)) {
    if (!is_json_type(request.header("content-type"))) {
      return error_answer({415,
                           "Content-Type: expected application/json in UTF-8, found " +
                               std::string(request.header("content-type").substr(0, 100)),
                           "Content-Type"},
                          style);
    }
    const std::string_view encoding = request.header("content-encoding");
    if (!encoding.empty() && !equal_ignoring_case(encoding, "identity")) {
      return error_answer(
          {415, "Content-Encoding: expected none, found " + std::string(encoding.substr(0, 100)), "Content-Encoding"},
          style);
    }
    if (draining_) return error_answer({503, "the server is shutting down", "", "shutting_down"}, style);
  }
  if (served_ == nullptr) return error_answer({503, "the model is being loaded", "", "loading"}, style);
  return std::nullopt;
}

HttpAnswer Service::ready(bool health) const {
  if (served_ == nullptr) return error_answer({503, "the model is being loaded", "", "loading"}, ErrorStyle::kOpenAi);
  // Who finishes what runs is healthy, and not to be given more.
  if (draining_ && !health) {
    return error_answer({503, "the server is shutting down", "", "shutting_down"}, ErrorStyle::kOpenAi);
  }
  return {.body = Json{{"status", draining_ ? "draining" : "ok"}}.dump()};
}

HttpAnswer Service::metrics() const {
  const ServedModel& served = *served_;
  return {.body = metrics_.text(served.scheduler->statistics(), served.fingerprint, draining_),
          .content_type = "text/plain; version=0.0.4; charset=utf-8"};
}

void Service::answer(HttpRequest request, std::shared_ptr<Exchange> exchange) {
  std::string allowed;
  const Route* route = find_route(request.method, request.path(), allowed);
  if (route != nullptr && route->quick) return run(request, exchange);
  auto gone = [exchange] { return exchange->gone(); };
  workers_->add([this, request = std::make_shared<const HttpRequest>(std::move(request)),
                 exchange = std::move(exchange)] { run(*request, exchange); },
                std::move(gone));
}

void Service::run(const HttpRequest& request, const std::shared_ptr<Exchange>& exchange) {
  if (exchange->gone()) return;
  const ErrorStyle style = style_of_path(request.path());
  try {
    call_route(request, exchange, style);
  } catch (const std::bad_alloc&) {
    exchange->send(error_answer({503, "out of memory", "", "out_of_memory"}, style));
  } catch (const std::exception& problem) {
    log("bug", {{"request", request.number}, {"what", problem.what()}});
    exchange->send(error_answer({500, "internal error"}, style));
  }
}

void Service::call_route(const HttpRequest& request, const std::shared_ptr<Exchange>& exchange, ErrorStyle style) {
  std::string allowed;
  const Route* route = find_route(request.method, request.path(), allowed);
  if (options_.log_prompts) log("body", {{"request", request.number}, {"body", request.body}});
  engine::JsonDocument document;
  const bool reads = has_body(request.method);
  if (reads) {
    auto parsed = engine::parse_json(request.body, "the request's body", kJsonLimits);
    if (!parsed.ok()) {
      const bool no_memory = parsed.error().code == ErrorCode::kOutOfMemory;
      exchange->send(error_answer({no_memory ? 503 : 400, parsed.error().message, "", "invalid_json"}, style));
      return;
    }
    document = std::move(parsed).value();
  }
  static const auto* kNoBody = new engine::JsonDocument(std::move(engine::parse_json("{}", "an empty body")).value());
  Fields fields(reads ? document.root() : kNoBody->root());
  Call call{*served_, request, fields, exchange, style, {}};
  call.counter.context = this;
  call.counter.request = request.number;
  call.owner.key = key_number(key_of(request), options_.access.keys);
  call.owner.is_one = !options_.access.strangers || call.owner.key != 0;
  call.counter.log_cache = [](void* context, std::uint64_t number, int prompt, const CacheReport& report) {
    static_cast<Service*>(context)->reused(number, prompt, report);
  };
  call.counter.count = [](void* context, std::uint64_t number, const AnswerTotals& totals, bool succeeded) {
    static_cast<Service*>(context)->generated(number, totals, succeeded);
  };
  if (!fields.ok()) return call.refuse();
  route->run(call);
}

void Service::generated(std::uint64_t request, const AnswerTotals& totals, bool succeeded) {
  metrics_.count_answer(totals, succeeded);
  log("generation", {{"request", request},
                     {"succeeded", succeeded},
                     {"prompt_tokens", totals.prompt_tokens},
                     {"cached_tokens", totals.cached_tokens},
                     {"generated_tokens", totals.generated_tokens},
                     {"queued_ms", totals.queued_ms},
                     {"prompt_ms", totals.prompt_ms},
                     {"generation_ms", totals.generation_ms}});
}

void Service::reused(std::uint64_t request, int prompt, const CacheReport& report) {
  if (!options_.log) return;
  Json line = {{"request", request}, {"prompt", prompt}};
  line.update(report.json(options_.log_prompts));
  log("cache", std::move(line));
}

HttpAnswer Service::refuse(int status, std::string_view message, std::string_view path) {
  return error_answer({status, std::string(message)}, style_of_path(path));
}

void Service::draining() {
  draining_ = true;
  log("draining");
}

void Service::finished(const Finished& what) {
  metrics_.count_http(what.status, what.milliseconds, what.complete);
  log("answer", {{"request", what.number},
                 {"method", what.method},
                 {"path", what.path},
                 {"status", what.status},
                 {"ms", what.milliseconds},
                 {"complete", what.complete}});
}

}  // namespace rowmax::server
