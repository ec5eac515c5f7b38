// Regular expressions of ECMA 262 (as with flag u), less what no automaton can do or this one does not: look-around,
// \b, back references, \p.
#pragma once

#include <functional>
#include <string_view>

#include "engine/grammar/syntax.h"
#include "rowmax/result.h"

namespace rowmax::engine::grammar {

// How a character of a set is written: as it is, or as inside of a JSON string.
using WriteChars = std::function<NodeId(const CodePointSet&)>;

enum class Anchoring {
  kWhole,   // the whole text matches; ^ in front and $ behind may stand there and change nothing
  kSearch,  // the text has a part that matches: without ^ anything may stand before it, without $ behind it
};

// kCorrupt with the character for what does not parse, kUnsupported for what is not supported, kLimit past the limits.
// ^ and $ are understood in front of and behind the alternatives outside of all groups, and nowhere else.
Result<NodeId> parse_regex(Syntax& syntax, std::string_view source, const WriteChars& write, Anchoring anchoring);

}  // namespace rowmax::engine::grammar
