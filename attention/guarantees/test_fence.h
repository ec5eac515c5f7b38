// Test support: arrays between pages that cannot be touched.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace rowmax::attention::test {

// A copy of `values` whose last element ends where a page without access begins (at_end), or whose first one follows
// such a page.
template <class Type>
class Fenced {
 public:
  Fenced(const std::vector<Type>& values, bool at_end) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t bytes = values.size() * sizeof(Type), inner = (bytes + page - 1) / page * page;
    size_ = inner + 2 * page;
    base_ = static_cast<std::byte*>(mmap(nullptr, size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(base_ + page, inner, PROT_READ | PROT_WRITE);
    data_ = reinterpret_cast<Type*>(base_ + page + (at_end ? inner - bytes : 0));
    std::copy(values.begin(), values.end(), data_);
  }
  ~Fenced() { munmap(base_, size_); }
  Fenced(const Fenced&) = delete;
  Fenced& operator=(const Fenced&) = delete;
  Type* data() { return data_; }

 private:
  std::size_t size_;
  std::byte* base_;
  Type* data_;
};

}  // namespace rowmax::attention::test
