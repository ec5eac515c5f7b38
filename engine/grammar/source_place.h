// Where in a source something was found.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include "engine/io/text.h"

namespace rowmax::engine::grammar {

// "line L, column C", both from 1 on, columns in bytes.
inline std::string line_and_column(std::string_view source, std::size_t at) {
  const std::string_view before = source.substr(0, at);
  const auto line = std::ranges::count(before, '\n') + 1;
  const std::size_t last = before.rfind('\n');
  return concat("line ", line, ", column ", last == std::string_view::npos ? at + 1 : at - last);
}

}  // namespace rowmax::engine::grammar
