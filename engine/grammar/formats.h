// Values of JSON schema's format, as regular expressions of the whole string.
#pragma once

#include <string_view>

namespace rowmax::engine::grammar {

// Empty for a format that is not supported.
std::string_view format_regex(std::string_view format);

// "date, time, ...", for messages.
std::string_view format_names();

}  // namespace rowmax::engine::grammar
