// Small helpers for error messages about untrusted input.
#pragma once

#include <concepts>
#include <string>
#include <string_view>

namespace rowmax::engine {

// True for well-formed UTF-8 (no overlong forms, no surrogates, nothing above U+10FFFF).
bool is_utf8(std::string_view text) noexcept;

// True for non-empty, well-formed UTF-8 without control characters: what a key or a tensor may be called.
bool is_printable_name(std::string_view text) noexcept;

// 'text' in quotes, safe to print: control characters and malformed bytes as \xNN, cut after about 100 bytes.
std::string quote(std::string_view text);

// Shortest decimal text that reads back as the same value: as f32 where it is one, e.g. "1e-05", "10000".
std::string number_text(double value);

inline void append_part(std::string& out, std::string_view part) { out += part; }
template <std::integral T>
void append_part(std::string& out, T part) {
  out += std::to_string(part);
}

// The parts, one after the other; integers in decimal.
template <class... Parts>
std::string concat(const Parts&... parts) {
  std::string out;
  (append_part(out, parts), ...);
  return out;
}

}  // namespace rowmax::engine
