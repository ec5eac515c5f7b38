// Facts of a model's computation by name, to look at and to change: what a file says, and what it would be like if it
// said something else. Names are those of `rowmax inspect`.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rowmax/engine/model.h"

namespace rowmax::engine {

// Where a changed fact acts, and so what must be done again.
enum class EditScope : std::uint8_t {
  kSession,  // SessionOptions::edits: a new session over the same weights
  kTensor,   // the weights: another load of the model (GgufOptions, KeyOverrides)
  kTokens,   // the tokenizer: another load (TokenizerOptions)
};

struct EditInfo {
  std::string_view name;
  std::string_view values;  // in words: "halves or adjacent", "a number above 0"
  EditScope scope = EditScope::kSession;
  std::string_view how;  // where the fact is changed, if not by SessionOptions::edits: a flag of the command
};

// All facts that can be changed, in the order of `inspect`.
std::span<const EditInfo> edit_table() noexcept;
// The value that a model has, as an edit would spell it; several, with commas, where layers differ. kInvalidArgument
// for a name that is not in the table or whose scope is not kSession.
Result<std::string> edit_value(const Model& model, std::string_view name);

}  // namespace rowmax::engine
