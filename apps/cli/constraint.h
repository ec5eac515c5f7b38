// --json-schema, --grammar, --regex: what a text may be.
#pragma once

#include <optional>
#include <string>

#include "apps/cli/flags.h"
#include "rowmax/engine/grammar.h"
#include "rowmax/engine/model.h"
#include "rowmax/result.h"

namespace rowmax::cli {

struct ConstraintFlags {
  std::string json_schema, grammar, regex;
};
void add_constraint_flags(Flags& table, ConstraintFlags& flags);

// What the flags describe; nothing without one. kInvalidArgument for more than one. Errors begin with the flag, and with
// the file where there is one.
Result<std::optional<engine::Grammar>> constraint_grammar(const ConstraintFlags& flags);

// The mask that holds a generation to it.
Result<engine::TokenMask> constraint_mask(const engine::Grammar& grammar, const engine::Model& model);

}  // namespace rowmax::cli
