#include "engine/tokenizer/unicode.h"

#include <algorithm>

namespace rowmax::engine {
namespace {

constexpr std::uint32_t kReplacement = 0xFFFD;
constexpr std::uint32_t kPlaneSize = 0x10000;

std::uint8_t search_class(std::uint32_t code) noexcept {
  const CharClassRange* end = kCharClassRanges + kCharClassRangeCount;
  const CharClassRange* after =
      std::upper_bound(kCharClassRanges, end, code,
                       [](std::uint32_t value, const CharClassRange& range) { return value < range.begin; });
  return (after - 1)->bits;
}

// The classes of the Basic Multilingual Plane one by one: nearly all text lies there, and a search per character would
// be most of the time of a scan.
struct BasicPlane {
  std::uint8_t bits[kPlaneSize];
  BasicPlane() noexcept {
    for (std::size_t i = 0; i < kCharClassRangeCount && kCharClassRanges[i].begin < kPlaneSize; ++i) {
      const std::uint32_t end = i + 1 < kCharClassRangeCount ? kCharClassRanges[i + 1].begin : kPlaneSize;
      std::fill(bits + kCharClassRanges[i].begin, bits + std::min(end, kPlaneSize), kCharClassRanges[i].bits);
    }
  }
};

bool continues(const char* p) noexcept { return (static_cast<unsigned char>(*p) & 0xC0) == 0x80; }

bool is_among(const CodeRange* ranges, std::size_t count, std::uint32_t code) noexcept {
  const CodeRange* after = std::upper_bound(
      ranges, ranges + count, code, [](std::uint32_t value, const CodeRange& range) { return value < range.first; });
  return after != ranges && code <= (after - 1)->last;
}

// Well-formed sequences only (Unicode, table 3-7): no overlong forms, no surrogates, nothing above U+10FFFF.
std::uint32_t decode_sequence(const char* p, std::size_t available, std::uint8_t& size) noexcept {
  const auto first = static_cast<unsigned char>(p[0]);
  const auto low = [p](int i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(p[i]) & 0x3F); };
  size = 1;
  if (first >= 0xC2 && first <= 0xDF) {
    if (available < 2 || !continues(p + 1)) return kReplacement;
    size = 2;
    return (first & 0x1Fu) << 6 | low(1);
  }
  if (first >= 0xE0 && first <= 0xEF) {
    if (available < 3 || !continues(p + 1) || !continues(p + 2)) return kReplacement;
    const std::uint32_t code = (first & 0x0Fu) << 12 | low(1) << 6 | low(2);
    if (code < 0x800 || (code >= 0xD800 && code <= 0xDFFF)) return kReplacement;
    size = 3;
    return code;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (available < 4 || !continues(p + 1) || !continues(p + 2) || !continues(p + 3)) return kReplacement;
    const std::uint32_t code = (first & 0x07u) << 18 | low(1) << 12 | low(2) << 6 | low(3);
    if (code < 0x10000 || code > 0x10FFFF) return kReplacement;
    size = 4;
    return code;
  }
  return kReplacement;
}

}  // namespace

std::uint8_t char_class_wide(std::uint32_t code) noexcept {
  static const BasicPlane plane;
  if (code < kPlaneSize) return plane.bits[code];
  return code <= 0x10FFFF ? search_class(code) : 0;
}

bool is_deepseek_letter(std::uint32_t code) noexcept {
  return is_among(kDeepseekLetterRanges, kDeepseekLetterRangeCount, code);
}

bool is_word(const Char& c) noexcept {
  const bool usual = (c.bits & (kLetter | kNumber | kMark)) != 0;
  return usual != is_among(kOddWordRanges, kOddWordRangeCount, c.code);
}

Char decode_wide(const char* p, const char* end) noexcept {
  Char out;
  out.code = decode_sequence(p, static_cast<std::size_t>(end - p), out.size);
  out.bits = char_class_wide(out.code);
  return out;
}

}  // namespace rowmax::engine
