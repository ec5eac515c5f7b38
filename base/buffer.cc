#include "base/buffer.h"

#include <sys/mman.h>

namespace rowmax::base {

Result<Buffer> Buffer::allocate(std::size_t n_bytes) noexcept {
  constexpr std::size_t kHuge = std::size_t{2} << 20;
  Buffer buffer;
  if (n_bytes == 0) return buffer;
  const bool large = n_bytes >= 4 * kHuge;
  const std::size_t alignment = large ? kHuge : 64;
  if (n_bytes > SIZE_MAX - alignment) return Error::out_of_memory();
  const std::size_t rounded = (n_bytes + alignment - 1) / alignment * alignment;
  buffer.data_ = std::aligned_alloc(alignment, rounded);
  if (buffer.data_ == nullptr) return Error::out_of_memory();
  buffer.size_ = n_bytes;
#ifdef MADV_HUGEPAGE
  if (large) madvise(buffer.data_, rounded, MADV_HUGEPAGE);
#endif
  return buffer;
}

Result<Buffer> Buffer::allocate_zeroed(std::size_t n_bytes) noexcept {
  auto buffer = allocate(n_bytes);
  if (buffer.ok() && n_bytes != 0) std::memset(buffer->data(), 0, n_bytes);
  return buffer;
}

}  // namespace rowmax::base
