#include "apps/server/http_server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

namespace rowmax::server {
namespace {

constexpr std::size_t kMiB = 1 << 20;

// Answers with whatever the test says.
class Handler final : public HttpHandler {
 public:
  using Reply = std::function<void(std::shared_ptr<Exchange>)>;
  void answer_with(Reply reply) {
    const std::lock_guard lock(mutex_);
    reply_ = std::move(reply);
  }

  std::optional<HttpAnswer> look_at_head(const HttpRequest& /*request*/) override { return std::nullopt; }
  void answer(HttpRequest /*request*/, std::shared_ptr<Exchange> exchange) override {
    const std::lock_guard lock(mutex_);
    reply_(std::move(exchange));
  }
  HttpAnswer refuse(int status, std::string_view /*message*/, std::string_view /*path*/) override {
    return {.status = status};
  }
  std::vector<HttpHeader> headers_for(const HttpRequest& /*request*/) override { return {}; }
  void draining() override {}
  void finished(const Finished& /*what*/) override {}

 private:
  std::mutex mutex_;
  Reply reply_;
};

// A server on a Unix socket, whose buffers are small and stay so.
class HttpServerTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = testing::TempDir() + "rowmax_http_" + std::to_string(::getpid()) + ".sock";
    auto listeners = listen_on({.host = "", .unix_path = path_});
    ASSERT_TRUE(listeners.ok()) << listeners.error().message;
    HttpServerOptions options;
    options.unread_bytes = 4 * kMiB;
    options.all_bodies_bytes = kMiB;
    options.all_answers_bytes = 20 * kMiB;
    options.write_time = write_time_;
    options.slowest_answer_bytes = slowest_answer_bytes_;
    auto server = HttpServer::create(options, std::move(listeners).value(), handler_);
    ASSERT_TRUE(server.ok());
    server_ = std::move(server).value();
    thread_ = std::thread([this] { server_->run(); });
  }
  void TearDown() override {
    server_->stop();
    thread_.join();
  }

  int connect() const {
    const int client = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.data(), path_.size());
    EXPECT_EQ(::connect(client, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return client;
  }
  int ask() const {
    const int client = connect();
    const std::string request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    EXPECT_EQ(::send(client, request.data(), request.size(), MSG_NOSIGNAL), std::ssize(request));
    return client;
  }
  static void send_text(int client, const std::string& text) {
    EXPECT_EQ(::send(client, text.data(), text.size(), MSG_NOSIGNAL), std::ssize(text));
  }
  // The whole answer to a request with a body of so many bytes.
  std::string post(std::size_t n_bytes) const {
    const int client = connect();
    send_text(client, head_of_post(n_bytes) + std::string(n_bytes, 'x'));
    const std::string got = read_all(client);
    ::close(client);
    return got;
  }
  static std::string head_of_post(std::size_t n_bytes) {
    return "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: " + std::to_string(n_bytes) + "\r\n\r\n";
  }
  static std::string read_all(int client) {
    std::string all;
    char block[1 << 16];
    for (ssize_t n = 0; (n = ::recv(client, block, sizeof block, 0)) > 0;)
      all.append(block, static_cast<std::size_t>(n));
    return all;
  }

  Handler handler_;
  std::vector<std::shared_ptr<Exchange>> streams_;
  std::atomic<int> n_given_up_ = 0;
  std::chrono::milliseconds write_time_{30'000};
  std::size_t slowest_answer_bytes_ = 16 << 10;
  std::string path_;
  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
};

TEST_F(HttpServerTest, WhoLetsGoOfARequestHasFailed) {
  handler_.answer_with([](std::shared_ptr<Exchange> exchange) { exchange.reset(); });
  const int client = ask();
  EXPECT_EQ(read_all(client), "");
  ::close(client);
  handler_.answer_with([](std::shared_ptr<Exchange> exchange) {
    exchange->begin({}, "");
    exchange->write("half");
  });
  const int other = ask();
  const std::string got = read_all(other);
  EXPECT_NE(got.find("4\r\nhalf\r\n"), std::string::npos) << got;
  EXPECT_EQ(got.find("0\r\n\r\n"), std::string::npos) << got;
  ::close(other);
}

TEST_F(HttpServerTest, ItIsToldOnceThatAClientIsGone) {
  std::mutex mutex;
  std::condition_variable changed;
  std::shared_ptr<Exchange> held;
  std::atomic<int> n_gone = 0;
  handler_.answer_with([&](std::shared_ptr<Exchange> exchange) {
    exchange->when_gone([&] {
      const std::lock_guard lock(mutex);
      ++n_gone;
      changed.notify_all();
    });
    const std::lock_guard lock(mutex);
    held = std::move(exchange);
    changed.notify_all();
  });
  const int client = ask();
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return held != nullptr; });
  }
  ::close(client);
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return n_gone > 0; });
  }
  EXPECT_TRUE(held->gone());
  EXPECT_FALSE(held->write("more"));
  held->send({.body = "late"});
  held->when_gone([&] { ++n_gone; });  // at once
  EXPECT_EQ(n_gone, 2);
  held = nullptr;
}

// Large bodies have a bound together, and those who hold them are in nobody's way whose own is small.
TEST_F(HttpServerTest, LargeBodiesLeaveRoomForSmallOnes) {
  handler_.answer_with([](std::shared_ptr<Exchange> exchange) { exchange->send({}); });
  EXPECT_TRUE(post(100'000).starts_with("HTTP/1.1 200"));
  const int holder = connect();
  send_text(holder, head_of_post(kMiB) + std::string(kMiB - 1, 'x'));
  while (!post(100'000).starts_with("HTTP/1.1 503")) {  // until the server has read so much
  }
  EXPECT_TRUE(post(1000).starts_with("HTTP/1.1 200"));
  EXPECT_TRUE(post(64 << 10).starts_with("HTTP/1.1 200"));
  send_text(holder, "x");
  EXPECT_TRUE(read_all(holder).starts_with("HTTP/1.1 200"));
  ::close(holder);
  EXPECT_TRUE(post(100'000).starts_with("HTTP/1.1 200"));
}

// Answers that are not read have a bound together; beyond it large ones are refused and small ones are not.
TEST_F(HttpServerTest, LargeAnswersLeaveRoomForSmallOnes) {
  std::atomic<std::size_t> n_bytes = 12 * kMiB;
  handler_.answer_with(
      [&](std::shared_ptr<Exchange> exchange) { exchange->send({.body = std::string(n_bytes, '#')}); });
  const int holder = connect();
  send_text(holder, head_of_post(0));
  char first = 0;
  ASSERT_EQ(::recv(holder, &first, 1, 0), 1);
  EXPECT_TRUE(post(0).starts_with("HTTP/1.1 503"));
  n_bytes = 64 << 10;
  EXPECT_TRUE(post(0).starts_with("HTTP/1.1 200"));
  n_bytes = 100'000;
  EXPECT_TRUE(post(0).starts_with("HTTP/1.1 200"));
  const std::string rest = read_all(holder);
  EXPECT_EQ(std::ranges::count(rest, '#'), 12 * kMiB);
  ::close(holder);
  n_bytes = 12 * kMiB;
  EXPECT_GT(post(0).size(), 12 * kMiB);
}

// A stream that is behind its reader is given up when all answers together have no more room.
TEST_F(HttpServerTest, StreamsAreCountedToo) {
  handler_.answer_with([&](std::shared_ptr<Exchange> exchange) {
    exchange->when_gone([&] { ++n_given_up_; });
    exchange->begin({}, "");
    const std::string piece(kMiB, 'x');
    for (int i = 0; i < 3; ++i) exchange->write(piece);  // less than one may leave unread
    streams_.push_back(std::move(exchange));
  });
  std::vector<int> clients;
  for (int i = 0; i < 8; ++i) clients.push_back(ask());
  for (const int client : clients) {
    char first = 0;
    EXPECT_EQ(::recv(client, &first, 1, 0), 1);
  }
  while (n_given_up_ == 0) std::this_thread::yield();
  EXPECT_LT(n_given_up_, 8);
  for (const int client : clients) ::close(client);
}

class ImpatientServerTest : public HttpServerTest {
 protected:
  ImpatientServerTest() {
    write_time_ = std::chrono::milliseconds(300);
    slowest_answer_bytes_ = 4 * kMiB;
  }
};

// Who takes a little again and again does not hold an answer for as long as it likes.
TEST_F(ImpatientServerTest, WhoReadsSlowlyIsGivenUp) {
  handler_.answer_with(
      [](std::shared_ptr<Exchange> exchange) { exchange->send({.body = std::string(12 * kMiB, '#')}); });
  const int client = ask();
  std::size_t n_read = 0;
  char block[1 << 16];
  for (ssize_t n = 0; n_read < 12 * kMiB && (n = ::recv(client, block, sizeof block, 0)) > 0;) {
    n_read += static_cast<std::size_t>(n);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // 1.3 MB a second at most
  }
  EXPECT_LT(n_read, 12 * kMiB);
  ::close(client);
}

// Far more than the bound passes through, never more than the bound at once, and never less than a part of it: a reader
// that is always behind and never stops is not given up.
TEST_F(HttpServerTest, ASteadySlowReaderGetsEverything) {
  constexpr std::size_t kTotal = 24 * kMiB, kAhead = 3 * kMiB, kPiece = 1 << 15;
  std::atomic<std::size_t> n_read = 0;
  std::thread writer;
  handler_.answer_with([&](std::shared_ptr<Exchange> exchange) {
    writer = std::thread([&, exchange = std::move(exchange)] {
      exchange->begin({}, "");
      const std::string piece(kPiece, 'x');
      for (std::size_t written = 0; written < kTotal; written += kPiece) {
        while (written > n_read + kAhead) std::this_thread::yield();
        if (!exchange->write(piece)) return;
      }
      exchange->end();
    });
  });
  const int client = ask();
  std::size_t n_x = 0;
  std::string end;
  char block[1 << 15];
  while (!end.ends_with("0\r\n\r\n")) {
    const ssize_t n = ::recv(client, block, sizeof block, 0);
    if (n <= 0) break;
    n_x += static_cast<std::size_t>(std::count(block, block + n, 'x'));
    end = (end + std::string(block, static_cast<std::size_t>(n)))
              .substr(std::max<std::size_t>(end.size() + static_cast<std::size_t>(n), 5) - 5);
    n_read = n_x;
  }
  n_read = kTotal;
  ::close(client);
  writer.join();
  EXPECT_EQ(n_x, kTotal);
}

// Long before, and again when it has read on.
TEST_F(HttpServerTest, WhoMakesAStreamHearsThatItsReaderIsBehind) {
  std::atomic<bool> behind = false;
  std::atomic<std::size_t> n_written = 0;
  std::shared_ptr<Exchange> held;
  handler_.answer_with([&](std::shared_ptr<Exchange> exchange) {
    exchange->when_behind([&](bool now) { behind = now; });
    exchange->begin({}, "");
    held = exchange;
    n_written = 1;
  });
  const int client = ask();
  while (n_written == 0) std::this_thread::yield();
  const std::string piece(1 << 12, 'x');
  while (!behind) {
    n_written += piece.size();
    ASSERT_TRUE(held->write(piece));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_LT(n_written, 2 * kMiB);
  std::atomic<bool> told = false;  // who asks later is told, too
  held->when_behind([&](bool now) {
    behind = now;
    told = true;
  });
  EXPECT_TRUE(told);
  EXPECT_TRUE(behind);
  char block[1 << 15];
  // It may hear so a little after the last byte of what there was.
  while (behind) {
    if (::recv(client, block, sizeof block, MSG_DONTWAIT) <= 0) std::this_thread::yield();
  }
  EXPECT_TRUE(held->write(piece));
  held->end();
  held.reset();
  ::close(client);
}

TEST_F(HttpServerTest, WhoReadsNothingIsGivenUp) {
  std::atomic<bool> refused = false;
  handler_.answer_with([&](std::shared_ptr<Exchange> exchange) {
    exchange->begin({}, "");
    const std::string piece(kMiB, 'x');
    for (int i = 0; i < 64 && !refused; ++i) refused = !exchange->write(piece);
  });
  const int client = ask();
  EXPECT_LT(read_all(client).size(), 16 * kMiB);
  EXPECT_TRUE(refused);
  ::close(client);
}

// What is posted after the end is dropped.
TEST_F(HttpServerTest, ExchangesOutliveTheServer) {
  std::shared_ptr<Exchange> held;
  std::atomic<bool> there = false;
  handler_.answer_with([&](std::shared_ptr<Exchange> exchange) {
    held = std::move(exchange);
    there = true;
  });
  const int client = ask();
  while (!there) std::this_thread::yield();
  server_->stop();
  thread_.join();
  EXPECT_EQ(read_all(client), "");
  EXPECT_TRUE(held->gone());
  held->send({.body = "late"});
  server_.reset();
  held.reset();
  ::close(client);
  SetUp();  // for TearDown
}

}  // namespace
}  // namespace rowmax::server
