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
  // What a model that has it may be given, in words, where that depends on the model; nullptr: what `info` says.
  std::string (*values)(const ModelSpec& spec) = nullptr;
};

std::span<const SpecFact> spec_facts() noexcept;

// Of RoPE, which are among them.
std::span<const SpecFact> rope_facts() noexcept;
// Whether facts of RoPE fit one another and the heads: what turns must be there to turn, and have a factor for each pair
// where there are factors. kInvalidArgument names the fact that does not.
Status check_turns(const ModelSpec& spec);

}  // namespace rowmax::engine
