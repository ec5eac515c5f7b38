// What the HTTP layer hands over and takes back; nothing here knows of sockets.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rowmax::server {

struct HttpHeader {
  std::string name, value;
};

struct HttpRequest {
  std::string method, target;  // as they were sent
  std::vector<HttpHeader> headers;
  std::string body;
  std::uint64_t number = 0;  // counts up from 1 since the server began
  bool from_unix_socket = false;

  std::string_view path() const noexcept;  // of the target, without the query
  // The first header of this name (letters' case does not matter); empty where there is none.
  std::string_view header(std::string_view name) const noexcept;
};

struct HttpAnswer {
  int status = 200;
  std::string body = {};
  std::string content_type = "application/json";
  std::vector<HttpHeader> headers = {};
};

const char* reason_phrase(int status) noexcept;
// Letters of ASCII alone.
bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept;

// The way back to the client of one request. Any thread may call it. The first of send() and begin() counts.
class Exchange {
 public:
  virtual ~Exchange() = default;

  virtual void send(HttpAnswer answer) = 0;
  // The answer comes piece by piece; its body is not looked at. ping: written whenever nothing else was for a while.
  virtual void begin(HttpAnswer head, std::string ping) = 0;
  // False: the client is gone, or leaves so much unread that it was given up; nothing needs to be written any more.
  virtual bool write(std::string_view piece) = 0;
  virtual void end() = 0;

  // The client closed its side or was given up.
  virtual bool gone() const noexcept = 0;
  // Called once when that happens, from the network's thread (or at once, here): it must be quick. Not called once the
  // answer is complete.
  virtual void when_gone(std::function<void()> call) = 0;
  // Called with true when the client leaves so much of a stream unread that no more should be made for now, with false when
  // it has taken most of that; as when_gone(), and with a lock held: it must not call the exchange.
  virtual void when_behind(std::function<void(bool behind)> call) = 0;
};

// Who answers. All calls come from the network's thread and must be quick.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // The request without its body. What is returned is the answer (the body is not read); nullopt: read on.
  virtual std::optional<HttpAnswer> look_at_head(const HttpRequest& request) = 0;
  virtual void answer(HttpRequest request, std::shared_ptr<Exchange> exchange) = 0;
  // An answer of the HTTP layer itself: a malformed request, a limit. path: empty where it was not understood.
  virtual HttpAnswer refuse(int status, std::string_view message, std::string_view path) = 0;
  // What every answer to this request says besides.
  virtual std::vector<HttpHeader> headers_for(const HttpRequest& request) = 0;
  // The server was told to stop: what runs is finished, what is new should be refused.
  virtual void draining() = 0;
  struct Finished {
    std::uint64_t number = 0;
    std::string_view method, path;  // empty for what was no request
    int status = 0;
    double milliseconds = 0;  // since its first byte
    bool complete = false;    // false: the client was gone before
  };
  // When the last byte of an answer was handed to the system, or the client was gone.
  virtual void finished(const Finished& what) = 0;
};

}  // namespace rowmax::server
