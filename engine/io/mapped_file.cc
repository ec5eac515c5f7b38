#include "engine/io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "engine/io/fault_guard.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

Error system_error(const std::string& path, const char* action, int error) {
  const ErrorCode code = error == ENOENT || error == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kIo;
  return Error{code, concat(path, ": cannot ", action, ": ", std::generic_category().message(error))};
}

const char* file_kind(mode_t mode) noexcept {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO (named pipe)";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISCHR(mode)) return "a character device";
  if (S_ISBLK(mode)) return "a block device";
  return "not a regular file";
}

Error not_regular(const std::string& path, mode_t mode) {
  return Error{ErrorCode::kInvalidArgument, concat(path, ": expected a regular file, found ", file_kind(mode))};
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::string& path) {
  if (path.find('\0') != std::string::npos) {
    return Error{ErrorCode::kInvalidArgument, concat("file name ", quote(path), " contains a NUL byte")};
  }
  struct stat info = {};
  // Asked before opening, because opening a device can have effects; asked again after, because the name may have
  // moved.
  if (::stat(path.c_str(), &info) != 0) return system_error(path, "open", errno);
  if (!S_ISREG(info.st_mode)) return not_regular(path, info.st_mode);

  MappedFile file;
  file.path_ = path;
  file.descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (file.descriptor_ < 0) return system_error(path, "open", errno);
  if (::fstat(file.descriptor_, &info) != 0) return system_error(path, "read the size", errno);
  if (!S_ISREG(info.st_mode)) return not_regular(path, info.st_mode);
  if (info.st_size <= 0) return Error{ErrorCode::kCorrupt, concat(path, ": the file is empty (0 bytes)")};

  const auto size = static_cast<std::size_t>(info.st_size);
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.descriptor_, 0);
  if (address == MAP_FAILED) {
    if (errno == ENOMEM) return Error::out_of_memory();
    return system_error(path, "map", errno);
  }
  file.data_ = static_cast<const std::byte*>(address);
  file.size_ = size;
  ROWMAX_RETURN_IF_ERROR(file.check_size());
  return file;
}

Status MappedFile::check_size() const {
  struct stat info = {};
  if (::fstat(descriptor_, &info) != 0) return system_error(path_, "read the size", errno);
  if (static_cast<std::uint64_t>(info.st_size) == size_) return {};
  return Error{ErrorCode::kIo, concat(path_, ": the file changed its size from ", size_, " to ", info.st_size,
                                      " bytes while it was being read: is it still being written?")};
}

Status MappedFile::watch() {
  if (watched_ == nullptr) watched_ = watch_range(data_, size_);
  return watched_ != nullptr ? Status() : Status(Error::out_of_memory());
}

Status MappedFile::check_intact() const {
  struct stat info = {};
  // A cut inside the last page that is left raises no fault: there the rest reads as zeros anyway.
  if (::fstat(descriptor_, &info) != 0) return system_error(path_, "read the size", errno);
  const bool same_size = static_cast<std::uint64_t>(info.st_size) == size_;
  if (same_size && (watched_ == nullptr || !was_damaged(*watched_))) return {};
  return Error{ErrorCode::kCorrupt, concat(path_, ": the file was truncated or replaced while it was read")};
}

void MappedFile::drop_pages(std::span<const std::byte> range) const noexcept {
  if (range.empty() || range.data() < data_ || range.data() + range.size() > data_ + size_) return;
  // From the first page that begins inside the range to the last one that ends there.
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(range.data()) + page - 1) / page * page;
  const auto end = reinterpret_cast<std::uintptr_t>(range.data() + range.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

void MappedFile::release() noexcept {
  if (watched_ != nullptr) unwatch_range(*watched_);
  watched_ = nullptr;
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
  if (descriptor_ >= 0) ::close(descriptor_);
  data_ = nullptr;
  size_ = 0;
  descriptor_ = -1;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      watched_(std::exchange(other.watched_, nullptr)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  if (this != &other) {
    release();
    path_ = std::move(other.path_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    descriptor_ = std::exchange(other.descriptor_, -1);
    watched_ = std::exchange(other.watched_, nullptr);
  }
  return *this;
}

MappedFile::~MappedFile() { release(); }

}  // namespace rowmax::engine
