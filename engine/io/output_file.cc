#include "rowmax/engine/output_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <system_error>
#include <utility>

#include "base/folder_names.h"
#include "base/guarded.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

Error io_error(const std::string& path, std::string_view action, int error) {
  return Error{ErrorCode::kIo, concat(path, ": cannot ", action, ": ", std::generic_category().message(error))};
}
template <class... Parts>
Error refuse(const std::string& path, const Parts&... parts) {
  return Error{ErrorCode::kInvalidArgument, concat(path, ": ", parts...)};
}

bool same_file(const struct stat& a, const struct stat& b) { return a.st_dev == b.st_dev && a.st_ino == b.st_ino; }

// Where the bytes go: the path, or what it links to.
Result<std::string> target_of(const std::string& path, const OutputOptions& options) {
  if (path.empty() || path.find('\0') != std::string::npos) {
    return Error{ErrorCode::kInvalidArgument, concat("cannot write to the file name ", quote(path))};
  }
  if (path == "-") return refuse(path, "expected the name of a file to write; standard output is no file");
  struct stat found = {};
  if (::lstat(path.c_str(), &found) != 0) return path;  // not there, or creating it will say what is wrong
  std::string target = path;
  if (S_ISLNK(found.st_mode)) {
    const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr), &std::free);
    if (real == nullptr || ::stat(real.get(), &found) != 0) {
      return refuse(path, "expected a file to write, found a symbolic link that leads nowhere");
    }
    target = real.get();
  }
  if (S_ISDIR(found.st_mode)) return refuse(path, "expected a file to write, found a folder");
  if (!S_ISREG(found.st_mode)) return refuse(path, "expected a file to write, found a device, pipe or socket");
  for (const std::string& input : options.inputs) {
    struct stat other = {};
    if (::stat(input.c_str(), &other) == 0 && same_file(found, other)) {
      return refuse(path, "the output is the input (", input, ")");
    }
  }
  if (!options.overwrite) return refuse(path, "exists already; --force replaces it");
  return target;
}

// Names that a handler of signals removes. Entries are never freed, so that it can walk them at any time.
struct Registered {
  std::atomic<char*> path{nullptr};   // null: free
  std::atomic<char*> taken{nullptr};  // the text of a file that a handler has removed, for leave() to free
  Registered* next = nullptr;
};
std::atomic<Registered*> registry{nullptr};
static_assert(std::atomic<char*>::is_always_lock_free && std::atomic<Registered*>::is_always_lock_free);

// How often a handler has begun to remove files.
std::atomic<unsigned> handled{0};
static_assert(std::atomic<unsigned>::is_always_lock_free);

// nullptr: out of memory.
Registered* enter(const std::string& path) {
  std::unique_ptr<char, decltype(&std::free)> owned(::strdup(path.c_str()), &std::free);
  if (owned == nullptr) return nullptr;
  char* const text = owned.get();
  for (Registered* each = registry.load(); each != nullptr; each = each->next) {
    char* none = nullptr;
    if (!each->path.compare_exchange_strong(none, text)) continue;
    owned.release();
    return each;
  }
  auto* fresh = new (std::nothrow) Registered;
  if (fresh == nullptr) return nullptr;
  fresh->path = owned.release();
  fresh->next = registry.load();
  while (!registry.compare_exchange_weak(fresh->next, fresh)) {
  }
  return fresh;
}

// Whoever takes the text out owns it: a handler that has it uses it to the end, and the process with it.
void leave(Registered* entry) {
  if (entry == nullptr) return;
  std::free(entry->path.exchange(nullptr));
  std::free(entry->taken.exchange(nullptr));
}

bool is_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

struct Place {
  std::string folder;  // with its slash; empty: the current one
  std::string name;
};
Place place_of(const std::string& path) {
  const std::size_t name = path.rfind('/') + 1;  // npos + 1 is 0
  return {path.substr(0, name), path.substr(name)};
}

// The names of a file's temporary ones: this, PID-N and ".tmp". The hash of the name (64 bits of FNV-1a) says which file
// it is where the name is cut, and makes it a name that nobody else gives a file.
std::string temporary_prefix(std::string name) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  constexpr std::size_t kShownBytes = 64;  // no temporary name may be too long where the file's own is not
  if (name.size() > kShownBytes) {
    std::size_t end = kShownBytes;
    while ((static_cast<unsigned char>(name[end]) & 0xC0) == 0x80) --end;  // not inside a character
    name.resize(end);
  }
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash));
  return concat(name, ".rowmax-", digits, "-");
}
constexpr std::string_view kTemporarySuffix = ".tmp";

bool is_temporary(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix) || !name.ends_with(kTemporarySuffix)) return false;
  name.remove_prefix(prefix.size());
  name.remove_suffix(std::min(name.size(), kTemporarySuffix.size()));
  const std::size_t dash = name.find('-');
  return dash != name.npos && is_digits(name.substr(0, dash)) && is_digits(name.substr(dash + 1));
}

// What ended processes left of the same file: locked by nobody. (Whether a process of that number lives says nothing:
// numbers come again, and in a container they are always the same few.)
void remove_leftovers(const std::string& path) {
  const auto [folder, own] = place_of(path);
  const std::string prefix = temporary_prefix(own);
  for (const std::string& name : base::names_in_folder(folder)) {
    if (!is_temporary(name, prefix)) continue;
    const std::string full = concat(folder, name);
    const int descriptor = ::open(full.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (descriptor < 0) continue;
    struct stat opened = {}, named = {};
    if (::fstat(descriptor, &opened) == 0 && S_ISREG(opened.st_mode) && ::flock(descriptor, LOCK_EX | LOCK_NB) == 0 &&
        ::lstat(full.c_str(), &named) == 0 && same_file(opened, named)) {
      ::unlink(full.c_str());
    }
    ::close(descriptor);
  }
}

// Renames, and fails with EEXIST where the target is there.
int rename_new(const char* from, const char* to) {
  if (::renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return -1;
  // A file system without that: the moment between the two calls is open.
  struct stat found = {};
  if (::lstat(to, &found) == 0) {
    errno = EEXIST;
    return -1;
  }
  return ::rename(from, to);
}

}  // namespace

Status check_output(const std::string& path, const OutputOptions& options) {
  return base::guarded([&]() -> Status {
    auto target = target_of(path, options);
    return target.ok() ? Status() : Status(std::move(target).error());
  });
}

Result<OutputFile> OutputFile::create(const std::string& path, const OutputOptions& options) {
  return base::guarded([&]() -> Result<OutputFile> {
    ROWMAX_TRY(target, target_of(path, options));
    OutputFile file;
    file.path_ = std::move(target);
    file.options_ = options;
    remove_leftovers(file.path_);
    ROWMAX_RETURN_IF_ERROR(file.open_temporary());
    struct stat replaced = {};
    if (::stat(file.path_.c_str(), &replaced) == 0) ::fchmod(file.descriptor_, replaced.st_mode & 07777);
    return file;
  });
}

Status OutputFile::open_temporary() {
  static std::atomic<unsigned> counter{0};
  const auto [folder, name] = place_of(path_);
  const std::string prefix = temporary_prefix(name);
  for (int tries = 0; tries < 100; ++tries) {
    temporary_ = concat(folder, prefix, ::getpid(), "-", counter.fetch_add(1), kTemporarySuffix);
    // Before the file exists, so that there is no moment in which a handler does not know it. A handler that has looked
    // before it existed has said so in `handled`.
    const unsigned before = handled.load();
    registered_ = enter(temporary_);
    if (registered_ == nullptr) return Error::out_of_memory();
    // O_EXCL: a link that someone laid at this name is not followed.
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ < 0) {
      const int error = errno;
      leave(static_cast<Registered*>(std::exchange(registered_, nullptr)));
      if (error == EEXIST) continue;
      return io_error(path_, concat("create ", temporary_), error);
    }
    if (handled.load() != before) {  // the process ends: nothing more may appear
      ::unlink(temporary_.c_str());
      leave(static_cast<Registered*>(std::exchange(registered_, nullptr)));
      ::close(std::exchange(descriptor_, -1));
      return Error{ErrorCode::kCancelled, "interrupted"};
    }
    // Another process may have taken it for a leftover before it was locked.
    struct stat named = {}, opened = {};
    ::flock(descriptor_, LOCK_EX | LOCK_NB);  // fails where a file system has no locks: nobody removes it there either
    if (::lstat(temporary_.c_str(), &named) == 0 && ::fstat(descriptor_, &opened) == 0 && same_file(named, opened)) {
      return {};
    }
    leave(static_cast<Registered*>(std::exchange(registered_, nullptr)));
    ::close(std::exchange(descriptor_, -1));
  }
  return io_error(path_, concat("create ", temporary_), EEXIST);
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      options_(std::move(other.options_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      registered_(std::exchange(other.registered_, nullptr)) {}

OutputFile::~OutputFile() {
  if (descriptor_ < 0) return;
  ::unlink(temporary_.c_str());
  ::close(descriptor_);
  if (registered_ != nullptr) leave(static_cast<Registered*>(registered_));
}

Status OutputFile::append(std::span<const std::byte> bytes) {
  return base::guarded([&]() -> Status {
    while (!bytes.empty()) {
      const ::ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
      if (written < 0) {
        if (errno == EINTR) continue;
        return io_error(path_, "write", errno);
      }
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
    return {};
  });
}

Status OutputFile::skip(std::uint64_t n_bytes) {
  const ::off_t end = ::lseek(descriptor_, static_cast<::off_t>(n_bytes), SEEK_CUR);
  if (end >= 0 && ::ftruncate(descriptor_, end) == 0) return {};
  const int error = errno;
  return base::guarded([&]() -> Status { return io_error(path_, "extend", error); });
}

Status OutputFile::check_there() const {
  struct stat named = {}, opened = {};
  if (::lstat(temporary_.c_str(), &named) == 0 && ::fstat(descriptor_, &opened) == 0 && same_file(named, opened)) {
    return {};
  }
  return Error{ErrorCode::kIo, concat(path_, ": what was being written for it is gone (", temporary_,
                                      "): somebody removed it, or its folder")};
}

// 0, or errno.
int OutputFile::rename_to(const std::string& target) const noexcept {
  const int renamed = options_.overwrite ? ::rename(temporary_.c_str(), target.c_str())
                                         : rename_new(temporary_.c_str(), target.c_str());
  return renamed == 0 ? 0 : errno;
}

Status OutputFile::commit() {
  OutputFile* const self = this;
  return commit_all({&self, 1});
}

Status OutputFile::commit_all(std::span<OutputFile* const> files) {
  return base::guarded([&]() -> Status {
    std::vector<std::string> targets;
    for (const OutputFile* file : files) {
      if (::fsync(file->descriptor_) != 0) return io_error(file->path_, "flush", errno);
    }
    for (const OutputFile* file : files) {
      // The world may have changed while the bytes were made.
      ROWMAX_RETURN_IF_ERROR(file->check_there());
      ROWMAX_TRY(target, target_of(file->path_, file->options_));
      targets.push_back(std::move(target));
    }
    // From the first renaming on nothing may fail for want of memory.
    std::vector<std::unique_ptr<char, decltype(&std::free)>> names;
    for (const std::string& target : targets) {
      names.emplace_back(::strdup(target.c_str()), &std::free);
      if (names.back() == nullptr) return Error::out_of_memory();
    }
    if (files.size() > 1 && files[0]->options_.overwrite) ::unlink(targets[0].c_str());
    for (std::size_t i = files.size(); i-- > 0;) {
      const int error = files[i]->rename_to(targets[i]);
      if (error != 0) {
        for (std::size_t done = i + 1; done < files.size(); ++done) ::unlink(targets[done].c_str());
        return io_error(files[i]->path_, "rename to", error);
      }
      // Until the last one has its name, a signal removes those that have theirs.
      if (i > 0) std::free(static_cast<Registered*>(files[i]->registered_)->path.exchange(names[i].release()));
    }
    for (OutputFile* file : files) {
      ::close(std::exchange(file->descriptor_, -1));
      leave(static_cast<Registered*>(std::exchange(file->registered_, nullptr)));
    }
    return {};
  });
}

void remove_unfinished_outputs() noexcept {
  handled.fetch_add(1);
  for (Registered* each = registry.load(); each != nullptr; each = each->next) {
    char* const path = each->path.exchange(nullptr);
    if (path == nullptr) continue;
    ::unlink(path);
    each->taken.store(path);
  }
}

}  // namespace rowmax::engine
