// ROWMAX_TRY(name, expression): name becomes the value of a Result expression, or the function returns its Error.
// ROWMAX_RETURN_IF_ERROR(expression): the same for a Status.
#pragma once

#include "rowmax/result.h"

#define ROWMAX_CONCAT_INNER(a, b) a##b
#define ROWMAX_CONCAT(a, b) ROWMAX_CONCAT_INNER(a, b)
#define ROWMAX_TRY_INNER(result, name, ...)           \
  auto result = (__VA_ARGS__);                        \
  if (!result.ok()) return std::move(result).error(); \
  auto name = std::move(result).value()
#define ROWMAX_TRY(name, ...) ROWMAX_TRY_INNER(ROWMAX_CONCAT(rowmax_result_, __LINE__), name, __VA_ARGS__)
#define ROWMAX_RETURN_IF_ERROR(...)                                   \
  do {                                                                \
    auto rowmax_status = (__VA_ARGS__);                               \
    if (!rowmax_status.ok()) return std::move(rowmax_status).error(); \
  } while (0)
