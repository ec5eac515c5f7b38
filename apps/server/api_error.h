// What is answered where a request cannot be.
#pragma once

#include <string>
#include <string_view>

#include "apps/server/http.h"
#include "rowmax/result.h"

namespace rowmax::server {

struct ApiError {
  int status = 400;
  std::string message;
  std::string param = {};  // the field; empty: none
  std::string code = {};   // for programs; empty: none
};

// "invalid_request_error", "server_error", ... as the status says.
std::string_view error_type(int status) noexcept;

// How an API writes errors: OpenAI's object, Anthropic's, or ollama's.
enum class ErrorStyle : std::uint8_t { kOpenAi, kAnthropic, kOllama };
ErrorStyle style_of_path(std::string_view path) noexcept;
std::string error_body(const ApiError& error, ErrorStyle style);
// With the headers that the status wants (Retry-After, WWW-Authenticate).
HttpAnswer error_answer(const ApiError& error, ErrorStyle style);

// What an error of the engine is for the client of a request.
ApiError api_error(const Error& error);

}  // namespace rowmax::server
