#include "tests/memory/test_failing_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <new>

namespace {

std::atomic<bool> armed{false};
std::atomic<std::int64_t> n_taken{0}, n_failing{0}, n_live{0};
std::atomic<bool> has_fired{false}, was_optional{false};

// Whether the allocation in hand is to fail.
bool fails(bool optional) noexcept {
  if (!armed.load()) return false;
  if (n_taken.fetch_add(1) + 1 != n_failing.load()) return false;
  has_fired.store(true);
  was_optional.store(optional);
  return true;
}

void* take(std::size_t size, std::size_t alignment) noexcept {
  void* block = nullptr;
  if (alignment <= alignof(std::max_align_t)) {
    block = std::malloc(std::max<std::size_t>(size, 1));
  } else if (::posix_memalign(&block, alignment, std::max<std::size_t>(size, 1)) != 0) {
    block = nullptr;
  }
  if (block != nullptr) n_live.fetch_add(1);
  return block;
}
void* take_or_throw(std::size_t size, std::size_t alignment = 0) {
  void* const block = fails(false) ? nullptr : take(size, alignment);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}
void give_back(void* block) noexcept {
  if (block == nullptr) return;
  n_live.fetch_sub(1);
  std::free(block);
}

}  // namespace

void* operator new(std::size_t size) { return take_or_throw(size); }
void* operator new[](std::size_t size) { return take_or_throw(size); }
void* operator new(std::size_t size, std::align_val_t a) { return take_or_throw(size, static_cast<std::size_t>(a)); }
void* operator new[](std::size_t size, std::align_val_t a) { return take_or_throw(size, static_cast<std::size_t>(a)); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return fails(true) ? nullptr : take(size, 0); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return fails(true) ? nullptr : take(size, 0); }
void operator delete(void* block) noexcept { give_back(block); }
void operator delete[](void* block) noexcept { give_back(block); }
void operator delete(void* block, std::size_t) noexcept { give_back(block); }
void operator delete[](void* block, std::size_t) noexcept { give_back(block); }
void operator delete(void* block, std::align_val_t) noexcept { give_back(block); }
void operator delete[](void* block, std::align_val_t) noexcept { give_back(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept { give_back(block); }
void operator delete[](void* block, std::size_t, std::align_val_t) noexcept { give_back(block); }

// The C library's own calls do not come through these.
extern "C" {
__attribute__((visibility("default"))) void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  void* block = nullptr;
  return fails(false) || ::posix_memalign(&block, alignment, size) != 0 ? nullptr : block;
}
__attribute__((visibility("default"))) char* strdup(const char* text) noexcept {
  const std::size_t size = std::strlen(text) + 1;
  char* const copy = fails(false) ? nullptr : static_cast<char*>(std::malloc(size));
  return copy == nullptr ? nullptr : static_cast<char*>(std::memcpy(copy, text, size));
}
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // these have an mmap of their own
__attribute__((visibility("default"))) void* mmap(void* address, std::size_t size, int protection, int flags,
                                                  int descriptor, off_t offset) noexcept {
  if (fails(false)) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  return reinterpret_cast<void*>(::syscall(SYS_mmap, address, size, protection, flags, descriptor, offset));
}
#endif
}

namespace rowmax::memory_test {

Fault::Armed::Armed(Fault& fault) noexcept : fault_(fault) {
  n_taken.store(fault.count_);
  n_failing.store(fault.n_);
  has_fired.store(false);
  armed.store(true);
}
Fault::Armed::~Armed() {
  armed.store(false);
  fault_.count_ = n_taken.load();
  if (!has_fired.load()) return;
  fault_.fired_ = true;
  fault_.optional_ = was_optional.load();
}

std::int64_t live_blocks() noexcept { return n_live.load(); }

std::int64_t open_files() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return std::distance(begin(all), end(all));
}

namespace {

// A trial without fault; the text it gives.
std::string plain_trial(const char* name, const std::function<Result<std::string>(Fault&)>& trial) {
  Fault none(0);
  auto result = trial(none);
  EXPECT_TRUE(result.ok()) << name << " without a fault: " << result.error().message;
  return result.ok() ? std::move(result).value() : std::string();
}

}  // namespace

void fail_each_allocation(const char* name, const std::function<Result<std::string>(Fault&)>& trial,
                          const std::function<void()>& unchanged, Effort effort) {
  std::string expected;
  std::int64_t tried = 0, optional = 0, last = 0;
  for (std::int64_t n = 1;; n += n < effort.each ? 1 : std::max<std::int64_t>(1, n / effort.part)) {
    // Not in the first trials: tables that are made once are made in these, and fail.
    if (n == 8) expected = plain_trial(name, trial);
    const std::int64_t blocks = live_blocks(), files = open_files();
    Fault fault(n);
    bool right = false;
    {
      const auto result = trial(fault);
      right = result.ok() && (expected.empty() || *result == expected);
      if (result.ok() && expected.empty()) expected = *result;
      EXPECT_FALSE(fault.escaped()) << name << ": an exception came out at allocation " << n;
      if (!fault.fired()) {
        EXPECT_TRUE(right) << name << ": "
                           << (result.ok() ? "another result than before" : result.error().message.c_str());
      } else if (result.ok()) {
        EXPECT_TRUE(fault.optional() && right) << name << ": success though allocation " << n << " failed";
      } else {
        EXPECT_EQ(result.error().code, ErrorCode::kOutOfMemory)
            << name << ": allocation " << n << ": " << result.error().message;
      }
    }
    if (n > 8) {
      EXPECT_EQ(live_blocks(), blocks) << name << ": blocks are left after allocation " << n << " failed";
    }
    EXPECT_EQ(open_files(), files) << name << ": files are left open after allocation " << n << " failed";
    if (unchanged) unchanged();
    if (testing::Test::HasFailure()) return;
    if (!fault.fired()) {
      last = fault.count();
      break;
    }
    ++tried;
    optional += fault.optional() ? 1 : 0;
    if (n >= 8 && n % 8 == 0) {
      EXPECT_EQ(plain_trial(name, trial), expected) << name << ": after allocation " << n;
    }
  }
  EXPECT_GT(tried, 0) << name << " allocates nothing: the test tests nothing";
  std::printf("%s: %lld allocations, %lld made to fail one by one (%lld of them optional)\n", name,
              static_cast<long long>(last), static_cast<long long>(tried), static_cast<long long>(optional));
}

}  // namespace rowmax::memory_test
