// Memory for pages of keys and values. The pages of a group have one size. Each group has address space for all that it
// could ever hold, and memory comes when a page is first written. All groups live within one budget of bytes: the memory
// of a page that one of them no longer needs goes back to the system when another group wants those bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "rowmax/result.h"

namespace rowmax::engine {

class KvPool {
 public:
  struct Group {
    std::int64_t page_bytes = 0;
    std::int64_t n_pages = 0;  // at most
  };
  // Reserves address space. kLimit where it is larger than there can be, kOutOfMemory.
  static Result<KvPool> create(const std::vector<Group>& groups, std::int64_t budget_bytes);
  KvPool() = default;
  KvPool(KvPool&& other) noexcept;
  KvPool& operator=(KvPool&& other) noexcept;
  ~KvPool();

  // A page with anything in it; -1 when neither budget nor group has room for one more.
  std::int32_t take(std::size_t group) noexcept;
  void give_back(std::size_t group, std::int32_t page) noexcept;

  // Page p begins at pages(group) + p * page_bytes.
  std::byte* pages(std::size_t group) const noexcept { return memory_ + groups_[group].begin; }
  std::int64_t page_bytes(std::size_t group) const noexcept { return groups_[group].page_bytes; }
  std::int64_t budget_bytes() const noexcept { return budget_; }
  std::int64_t used_bytes() const noexcept { return used_; }          // of pages that were taken
  std::int64_t resident_bytes() const noexcept { return resident_; }  // of those, and of others not yet given back

 private:
  struct Pages {
    std::int64_t page_bytes = 0;
    std::size_t begin = 0;
    std::vector<std::int32_t> idle;       // free, with memory
    std::vector<std::int32_t> untouched;  // free, without
  };
  std::byte* memory_ = nullptr;
  std::size_t memory_bytes_ = 0;
  std::int64_t budget_ = 0, used_ = 0, resident_ = 0;
  std::vector<Pages> groups_;

  bool drop_idle() noexcept;
};

}  // namespace rowmax::engine
