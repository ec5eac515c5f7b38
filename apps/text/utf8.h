// One character of UTF-8 after another, where a text may hold anything.
#pragma once

#include <cstddef>
#include <string_view>

namespace rowmax::text {

struct Utf8Character {
  char32_t code = 0;
  std::size_t bytes = 0;  // at least 1
  bool valid = false;     // false: these bytes are the longest beginning of a character, or one that begins none
};
// The first character of a text that is not empty. Overlong forms, surrogates and what lies above U+10FFFF are invalid.
Utf8Character first_character(std::string_view text);

// What must not reach a terminal from a model or a file although it is well-formed: DEL and C1; marks, embeddings,
// overrides and isolates of writing direction; line and paragraph separators; the byte order mark; tags, which are text
// that cannot be seen. Joiners and variation selectors belong to scripts and emoji.
bool steers_terminal(char32_t code) noexcept;
// What is not seen, or seen in its neighbours alone: Unicode's Default_Ignorable_Code_Point (joiners, variation selectors,
// spaces without width, fillers, ...), and marks of annotations.
bool is_invisible(char32_t code) noexcept;

}  // namespace rowmax::text
