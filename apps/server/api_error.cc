#include "apps/server/api_error.h"

#include "apps/text/json.h"

namespace rowmax::server {

using text::Json;

std::string_view error_type(int status) noexcept {
  switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 405:
    case 413:
    case 415:
    case 505: return "invalid_request_error";
    case 429: return "rate_limit_error";
    case 501: return "not_supported_error";
    case 503: return "unavailable_error";
    default: return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

ErrorStyle style_of_path(std::string_view path) noexcept {
  if (path.starts_with("/api/")) return ErrorStyle::kOllama;
  return path.starts_with("/v1/messages") || path.starts_with("/messages") ? ErrorStyle::kAnthropic
                                                                           : ErrorStyle::kOpenAi;
}

namespace {

Json or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

// Anthropic's names, where they are others.
std::string_view anthropic_type(int status) {
  if (status == 503) return "overloaded_error";
  if (status == 413) return "request_too_large";
  return status >= 500 && status != 505 ? "api_error" : error_type(status);
}

}  // namespace

std::string error_body(const ApiError& error, ErrorStyle style) {
  if (style == ErrorStyle::kOllama) return Json{{"error", error.message}}.dump();
  if (style == ErrorStyle::kAnthropic) {
    return Json{{"type", "error"},
                {"error",
                 {{"type", anthropic_type(error.status)},
                  {"message", error.message},
                  {"param", or_null(error.param)},
                  {"code", or_null(error.code)}}}}
        .dump();
  }
  return Json{{"error",
               {{"message", error.message},
                {"type", error_type(error.status)},
                {"param", or_null(error.param)},
                {"code", or_null(error.code)}}}}
      .dump();
}

HttpAnswer error_answer(const ApiError& error, ErrorStyle style) {
  HttpAnswer answer{.status = error.status, .body = error_body(error, style)};
  if (error.status == 429 || error.status == 503) answer.headers.push_back({"Retry-After", "1"});
  if (error.status == 401) answer.headers.push_back({"WWW-Authenticate", "Bearer"});
  return answer;
}

ApiError api_error(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInvalidArgument: return {400, error.message};
    case ErrorCode::kLimit: return {400, error.message, "", "limit"};
    case ErrorCode::kBusy: return {429, error.message, "", "queue_full"};
    case ErrorCode::kUnsupported: return {501, error.message, "", "not_supported"};
    case ErrorCode::kNotFound: return {404, error.message};
    case ErrorCode::kCancelled: return {503, error.message, "", "cancelled"};
    case ErrorCode::kNumericFault: return {500, error.message, "", "numeric_fault"};
    case ErrorCode::kOutOfMemory: return {503, error.message, "", "out_of_memory"};
    case ErrorCode::kIo:
    case ErrorCode::kCorrupt: break;
  }
  return {500, error.message, "", error_code_name(error.code)};
}

}  // namespace rowmax::server
