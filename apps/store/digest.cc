#include "apps/store/digest.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>
#include <vector>

#include "apps/store/listener.h"
#include "base/guarded.h"
#include "rowmax/try.h"

#ifdef ROWMAX_WITH_DOWNLOAD
#include <openssl/evp.h>
#endif

namespace rowmax::store {

Error cannot_download() {
  return Error{ErrorCode::kUnsupported,
               "this rowmax was built without libcurl and OpenSSL, which fetch and check models (ROWMAX_DOWNLOAD)"};
}

Result<DigestKind> digest_kind(std::string_view digest) {
  return base::guarded([&]() -> Result<DigestKind> {
    const bool hex = digest.find_first_not_of("0123456789abcdef") == std::string_view::npos;
    if (hex && digest.size() == 64) return DigestKind::kSha256;
    if (hex && digest.size() == 40) return DigestKind::kGitBlob;
    return Error{ErrorCode::kCorrupt, "\"" + std::string(digest) + "\" is not a checksum: neither SHA-256 nor git's"};
  });
}

#ifdef ROWMAX_WITH_DOWNLOAD

namespace {

constexpr std::size_t kBlock = std::size_t{1} << 20;

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

std::string hex(const unsigned char* bytes, unsigned n) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (unsigned i = 0; i < n; ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

Error read_error(const std::string& path, int code) {
  return Error{code == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, path + ": " + std::strerror(code)};
}

}  // namespace

bool can_download() noexcept { return true; }

namespace {

Result<std::string> digest_of(const std::string& path, DigestKind kind, const std::function<bool(std::int64_t)>& tick) {
  const std::unique_ptr<std::FILE, CloseFile> file(std::fopen(path.c_str(), "rb"));
  if (file == nullptr) return read_error(path, errno);
  const std::unique_ptr<EVP_MD_CTX, FreeContext> context(EVP_MD_CTX_new());
  if (context == nullptr) return Error::out_of_memory();
  bool fine = EVP_DigestInit_ex(context.get(), kind == DigestKind::kSha256 ? EVP_sha256() : EVP_sha1(), nullptr) == 1;
  if (kind == DigestKind::kGitBlob) {
    std::error_code code;
    const auto size = std::filesystem::file_size(path, code);
    if (code) return read_error(path, code.value());
    const std::string head = "blob " + std::to_string(size);
    fine = fine && EVP_DigestUpdate(context.get(), head.c_str(), head.size() + 1) == 1;
  }
  std::vector<char> block(kBlock);
  std::int64_t done = 0;
  while (const std::size_t n = std::fread(block.data(), 1, block.size(), file.get())) {
    fine = fine && EVP_DigestUpdate(context.get(), block.data(), n) == 1;
    done += static_cast<std::int64_t>(n);
    if (tick && !tick(done)) return interrupted_error();
  }
  if (std::ferror(file.get()) != 0) return read_error(path, errno != 0 ? errno : EIO);
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  fine = fine && EVP_DigestFinal_ex(context.get(), bytes, &size) == 1;
  if (!fine) return Error{ErrorCode::kUnsupported, "OpenSSL on this machine does not compute the checksum of " + path};
  return hex(bytes, size);
}

}  // namespace

Result<std::string> file_digest(const std::string& path, DigestKind kind,
                                const std::function<bool(std::int64_t)>& tick) {
  return base::guarded([&] { return digest_of(path, kind, tick); });
}

Result<std::string> bytes_digest(std::span<const std::byte> bytes) {
  return base::guarded([&]() -> Result<std::string> {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr) != 1) {
      return Error{ErrorCode::kUnsupported, "OpenSSL on this machine does not compute SHA-256"};
    }
    return hex(digest, size);
  });
}

#else

bool can_download() noexcept { return false; }

Result<std::string> bytes_digest(std::span<const std::byte>) { return cannot_download(); }

Result<std::string> file_digest(const std::string&, DigestKind, const std::function<bool(std::int64_t)>&) {
  return cannot_download();
}

#endif

}  // namespace rowmax::store
