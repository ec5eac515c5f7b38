#include "engine/io/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include "engine/io/text.h"

namespace rowmax::engine {
namespace {

Error io_error(const std::string& path, const char* action, int error) {
  return Error{ErrorCode::kIo, concat(path, ": cannot ", action, ": ", std::generic_category().message(error))};
}

}  // namespace

Result<AtomicFile> AtomicFile::create(const std::string& path) {
  static std::atomic<unsigned> counter{0};
  if (path.empty() || path.find('\0') != std::string::npos) {
    return Error{ErrorCode::kInvalidArgument, concat("cannot write to the file name ", quote(path))};
  }
  AtomicFile file;
  file.path_ = path;
  file.temporary_ = concat(path, ".tmp.", ::getpid(), ".", counter.fetch_add(1));
  // O_EXCL: a link that someone laid at this name is not followed.
  file.descriptor_ = ::open(file.temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file.descriptor_ < 0) return io_error(file.temporary_, "create", errno);
  return file;
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

Status AtomicFile::append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ::ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return io_error(temporary_, "write", errno);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Status AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) return io_error(temporary_, "flush", errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) return io_error(path_, "rename to", errno);
  ::close(std::exchange(descriptor_, -1));
  return {};
}

}  // namespace rowmax::engine
