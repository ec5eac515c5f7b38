#include "apps/server/http_parser.h"

#include <boost/beast/http/basic_parser.hpp>
#include <stdexcept>
#include <utility>

// What Boost asserts about bytes of a stranger must not end the process (CMakeLists.txt turns these on).
namespace boost {
void assertion_failed(const char* expression, const char* /*function*/, const char* /*file*/, long /*line*/) {
  throw std::logic_error(expression);
}
void assertion_failed_msg(const char* expression, const char* /*message*/, const char* /*function*/,
                          const char* /*file*/, long /*line*/) {
  throw std::logic_error(expression);
}
}  // namespace boost

namespace rowmax::server {
namespace {

namespace http = boost::beast::http;
using boost::beast::error_code;
using View = boost::beast::string_view;

// Beast's parser wants this much of a chunked body at once, which ends in at least as many bytes.
constexpr std::size_t kChunkBytes = 5;

bool is_host(std::string_view text) {
  return text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_~:[]%") ==
         std::string_view::npos;
}

bool has_folding(std::string_view head) {
  return head.find("\r\n ") != std::string_view::npos || head.find("\r\n\t") != std::string_view::npos;
}

// Of a head from its first byte on.
bool has_bare_line_end(std::string_view head) {
  const std::size_t end = head.find('\n');
  return end != std::string_view::npos && (end == 0 || head[end - 1] != '\r');
}

std::string text_of(View view) { return {view.data(), view.size()}; }

// What follows from an error of Beast's parser for the client.
HttpParser::Problem problem_of(error_code code, const HttpLimits& limits) {
  if (code == error_code(http::error::header_limit)) {
    return {431, "the request's head has more than " + std::to_string(limits.head_bytes) + " bytes"};
  }
  if (code == http::error::body_limit) {
    return {413, "the request's body has more than " + std::to_string(limits.body_bytes) + " bytes"};
  }
  if (code == http::error::bad_version) return {505, "expected HTTP/1.1 or HTTP/1.0"};
  return {400, "malformed HTTP request: " + code.message()};
}

}  // namespace

class HttpParser::Impl final : public http::basic_parser<true> {
 public:
  explicit Impl(const HttpLimits& limits) : limits_(limits) {
    header_limit(static_cast<std::uint32_t>(limits.head_bytes));
    body_limit(limits.body_bytes);
    eager(false);
  }

  std::size_t take_bytes(std::string_view bytes) {
    try {
      return take_some(bytes);
    } catch (const std::logic_error&) {  // an assertion of Beast's
      fail({400, "malformed HTTP request"});
      return 0;
    }
  }

  std::size_t take_some(std::string_view bytes) {
    std::size_t taken = 0;
    while (taken < bytes.size() && (state_ == State::kHead || state_ == State::kBody)) {
      const State before = state_;
      if (state_ == State::kBody && chunked() && bytes.size() - taken < kChunkBytes) break;
      error_code code;
      const std::size_t begin = taken;
      const std::size_t n = put(boost::asio::const_buffer(bytes.data() + taken, bytes.size() - taken), code);
      taken += n;
      // Beast joins a header's lines where others take the second one for a header of its own (RFC 9112, 5.2).
      if (before == State::kHead && has_folding(bytes.substr(taken - n, n))) {
        fail({400, "a header that goes on in the next line"});
        break;
      }
      if (before == State::kHead && (head_bytes_ += n) > limits_.head_bytes) {
        fail(problem_of(http::error::header_limit, limits_));  // Beast counts the first line apart
        break;
      }
      // Beast waits for the end that it knows, or takes the line for one of another version.
      if ((code == http::error::need_more || code == http::error::bad_version) && head_bytes_ == n &&
          before == State::kHead && has_bare_line_end(bytes.substr(begin))) {
        fail({400, "expected CR LF at the end of the request line, found LF alone"});
        break;
      }
      if (code == http::error::need_more) {
        // Chunk sizes, their extensions and trailers are lines, too.
        if (bytes.size() - taken > limits_.head_bytes) fail({431, "a line of the body's chunks is too long"});
        break;
      }
      if (code) {
        if (state_ != State::kBad) fail(problem_of(code, limits_));
        break;
      }
      if (state_ != State::kBad && is_done()) state_ = State::kDone;
      if (state_ != before) break;
    }
    return taken;
  }

  void fail(Problem problem) {
    problem_ = std::move(problem);
    state_ = State::kBad;
  }

  HttpLimits limits_;
  State state_ = State::kHead;
  Problem problem_;
  HttpRequest request_;
  bool expects_continue_ = false, http_1_1_ = false;

 private:
  std::size_t head_bytes_ = 0;

  void refuse(Problem problem, error_code& code) {
    fail(std::move(problem));
    code = http::error::bad_value;
  }

  void on_request_impl(http::verb /*verb*/, View method, View target, int version, error_code& code) override {
    request_.method = text_of(method);
    request_.target = text_of(target);
    http_1_1_ = version == 11;
    if (target.size() > limits_.target_bytes) return refuse({414, "the request's target is too long"}, code);
    if (target.empty() || (target[0] != '/' && request_.target != "*")) {
      refuse({400, "expected a path as the request's target"}, code);
    }
  }

  void on_field_impl(http::field /*field*/, View name, View value, error_code& code) override {
    if (state_ != State::kHead) return;  // a trailer
    if (request_.headers.size() >= limits_.n_headers) {
      return refuse({431, "more than " + std::to_string(limits_.n_headers) + " headers"}, code);
    }
    request_.headers.push_back({text_of(name), text_of(value)});
  }

  // What Beast leaves to its caller.
  void on_header_impl(error_code& code) override {
    std::size_t hosts = 0, lengths = 0;
    for (const HttpHeader& header : request_.headers) {
      if (equal_ignoring_case(header.name, "host")) {
        ++hosts;
        if (!is_host(header.value))
          return refuse({400, "Host: expected a name or address, with a port or without"}, code);
      }
      if (equal_ignoring_case(header.name, "content-length")) {
        ++lengths;
        if (header.value.find_first_not_of("0123456789") != std::string::npos) {
          return refuse({400, "Content-Length: expected a number"}, code);
        }
      }
      if (equal_ignoring_case(header.name, "transfer-encoding") &&
          (!equal_ignoring_case(header.value, "chunked") || !http_1_1_)) {
        return refuse({400, "Transfer-Encoding: expected chunked, with HTTP/1.1"}, code);
      }
      if (equal_ignoring_case(header.name, "expect")) {
        if (!equal_ignoring_case(header.value, "100-continue")) return refuse({417, "Expect: only 100-continue"}, code);
        expects_continue_ = http_1_1_;
      }
    }
    if (hosts > 1 || (hosts == 0 && http_1_1_)) return refuse({400, "expected one Host header"}, code);
    if (lengths > 1) return refuse({400, "more than one Content-Length"}, code);
    state_ = State::kBody;
  }

  void on_body_init_impl(const boost::optional<std::uint64_t>& /*length*/, error_code& /*code*/) override {}
  std::size_t on_body_impl(View body, error_code& /*code*/) override {
    request_.body.append(body.data(), body.size());
    return body.size();
  }
  void on_chunk_header_impl(std::uint64_t /*size*/, View /*extensions*/, error_code& /*code*/) override {}
  std::size_t on_chunk_body_impl(std::uint64_t /*remain*/, View body, error_code& /*code*/) override {
    request_.body.append(body.data(), body.size());
    return body.size();
  }
  void on_finish_impl(error_code& /*code*/) override {}
  // Of responses.
  void on_response_impl(int /*status*/, View /*reason*/, int /*version*/, error_code& /*code*/) override {}
};

HttpParser::HttpParser(const HttpLimits& limits) : impl_(std::make_unique<Impl>(limits)) {}
HttpParser::~HttpParser() = default;

std::size_t HttpParser::take(std::string_view bytes) { return impl_->take_bytes(bytes); }
HttpParser::State HttpParser::state() const noexcept { return impl_->state_; }
bool HttpParser::began() const noexcept { return impl_->got_some(); }
const HttpRequest& HttpParser::request() const noexcept { return impl_->request_; }
HttpRequest HttpParser::take_request() { return std::move(impl_->request_); }
void HttpParser::note(std::uint64_t number, bool from_unix_socket) {
  impl_->request_.number = number;
  impl_->request_.from_unix_socket = from_unix_socket;
}
const HttpParser::Problem& HttpParser::problem() const noexcept { return impl_->problem_; }
bool HttpParser::keep_alive() const noexcept { return impl_->keep_alive(); }
bool HttpParser::http_1_1() const noexcept { return impl_->http_1_1_; }
bool HttpParser::expects_continue() const noexcept { return impl_->expects_continue_; }

}  // namespace rowmax::server
