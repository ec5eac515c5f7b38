// The bytes of one connection, as they are or in TLS: reads and writes that wait for nothing.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "apps/server/tls.h"

namespace rowmax::server {

class Wire {
 public:
  // The socket is neither owned nor closed. tls: nullptr for plain text.
  Wire(int descriptor, std::unique_ptr<TlsStream> tls) : descriptor_(descriptor), tls_(std::move(tls)) {}

  enum class Came {
    kSome,       // perhaps nothing that the client said: a part of a handshake
    kNothing,    // yet
    kEnd,        // the client says nothing more; there may be something before that
    kPlainText,  // where TLS was expected: it is plain from here on, and what came is lost
    kBroken
  };
  // Reads once; what the client said is appended to `text`.
  Came read(std::span<char> block, std::string& text);

  enum class Went { kAll, kFull, kBroken };
  // From `begin` on, which moves; kFull: go on when the socket takes more. In TLS a record at a time, so that no second
  // copy of an answer waits for its client. `some`: whether the socket took anything.
  Went write(std::string_view text, std::size_t& begin, bool& some);
  // TLS has something to be written that is no text.
  bool unsent() const noexcept { return tls_ && !tls_->output().empty(); }

  bool encrypted() const noexcept { return tls_ != nullptr; }
  bool handshaking() const noexcept { return tls_ && tls_->state() == TlsStream::State::kHandshake; }
  // Nothing more will be written, which TLS says; false where that needs no (second) word.
  bool end();

 private:
  Came understand(std::string_view bytes, std::string& text);
  Went write_some(std::string_view bytes, std::size_t& n);

  int descriptor_;
  std::unique_ptr<TlsStream> tls_;
  bool begins_as_tls_ = false, said_end_ = false;
};

}  // namespace rowmax::server
