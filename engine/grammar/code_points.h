// Sets of code points, and the byte strings that UTF-8 makes of them.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rowmax::engine::grammar {

struct CodePointRange {
  std::uint32_t low = 0;
  std::uint32_t high = 0;  // inclusive
  bool operator==(const CodePointRange&) const = default;
};

// Ascending, apart, neither adjacent nor surrogates, up to U+10FFFF: what normalised() returns.
using CodePointSet = std::vector<CodePointRange>;

inline constexpr std::uint32_t kLastCodePoint = 0x10FFFF;

CodePointSet normalised(CodePointSet ranges);
CodePointSet complement(const CodePointSet& set);
CodePointSet intersection(const CodePointSet& a, const CodePointSet& b);
bool contains(const CodePointSet& set, std::uint32_t code_point);
CodePointSet all_code_points();

// Byte k of n lies in [low[k], high[k]], each independently of the others.
struct ByteSequence {
  int size = 0;
  std::array<std::uint8_t, 4> low = {};
  std::array<std::uint8_t, 4> high = {};
};
// Sequences that no two of them share a text: together the UTF-8 of the set.
std::vector<ByteSequence> utf8_sequences(const CodePointSet& set);

void append_utf8(std::string& out, std::uint32_t code_point);

struct DecodedCodePoint {
  std::uint32_t value = 0;
  std::size_t size = 0;  // 0: malformed, or the end
};
DecodedCodePoint decode_utf8(std::string_view text, std::size_t at);

// Of a hexadecimal digit, either case; -1 of anything else.
constexpr int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

}  // namespace rowmax::engine::grammar
