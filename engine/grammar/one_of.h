// oneOf as anyOf, where the two are the same.
#pragma once

#include "engine/grammar/schema_facts.h"
#include "rowmax/result.h"

namespace rowmax::engine::grammar {

// kUnsupported where two alternatives are not seen to be apart: by type, by their values, by the values of a property that
// both require, or by a property that one requires and the other does not allow.
Status check_one_of(FactGatherer& gatherer, const OpenChoice& choice);

}  // namespace rowmax::engine::grammar
