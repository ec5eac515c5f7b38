// Suggestions for misspelt names.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace rowmax::cli {

// The name with the fewest insertions, deletions, substitutions and swaps of neighbours between it and `word`, case and
// the difference of '-' and '_' left out; the first of several. Empty where even that one needs more than a third of
// the longer name's characters.
std::string_view nearest(std::string_view word, std::span<const std::string_view> names);
// " (did you mean X?)", or nothing.
std::string did_you_mean(std::string_view word, std::span<const std::string_view> names);

}  // namespace rowmax::cli
