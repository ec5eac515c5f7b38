// Facts of a model's computation by name, to look at and to change: what a file says, and what it would be like if it
// said something else. ModelOptions::edits and Model::with_edits take all of them, SessionOptions::edits those of
// EditScope::kSession. Functions here may be called from any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rowmax/result.h"

namespace rowmax::engine {

class GgufFile;
class Model;
class Tokenizer;
struct GgufOptions;
struct ModelOptions;
struct TokenizerOptions;

// {"rope_pairing", "adjacent"}: names of the table below, and values as EditInfo::values has them. Of a name that is
// given twice the last one counts.
using Edits = std::vector<std::pair<std::string, std::string>>;

// What an edit changes, and so what must be done again.
enum class EditScope : std::uint8_t {
  kSession,  // how a session computes
  kTensor,   // what the file's tensors stand for: those that it names are packed again
  kTokens,   // the tokenizer
};
const char* edit_scope_name(EditScope scope) noexcept;  // "session", "tensor", "tokens"

struct EditInfo {
  std::string_view name;
  std::string_view values;  // in words: "halves or adjacent", "a number above 0"
  EditScope scope = EditScope::kSession;
};

// All facts that can be changed.
std::span<const EditInfo> edit_table() noexcept;
// The value that a model has, as an edit would spell it; several, with commas, where layers differ; empty where it has
// no such thing. kInvalidArgument for a name that is not in the table.
Result<std::string> edit_value(const Model& model, std::string_view name);
// Of EditScope::kSession: the value that one layer has; kInvalidArgument for a layer that is not there, too.
Result<std::string> edit_value(const Model& model, std::string_view name, std::int64_t layer);

// A fact of a model, with the values that it may be given there.
struct EditableFact {
  std::string_view name;
  std::string value;
  std::string values;
  EditScope scope = EditScope::kSession;
};
// The facts that a file's model has, after options' edits, without its weights. File and tokenizer are those that
// edit_options() makes; nullptr: facts of the tokenizer are left out. Errors as describe_model, and of wrong edits.
Result<std::vector<EditableFact>> editable_facts(const GgufFile& file, const ModelOptions& options,
                                                 const Tokenizer* tokenizer);

// Those of EditScope::kSession that each of its layers has, with the value there. Errors as editable_facts.
Result<std::vector<std::vector<EditableFact>>> facts_of_layers(const GgufFile& file, const ModelOptions& options);

// For those who open a file or a tokenizer by themselves: adds what edits say of them. kInvalidArgument for any edit
// whose name is not in the table, and for values that are none.
Status edit_options(const Edits& edits, GgufOptions& gguf, TokenizerOptions& tokenizer);

}  // namespace rowmax::engine
