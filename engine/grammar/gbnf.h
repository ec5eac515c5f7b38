// GBNF, the grammars of llama.cpp, as grammars/README.md there describes them.
#pragma once

#include <string_view>

#include "engine/grammar/syntax.h"
#include "rowmax/result.h"

namespace rowmax::engine::grammar {

// The part that rule "root" is. kCorrupt with line and column for what does not parse (and for rules that are missing or
// given twice), kUnsupported for tokens (<...>, !<...>), kLimit past the limits.
Result<NodeId> parse_gbnf(Syntax& syntax, std::string_view source);

}  // namespace rowmax::engine::grammar
