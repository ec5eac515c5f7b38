// What a request says of the functions that may be called, as far as reading and constraining calls needs it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/io/json.h"

namespace rowmax::tool_calls {

// Types of JSON values, as bits.
using JsonTypes = std::uint8_t;
inline constexpr JsonTypes kString = 1, kNumber = 2, kBool = 4, kNull = 8, kObject = 16, kArray = 32, kAnyType = 63;

struct ToolFunction {
  std::string name;
  std::string schema;   // of its arguments, as JSON; empty: the request has none
  bool strict = false;  // arguments that do not fit the schema must not be written
  std::vector<std::pair<std::string, JsonTypes>> parameters = {};  // of the schema's properties

  JsonTypes types_of(std::string_view parameter) const;  // kAnyType where nothing is said
};

// Reads the parameters' types from the schema (none: null).
ToolFunction tool_function(std::string name, engine::Json schema, std::string schema_text, bool strict);
// The types that a schema allows at most. `root`: where its $ref lead to.
JsonTypes allowed_types(engine::Json schema, engine::Json root);

// Where a schema's $ref leads ("#/$defs/x"); null where it has none, or one that is not in the document.
engine::Json referred_schema(engine::Json schema, engine::Json root);

const ToolFunction* find_function(const std::vector<ToolFunction>& functions, std::string_view name);

// A value that a call has as text without quotes, as JSON: what it is of the types that it may have. JSON where it is one
// of these; True, False and None as Python writes them; else a string.
std::string value_as_json(std::string_view text, JsonTypes types);
// A text as a JSON string.
std::string json_string(std::string_view text);

}  // namespace rowmax::tool_calls
