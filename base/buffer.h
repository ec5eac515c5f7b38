// An owning, 64-byte aligned block of memory. Allocation failure is a Result, never an exception.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <utility>

#include "rowmax/result.h"

namespace rowmax::base {

class Buffer {
 public:
  Buffer() noexcept = default;
  // Uninitialised bytes; n_bytes may be 0. Large blocks are aligned to 2 MiB and offered to transparent huge pages.
  static Result<Buffer> allocate(std::size_t n_bytes) noexcept;
  static Result<Buffer> allocate_zeroed(std::size_t n_bytes) noexcept;

  Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    if (this != &other) {
      std::free(data_);
      data_ = std::exchange(other.data_, nullptr);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { std::free(data_); }

  std::byte* data() noexcept { return static_cast<std::byte*>(data_); }
  const std::byte* data() const noexcept { return static_cast<const std::byte*>(data_); }
  std::size_t size() const noexcept { return size_; }
  template <class T>
  T* as() noexcept {
    return static_cast<T*>(data_);
  }
  template <class T>
  const T* as() const noexcept {
    return static_cast<const T*>(data_);
  }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

// Bytes for `count` objects of `size` bytes; false when the product does not fit.
inline bool checked_mul(std::size_t count, std::size_t size, std::size_t* product) noexcept {
  return !__builtin_mul_overflow(count, size, product);
}

}  // namespace rowmax::base
