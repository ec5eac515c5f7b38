#include "apps/store/scratch_folder.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "apps/store/file_list.h"
#include "rowmax/try.h"

namespace rowmax::store {
namespace {

namespace fs = std::filesystem;

constexpr const char* kScratchPrefix = ".pull-";
constexpr const char* kLock = "/lock";
// A folder without a lock may be one that is being made; one this old is not.
constexpr auto kMakingTakes = std::chrono::hours(1);

bool is_abandoned(const fs::path& folder) {
  const int lock = open((folder.string() + kLock).c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  if (lock < 0) {
    const bool missing = errno == ENOENT;
    std::error_code code;
    const auto written = fs::last_write_time(folder, code);
    return missing && !code && fs::file_time_type::clock::now() - written > kMakingTakes;
  }
  const bool free = flock(lock, LOCK_EX | LOCK_NB) == 0;
  close(lock);
  return free;
}

void remove_abandoned(const std::string& parent) {
  std::vector<fs::path> abandoned;
  std::error_code code;
  for (const std::string& name : names_in(parent)) {
    if (!name.starts_with(kScratchPrefix)) continue;
    const fs::path path = fs::path(parent) / name;
    if (fs::is_directory(fs::symlink_status(path, code)) && is_abandoned(path)) abandoned.push_back(path);
  }
  for (const fs::path& each : abandoned) fs::remove_all(each, code);
}

}  // namespace

Result<ScratchFolder> ScratchFolder::create(const std::string& parent) {
  std::error_code code;
  fs::create_directories(parent, code);
  if (code) return Error{ErrorCode::kIo, parent + " cannot be made: " + code.message()};
  remove_abandoned(parent);
  std::string path = parent + "/" + kScratchPrefix + "XXXXXX";
  if (mkdtemp(path.data()) == nullptr) {
    return Error{ErrorCode::kIo, parent + " cannot be written to: " + std::strerror(errno)};
  }
  ScratchFolder folder(std::move(path));
  ROWMAX_RETURN_IF_ERROR(folder.lock());
  return folder;
}

Status ScratchFolder::lock() {
  const std::string path = path_ + kLock;
  lock_ = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (lock_ < 0 || flock(lock_, LOCK_EX) != 0) return Error{ErrorCode::kIo, path + ": " + std::strerror(errno)};
  return {};
}

ScratchFolder::ScratchFolder(ScratchFolder&& other) noexcept
    : path_(std::exchange(other.path_, {})), lock_(std::exchange(other.lock_, -1)) {}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
  if (lock_ >= 0) close(lock_);
}

Result<std::string> ScratchFolder::make_folder(std::string_view name) const {
  std::string path = file(name);
  std::error_code code;
  if (!fs::create_directory(path, code)) return Error{ErrorCode::kIo, path + " cannot be made: " + code.message()};
  return path;
}

}  // namespace rowmax::store
