// One GET or POST over HTTP or HTTPS, by libcurl: redirects followed by hand so that a token never leaves its host, everything
// bounded, and the caller told whether to try again.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/store/listener.h"
#include "rowmax/result.h"

namespace rowmax::store {

struct HttpRequest {
  std::string url;                   // http or https
  std::string token;                 // sent as a bearer token to the scheme, host and port of `url` alone; may be empty
  std::vector<std::string> headers;  // more of them, "Name: value"
  int stall_seconds = 30;            // to connect, and the longest silence
  int total_seconds = 0;             // for everything; 0: no bound
};

// What the last answer said of itself. Absent headers are empty, absent numbers -1.
struct HttpHead {
  long status = 0;
  std::string url;  // of this answer, after redirects and without its query (which may carry a signature)
  std::string etag, content_encoding, content_range, error_code, error_message;
  std::int64_t content_length = -1;
  double retry_after = -1;  // seconds
  // Said by any answer on the way, the first one that does: what Hugging Face knows of a file whose bytes lie
  // elsewhere.
  std::string linked_etag;
};

struct HttpHandlers {
  std::function<Status(const HttpHead&)> head;   // a 2xx answer has begun; an error ends the transfer
  std::function<Status(std::string_view)> body;  // its bytes, decoded
  std::function<bool()> tick;  // some times a second; false ends the transfer with kCancelled; may be empty
};

struct HttpOutcome {
  Status status;           // ok after a whole 2xx answer
  bool transient = false;  // the same request may do better later
  HttpHead head;
  std::string error_text;  // of an answer that is not 2xx: the beginning of its body, 4 KiB at most
  static HttpOutcome failed(Error error, bool transient = false);
};

HttpOutcome http_get(const HttpRequest& request, const HttpHandlers& handlers);
// Sends a body of JSON. No redirect is followed: what is sent is for one server alone.
HttpOutcome http_post(const HttpRequest& request, const std::string& body, const HttpHandlers& handlers);

// Calls `attempt` until it succeeds, fails for good, or failed `retries` times after the first one with no progress in
// between; waits 1, 2, 4 ... seconds, or what the server asked for, up to kMaxWaitSeconds. kCancelled where the
// listener says so.
constexpr double kMaxWaitSeconds = 300;
struct HttpAttempt {
  HttpOutcome outcome;
  bool progress = false;  // enough arrived to call the connection alive
};
HttpOutcome with_retries(int retries, const Listener& listener, const std::function<HttpAttempt()>& attempt);

// The text with everything but letters, digits and -._~ as %XX; slashes stay where `keep_slashes`.
std::string url_encoded(std::string_view text, bool keep_slashes);

}  // namespace rowmax::store
