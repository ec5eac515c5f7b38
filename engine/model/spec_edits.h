// The facts of a ModelSpec by name: rowmax/engine/edits.h.
#pragma once

#include <string>
#include <string_view>

#include "engine/model/spec.h"
#include "rowmax/engine/edits.h"

namespace rowmax::engine {

// kInvalidArgument names the fact, what is expected and what was found.
Status apply_edit(ModelSpec& spec, std::string_view name, const std::string& value);
Result<std::string> edit_value(const ModelSpec& spec, std::string_view name);

}  // namespace rowmax::engine
