// What the parts of the C interface share: sized structs in, errors out, no exception across.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

#include "base/buffer.h"
#include "rowmax/attention.h"
#include "rowmax/backend.h"
#include "rowmax/mask.h"
#include "rowmax/rowmax.h"

namespace rowmax::c_api {

// The name and the defaults of each struct that is read.
template <class T>
struct Known;
#define ROWMAX_KNOWN(type)                                       \
  template <>                                                    \
  struct Known<type> {                                           \
    static constexpr const char* kName = #type;                  \
    static type defaults() noexcept { return type##_default(); } \
  }
ROWMAX_KNOWN(rowmax_error);
ROWMAX_KNOWN(rowmax_const_heads);
ROWMAX_KNOWN(rowmax_heads);
ROWMAX_KNOWN(rowmax_kv);
ROWMAX_KNOWN(rowmax_kv_sequence);
ROWMAX_KNOWN(rowmax_segment_ids);
ROWMAX_KNOWN(rowmax_bitmap);
ROWMAX_KNOWN(rowmax_block_mask);
ROWMAX_KNOWN(rowmax_tree);
ROWMAX_KNOWN(rowmax_mask);
ROWMAX_KNOWN(rowmax_dense_view);
ROWMAX_KNOWN(rowmax_dense_info);
ROWMAX_KNOWN(rowmax_sequence);
ROWMAX_KNOWN(rowmax_geometry);
ROWMAX_KNOWN(rowmax_mask_stats);
ROWMAX_KNOWN(rowmax_executor_callbacks);
ROWMAX_KNOWN(rowmax_backend);
ROWMAX_KNOWN(rowmax_partial);
ROWMAX_KNOWN(rowmax_probe_row);
ROWMAX_KNOWN(rowmax_probe);
ROWMAX_KNOWN(rowmax_attend_args);
ROWMAX_KNOWN(rowmax_merge_args);
ROWMAX_KNOWN(rowmax_probe_verdict);
ROWMAX_KNOWN(rowmax_softmax_args);
ROWMAX_KNOWN(rowmax_report);
ROWMAX_KNOWN(rowmax_attend_bounds);
#undef ROWMAX_KNOWN

inline Status check_size(const char* name, std::uint32_t found, std::size_t known) {
  if (found > known) {
    return Error::unsupported(std::string(name) + ": struct_size is " + std::to_string(found) +
                              ", this library knows " + std::to_string(known) +
                              " bytes: the program was built with a newer rowmax.h");
  }
  // Fields are of 4 or 8 bytes, and what a version added ends at a multiple of 8.
  if (found < 8 || found % 8 != 0) {
    return Error::invalid_argument(std::string(name) + ": struct_size is " + std::to_string(found) + ": start from " +
                                   name + "_default()");
  }
  return {};
}

// The struct at `in`, with defaults in place of what an older program does not have.
template <class T>
Status take(const T* in, T* out) {
  *out = Known<T>::defaults();
  if (in == nullptr) return Error::invalid_argument(std::string(Known<T>::kName) + " is NULL");
  const Status checked = check_size(Known<T>::kName, in->struct_size, sizeof(T));
  if (!checked.ok()) return checked.error();
  std::memcpy(static_cast<void*>(out), in, in->struct_size);
  return {};
}

// Element i of an array, whose elements all have the size of the first.
template <class T>
Status take_at(const T* first, std::int64_t i, T* out) {
  if (first == nullptr) return Error::invalid_argument(std::string("the array of ") + Known<T>::kName + " is NULL");
  const std::size_t step = first->struct_size;
  const char* at = reinterpret_cast<const char*>(first) + static_cast<std::size_t>(i) * step;
  if (reinterpret_cast<const T*>(at)->struct_size != step) {
    return Error::invalid_argument(
        std::string(Known<T>::kName) + " " + std::to_string(i) + " of an array has struct_size " +
        std::to_string(reinterpret_cast<const T*>(at)->struct_size) + ", the first one " + std::to_string(step));
  }
  return take(reinterpret_cast<const T*>(at), out);
}

// Writes as much of a result as the caller's struct holds. NULL: the caller does not want it.
template <class T>
Status give(T value, T* out) {
  if (out == nullptr) return {};
  const std::uint32_t size = out->struct_size;
  const Status checked = check_size(Known<T>::kName, size, sizeof(T));
  if (!checked.ok()) return checked.error();
  value.struct_size = size;
  std::memcpy(static_cast<void*>(out), &value, size);
  return {};
}

// n objects without constructors.
template <class T>
class Array {
 public:
  static_assert(std::is_trivially_destructible_v<T>);
  Status allocate(const char* name, std::int64_t n) {
    std::size_t bytes = 0;
    if (n < 0) return Error::invalid_argument(std::string(name) + " is negative: " + std::to_string(n));
    if (!base::checked_mul(static_cast<std::size_t>(n), sizeof(T), &bytes)) return Error::out_of_memory();
    Result<base::Buffer> buffer = base::Buffer::allocate_zeroed(bytes);
    if (!buffer.ok()) return buffer.error();
    buffer_ = std::move(*buffer);
    n_ = static_cast<std::size_t>(n);
    return {};
  }
  T* data() noexcept { return buffer_.as<T>(); }
  T& operator[](std::int64_t i) noexcept { return buffer_.as<T>()[i]; }
  std::span<const T> span() const noexcept { return {buffer_.as<T>(), n_}; }

 private:
  base::Buffer buffer_;
  std::size_t n_ = 0;
};

// text, cut to capacity with its NUL.
void copy_text(const std::string& text, char* to, std::size_t capacity) noexcept;
rowmax_status finish(const Status& status, rowmax_error* error) noexcept;

// Runs fn, which returns a Status; exceptions of the standard library can only mean that there is no memory.
template <class Fn>
rowmax_status guarded(rowmax_error* error, Fn&& fn) noexcept {
#if defined(__cpp_exceptions)
  try {
    return finish(fn(), error);
  } catch (...) {
    return finish(Error::out_of_memory(), error);
  }
#else
  return finish(fn(), error);
#endif
}

inline MaskPlan* plan_of(rowmax_plan* plan) noexcept { return reinterpret_cast<MaskPlan*>(plan); }
inline const MaskPlan* plan_of(const rowmax_plan* plan) noexcept { return reinterpret_cast<const MaskPlan*>(plan); }
inline Executor* executor_of(rowmax_executor* executor) noexcept { return reinterpret_cast<Executor*>(executor); }
inline const Executor* executor_of(const rowmax_executor* executor) noexcept {
  return reinterpret_cast<const Executor*>(executor);
}
inline Status present(const void* pointer, const char* name) {
  if (pointer == nullptr) return Error::invalid_argument(std::string(name) + " is NULL");
  return {};
}

// Types outside of the enum stay unknown ones, which the library refuses.
inline DType dtype_of(std::int32_t code) noexcept {
  return static_cast<DType>(code >= 0 && code < kDTypeCount ? code : 255);
}
// A number in [0, count) as an enum; the library would not look at others.
template <class E>
Status enum_of(const char* name, std::int32_t value, std::int32_t count, E* out) {
  if (value < 0 || value >= count) {
    return Error::invalid_argument(std::string(name) + ": expected 0 to " + std::to_string(count - 1) + ", found " +
                                   std::to_string(value));
  }
  *out = static_cast<E>(value);
  return {};
}
// calling_thread: what runs the work where no executor is named.
Result<Backend> backend_of(const rowmax_backend* in, SerialExecutor& calling_thread);
Status view_of(const rowmax_heads* in, HeadsView* out);
Status view_of(const rowmax_const_heads* in, ConstHeadsView* out);
PartialView partial_of(const rowmax_partial& in) noexcept;
rowmax_report report_of(const AttendReport& report) noexcept;

}  // namespace rowmax::c_api
