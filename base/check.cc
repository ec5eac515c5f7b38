#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace rowmax::base {

void check_failed(const char* file, int line, const char* condition, const char* message) noexcept {
  std::fprintf(stderr, "rowmax: %s (%s, %s:%d)\n", message, condition, file, line);
  std::abort();
}

}  // namespace rowmax::base
