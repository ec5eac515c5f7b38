// ROWMAX_CHECK(condition, "what the caller did wrong"): for bugs of the caller, never for data. Prints and aborts.
#pragma once

namespace rowmax::base {
[[noreturn]] void check_failed(const char* file, int line, const char* condition, const char* message) noexcept;
}

#define ROWMAX_CHECK(condition, message) \
  ((condition) ? (void)0 : ::rowmax::base::check_failed(__FILE__, __LINE__, #condition, message))
