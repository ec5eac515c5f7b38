// One HTTP/1.x request out of the bytes of a connection, bounded and strict: what two readers could take for two
// different things is refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "apps/server/http.h"

namespace rowmax::server {

struct HttpLimits {
  std::size_t head_bytes = 32 << 10;
  std::size_t n_headers = 100;
  std::size_t target_bytes = 4096;
  std::uint64_t body_bytes = 16 << 20;
};

class HttpParser {
 public:
  enum class State : std::uint8_t {
    kHead,  // wants more of the head
    kBody,  // the head is there; wants more of the body
    kDone,
    kBad,  // see problem(); nothing behind it on the connection can be understood
  };
  struct Problem {
    int status = 400;
    std::string message;
  };

  explicit HttpParser(const HttpLimits& limits);
  ~HttpParser();
  HttpParser(const HttpParser&) = delete;
  HttpParser& operator=(const HttpParser&) = delete;

  // Takes what it can use from the front of `bytes`, at most up to the end of the head or of the request, and says how
  // much that was. What is left must be given again, with more behind it unless the state has changed.
  std::size_t take(std::string_view bytes);
  State state() const noexcept;
  bool began() const noexcept;  // some of the head was seen

  const HttpRequest& request() const noexcept;             // from kBody on
  HttpRequest take_request();                              // when done
  void note(std::uint64_t number, bool from_unix_socket);  // in the request
  const Problem& problem() const noexcept;                 // when bad

  // From kBody on.
  bool keep_alive() const noexcept;
  bool http_1_1() const noexcept;
  bool expects_continue() const noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rowmax::server
