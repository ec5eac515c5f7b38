// Which type each tensor is written in: TypeRules applied.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "engine/convert/tensor_rows.h"
#include "rowmax/engine/convert.h"
#include "rowmax/executor.h"
#include "rowmax/result.h"

namespace rowmax::engine {

// The format of that name; kInvalidArgument lists the known ones. flag stands in front of the message.
Result<const FormatInfo*> format_named(std::string_view name, std::string_view flag);

// One format a tensor, in order. Reads the weights where a ternary type was asked for. Notices: what differs from the
// plain type, one line each. May throw std::bad_alloc.
Result<std::vector<const FormatInfo*>> choose_types(std::span<const TensorRows> tensors, const TypeRules& rules,
                                                    Executor& executor, std::vector<std::string>& notices);

}  // namespace rowmax::engine
