// Which values of an enum the other keywords beside it allow.
#pragma once

#include <string>
#include <vector>

#include "engine/grammar/schema_facts.h"
#include "rowmax/result.h"

namespace rowmax::engine::grammar {

// The texts of those values. kUnsupported where a keyword says more of one than can be looked up: pattern, format, and
// anything about the inside of objects and lists.
Result<std::vector<std::string>> allowed_values(const SchemaFacts& facts);

}  // namespace rowmax::engine::grammar
