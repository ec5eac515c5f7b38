#include "apps/server/tls.h"

#include <utility>

#ifdef ROWMAX_WITH_TLS

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "rowmax/try.h"

namespace rowmax::server {
namespace {

// Of text, in one record: what TLS allows.
constexpr std::size_t kRecordBytes = 16 << 10;
constexpr unsigned char kHttp11[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

struct FreeSsl {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
template <class T>
using Owned = std::unique_ptr<T, FreeSsl>;

// What OpenSSL found first, in its words; its list is empty then.
std::string ssl_reason() {
  const unsigned long code = ERR_get_error();
  const char* reason = ERR_reason_error_string(code);
  ERR_clear_error();
  return reason != nullptr ? reason : "no reason given";
}

Result<Owned<BIO>> open_file(const std::string& path) {
  errno = 0;
  Owned<BIO> file(BIO_new_file(path.c_str(), "r"));
  const int code = errno;
  ERR_clear_error();
  if (file != nullptr) return file;
  return Error{code == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, path + ": " + std::strerror(code)};
}

// Asked for the passphrase of a key: there is none, and nobody to ask.
int no_passphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

Status load_certificate(SSL_CTX* context, const std::string& path) {
  ROWMAX_RETURN_IF_ERROR(open_file(path));  // for the system's own words
  if (SSL_CTX_use_certificate_chain_file(context, path.c_str()) == 1) return {};
  const bool none = ERR_GET_REASON(ERR_peek_error()) == PEM_R_NO_START_LINE;
  const std::string why = ssl_reason();
  if (none) {
    return Error::corrupt(path + ": expected a certificate in PEM (-----BEGIN CERTIFICATE-----), found none");
  }
  return Error::corrupt(path + ": expected certificates in PEM: " + why);
}

Status load_key(SSL_CTX* context, const TlsFiles& files) {
  ROWMAX_TRY(file, open_file(files.key));
  bool asked = false;
  const Owned<EVP_PKEY> key(PEM_read_bio_PrivateKey(file.get(), nullptr, no_passphrase, &asked));
  if (asked) {
    return Error::invalid_argument(files.key +
                                   ": expected a key without a passphrase, found an encrypted one (openssl pkey -in " +
                                   files.key + " -out FILE writes it in clear)");
  }
  if (key == nullptr) {
    ERR_clear_error();
    return Error::corrupt(files.key + ": expected a private key in PEM (-----BEGIN PRIVATE KEY-----), found none");
  }
  if (SSL_CTX_use_PrivateKey(context, key.get()) == 1 && SSL_CTX_check_private_key(context) == 1) return {};
  return Error::invalid_argument(files.key + ": expected the key of the certificate in " + files.certificate +
                                 ", found another: " + ssl_reason());
}

std::string time_text(const ASN1_TIME* time) {
  const Owned<BIO> text(BIO_new(BIO_s_mem()));
  if (text == nullptr || ASN1_TIME_print(text.get(), time) != 1) return "an unknown time";
  char* begin = nullptr;
  const long size = BIO_get_mem_data(text.get(), &begin);
  return {begin, static_cast<std::size_t>(size)};
}

void look_at_dates(SSL_CTX* context, const std::string& path, std::vector<std::string>& warnings) {
  const X509* certificate = SSL_CTX_get0_certificate(context);
  if (certificate == nullptr) return;
  const ASN1_TIME* begin = X509_get0_notBefore(certificate);
  const ASN1_TIME* end = X509_get0_notAfter(certificate);
  if (X509_cmp_current_time(end) < 0) {
    warnings.push_back(path + ": the certificate expired at " + time_text(end) + "; clients will refuse it");
  } else if (X509_cmp_current_time(begin) > 0) {
    warnings.push_back(path + ": the certificate is not valid before " + time_text(begin) + "; clients will refuse it");
  }
}

// HTTP/1.1 is all that is spoken here; who offers names and not this one is told so.
int choose_protocol(SSL* /*ssl*/, const unsigned char** chosen, unsigned char* size, const unsigned char* offered,
                    unsigned n_offered, void* /*argument*/) {
  unsigned char* found = nullptr;
  if (SSL_select_next_proto(&found, size, kHttp11, sizeof kHttp11, offered, n_offered) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *chosen = found;
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace

struct TlsContext::Impl {
  Owned<SSL_CTX> context;
};

TlsContext::TlsContext(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
TlsContext::~TlsContext() = default;

Result<std::shared_ptr<const TlsContext>> TlsContext::create(const TlsFiles& files,
                                                             std::vector<std::string>& warnings) {
  ERR_clear_error();
  Owned<SSL_CTX> context(SSL_CTX_new(TLS_server_method()));
  if (context == nullptr || SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION) != 1) {
    return Error::unsupported("OpenSSL on this machine gives no TLS: " + ssl_reason());
  }
  // Sessions are remembered by clients (tickets), not here: there is nothing to fill up.
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_alpn_select_cb(context.get(), choose_protocol, nullptr);
  ROWMAX_RETURN_IF_ERROR(load_certificate(context.get(), files.certificate));
  ROWMAX_RETURN_IF_ERROR(load_key(context.get(), files));
  look_at_dates(context.get(), files.certificate, warnings);
  auto impl = std::make_unique<Impl>();
  impl->context = std::move(context);
  return std::shared_ptr<const TlsContext>(new TlsContext(std::move(impl)));
}

struct TlsStream::Impl {
  std::shared_ptr<const TlsContext> context;
  Owned<SSL> ssl;
  BIO* in = nullptr;   // of ssl: what came
  BIO* out = nullptr;  // of ssl: what goes
  State state = State::kHandshake;
};

TlsStream::TlsStream(std::shared_ptr<const TlsContext> context) : impl_(std::make_unique<Impl>()) {
  Owned<BIO> in(BIO_new(BIO_s_mem())), out(BIO_new(BIO_s_mem()));
  impl_->ssl.reset(SSL_new(context->impl_->context.get()));
  if (in == nullptr || out == nullptr || impl_->ssl == nullptr) {
    ERR_clear_error();
    throw std::bad_alloc();
  }
  BIO_set_mem_eof_return(in.get(), -1);  // empty is not the end
  impl_->in = in.get();
  impl_->out = out.get();
  SSL_set_bio(impl_->ssl.get(), in.release(), out.release());
  SSL_set_accept_state(impl_->ssl.get());
  impl_->context = std::move(context);
}

TlsStream::~TlsStream() = default;

TlsStream::State TlsStream::state() const noexcept { return impl_->state; }

TlsStream::State TlsStream::receive(std::string_view bytes, std::string& text) {
  State& state = impl_->state;
  if (state == State::kBroken || state == State::kEnded) return state;
  SSL* const ssl = impl_->ssl.get();
  ERR_clear_error();
  if (BIO_write(impl_->in, bytes.data(), static_cast<int>(bytes.size())) != static_cast<int>(bytes.size())) {
    throw std::bad_alloc();
  }
  // Handshakes are part of reading, whatever stage they are in.
  char block[kRecordBytes];
  for (;;) {
    std::size_t n = 0;
    if (SSL_read_ex(ssl, block, sizeof block, &n) == 1) {
      text.append(block, n);
      continue;
    }
    const int problem = SSL_get_error(ssl, 0);
    if (problem == SSL_ERROR_ZERO_RETURN) {
      state = State::kEnded;
    } else if (problem != SSL_ERROR_WANT_READ && problem != SSL_ERROR_WANT_WRITE) {
      state = State::kBroken;
    } else if (state == State::kHandshake && SSL_is_init_finished(ssl) == 1) {
      state = State::kOpen;
    }
    ERR_clear_error();
    return state;
  }
}

std::size_t TlsStream::send(std::string_view text) {
  if (text.empty() || impl_->state == State::kBroken || SSL_is_init_finished(impl_->ssl.get()) != 1) return 0;
  ERR_clear_error();
  std::size_t n = 0;
  if (SSL_write_ex(impl_->ssl.get(), text.data(), std::min(text.size(), kRecordBytes), &n) == 1) return n;
  ERR_clear_error();
  impl_->state = State::kBroken;
  return 0;
}

void TlsStream::end() {
  if (impl_->state == State::kBroken || SSL_is_init_finished(impl_->ssl.get()) != 1) return;
  (void)SSL_shutdown(impl_->ssl.get());
  ERR_clear_error();
}

std::string_view TlsStream::output() const noexcept {
  char* begin = nullptr;
  const long size = BIO_get_mem_data(impl_->out, &begin);
  return size > 0 ? std::string_view(begin, static_cast<std::size_t>(size)) : std::string_view();
}

void TlsStream::taken(std::size_t n) {
  char block[kRecordBytes];
  while (n > 0) {
    const int read = BIO_read(impl_->out, block, static_cast<int>(std::min(n, sizeof block)));
    if (read <= 0) return;
    n -= static_cast<std::size_t>(read);
  }
}

}  // namespace rowmax::server

#else

namespace rowmax::server {

struct TlsContext::Impl {};
TlsContext::TlsContext(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
TlsContext::~TlsContext() = default;

Result<std::shared_ptr<const TlsContext>> TlsContext::create(const TlsFiles& /*files*/,
                                                             std::vector<std::string>& /*warnings*/) {
  return Error::unsupported("this rowmax was built without TLS (ROWMAX_TLS; it needs OpenSSL)");
}

// Without a context there is no stream.
struct TlsStream::Impl {};
TlsStream::TlsStream(std::shared_ptr<const TlsContext> /*context*/) {}
TlsStream::~TlsStream() = default;
TlsStream::State TlsStream::receive(std::string_view /*bytes*/, std::string& /*text*/) { return State::kBroken; }
TlsStream::State TlsStream::state() const noexcept { return State::kBroken; }
std::size_t TlsStream::send(std::string_view /*text*/) { return 0; }
void TlsStream::end() {}
std::string_view TlsStream::output() const noexcept { return {}; }
void TlsStream::taken(std::size_t /*n*/) {}

}  // namespace rowmax::server

#endif
