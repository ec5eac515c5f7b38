// Test support: arrays between pages that cannot be touched, and far apart.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
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

// Zeroed memory of kWindow bytes at `n` places, each `step` bytes (a multiple of 64 KiB) after the one before, and none
// between them: emulators are slow where the whole range is mapped.
class FarApart {
 public:
  static constexpr std::size_t kWindow = std::size_t{1} << 20;

  FarApart(std::size_t step, std::size_t n) : step_(step), n_(n) {
    void* spot = mmap(nullptr, kWindow, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);  // addresses in use lie there
    if (spot == MAP_FAILED) return;
    munmap(spot, kWindow);
    const std::size_t aligned = reinterpret_cast<std::uintptr_t>(spot) >> 16 << 16;
    for (std::size_t attempt = 0; attempt < 16 && base_ == nullptr; ++attempt) {
      const std::size_t below = (n - 1) * step + (attempt << 30);
      if (below < aligned) map(reinterpret_cast<std::byte*>(aligned - below));
    }
  }
  ~FarApart() {
    if (ok()) unmap(base_, n_);
  }
  FarApart(const FarApart&) = delete;
  FarApart& operator=(const FarApart&) = delete;
  bool ok() const { return base_ != nullptr; }
  // The first place.
  template <class Type>
  Type* as() {
    return reinterpret_cast<Type*>(base_);
  }

 private:
  void map(std::byte* first) {
    for (std::size_t i = 0; i < n_; ++i) {
      std::byte* wanted = first + i * step_;
      void* found = mmap(wanted, kWindow, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (found == wanted) continue;
      if (found != MAP_FAILED) munmap(found, kWindow);
      return unmap(first, i);
    }
    base_ = first;
  }
  void unmap(std::byte* first, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) munmap(first + i * step_, kWindow);
  }

  std::size_t step_, n_;
  std::byte* base_ = nullptr;
};

}  // namespace rowmax::attention::test
