#include "apps/store/http.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <thread>
#include <utility>

#include "apps/store/amounts.h"
#include "apps/store/digest.h"
#include "base/guarded.h"
#include "rowmax/try.h"

#ifdef ROWMAX_WITH_DOWNLOAD
#include <curl/curl.h>
#endif

namespace rowmax::store {

HttpOutcome HttpOutcome::failed(Error error, bool transient) {
  HttpOutcome outcome;
  outcome.status = std::move(error);
  outcome.transient = transient;
  return outcome;
}

std::string url_encoded(std::string_view text, bool keep_slashes) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
                       std::string_view("-._~").find(c) != std::string_view::npos || (keep_slashes && c == '/');
    if (plain) {
      out += c;
    } else {
      out += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return out;
}

namespace {

Status wait(double seconds, const Listener& listener) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (Clock::now() < end) {
    if (listener.stopped()) return interrupted_error();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return {};
}

}  // namespace

HttpOutcome with_retries(int retries, const Listener& listener, const std::function<HttpAttempt()>& attempt) {
  for (int failures = 0;;) {
    HttpAttempt result = attempt();
    HttpOutcome& outcome = result.outcome;
    if (outcome.status.ok() || !outcome.transient) return std::move(outcome);
    failures = result.progress ? 1 : failures + 1;
    if (failures > retries) return std::move(outcome);
    double seconds = outcome.head.retry_after;
    if (seconds > kMaxWaitSeconds) {
      return HttpOutcome::failed(Error{outcome.status.error().code, outcome.status.error().message +
                                                                        "; it asks to be left alone for " +
                                                                        short_number(std::ceil(seconds)) + " s"});
    }
    if (seconds < 0) seconds = std::ldexp(1.0, std::min(failures - 1, 6));
    listener.note(outcome.status.error().message + "; trying again" +
                  (seconds >= 1 ? " in " + short_number(std::ceil(seconds)) + " s" : ""));
    const Status waited = wait(seconds, listener);
    if (!waited.ok()) return HttpOutcome::failed(waited.error());
  }
}

#ifdef ROWMAX_WITH_DOWNLOAD

namespace {

constexpr int kMaxRedirects = 8;
constexpr std::size_t kMaxErrorText = 4096;

struct FreeEasy {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using Url = std::unique_ptr<CURLU, FreeUrl>;
using HeaderList = std::unique_ptr<curl_slist, FreeList>;

std::string url_part(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK || text == nullptr) return {};
  std::string copy = text;
  curl_free(text);
  return copy;
}

// "https://host:443": what must agree for a token to be sent.
std::string origin(CURLU* url) {
  return url_part(url, CURLUPART_SCHEME) + "://" + url_part(url, CURLUPART_HOST) + ":" +
         url_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT);
}

std::string without_query(CURLU* url) {
  return url_part(url, CURLUPART_SCHEME) + "://" + url_part(url, CURLUPART_HOST) +
         (url_part(url, CURLUPART_PORT).empty() ? "" : ":" + url_part(url, CURLUPART_PORT)) +
         url_part(url, CURLUPART_PATH);
}

struct Transfer {
  const HttpHandlers* handlers;
  CURL* handle;
  HttpHead head;
  std::string location, error_text;
  bool begun = false;  // handlers->head was called
  Status status;       // what a handler said

  bool success() const { return head.status >= 200 && head.status < 300; }
  // Before the first byte of a 2xx answer's body.
  Status begin() {
    if (begun) return {};
    begun = true;
    return handlers->head ? handlers->head(head) : Status();
  }
};

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0) text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.remove_suffix(1);
  return text;
}

// Seconds from "12" or from a date; -1 for neither.
double seconds_of(const std::string& value) {
  double seconds = -1;
  const auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), seconds);
  if (code == std::errc() && end == value.data() + value.size() && seconds >= 0) return seconds;
  const std::time_t when = curl_getdate(value.c_str(), nullptr);
  return when == -1 ? -1 : std::max(0.0, std::difftime(when, std::time(nullptr)));
}

// Seconds until the window ends, from `"api";r=0;t=36`, where nothing remains of it; -1 otherwise.
double seconds_of_rate_limit(std::string_view value) {
  double remaining = -1, seconds = -1;
  while (!value.empty()) {
    const std::size_t end = std::min(value.find(';'), value.size());
    const std::string_view part = trimmed(value.substr(0, end));
    double* number = part.starts_with("r=") ? &remaining : part.starts_with("t=") ? &seconds : nullptr;
    if (number != nullptr) std::from_chars(part.data() + 2, part.data() + part.size(), *number);
    value.remove_prefix(std::min(end + 1, value.size()));
  }
  return remaining == 0 ? seconds : -1;
}

std::string strip_etag(std::string_view etag) {
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') etag = etag.substr(1, etag.size() - 2);
  return std::string(etag);
}

void read_header(Transfer& transfer, std::string_view line) {
  HttpHead& head = transfer.head;
  if (line.starts_with("HTTP/")) {  // a new answer: after 100 Continue, say
    HttpHead fresh;
    fresh.url = head.url;
    fresh.linked_etag = head.linked_etag;
    head = std::move(fresh);
    transfer.location.clear();
    curl_easy_getinfo(transfer.handle, CURLINFO_RESPONSE_CODE, &head.status);
    return;
  }
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return;
  std::string name(line.substr(0, colon));
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  const std::string value(trimmed(line.substr(colon + 1)));
  if (name == "etag") head.etag = value;
  if (name == "content-encoding") head.content_encoding = value;
  if (name == "content-range") head.content_range = value;
  if (name == "content-length") {
    const auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), head.content_length);
    if (code != std::errc() || end != value.data() + value.size()) head.content_length = -1;
  }
  if (name == "x-error-code") head.error_code = value;
  if (name == "x-error-message") head.error_message = value;
  if (name == "x-linked-etag" && head.linked_etag.empty()) head.linked_etag = strip_etag(value);
  if (name == "retry-after") head.retry_after = seconds_of(value);
  if (name == "ratelimit" && head.retry_after < 0) head.retry_after = seconds_of_rate_limit(value);
  if (name == "location") transfer.location = value;
}

// No exception may pass through libcurl: it becomes the transfer's status, as what a handler says does. The first one
// stays.
template <class Fn>
bool proceed(Transfer& transfer, Fn&& fn) {
  if (transfer.status.ok()) transfer.status = base::guarded(std::forward<Fn>(fn));
  return transfer.status.ok();
}

std::size_t on_header(char* data, std::size_t size, std::size_t n, void* user) {
  Transfer& transfer = *static_cast<Transfer*>(user);
  const bool read = proceed(transfer, [&]() -> Status {
    read_header(transfer, {data, size * n});
    return {};
  });
  return read ? size * n : CURL_WRITEFUNC_ERROR;
}

std::size_t on_body(char* data, std::size_t size, std::size_t n, void* user) {
  Transfer& transfer = *static_cast<Transfer*>(user);
  const std::string_view bytes(data, size * n);
  const bool taken = proceed(transfer, [&]() -> Status {
    if (transfer.success()) {
      ROWMAX_RETURN_IF_ERROR(transfer.begin());
      return transfer.handlers->body(bytes);
    }
    transfer.error_text += bytes.substr(0, kMaxErrorText - transfer.error_text.size());
    return {};
  });
  // What an error or a redirect says is not read to its end, which may be far away.
  return taken && transfer.error_text.size() < kMaxErrorText ? bytes.size() : CURL_WRITEFUNC_ERROR;
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  Transfer& transfer = *static_cast<Transfer*>(user);
  const bool going = proceed(transfer, [&]() -> Status {
    if (transfer.handlers->tick && !transfer.handlers->tick()) return interrupted_error();
    return {};
  });
  return going ? 0 : 1;
}

void set_certificates(CURL* handle) {
  for (const char* name : {"CURL_CA_BUNDLE", "SSL_CERT_FILE"}) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != '\0') {
      curl_easy_setopt(handle, CURLOPT_CAINFO, value);
      return;
    }
  }
}

bool is_transient(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM: return true;
    default: return false;
  }
}

bool is_transient(long status) {
  return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

void set_options(CURL* handle, const HttpRequest& request, Transfer& transfer, char* error_buffer) {
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_USERAGENT, "rowmax/" ROWMAX_VERSION);
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(handle, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  // Asked for as it is, since Range counts the bytes that are sent; curl decodes what is encoded all the same.
  curl_easy_setopt(handle, CURLOPT_ACCEPT_ENCODING, "identity");
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, static_cast<long>(request.stall_seconds));
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, static_cast<long>(request.stall_seconds));
  curl_easy_setopt(handle, CURLOPT_TIMEOUT, static_cast<long>(request.total_seconds));
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, error_buffer);
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(handle, CURLOPT_XFERINFODATA, &transfer);
  set_certificates(handle);
}

// One request without redirects; `transfer` has what came of it.
HttpOutcome ask_once(const HttpRequest& request, const std::string* body, CURLU* url, bool with_token,
                     Transfer& transfer) {
  const std::unique_ptr<CURL, FreeEasy> handle(curl_easy_init());
  if (handle == nullptr) return HttpOutcome::failed(Error::out_of_memory());
  transfer.handle = handle.get();
  transfer.head.url = without_query(url);
  char error_buffer[CURL_ERROR_SIZE] = "";
  set_options(handle.get(), request, transfer, error_buffer);
  HeaderList headers;
  const auto add = [&](const std::string& line) {
    if (curl_slist* longer = curl_slist_append(headers.get(), line.c_str())) {
      static_cast<void>(headers.release());
      headers.reset(longer);
    }
  };
  for (const std::string& line : request.headers) add(line);
  if (body != nullptr) {
    add("Content-Type: application/json");
    curl_easy_setopt(handle.get(), CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body->size()));
    curl_easy_setopt(handle.get(), CURLOPT_POSTFIELDS, body->c_str());
  }
  if (with_token) add("Authorization: Bearer " + request.token);
  curl_easy_setopt(handle.get(), CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(handle.get(), CURLOPT_CURLU, url);

  const CURLcode code = curl_easy_perform(handle.get());
  HttpOutcome outcome;
  if (code == CURLE_OK && transfer.success()) transfer.status = transfer.begin();
  outcome.head = transfer.head;
  outcome.error_text = transfer.error_text;
  if (!transfer.status.ok()) {
    outcome.status = std::move(transfer.status);
  } else if (code != CURLE_OK && !(code == CURLE_WRITE_ERROR && !transfer.success())) {
    const std::string words = *error_buffer != '\0' ? error_buffer : curl_easy_strerror(code);
    outcome.status = Error{ErrorCode::kIo, transfer.head.url + ": " + words};
    outcome.transient = is_transient(code);
  }
  return outcome;
}

// The next address, or an error: a step from https to http would show the transfer to everybody on the way.
Status follow(CURLU* url, const Transfer& transfer) {
  const bool secure = url_part(url, CURLUPART_SCHEME) == "https";
  if (transfer.location.empty()) {
    return Error{ErrorCode::kIo, transfer.head.url + " redirects to nowhere (status " +
                                     std::to_string(transfer.head.status) + ", no Location)"};
  }
  const bool parsed = curl_url_set(url, CURLUPART_URL, transfer.location.c_str(), CURLU_URLENCODE) == CURLUE_OK;
  const std::string scheme = url_part(url, CURLUPART_SCHEME);
  if (!parsed || (scheme != "https" && (scheme != "http" || secure))) {
    return Error{ErrorCode::kIo, transfer.head.url + " redirects to an address that rowmax does not follow: " +
                                     (parsed ? without_query(url) : transfer.location.substr(0, 200))};
  }
  return {};
}

Error status_error(const Transfer& transfer) {
  const HttpHead& head = transfer.head;
  std::string text = head.url + " answers with status " + std::to_string(head.status);
  if (!head.error_message.empty()) text += ": " + head.error_message.substr(0, 300);
  return Error{head.status == 404 || head.status == 410 ? ErrorCode::kNotFound : ErrorCode::kIo, text};
}

bool is_redirect(long status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

HttpOutcome ask(const HttpRequest& request, const std::string* body, const HttpHandlers& handlers) {
  static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
  const Url url(curl_url());
  if (ready != CURLE_OK || url == nullptr) return HttpOutcome::failed(Error::out_of_memory());
  if (curl_url_set(url.get(), CURLUPART_URL, request.url.c_str(), 0) != CURLUE_OK) {
    return HttpOutcome::failed(Error{ErrorCode::kInvalidArgument, request.url + " is not an address"});
  }
  const std::string home = origin(url.get());
  std::string linked_etag;
  for (int redirects = 0; redirects <= kMaxRedirects; ++redirects) {
    Transfer transfer{&handlers, nullptr, {}, {}, {}, false, {}};
    transfer.head.linked_etag = linked_etag;
    HttpOutcome outcome =
        ask_once(request, body, url.get(), !request.token.empty() && origin(url.get()) == home, transfer);
    if (!outcome.status.ok() || transfer.success()) return outcome;
    if (!is_redirect(outcome.head.status) || body != nullptr) {
      outcome.status = status_error(transfer);
      outcome.transient = is_transient(outcome.head.status);
      return outcome;
    }
    linked_etag = outcome.head.linked_etag;
    const Status followed = follow(url.get(), transfer);
    if (!followed.ok()) return HttpOutcome::failed(followed.error());
  }
  return HttpOutcome::failed(
      Error{ErrorCode::kIo, request.url + " redirects more than " + std::to_string(kMaxRedirects) + " times"});
}

}  // namespace

HttpOutcome http_get(const HttpRequest& request, const HttpHandlers& handlers) {
  return ask(request, nullptr, handlers);
}
HttpOutcome http_post(const HttpRequest& request, const std::string& body, const HttpHandlers& handlers) {
  return ask(request, &body, handlers);
}

#else

HttpOutcome http_get(const HttpRequest&, const HttpHandlers&) { return HttpOutcome::failed(cannot_download()); }
HttpOutcome http_post(const HttpRequest&, const std::string&, const HttpHandlers&) {
  return HttpOutcome::failed(cannot_download());
}

#endif

}  // namespace rowmax::store
