// Errors as values. Every fallible call of rowmax returns Result<T> (or Status, which is Result<void>).
//
// Libraries of rowmax never throw, never print and never abort on data: a wrong file, request, shape or a lack of
// memory is an Error with a code for programs and one sentence for people. The sentence names what was wrong (file,
// tensor, key, field or flag), what was expected and what was found. A caller's bug is caught by ROWMAX_CHECK instead.
#pragma once

#include <new>
#include <string>
#include <type_traits>
#include <utility>

namespace rowmax {

enum class ErrorCode : int {
  kInvalidArgument = 1,  // a value the caller passed is outside the documented range
  kOutOfMemory = 2,      // an allocation failed; nothing was changed
  kUnsupported = 3,      // well-formed, but no verified code exists for it here (type, ISA, architecture, feature)
  kNotFound = 4,         // a file, key, tensor or token that was asked for does not exist
  kIo = 5,               // the operating system refused a read, write or map
  kCorrupt = 6,          // the content breaks its own format
  kNumericFault = 7,     // a non-finite number appeared where the computation promises none
  kLimit = 8,            // a stated bound (context, steps, depth, bytes) would be exceeded
  kCancelled = 9,        // the caller asked to stop
  kBusy = 10,            // no room now: the same call may succeed later
};

// The code's name in lower_snake_case, for JSON and logs; static storage.
constexpr const char* error_code_name(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kInvalidArgument: return "invalid_argument";
    case ErrorCode::kOutOfMemory: return "out_of_memory";
    case ErrorCode::kUnsupported: return "unsupported";
    case ErrorCode::kNotFound: return "not_found";
    case ErrorCode::kIo: return "io";
    case ErrorCode::kCorrupt: return "corrupt";
    case ErrorCode::kNumericFault: return "numeric_fault";
    case ErrorCode::kLimit: return "limit";
    case ErrorCode::kCancelled: return "cancelled";
    case ErrorCode::kBusy: return "busy";
  }
  return "unknown";
}

struct Error {
  ErrorCode code = ErrorCode::kInvalidArgument;
  std::string message;

  // Named after the codes: Error::unsupported("...").
  static Error invalid_argument(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }
  static Error unsupported(std::string message) { return {ErrorCode::kUnsupported, std::move(message)}; }
  static Error not_found(std::string message) { return {ErrorCode::kNotFound, std::move(message)}; }
  static Error io(std::string message) { return {ErrorCode::kIo, std::move(message)}; }
  static Error corrupt(std::string message) { return {ErrorCode::kCorrupt, std::move(message)}; }
  static Error numeric_fault(std::string message) { return {ErrorCode::kNumericFault, std::move(message)}; }
  static Error limit(std::string message) { return {ErrorCode::kLimit, std::move(message)}; }

  // Needs no allocation (the text fits std::string's own buffer), so that it can report that there is no memory.
  static Error out_of_memory() { return Error{ErrorCode::kOutOfMemory, "out of memory"}; }
};

// Either a T or an Error. Reading the wrong side is a bug of the caller (the behaviour is undefined, as for optional).
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) noexcept(std::is_nothrow_move_constructible_v<T>) : ok_(true) {
    ::new (static_cast<void*>(&storage_.value)) T(std::move(value));
  }
  Result(Error error) noexcept : ok_(false) { ::new (static_cast<void*>(&storage_.error)) Error(std::move(error)); }
  Result(Result&& other) noexcept : ok_(other.ok_) { take(other); }
  Result& operator=(Result&& other) noexcept {
    if (this != &other) {
      destroy();
      ok_ = other.ok_;
      take(other);
    }
    return *this;
  }
  Result(const Result&) = delete;
  Result& operator=(const Result&) = delete;
  ~Result() { destroy(); }

  bool ok() const noexcept { return ok_; }
  explicit operator bool() const noexcept { return ok_; }
  T& value() & noexcept { return storage_.value; }
  const T& value() const& noexcept { return storage_.value; }
  T&& value() && noexcept { return std::move(storage_.value); }
  T& operator*() & noexcept { return storage_.value; }
  const T& operator*() const& noexcept { return storage_.value; }
  T* operator->() noexcept { return &storage_.value; }
  const T* operator->() const noexcept { return &storage_.value; }
  const Error& error() const& noexcept { return storage_.error; }
  Error&& error() && noexcept { return std::move(storage_.error); }

 private:
  union Storage {
    Storage() {}
    ~Storage() {}
    T value;
    Error error;
  } storage_;
  bool ok_;

  void take(Result& other) noexcept {
    if (ok_) {
      ::new (static_cast<void*>(&storage_.value)) T(std::move(other.storage_.value));
    } else {
      ::new (static_cast<void*>(&storage_.error)) Error(std::move(other.storage_.error));
    }
  }
  void destroy() noexcept {
    if (ok_) {
      storage_.value.~T();
    } else {
      storage_.error.~Error();
    }
  }
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() noexcept = default;
  Result(Error error) noexcept : error_(std::move(error)), ok_(false) {}

  bool ok() const noexcept { return ok_; }
  explicit operator bool() const noexcept { return ok_; }
  const Error& error() const& noexcept { return error_; }
  Error&& error() && noexcept { return std::move(error_); }

 private:
  Error error_;
  bool ok_ = true;
};

using Status = Result<void>;

}  // namespace rowmax
