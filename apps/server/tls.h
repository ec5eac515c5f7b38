// TLS of one connection, without its socket: bytes as they came in, what they say out, and the other way round. Made with
// OpenSSL; a build without it (ROWMAX_TLS) has no contexts, and says so.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rowmax/result.h"

namespace rowmax::server {

struct TlsFiles {
  std::string certificate;  // PEM: the server's own first, then those that lead to one that clients know
  std::string key;          // PEM, without a passphrase
};

// A certificate and its key; what all connections share. Not changed once it is made.
class TlsContext {
 public:
  // TLS 1.2 and 1.3. Errors name the file: kNotFound, kIo, kCorrupt for what is no certificate or no key, kInvalidArgument
  // for a key of another certificate or with a passphrase, kUnsupported in a build without OpenSSL. `warnings` gets a
  // sentence for a certificate that clients will refuse today (expired, not yet valid).
  static Result<std::shared_ptr<const TlsContext>> create(const TlsFiles& files, std::vector<std::string>& warnings);
  ~TlsContext();

  struct Impl;

 private:
  friend class TlsStream;
  explicit TlsContext(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

// One connection. One thread at a time.
class TlsStream {
 public:
  enum class State {
    kHandshake,
    kOpen,
    kEnded,  // the client said that nothing more comes
    kBroken  // nothing more can be understood; an alert may wait to be sent
  };

  // Throws std::bad_alloc.
  explicit TlsStream(std::shared_ptr<const TlsContext> context);
  ~TlsStream();

  // Bytes of the socket; what the client said is appended to `text`.
  State receive(std::string_view bytes, std::string& text);
  State state() const noexcept;
  // Something of `text` for the client, from its front: how much was taken. 0 before the handshake is done, and where the
  // stream is broken.
  std::size_t send(std::string_view text);
  // Nothing more will be sent.
  void end();

  // What is to be written to the socket; taken() says how much of its front was.
  std::string_view output() const noexcept;
  void taken(std::size_t n);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The first byte of a client that speaks TLS.
inline bool begins_tls(std::string_view bytes) noexcept { return !bytes.empty() && bytes[0] == 0x16; }

}  // namespace rowmax::server
