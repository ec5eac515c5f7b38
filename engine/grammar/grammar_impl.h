// What Grammar holds.
#pragma once

#include "engine/grammar/automaton.h"
#include "rowmax/engine/grammar.h"

namespace rowmax::engine {

struct Grammar::Impl {
  grammar::Automaton automaton;
  GrammarLimits limits;
};

}  // namespace rowmax::engine
