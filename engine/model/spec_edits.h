// The facts of rowmax/engine/edits.h that a model's spec and the sources of its weights hold.
#pragma once

#include <string>
#include <string_view>

#include "engine/model/spec.h"
#include "engine/model/weight_sources.h"
#include "rowmax/engine/edits.h"

namespace rowmax::engine {

// The row of the table; kInvalidArgument lists the names.
Result<const EditInfo*> find_edit(std::string_view name);
// kInvalidArgument names the fact, what is expected and what was found.
Error wrong_edit(std::string_view name, std::string_view expected, std::string_view found);
// kInvalidArgument: the model has no such thing.
Error no_such_fact(std::string_view name, std::string_view why);

// Facts of EditScope::kSession; kInvalidArgument for others, too.
Status apply_edit(ModelSpec& spec, std::string_view name, const std::string& value);
// All of them in the order of the table, whatever theirs is, so that those of heads come before what is made for heads of
// a size; of a name that is given twice the last. Whether facts fit one another is asked when all have acted.
Status apply_edits(ModelSpec& spec, const Edits& edits);
Result<std::string> edit_value(const ModelSpec& spec, std::string_view name);
// What it may be given in this model, which has it: EditableFact::values.
Result<std::string> edit_values(const ModelSpec& spec, std::string_view name);

// Facts of EditScope::kTensor that sources can hold.
std::span<const EditInfo> source_edit_table() noexcept;
// To sources and spec as the file has them, before edits of the session's facts.
Status apply_edit(ModelSpec& spec, WeightSources& sources, std::string_view name, const std::string& value);
std::string edit_value(const WeightSources& sources, std::string_view name);

}  // namespace rowmax::engine
