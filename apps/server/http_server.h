// The network side: one thread waits for all sockets, reads requests and writes answers. Everything that a client can make
// it hold or wait for is bounded.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <vector>

#include "apps/server/http.h"
#include "apps/server/http_parser.h"
#include "apps/server/listener.h"
#include "apps/server/tls.h"
#include "rowmax/result.h"

namespace rowmax::server {

struct HttpServerOptions {
  HttpLimits limits;
  std::size_t max_connections = 2048;
  std::size_t all_bodies_bytes =
      256 << 20;  // of requests that are being read, together; those up to 64 KiB are not counted
  // Of answers that are being written, together; small ones are not refused for it.
  std::size_t all_answers_bytes = 256 << 20;
  // Of a stream that its client does not read; then it is given up. Whoever makes it hears long before that it is behind.
  std::size_t unread_bytes = 4 << 20;
  std::chrono::milliseconds head_time{10'000};
  std::chrono::milliseconds body_time{30'000};  // and a second more for each 16 KiB of it
  std::chrono::milliseconds idle_time{75'000};
  std::chrono::milliseconds write_time{30'000};    // without a byte that the client took, or beyond what they may need:
  std::size_t slowest_answer_bytes = 16 << 10;     // of an answer that is complete, taken in a second
  std::chrono::milliseconds stream_time{300'000};  // in place of write_time, for streams
  std::chrono::milliseconds ping_time{15'000};
  std::chrono::milliseconds drain_time{30'000};
  // What listens to the network speaks TLS with it, a Unix socket does not. nullptr: plain text everywhere.
  std::shared_ptr<const TlsContext> tls;
};

class HttpServer {
 public:
  // Takes the listeners. The handler must outlive the server. kOutOfMemory, kIo.
  static Result<std::unique_ptr<HttpServer>> create(const HttpServerOptions& options, std::vector<Listener> listeners,
                                                    HttpHandler& handler);
  ~HttpServer();

  // Serves until drain() has finished what ran, or until stop(), in the calling thread.
  void run();

  // From other threads, while run() runs:

  // When this returns SIGTERM, SIGINT and SIGHUP drain, the second one stops; not those that the process ignores.
  void catch_signals();
  void drain();
  // Ends at once; clients of what runs see their connections closed.
  void stop();

  struct Impl;

 private:
  explicit HttpServer(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rowmax::server
