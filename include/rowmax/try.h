// Passing errors up, for functions that return a Result or a Status themselves:
//   ROWMAX_TRY(name, expression);         name becomes the value of a Result expression, or the function returns its
//                                         Error. One statement at block scope, one a line.
//   ROWMAX_RETURN_IF_ERROR(expression);   the same for a Status.
// The expression is evaluated once and may hold commas. Names that begin with ROWMAX_INTERNAL_ or rowmax_internal_ are
// not for users.
#pragma once

#include <utility>

#include "rowmax/result.h"

#define ROWMAX_INTERNAL_CONCAT_EXPANDED(a, b) a##b
#define ROWMAX_INTERNAL_CONCAT(a, b) ROWMAX_INTERNAL_CONCAT_EXPANDED(a, b)
#define ROWMAX_INTERNAL_TRY(result, name, ...)        \
  auto result = (__VA_ARGS__);                        \
  if (!result.ok()) return std::move(result).error(); \
  auto name = std::move(result).value()
#define ROWMAX_TRY(name, ...) \
  ROWMAX_INTERNAL_TRY(ROWMAX_INTERNAL_CONCAT(rowmax_internal_result_, __LINE__), name, __VA_ARGS__)
#define ROWMAX_RETURN_IF_ERROR(...)                                                     \
  do {                                                                                  \
    auto rowmax_internal_status = (__VA_ARGS__);                                        \
    if (!rowmax_internal_status.ok()) return std::move(rowmax_internal_status).error(); \
  } while (0)
