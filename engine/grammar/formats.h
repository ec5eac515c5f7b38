// Values of JSON schema's format, as regular expressions of the whole string, and those of numbers.
#pragma once

#include <optional>
#include <string_view>

#include "engine/grammar/number_range.h"

namespace rowmax::engine::grammar {

// Empty for a format that is not supported.
std::string_view format_regex(std::string_view format);

// What OpenAPI's formats of numbers say: int32 and int64 have bounds, float and double say nothing of JSON's numbers. Nothing
// for other formats.
struct NumberFormat {
  std::optional<DecimalBound> low, high;
};
std::optional<NumberFormat> number_format(std::string_view format);

// "date, time, ...", for messages.
std::string_view format_names();

}  // namespace rowmax::engine::grammar
