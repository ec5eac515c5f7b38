#include "engine/io/text.h"

#include <charconv>
#include <cstddef>

namespace rowmax::engine {
namespace {

// Length in bytes of the UTF-8 character at text[at], 0 when it is malformed.
std::size_t utf8_length(std::string_view text, std::size_t at) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  if (first < 0x80) return 1;
  std::size_t length = 0;
  unsigned char second_min = 0x80;
  unsigned char second_max = 0xBF;
  if (first >= 0xC2 && first <= 0xDF) {
    length = 2;
  } else if (first >= 0xE0 && first <= 0xEF) {
    length = 3;
    if (first == 0xE0) second_min = 0xA0;
    if (first == 0xED) second_max = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4;
    if (first == 0xF0) second_min = 0x90;
    if (first == 0xF4) second_max = 0x8F;
  } else {
    return 0;
  }
  if (text.size() - at < length) return 0;
  if (byte(at + 1) < second_min || byte(at + 1) > second_max) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if (byte(at + i) < 0x80 || byte(at + i) > 0xBF) return 0;
  }
  return length;
}

bool is_control(char c) noexcept { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

}  // namespace

bool is_utf8(std::string_view text) noexcept {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = utf8_length(text, at);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

bool is_printable_name(std::string_view text) noexcept {
  if (text.empty() || !is_utf8(text)) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (is_control(text[i])) return false;
    // U+0080 to U+009F, the second set of control characters (some terminals obey them).
    if (text[i] == '\xC2' && static_cast<unsigned char>(text[i + 1]) < 0xA0) return false;
  }
  return true;
}

std::string quote(std::string_view text) {
  constexpr std::size_t kMaxBytes = 100;
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "'";
  for (std::size_t at = 0; at < text.size();) {
    if (at >= kMaxBytes) {
      out += "...";
      break;
    }
    std::size_t length = utf8_length(text, at);
    if (length > 0 && is_printable_name(text.substr(at, length))) {
      out += text.substr(at, length);
    } else {
      const auto byte = static_cast<unsigned char>(text[at]);
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
      length = 1;
    }
    at += length;
  }
  out += '\'';
  return out;
}

std::string number_text(double value) {
  char text[40];
  // Files mostly hold f32: 1e-06 rather than 9.999999974752427e-07.
  const float narrow = static_cast<float>(value);
  const bool is_f32 = static_cast<double>(narrow) == value;
  const auto result =
      is_f32 ? std::to_chars(text, text + sizeof text, narrow) : std::to_chars(text, text + sizeof text, value);
  return std::string(text, result.ptr);
}

}  // namespace rowmax::engine
