// The facts of a session as rows: how each is read from a spec and written to it.
#pragma once

#include <set>
#include <span>
#include <string>

#include "engine/model/spec.h"
#include "rowmax/engine/edits.h"

namespace rowmax::engine {

struct SpecFact {
  EditInfo info;
  // Today's values, one where all layers agree; none where no layer has it.
  std::set<std::string> (*get)(const ModelSpec& spec);
  // false for a value that is none, or none of this model.
  bool (*set)(ModelSpec& spec, const std::string& value);
};

std::span<const SpecFact> spec_facts() noexcept;

}  // namespace rowmax::engine
