#include "apps/server/http_parser.h"

#include <gtest/gtest.h>

namespace rowmax::server {
namespace {

using State = HttpParser::State;

const std::string kHead = "POST /v1/completions?x=1 HTTP/1.1\r\nHost: a\r\n";

// What becomes of bytes that come in pieces of so many.
std::unique_ptr<HttpParser> parse(const std::string& bytes, std::size_t piece, const HttpLimits& limits = {}) {
  auto parser = std::make_unique<HttpParser>(limits);
  std::string held;
  for (std::size_t begin = 0; begin < bytes.size(); begin += piece) {
    held += bytes.substr(begin, piece);
    for (;;) {
      const State before = parser->state();
      const std::size_t n = parser->take(held);
      held.erase(0, n);
      if (parser->state() == State::kDone || parser->state() == State::kBad) return parser;
      if (n == 0 && parser->state() == before) break;
    }
  }
  return parser;
}

int status_of(const std::string& bytes, const HttpLimits& limits = {}) {
  int status = 0;
  for (const std::size_t piece : {bytes.size(), std::size_t{1}, std::size_t{7}}) {
    const auto parser = parse(bytes, piece, limits);
    const int now = parser->state() == State::kBad ? parser->problem().status : 0;
    if (piece == bytes.size()) status = now;
    EXPECT_EQ(now, status) << bytes << " in pieces of " << piece;
  }
  return status;
}

TEST(HttpParser, WholeRequests) {
  const std::string request = kHead + "X-Api-Key: k\r\nContent-Length: 4\r\n\r\nbody";
  for (std::size_t piece = 1; piece <= request.size(); ++piece) {
    const auto parser = parse(request, piece);
    ASSERT_EQ(parser->state(), State::kDone);
    EXPECT_TRUE(parser->keep_alive());
    EXPECT_TRUE(parser->http_1_1());
    const HttpRequest taken = parser->take_request();
    EXPECT_EQ(taken.method, "POST");
    EXPECT_EQ(taken.path(), "/v1/completions");
    EXPECT_EQ(taken.header("x-api-key"), "k");
    EXPECT_EQ(taken.body, "body");
  }
}

TEST(HttpParser, Chunks) {
  const auto parser = parse(kHead + "Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n1\r\nd\r\n0\r\nX: y\r\n\r\n", 1);
  ASSERT_EQ(parser->state(), State::kDone);
  EXPECT_EQ(parser->request().body, "abcd");
  EXPECT_EQ(parser->request().header("x"), "");
}

// A body of no chunks, byte by byte: Beast asserts that there is more of it.
TEST(HttpParser, NoChunks) {
  for (const std::string body : {"0\r\n\r\n", "0;a=b\r\n\r\n", "000\r\nX: y\r\n\r\n"}) {
    for (std::size_t piece = 1; piece < 6; ++piece) {
      const auto parser = parse(kHead + "Transfer-Encoding: chunked\r\n\r\n" + body, piece);
      EXPECT_EQ(parser->state(), State::kDone) << body << piece;
      EXPECT_EQ(parser->request().body, "");
    }
  }
}

// What is behind a request is the next one's.
TEST(HttpParser, LeavesWhatFollows) {
  const std::string one = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";
  HttpParser parser({});
  EXPECT_EQ(parser.take(one + one), one.size());
  EXPECT_EQ(parser.state(), State::kDone);
}

TEST(HttpParser, StopsBehindTheHead) {
  HttpParser parser({});
  const std::string head = kHead + "Content-Length: 4\r\nExpect: 100-continue\r\n\r\n";
  EXPECT_EQ(parser.take(head + "body"), head.size());
  EXPECT_EQ(parser.state(), State::kBody);
  EXPECT_TRUE(parser.expects_continue());
}

// Two readers of these could see two different requests (RFC 9112, 6.3 and 11.2).
TEST(HttpParser, RefusesWhatSmuggles) {
  for (const std::string headers : {
           "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
           "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
           "Transfer-Encoding: xchunked\r\n",
           "Transfer-Encoding: chunked, gzip\r\n",
           "Transfer-Encoding: gzip, chunked\r\n",
           "Transfer-Encoding: gzip\r\nContent-Length: 4\r\n",
           "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
           "Transfer-Encoding:\tidentity\r\n",
           "Content-Length: 4\r\nContent-Length: 5\r\n",
           "Content-Length: 4\r\nContent-Length: 4\r\n",
           "Content-Length: 4, 4\r\n",
           "Content-Length: +4\r\n",
           "Content-Length: -2\r\n",
           "Content-Length: 0x4\r\n",
           "Content-Length: 4 5\r\n",
           "Content-Length: 99999999999999999999\r\n",
           "Content-Length:\r\n",
           "Content-Length : 4\r\n",
           "Host: b\r\n",
           "X: a\rb\r\n",
           "X: a\nY: b\r\n",
           "X: a\r\n b\r\n",
           "X: a\r\n\tY: b\r\n",
           "X: a\r\n \r\n",
           " X: a\r\n",
           "X\r\n",
           ": a\r\n",
       }) {
    const int status = status_of(kHead + headers + "\r\nbody");
    EXPECT_TRUE(status == 400 || status == 413) << headers << status;
  }
  EXPECT_EQ(status_of("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400);
}

TEST(HttpParser, BodiesMayBeginLikeAFoldedHeader) {
  EXPECT_EQ(status_of(kHead + "Content-Length: 5\r\n\r\n\r\n ab"), 0);
  EXPECT_EQ(status_of(kHead + "Content-Length: 3\r\n\r\n\tab"), 0);
}

TEST(HttpParser, RefusesBadChunks) {
  for (const std::string body : {"-2\r\nab\r\n0\r\n\r\n", "g\r\n", "\r\n", "2\r\nabc\r\n0\r\n\r\n", "2\nab\r\n",
                                 "ffffffffffffffffff\r\n", "0x2\r\nab\r\n0\r\n\r\n", "2;\r\r\nab"}) {
    const int status = status_of(kHead + "Transfer-Encoding: chunked\r\n\r\n" + body + "\r\n\r\n");
    EXPECT_TRUE(status == 400 || status == 413) << body << status;
  }
}

TEST(HttpParser, RequestLines) {
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\n\r\n"), 400);  // no Host
  EXPECT_EQ(status_of("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
  EXPECT_EQ(status_of("GET / HTTP/1.1\nHost: a\n\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(status_of("G\x01T / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(status_of(std::string("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 33)), 400);
  EXPECT_EQ(status_of("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS hello\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: a\r\nExpect: rain\r\n\r\n"), 417);
  EXPECT_EQ(status_of("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
}

TEST(HttpParser, Bounds) {
  const HttpLimits limits{.head_bytes = 1000, .n_headers = 5, .target_bytes = 100, .body_bytes = 10};
  EXPECT_EQ(status_of(std::string(2000, 'G'), limits), 431);
  EXPECT_EQ(status_of(kHead + "X: " + std::string(2000, 'a'), limits), 431);
  EXPECT_EQ(status_of(kHead + "A: 1\r\nB: 1\r\nC: 1\r\nD: 1\r\nE: 1\r\n\r\n", limits), 431);
  // The first line counts, too.
  EXPECT_EQ(
      status_of("GET /" + std::string(600, 'a') + " HTTP/1.1\r\nHost: a\r\nX: " + std::string(500, 'a') + "\r\n\r\n",
                {.head_bytes = 1000}),
      431);
  EXPECT_EQ(status_of("GET /" + std::string(200, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n", limits), 414);
  EXPECT_EQ(status_of(kHead + "Content-Length: 11\r\n\r\n", limits), 413);
  EXPECT_EQ(status_of(kHead + "Content-Length: 10\r\n\r\n0123456789", limits), 0);
  const std::string chunked = kHead + "Transfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(status_of(chunked + "6\r\n012345\r\n6\r\n012345\r\n0\r\n\r\n", limits), 413);
  EXPECT_EQ(status_of(chunked + "1;" + std::string(5000, 'a'), limits), 431);
  EXPECT_EQ(status_of(chunked + "0\r\nX: " + std::string(5000, 'a'), limits), 431);
}

}  // namespace
}  // namespace rowmax::server
