// Code points and their classes (Unicode 16.0.0), as the patterns of pre-tokenizers name them: \p{L}, \p{N}, \s, ...
#pragma once

#include <cstddef>
#include <cstdint>

namespace rowmax::engine {

// Bits; at most one of the first six is set. kSpace is the property White_Space, which then stands for no other class.
// kUpper adds to kLetter for the categories Lu and Lt, kLower for Ll.
enum CharClass : std::uint8_t {
  kLetter = 1,
  kNumber = 2,
  kMark = 4,
  kPunctuation = 8,
  kSymbol = 16,
  kSpace = 32,
  kUpper = 64,
  kLower = 128,
};

struct CharClassRange {
  std::uint32_t begin;  // up to the next range's begin
  std::uint8_t bits;
};
extern const CharClassRange kCharClassRanges[];
extern const std::size_t kCharClassRangeCount;

struct CodeRange {
  std::uint32_t first, last;  // both inside
};
extern const CodeRange kDeepseekLetterRanges[];
extern const std::size_t kDeepseekLetterRangeCount;
extern const CodeRange kOddWordRanges[];
extern const std::size_t kOddWordRangeCount;

// The bits of a code point above 0x7F; 0 outside Unicode.
std::uint8_t char_class_wide(std::uint32_t code) noexcept;
// Whether the explicit letter list of deepseek-llm holds the code point.
bool is_deepseek_letter(std::uint32_t code) noexcept;

constexpr std::uint8_t ascii_class(unsigned c) noexcept {
  if (c >= 'a' && c <= 'z') return kLetter | kLower;
  if (c >= 'A' && c <= 'Z') return kLetter | kUpper;
  if (c >= '0' && c <= '9') return kNumber;
  if (c == ' ' || (c >= 9 && c <= 13)) return kSpace;
  if (c == '$' || c == '+' || c == '<' || c == '=' || c == '>' || c == '^' || c == '`' || c == '|' || c == '~') {
    return kSymbol;
  }
  return c > 32 && c < 127 ? kPunctuation : 0;
}

struct AsciiClasses {
  std::uint8_t bits[128];
  constexpr AsciiClasses() : bits() {
    for (unsigned c = 0; c < 128; ++c) bits[c] = ascii_class(c);
  }
};
inline constexpr AsciiClasses kAsciiClasses;

// One character of a text. A byte that starts no valid UTF-8 sequence is a character of its own: code U+FFFD, size 1.
struct Char {
  std::uint32_t code = 0;
  std::uint8_t bits = 0;
  std::uint8_t size = 0;  // bytes; 0 at the end of the text
};

// Decodes the character at p (p < end) when its first byte is above 0x7F.
Char decode_wide(const char* p, const char* end) noexcept;

// The character at p, or one of size 0 when p == end.
inline Char char_at(const char* p, const char* end) noexcept {
  if (p == end) return {};
  const auto byte = static_cast<unsigned char>(*p);
  if (byte < 0x80) return {byte, kAsciiClasses.bits[byte], 1};
  return decode_wide(p, end);
}

// What the expression \w finds: letters, marks and numbers but for those of kOddWordRanges, and the others of that list.
bool is_word(const Char& c) noexcept;

}  // namespace rowmax::engine
