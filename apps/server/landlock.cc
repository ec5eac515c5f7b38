#include "apps/server/landlock.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "apps/server/descriptor.h"

namespace rowmax::server {
namespace {

// As the kernel's linux/landlock.h has it; that of older systems lacks the later parts.
constexpr long kCreateRuleset = 444, kAddRule = 445, kRestrictSelf = 446;  // on every processor
constexpr unsigned kAskVersion = 1, kBeneathPath = 1;
struct Ruleset {
  std::uint64_t files, network;
};
struct __attribute__((packed)) PathRule {
  std::uint64_t allowed;
  std::int32_t directory;
};
constexpr std::uint64_t kExecute = 1, kRemoveFile = 1 << 5;
constexpr std::uint64_t kFilesOfVersion1 = (1 << 13) - 1;
constexpr std::uint64_t kMakeDevices =
    1 << 6 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;  // sockets, pipes and links among them
constexpr std::uint64_t kRefer = 1 << 13, kTruncate = 1 << 14, kDeviceControls = 1 << 15;
constexpr std::uint64_t kBindAndConnect = 3;
constexpr int kVersionOfTruncate = 3, kVersionOfNetwork = 4, kVersionOfControls = 5;

constexpr std::size_t kMostThreads = 4096;
constexpr int kWaits = 10'000;  // of a millisecond

Error landlock_error(const std::string& what) { return Error::io("Landlock: " + what + ": " + std::strerror(errno)); }

// Of one call of restrict_paths: the handler has no arguments.
struct Restriction {
  struct Thread {
    std::atomic<pid_t> id = 0;
    std::atomic<int> problem = -1;  // 0: done; an errno
  };
  std::atomic<int> ruleset = -1;
  std::array<Thread, kMostThreads> threads;
};
Restriction restriction;

int restrict_this_thread() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
  return ::syscall(kRestrictSelf, restriction.ruleset.load(), 0) == 0 ? 0 : errno;
}

void handle_signal(int /*signal*/) {
  const int before = errno;
  const auto own = static_cast<pid_t>(::syscall(SYS_gettid));
  for (auto& thread : restriction.threads) {
    if (thread.id == 0) break;
    if (thread.id == own && thread.problem < 0) thread.problem = restrict_this_thread();
  }
  errno = before;
}

bool is_known(pid_t id, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    if (restriction.threads[i].id == id) return true;
  }
  return false;
}

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

// Threads that were not there the last time are signalled; how many there are, or -1.
int signal_new_threads(DIR* folder, int signal, std::size_t& n) {
  int found = 0;
  ::rewinddir(folder);
  while (const dirent* const entry = ::readdir(folder)) {
    const auto id = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
    if (id <= 0 || is_known(id, n)) continue;
    if (n == kMostThreads) {
      found = -1;
      errno = EOVERFLOW;
      break;
    }
    restriction.threads[n].problem = -1;
    restriction.threads[n++].id = id;
    ++found;
    if (::syscall(SYS_tgkill, ::getpid(), id, signal) != 0) restriction.threads[n - 1].problem = 0;  // it has ended
  }
  return found;
}

Status wait_for_threads(std::size_t n) {
  for (int i = 0; i < kWaits; ++i) {
    bool all = true;
    for (std::size_t t = 0; t < n; ++t) {
      auto& thread = restriction.threads[t];
      if (thread.problem > 0) return Error::io("Landlock: a thread: " + std::string(std::strerror(thread.problem)));
      if (thread.problem == 0) continue;
      if (::syscall(SYS_tgkill, ::getpid(), thread.id.load(), 0) != 0) continue;  // it has ended
      all = false;
    }
    if (all) return {};
    const timespec millisecond = {0, 1'000'000};
    ::nanosleep(&millisecond, nullptr);
  }
  return Error::io("Landlock: a thread of this process does not answer");
}

Status restrict_threads() {
  // Opened once: the first thread that is restricted is this one.
  const std::unique_ptr<DIR, CloseFolder> folder(::opendir("/proc/self/task"));
  if (folder == nullptr) return landlock_error("the process's threads");
  const int signal = SIGRTMAX;
  struct sigaction action = {}, before = {};
  action.sa_handler = handle_signal;
  action.sa_flags = SA_RESTART;
  if (::sigaction(signal, &action, &before) != 0) return landlock_error("a signal handler");
  for (auto& thread : restriction.threads) thread.id = 0;
  std::size_t n = 0;
  Status status;
  // Until no thread is there that was not: one may have been made by one that was not restricted yet.
  for (;;) {
    const int found = signal_new_threads(folder.get(), signal, n);
    if (found < 0) status = landlock_error("the process's threads");
    if (found <= 0) break;
    status = wait_for_threads(n);
    if (!status.ok()) break;
  }
  ::sigaction(signal, &before, nullptr);
  return status;
}

Status allow_below(int ruleset, const std::string& directory, std::uint64_t what) {
  if (directory.empty()) return {};
  const Descriptor opened(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (opened.get() < 0) return landlock_error(directory);
  const PathRule rule = {what, opened.get()};
  if (::syscall(kAddRule, ruleset, kBeneathPath, &rule, 0) != 0) return landlock_error(directory);
  return {};
}

}  // namespace

int landlock_version() noexcept {
  const long version = ::syscall(kCreateRuleset, nullptr, 0, kAskVersion);
  return version > 0 ? static_cast<int>(version) : 0;
}

Status restrict_paths(const std::string& directory, const std::string& removes_in) {
  const int version = landlock_version();
  Ruleset handled = {kFilesOfVersion1, 0};
  if (version >= kVersionOfTruncate) handled.files |= kTruncate;
  if (version >= kVersionOfControls) handled.files |= kDeviceControls;
  if (version >= kVersionOfNetwork) handled.network = kBindAndConnect;
  const std::uint64_t files = handled.files & ~(kExecute | kMakeDevices | kDeviceControls);
  if (version >= 2) handled.files |= kRefer;  // nothing goes from one folder to another that may do more
  const std::size_t size = version >= kVersionOfNetwork ? sizeof handled : sizeof handled.files;
  const Descriptor ruleset(static_cast<int>(::syscall(kCreateRuleset, &handled, size, 0)));
  if (ruleset.get() < 0) return landlock_error("a set of rules");
  Status status = allow_below(ruleset.get(), directory, files | (handled.files & kRefer));
  if (status.ok()) status = allow_below(ruleset.get(), removes_in, kRemoveFile);
  if (!status.ok()) return status;
  restriction.ruleset = ruleset.get();
  status = restrict_threads();
  restriction.ruleset = -1;
  return status;
}

}  // namespace rowmax::server
