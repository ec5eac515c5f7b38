#include "engine/io/fault_guard.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <new>
#include <system_error>

#include "base/guarded.h"
#include "engine/io/text.h"
#include "rowmax/engine/gguf.h"

namespace rowmax::engine {

// Nodes are never freed, only used again: the handler may be walking the list.
struct WatchedRange {
  std::atomic<std::uintptr_t> begin{0}, end{0};  // end 0: unused
  std::atomic<bool> taken{true};
  std::atomic<bool> damaged{false};
  WatchedRange* next = nullptr;
};

namespace {

std::atomic<WatchedRange*> ranges{nullptr};
std::atomic<std::uintptr_t> page_bytes{0};  // 0: no guard installed
struct sigaction previous = {};

// Zeros in place of what is gone, from this page to the mapping's end (a truncated file has lost all of it).
bool replace_pages(std::uintptr_t address) noexcept {
  for (WatchedRange* range = ranges.load(std::memory_order_acquire); range != nullptr; range = range->next) {
    const std::uintptr_t end = range->end.load(std::memory_order_acquire);
    if (address < range->begin.load(std::memory_order_acquire) || address >= end) continue;
    const std::uintptr_t page = page_bytes.load(std::memory_order_relaxed);
    const std::uintptr_t from = address / page * page;
    range->damaged.store(true, std::memory_order_release);
    return ::mmap(reinterpret_cast<void*>(from), end - from, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                  0) != MAP_FAILED;
  }
  return false;
}

void on_bus_error(int signal, siginfo_t* info, void* context) {
  const int saved = errno;
  const bool replaced = replace_pages(reinterpret_cast<std::uintptr_t>(info->si_addr));
  errno = saved;
  if (replaced) return;
  if ((previous.sa_flags & SA_SIGINFO) != 0 && previous.sa_sigaction != nullptr) {
    previous.sa_sigaction(signal, info, context);
  } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
    previous.sa_handler(signal);
  } else {
    // The read is tried again and ends the process as it would have without us.
    std::signal(signal, SIG_DFL);
  }
}

Status install() {
  struct sigaction action = {};
  action.sa_sigaction = on_bus_error;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
  page_bytes.store(static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE)));
  if (::sigaction(SIGBUS, nullptr, &previous) == 0 && ::sigaction(SIGBUS, &action, nullptr) == 0) return {};
  return Error{ErrorCode::kIo, concat("cannot handle SIGBUS: ", std::generic_category().message(errno))};
}

}  // namespace

Status guard_mapped_files() {
  static const Status installed = install();
  return base::guarded([]() -> Status { return installed; });
}

WatchedRange* watch_range(const std::byte* data, std::size_t size) noexcept {
  WatchedRange* range = ranges.load(std::memory_order_acquire);
  for (; range != nullptr; range = range->next) {
    bool unused = false;
    if (range->taken.compare_exchange_strong(unused, true)) break;
  }
  const bool is_new = range == nullptr;
  if (is_new) range = new (std::nothrow) WatchedRange;
  if (range == nullptr) return nullptr;
  range->damaged.store(false);
  range->begin.store(reinterpret_cast<std::uintptr_t>(data), std::memory_order_release);
  range->end.store(reinterpret_cast<std::uintptr_t>(data) + size, std::memory_order_release);
  if (is_new) {
    range->next = ranges.load();
    while (!ranges.compare_exchange_weak(range->next, range)) {
    }
  }
  return range;
}

void unwatch_range(WatchedRange& range) noexcept {
  range.end.store(0);
  range.taken.store(false);
}

bool was_damaged(const WatchedRange& range) noexcept { return range.damaged.load(std::memory_order_acquire); }

}  // namespace rowmax::engine
