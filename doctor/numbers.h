// Numbers as people read them, in sentences and tables.
#pragma once

#include <charconv>
#include <cstdio>
#include <string>

namespace rowmax::doctor {

// Four significant digits.
inline std::string four_digits(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

// The shortest text that gives the same f32 again: what an edit of a number is spelled like.
inline std::string single_text(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, static_cast<float>(value)).ptr};
}

}  // namespace rowmax::doctor
