#include "engine/serving/disk_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr std::string_view kEnding = ".page", kUnfinished = ".rowmax-", kUnfinishedEnding = ".tmp";

Error system_error(const std::string& what) { return {ErrorCode::kIo, what + ": " + std::strerror(errno)}; }

class Descriptor {
 public:
  explicit Descriptor(int value) noexcept : value_(value) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  int get() const noexcept { return value_; }

 private:
  int value_;
};

template <std::size_t n>
void append_hex(std::string& out, const std::array<std::uint8_t, n>& bytes) {
  for (const std::uint8_t byte : bytes) {
    out += "0123456789abcdef"[byte >> 4];
    out += "0123456789abcdef"[byte & 15];
  }
}

std::array<std::uint8_t, 4> bytes_of(PageParts parts) {
  return {static_cast<std::uint8_t>(parts >> 24), static_cast<std::uint8_t>(parts >> 16),
          static_cast<std::uint8_t>(parts >> 8), static_cast<std::uint8_t>(parts)};
}

// Takes the digits from the text.
template <std::size_t n>
bool take_hex(std::string_view& text, std::array<std::uint8_t, n>& bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  if (text.size() < 2 * n) return false;
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t high = kDigits.find(text[2 * i]), low = kDigits.find(text[2 * i + 1]);
    if (high == std::string_view::npos || low == std::string_view::npos) return false;
    bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  text.remove_prefix(2 * n);
  return true;
}

bool take(std::string_view& text, std::string_view what) {
  if (!text.starts_with(what)) return false;
  text.remove_prefix(what.size());
  return true;
}

std::int64_t nanoseconds(const timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

// An unfinished file is locked while somebody writes it.
void remove_if_abandoned(int folder, const char* name) {
  const Descriptor file(::openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (file.get() < 0 || ::flock(file.get(), LOCK_EX | LOCK_NB) != 0) return;
  ::unlinkat(folder, name, 0);
}

Status write_all(int file, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(file, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("cannot write");
    if (n == 0) return Error{ErrorCode::kIo, "cannot write: the system takes no more bytes"};
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

}  // namespace

std::string PageName::stem() const {
  std::string text;
  append_hex(text, id);
  text += '-';
  append_hex(text, key);
  text += '-';
  return text;
}

std::string PageName::text() const {
  std::string text = stem();
  append_hex(text, bytes_of(parts));
  return text += kEnding;
}

std::optional<PageName> PageName::parse(std::string_view text) {
  PageName name;
  std::array<std::uint8_t, 4> parts = {};
  const bool fine = take_hex(text, name.id) && take(text, "-") && take_hex(text, name.key) && take(text, "-") &&
                    take_hex(text, parts) && text == kEnding;
  if (!fine) return std::nullopt;
  for (const std::uint8_t byte : parts) name.parts = name.parts << 8 | byte;
  return name;
}

Result<DiskFolder> DiskFolder::open(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return system_error(path + ": cannot make the folder");
  DiskFolder folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat facts = {};
  if (folder.descriptor_ < 0 || ::fstat(folder.descriptor_, &facts) != 0) {
    return system_error(path + ": cannot open the folder");
  }
  if (facts.st_uid != ::geteuid()) {
    return Error::invalid_argument(path + ": expected a folder of this user, found one of user " +
                                   std::to_string(facts.st_uid));
  }
  if ((facts.st_mode & 077) != 0) {
    return Error::invalid_argument(path + ": expected a folder that is closed to others (chmod 700): prompts can be " +
                                   "read from what lies in it");
  }
  return folder;
}

DiskFolder::DiskFolder(DiskFolder&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
DiskFolder& DiskFolder::operator=(DiskFolder&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}
DiskFolder::~DiskFolder() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<std::vector<DiskFolder::Entry>> DiskFolder::scan() {
  const int copy = ::openat(descriptor_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* list = copy < 0 ? nullptr : ::fdopendir(copy);
  if (list == nullptr) {
    const Error error = system_error("cannot list the folder");
    if (copy >= 0) ::close(copy);
    return error;
  }
  std::vector<Entry> entries;
  while (const dirent* each = ::readdir(list)) {
    const std::string_view name = each->d_name;
    if (name.starts_with(kUnfinished) && name.ends_with(kUnfinishedEnding)) {
      remove_if_abandoned(descriptor_, each->d_name);
    }
    struct stat facts = {};
    if (!PageName::parse(name) || ::fstatat(descriptor_, each->d_name, &facts, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (S_ISREG(facts.st_mode)) {
      entries.push_back({std::string(name), static_cast<std::int64_t>(facts.st_size), nanoseconds(facts.st_mtim)});
    }
  }
  ::closedir(list);
  return entries;
}

Status DiskFolder::read(const std::string& name, std::span<std::byte> bytes) const {
  const Descriptor file(::openat(descriptor_, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (file.get() < 0 && errno == ENOENT) return Error::not_found("it is gone");
  if (file.get() < 0) return system_error("cannot open");
  struct stat facts = {};
  if (::fstat(file.get(), &facts) != 0) return system_error("cannot look at it");
  if (!S_ISREG(facts.st_mode) || facts.st_size != static_cast<off_t>(bytes.size())) {
    return Error{ErrorCode::kCorrupt, "expected a file of " + std::to_string(bytes.size()) + " bytes, found " +
                                          std::to_string(facts.st_size)};
  }
  while (!bytes.empty()) {
    const ssize_t n = ::read(file.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("cannot read");
    if (n == 0) return Error{ErrorCode::kCorrupt, "it ends early"};
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Status DiskFolder::write(const std::string& name, std::span<const std::byte> bytes) {
  static std::atomic<std::uint64_t> n_written = 0;
  const std::string temporary = std::string(kUnfinished) + std::to_string(::getpid()) + "-" +
                                std::to_string(n_written++) + std::string(kUnfinishedEnding);
  const Descriptor file(
      ::openat(descriptor_, temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file.get() < 0) return system_error("cannot make " + temporary);
  ::flock(file.get(), LOCK_EX | LOCK_NB);  // until it has its name, nobody takes it for abandoned
  Status status = write_all(file.get(), bytes);
  if (status.ok() && ::fsync(file.get()) != 0) status = system_error("cannot flush");
  if (status.ok() && ::renameat(descriptor_, temporary.c_str(), descriptor_, name.c_str()) != 0) {
    status = system_error("cannot rename");
  }
  if (!status.ok()) ::unlinkat(descriptor_, temporary.c_str(), 0);
  return status;
}

void DiskFolder::remove(const std::string& name) noexcept { ::unlinkat(descriptor_, name.c_str(), 0); }

void DiskFolder::touch(const std::string& name, std::int64_t nanoseconds) noexcept {
  timespec at = {};
  at.tv_sec = static_cast<time_t>(nanoseconds / 1'000'000'000);
  at.tv_nsec = static_cast<long>(nanoseconds % 1'000'000'000);
  const timespec times[] = {{0, UTIME_OMIT}, at};
  ::utimensat(descriptor_, name.c_str(), times, AT_SYMLINK_NOFOLLOW);
}

}  // namespace rowmax::engine
