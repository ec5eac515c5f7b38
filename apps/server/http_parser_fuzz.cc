// libFuzzer: any bytes give a request within the limits or a refusal, the same ones in whatever pieces they come.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "apps/server/http_parser.h"

namespace {

using rowmax::server::HttpLimits;
using rowmax::server::HttpParser;

constexpr HttpLimits kLimits = {.head_bytes = 512, .n_headers = 8, .target_bytes = 64, .body_bytes = 256};

void require(bool condition) {
  if (!condition) std::abort();
}

// What a request came out as; empty: none did. How early a bad one is seen to be bad depends on the pieces.
struct Outcome {
  bool done = false;
  std::string method, target, body;
  bool operator==(const Outcome&) const = default;
};

Outcome read(std::string_view bytes, std::size_t piece) {
  HttpParser parser(kLimits);
  std::string held;
  bool ended = false;
  for (std::size_t begin = 0; begin < bytes.size() && !ended; begin += piece) {
    held += bytes.substr(begin, piece);
    for (;;) {
      const auto before = parser.state();
      const std::size_t n = parser.take(held);
      require(n <= held.size());
      held.erase(0, n);
      ended = parser.state() == HttpParser::State::kDone || parser.state() == HttpParser::State::kBad;
      if (ended || (n == 0 && parser.state() == before)) break;
    }
  }
  if (parser.state() == HttpParser::State::kBad) {
    require(parser.problem().status >= 400 && !parser.problem().message.empty());
  }
  if (parser.state() != HttpParser::State::kDone) return {};
  const auto request = parser.take_request();
  require(request.headers.size() <= kLimits.n_headers && request.body.size() <= kLimits.body_bytes);
  require(request.target.size() <= kLimits.target_bytes && !request.target.empty());
  for (const auto& header : request.headers) {
    require(header.value.find('\n') == std::string::npos && header.name.find('\r') == std::string::npos);
  }
  return {true, request.method, request.target, request.body};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), std::min<std::size_t>(size, 2048));
  const Outcome whole = read(bytes, std::max<std::size_t>(bytes.size(), 1));
  require(read(bytes, 1) == whole);
  require(read(bytes, 5) == whole);
  return 0;
}
