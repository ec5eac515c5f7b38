#include "apps/server/wire.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace rowmax::server {
namespace {

// Of TLS that its client does not take: a record of 16 KiB and what a handshake says are less.
constexpr std::size_t kMostOutputBytes = 128 << 10;

}  // namespace

Wire::Came Wire::read(std::span<char> block, std::string& text) {
  const ssize_t n = ::recv(descriptor_, block.data(), block.size(), MSG_DONTWAIT);
  if (n == 0) return Came::kEnd;
  if (n < 0) return errno == EAGAIN || errno == EINTR ? Came::kNothing : Came::kBroken;
  return understand(std::string_view(block.data(), static_cast<std::size_t>(n)), text);
}

Wire::Came Wire::understand(std::string_view bytes, std::string& text) {
  if (!tls_) {
    text += bytes;
    return Came::kSome;
  }
  if (!begins_as_tls_) {
    begins_as_tls_ = begins_tls(bytes);
    if (!begins_as_tls_) {
      tls_.reset();
      return Came::kPlainText;
    }
  }
  switch (tls_->receive(bytes, text)) {
    case TlsStream::State::kBroken: return Came::kBroken;
    case TlsStream::State::kEnded: return Came::kEnd;
    // Who lets TLS answer again and again, and reads none of it, is given up.
    default: return tls_->output().size() > kMostOutputBytes ? Came::kBroken : Came::kSome;
  }
}

Wire::Went Wire::write_some(std::string_view bytes, std::size_t& n) {
  for (;;) {
    const ssize_t sent = ::send(descriptor_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return errno == EAGAIN ? Went::kFull : Went::kBroken;
    n = static_cast<std::size_t>(sent);
    return Went::kAll;
  }
}

Wire::Went Wire::write(std::string_view text, std::size_t& begin, bool& some) {
  std::size_t n = 0;
  for (;;) {
    while (unsent()) {
      const Went went = write_some(tls_->output(), n);
      if (went != Went::kAll) return went;
      tls_->taken(n);
      some = true;
    }
    if (begin == text.size()) return Went::kAll;
    if (tls_) {
      n = tls_->send(text.substr(begin));
      if (n == 0) return Went::kBroken;
    } else {
      const Went went = write_some(text.substr(begin), n);
      if (went != Went::kAll) return went;
      some = true;
    }
    begin += n;
  }
}

bool Wire::end() {
  if (!tls_ || std::exchange(said_end_, true)) return false;
  tls_->end();
  return true;
}

}  // namespace rowmax::server
