#include "apps/tool_calls/tool_function.h"

#include <algorithm>

#include "apps/text/json.h"

namespace rowmax::tool_calls {
namespace {

using engine::Json;

constexpr int kMaxReferences = 16;
constexpr int kMaxSchemas = 4096;  // that are looked at for one answer: anyOf and $ref multiply them

JsonTypes type_named(std::string_view name) {
  if (name == "string") return kString;
  if (name == "number" || name == "integer") return kNumber;
  if (name == "boolean") return kBool;
  if (name == "null") return kNull;
  if (name == "object") return kObject;
  if (name == "array") return kArray;
  return kAnyType;
}

JsonTypes type_of(Json value) {
  if (value.is_string()) return kString;
  if (value.is_number()) return kNumber;
  if (value.is_bool()) return kBool;
  if (value.is_object()) return kObject;
  return value.is_array() ? kArray : kNull;
}

// "#/$defs/x" without escapes, as schemas of functions have them; null for others.
Json referred(std::string_view reference, Json root) {
  if (!reference.starts_with('#')) return {};
  reference.remove_prefix(1);
  while (root && !reference.empty()) {
    reference.remove_prefix(1);
    const std::size_t end = std::min(reference.find('/'), reference.size());
    root = root.find(reference.substr(0, end));
    reference.remove_prefix(end);
  }
  return root;
}

// left: schemas that may still be looked at.
JsonTypes types(Json schema, Json root, int depth, int& left) {
  if (!schema.is_object() || depth > kMaxReferences || left == 0) return kAnyType;
  --left;
  JsonTypes allowed = kAnyType;
  if (const Json type = schema.find("type")) {
    JsonTypes named = type.is_string() ? type_named(type.as_string()) : JsonTypes{0};
    for (const Json each : type.elements()) named |= type_named(each.as_string());
    allowed &= named;
  }
  if (const Json values = schema.find("enum")) {
    JsonTypes named = 0;
    for (const Json each : values.elements()) named |= type_of(each);
    allowed &= named;
  }
  if (const Json value = schema.find("const")) allowed &= type_of(value);
  for (const char* key : {"anyOf", "oneOf"}) {
    JsonTypes named = 0;
    for (const Json each : schema.find(key).elements()) named |= types(each, root, depth + 1, left);
    if (schema.find(key).size() > 0) allowed &= named;
  }
  for (const Json each : schema.find("allOf").elements()) allowed &= types(each, root, depth + 1, left);
  if (const Json other = referred_schema(schema, root)) allowed &= types(other, root, depth + 1, left);
  if (schema.find("nullable").as_bool()) allowed |= kNull;
  return allowed;
}

}  // namespace

Json referred_schema(Json schema, Json root) {
  const Json reference = schema.find("$ref");
  return reference.is_string() ? referred(reference.as_string(), root) : Json();
}

JsonTypes allowed_types(Json schema, Json root) {
  int left = kMaxSchemas;
  const JsonTypes found = types(schema, root, 0, left);
  return found == 0 ? kAnyType : found;
}

JsonTypes ToolFunction::types_of(std::string_view parameter) const {
  const auto found = std::ranges::find(parameters, parameter, &std::pair<std::string, JsonTypes>::first);
  return found == parameters.end() ? kAnyType : found->second;
}

ToolFunction tool_function(std::string name, Json schema, std::string schema_text, bool strict) {
  ToolFunction function{std::move(name), std::move(schema_text), strict};
  for (const auto& [key, property] : schema.find("properties").members()) {
    function.parameters.emplace_back(std::string(key), allowed_types(property, schema));
  }
  return function;
}

const ToolFunction* find_function(const std::vector<ToolFunction>& functions, std::string_view name) {
  const auto found = std::ranges::find(functions, name, &ToolFunction::name);
  return found == functions.end() ? nullptr : &*found;
}

std::string json_string(std::string_view text) { return text::Json(text).dump(); }

std::string value_as_json(std::string_view text, JsonTypes types) {
  if (types == kString) return json_string(text);
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  const std::string_view bare =
      begin == std::string_view::npos ? "" : text.substr(begin, text.find_last_not_of(" \t\r\n") + 1 - begin);
  if ((types & kBool) != 0 && bare == "True") return "true";
  if ((types & kBool) != 0 && bare == "False") return "false";
  if ((types & kNull) != 0 && bare == "None") return "null";
  const auto parsed = engine::parse_json(bare, "value");
  // With quotes it is JSON's string where only a string without them could have been meant otherwise.
  if (parsed.ok() && (type_of(parsed->root()) & types) != 0 && !parsed->root().is_string()) return std::string(bare);
  return json_string(text);
}

}  // namespace rowmax::tool_calls
