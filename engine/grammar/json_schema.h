// JSON schema (2020-12, and what draft 7 shares with it) to the JSON texts that it is true of.
#pragma once

#include <string_view>

#include "engine/grammar/syntax.h"
#include "rowmax/engine/grammar.h"
#include "rowmax/result.h"

namespace rowmax::engine::grammar {

// Errors begin with the JSON pointer (#/properties/a/type), where there is one: kCorrupt for what is no schema,
// kUnsupported for a keyword that is not supported (none is passed over but annotations), kNotFound for a $ref that
// leads nowhere, kInvalidArgument where options.strict is not met, kLimit past the limits.
Result<NodeId> parse_json_schema(Syntax& syntax, std::string_view source, const JsonOptions& options);

NodeId any_json_object(Syntax& syntax, const JsonOptions& options);

}  // namespace rowmax::engine::grammar
