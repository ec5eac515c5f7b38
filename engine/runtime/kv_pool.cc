#include "engine/runtime/kv_pool.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/buffer.h"

namespace rowmax::engine {
namespace {

std::size_t os_page() noexcept { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

Result<KvPool> KvPool::create(const std::vector<Group>& groups, std::int64_t budget_bytes) {
  KvPool pool;
  pool.budget_ = budget_bytes;
  std::size_t total = 0;
  for (const Group& group : groups) {
    Pages pages;
    pages.page_bytes = group.page_bytes;
    pages.begin = total;
    std::size_t n_bytes = 0;
    if (!base::checked_mul(static_cast<std::size_t>(group.page_bytes), static_cast<std::size_t>(group.n_pages),
                           &n_bytes) ||
        __builtin_add_overflow(n_bytes, os_page() - 1, &n_bytes) ||
        __builtin_add_overflow(total, n_bytes / os_page() * os_page(), &total)) {
      return Error{ErrorCode::kLimit, "K/V cache: context times sequences is larger than the address space"};
    }
    // Giving a page back never fails.
    pages.idle.reserve(static_cast<std::size_t>(group.n_pages));
    pages.untouched.reserve(static_cast<std::size_t>(group.n_pages));
    for (std::int64_t page = group.n_pages - 1; page >= 0; --page)
      pages.untouched.push_back(static_cast<std::int32_t>(page));
    pool.groups_.push_back(std::move(pages));
  }
  total = std::max<std::size_t>(total, 1);
  void* memory = mmap(nullptr, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    return Error{ErrorCode::kOutOfMemory, "K/V cache: the system refused " + std::to_string(total) +
                                              " bytes of address space; a smaller context needs less"};
  }
  pool.memory_ = static_cast<std::byte*>(memory);
  pool.memory_bytes_ = total;
  return pool;
}

KvPool::KvPool(KvPool&& other) noexcept { *this = std::move(other); }

KvPool& KvPool::operator=(KvPool&& other) noexcept {
  std::swap(memory_, other.memory_);
  std::swap(memory_bytes_, other.memory_bytes_);
  std::swap(budget_, other.budget_);
  std::swap(used_, other.used_);
  std::swap(resident_, other.resident_);
  groups_.swap(other.groups_);
  return *this;
}

KvPool::~KvPool() {
  if (memory_ != nullptr) munmap(memory_, memory_bytes_);
}

std::int32_t KvPool::take(std::size_t group) noexcept {
  Pages& from = groups_[group];
  if (used_ + from.page_bytes > budget_ || (from.idle.empty() && from.untouched.empty())) return -1;
  const bool has_memory = !from.idle.empty();
  if (!has_memory) {
    while (resident_ + from.page_bytes > budget_ && drop_idle()) {
    }
    resident_ += from.page_bytes;
  }
  std::vector<std::int32_t>& list = has_memory ? from.idle : from.untouched;
  const std::int32_t page = list.back();
  list.pop_back();
  used_ += from.page_bytes;
  return page;
}

void KvPool::give_back(std::size_t group, std::int32_t page) noexcept {
  groups_[group].idle.push_back(page);
  used_ -= groups_[group].page_bytes;
}

// Gives the memory of one free page back to the system; an edge that shares a page of the system with its neighbour
// stays.
bool KvPool::drop_idle() noexcept {
  for (Pages& group : groups_) {
    if (group.idle.empty()) continue;
    const std::int32_t page = group.idle.back();
    const std::size_t begin = group.begin + static_cast<std::size_t>(page) * static_cast<std::size_t>(group.page_bytes);
    const std::size_t end = (begin + static_cast<std::size_t>(group.page_bytes)) / os_page() * os_page();
    const std::size_t from = (begin + os_page() - 1) / os_page() * os_page();
    if (from < end) madvise(memory_ + from, end - from, MADV_DONTNEED);
    group.idle.pop_back();
    group.untouched.push_back(page);
    resident_ -= group.page_bytes;
    return true;
  }
  return false;
}

}  // namespace rowmax::engine
