// Unicode's normalization form NFC (UAX 15), as Hugging Face `tokenizers` brings texts into it: characters that are made
// of others are taken apart, marks put into their order, and what has a character of its own joined again.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace rowmax::engine {

struct CombiningRange {
  std::uint32_t first, last;  // both inside
  std::uint8_t combining_class;
};
struct Decomposition {
  std::uint32_t code, first, second;  // second 0: into one
};
struct Composition {
  std::uint32_t first, second, code;
};
// All sorted by what comes first; Hangul syllables are in none.
extern const std::span<const CombiningRange> kCombiningRanges;
extern const std::span<const Decomposition> kDecompositions;
extern const std::span<const Composition> kCompositions;

// Bytes that are not UTF-8 stay what and where they are.
std::string to_nfc(std::string_view text);

}  // namespace rowmax::engine
