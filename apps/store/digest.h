// Checksums of files, by OpenSSL's libcrypto.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "rowmax/result.h"

namespace rowmax::store {

// Whether this program was built with libcurl and libcrypto (CMake's ROWMAX_DOWNLOAD). Without them everything in this
// header and in http.h returns kUnsupported.
bool can_download() noexcept;
Error cannot_download();

enum class DigestKind {
  kSha256,
  kGitBlob,  // git's name for the content: SHA-1 of "blob LENGTH\0" and the bytes
};

// The kind that `digest` is by its form: 64 lower-case hex digits (SHA-256) or 40 (git). kCorrupt for anything else.
Result<DigestKind> digest_kind(std::string_view digest);

// Lower-case hex. `tick` is called with the bytes read so far. kNotFound, kIo for a file that cannot be read,
// kCancelled where
// `tick` says false.
Result<std::string> file_digest(const std::string& path, DigestKind kind,
                                const std::function<bool(std::int64_t)>& tick = {});

// SHA-256 of bytes in memory, as above.
Result<std::string> bytes_digest(std::span<const std::byte> bytes);

}  // namespace rowmax::store
