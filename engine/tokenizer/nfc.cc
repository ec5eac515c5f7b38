#include "engine/tokenizer/nfc.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "engine/tokenizer/unicode.h"

namespace rowmax::engine {
namespace {

// Hangul syllables (the Unicode Standard, 3.12).
constexpr std::uint32_t kSyllables = 0xAC00, kLeads = 0x1100, kVowels = 0x1161, kTails = 0x11A7;
constexpr std::uint32_t kLeadCount = 19, kVowelCount = 21, kTailCount = 28;
constexpr std::uint32_t kSyllableCount = kLeadCount * kVowelCount * kTailCount;
// A byte that is not part of UTF-8 is this plus its value: no character, so that nothing reaches over it.
constexpr std::uint32_t kRawByte = 0x110000;
// The first character that is not its own form, or that changes with what stands before it.
constexpr std::uint32_t kFirstMark = 0x300;

struct Unit {
  std::uint32_t code;
  std::uint8_t combining_class;
};

std::uint8_t combining_class(std::uint32_t code) {
  const auto after = std::ranges::upper_bound(kCombiningRanges, code, {}, &CombiningRange::first);
  return after != kCombiningRanges.begin() && code <= (after - 1)->last ? (after - 1)->combining_class : 0;
}

void decompose(std::uint32_t code, std::vector<Unit>& out) {
  if (code - kSyllables < kSyllableCount) {
    const std::uint32_t place = code - kSyllables;
    out.push_back({kLeads + place / (kVowelCount * kTailCount), 0});
    out.push_back({kVowels + place / kTailCount % kVowelCount, 0});
    if (place % kTailCount != 0) out.push_back({kTails + place % kTailCount, 0});
    return;
  }
  const auto found = std::ranges::lower_bound(kDecompositions, code, {}, &Decomposition::code);
  if (found == kDecompositions.end() || found->code != code) {
    out.push_back({code, combining_class(code)});
    return;
  }
  decompose(found->first, out);
  if (found->second != 0) decompose(found->second, out);
}

// 0: the two have no character of their own.
std::uint32_t compose(std::uint32_t first, std::uint32_t second) {
  if (first - kLeads < kLeadCount && second - kVowels < kVowelCount) {
    return kSyllables + ((first - kLeads) * kVowelCount + (second - kVowels)) * kTailCount;
  }
  if (first - kSyllables < kSyllableCount && (first - kSyllables) % kTailCount == 0 &&
      second - kTails - 1 < kTailCount - 1) {
    return first + second - kTails;
  }
  const auto found = std::ranges::lower_bound(kCompositions, std::pair(first, second), {},
                                              [](const Composition& row) { return std::pair(row.first, row.second); });
  return found != kCompositions.end() && found->first == first && found->second == second ? found->code : 0;
}

std::vector<Unit> decomposed(std::string_view text) {
  std::vector<Unit> out;
  out.reserve(text.size());
  const char *at = text.data(), *const end = at + text.size();
  for (Char c = char_at(at, end); c.size != 0; at += c.size, c = char_at(at, end)) {
    if (c.size == 1 && c.code >= 0x80) {
      out.push_back({kRawByte + static_cast<unsigned char>(*at), 0});
    } else {
      decompose(c.code, out);
    }
  }
  // Marks between two characters of class 0: by class, those of one class as they stand.
  for (auto begin = out.begin(); begin != out.end();) {
    if (begin->combining_class == 0) {
      ++begin;
      continue;
    }
    const auto stop = std::find_if(begin, out.end(), [](const Unit& unit) { return unit.combining_class == 0; });
    std::stable_sort(begin, stop, [](const Unit& a, const Unit& b) { return a.combining_class < b.combining_class; });
    begin = stop;
  }
  return out;
}

// Each character joins the last one of class 0, where no character between them is of its class or a higher one.
void join(std::vector<Unit>& units) {
  std::size_t starter = units.size(), kept = 0;
  for (const Unit& unit : std::vector<Unit>(units)) {
    const bool adjacent = starter + 1 == kept;
    const bool blocked = !adjacent && kept > 0 && units[kept - 1].combining_class >= unit.combining_class;
    const std::uint32_t joined = starter < kept && !blocked ? compose(units[starter].code, unit.code) : 0;
    if (joined != 0) {
      units[starter].code = joined;
      continue;
    }
    if (unit.combining_class == 0) starter = kept;
    units[kept++] = unit;
  }
  units.resize(kept);
}

void append_utf8(std::string& out, std::uint32_t code) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | (code >> shift & 0x3F)); };
  if (code >= kRawByte) {
    out += static_cast<char>(code - kRawByte);
  } else if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    tail(0);
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

bool may_change(std::string_view text) {
  const char *at = text.data(), *const end = at + text.size();
  for (Char c = char_at(at, end); c.size != 0; at += c.size, c = char_at(at, end)) {
    if (c.code >= kFirstMark && c.size > 1) return true;
  }
  return false;
}

}  // namespace

std::string to_nfc(std::string_view text) {
  if (!may_change(text)) return std::string(text);
  std::vector<Unit> units = decomposed(text);
  join(units);
  std::string out;
  out.reserve(text.size());
  for (const Unit& unit : units) append_utf8(out, unit.code);
  return out;
}

}  // namespace rowmax::engine
