#include "apps/tool_calls/call_grammar.h"

#include <algorithm>
#include <string>
#include <utility>

#include "engine/io/json.h"
#include "rowmax/try.h"

namespace rowmax::tool_calls {
namespace {

using engine::GrammarPart;
using engine::Json;
using Kind = GrammarPart::Kind;
using Parts = std::vector<GrammarPart>;

GrammarPart literal(std::string_view text) { return {Kind::kText, std::string(text)}; }
GrammarPart choice(std::vector<Parts> choices, int min, int max) {
  return {Kind::kChoice, {}, std::move(choices), min, max};
}

// A character as it stands in a set or a text of a regular expression.
std::string escaped(char c) {
  constexpr std::string_view kSpecial = "\\^$.*+?()[]{}|/-";
  return kSpecial.find(c) == std::string_view::npos ? std::string(1, c) : std::string("\\") + c;
}

std::string json_text(Json value);
std::string json_members(Json object) {
  std::string text;
  for (const auto& [key, value] : object.members()) {
    text += (text.empty() ? "" : ",") + json_string(key) + ":" + json_text(value);
  }
  return text;
}
// Depth is bounded by the reader's.
std::string json_text(Json value) {
  if (value.is_object()) return "{" + json_members(value) + "}";
  if (value.is_string()) return json_string(value.as_string());
  if (!value.is_array()) return value.text();
  std::string text;
  for (const Json element : value.elements()) text += (text.empty() ? "" : ",") + json_text(element);
  return "[" + text + "]";
}

constexpr int kMaxReferences = 8;

// What says nothing of a value.
bool is_remark(std::string_view key) {
  return key == "description" || key == "title" || key == "default" || key == "examples";
}
bool says_only(Json schema, std::string_view what) {
  bool found = false;
  for (const auto& [key, value] : schema.members()) {
    if (key != what && !is_remark(key)) return false;
    found = found || key == what;
  }
  return found;
}

class FunctionGrammar {
 public:
  FunctionGrammar(const ToolFormat& format, const ToolFunction& function, bool with_schema)
      : format_(format), function_(function), with_schema_(with_schema) {}

  Result<Parts> parts() {
    const bool plain = std::ranges::all_of(function_.name, [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             std::string_view("_-.:/").find(c) != std::string_view::npos;
    });
    if (!plain || function_.name.empty()) {
      return Error::invalid_argument(at() + "expected a name of letters, digits, _ and -");
    }
    Parts parts;
    for (std::string_view rest = format_.call; !rest.empty();) {
      const std::size_t end = std::min(rest.find('%'), rest.size());
      if (end > 0) parts.push_back(literal(rest.substr(0, end)));
      rest.remove_prefix(end);
      if (rest.empty()) break;
      ROWMAX_RETURN_IF_ERROR(add(rest[1], parts));
      rest.remove_prefix(2);
    }
    return parts;
  }

 private:
  std::string at() const { return "function \"" + function_.name + "\": "; }

  Status add(char what, Parts& parts) {
    if (what == 'n') parts.push_back(literal(function_.name));
    if (what == 'i') parts.push_back({Kind::kRegex, format_.name == "kimi-k2" ? "[0-9]{1,3}" : "[a-zA-Z0-9]{9}"});
    if (what == 'j') {
      const bool any = !with_schema_ || function_.schema.empty();
      parts.push_back({Kind::kJsonSchema, any ? R"({"type":"object"})" : function_.schema});
    }
    return what == 'p' ? add_parameters(parts) : Status();
  }

  Status add_parameters(Parts& parts) {
    if (!with_schema_ || function_.schema.empty()) {
      parts.push_back(choice(
          {parameter_frame({Kind::kRegex, "[A-Za-z0-9_.\\-]{1,64}"}, {Kind::kRegex, text_without(tag())})}, 0, -1));
      return {};
    }
    ROWMAX_TRY(document, engine::parse_json(function_.schema, "schema"));
    const Json schema = document.root();
    for (const char* key : {"$ref", "anyOf", "oneOf", "allOf", "patternProperties", "minProperties", "maxProperties"}) {
      if (schema.find(key)) return unsupported("", std::string(key) + " beside its properties");
    }
    for (const auto& [name, property] : schema.find("properties").members()) {
      bool required = false;
      for (const Json each : schema.find("required").elements()) required = required || each.is(name);
      ROWMAX_TRY(parameter, parameter_parts(name, property, schema));
      if (required) {
        std::ranges::move(parameter, std::back_inserter(parts));
      } else {
        parts.push_back(choice({std::move(parameter)}, 0, 1));
      }
    }
    return {};
  }

  Result<Parts> parameter_parts(std::string_view name, Json property, Json root) {
    if (name.find_first_of("<>\n") != std::string_view::npos) return unsupported(name, "such a name");
    ROWMAX_TRY(value, value_part(name, property, root, 0));
    return parameter_frame(literal(name), std::move(value));
  }

  Parts parameter_frame(GrammarPart name, GrammarPart value) const {
    const std::string_view pattern = format_.parameter;
    const std::size_t key_at = pattern.find("%k"), value_at = pattern.find("%v");
    return {literal(pattern.substr(0, key_at)), std::move(name),
            literal(pattern.substr(key_at + 2, value_at - key_at - 2)), std::move(value),
            literal(pattern.substr(value_at + 2))};
  }
  // What ends a value.
  std::string_view tag() const {
    const std::string_view behind = format_.parameter.substr(format_.parameter.find('<', format_.parameter.find("%v")));
    return behind.substr(0, behind.find('>') + 1);
  }

  // A string stands without quotes, anything else as JSON.
  Result<GrammarPart> value_part(std::string_view name, Json property, Json root, int depth) {
    const JsonTypes types = allowed_types(property, root);
    if ((types & kString) == 0) return GrammarPart{Kind::kJsonSchema, schema_with_definitions(property, root)};
    if (types == kString && (property.find("enum") || property.find("const"))) return enum_part(name, property);
    if (depth < kMaxReferences && says_only(property, "$ref") && referred_schema(property, root)) {
      return value_part(name, referred_schema(property, root), root, depth + 1);
    }
    for (const char* key : {"anyOf", "oneOf"}) {
      if (depth >= kMaxReferences || !says_only(property, key)) continue;
      std::vector<Parts> alternatives;
      for (const Json each : property.find(key).elements()) {
        ROWMAX_TRY(part, value_part(name, each, root, depth + 1));
        alternatives.push_back({std::move(part)});
      }
      if (!alternatives.empty()) return choice(std::move(alternatives), 1, 1);
    }
    for (const char* key : {"enum", "const", "pattern", "format", "anyOf", "oneOf", "allOf", "$ref"}) {
      if (property.find(key)) return unsupported(name, std::string(key) + " of a text without quotes");
    }
    const auto shortest = property.find("minLength").as_int();
    const auto longest = property.find("maxLength").as_int();
    if (!shortest && !longest) return GrammarPart{Kind::kRegex, text_without(tag())};
    // Without the tag's first character its length is that of what is written.
    return GrammarPart{Kind::kRegex, "[^<]{" + std::to_string(shortest.value_or(0)) + "," +
                                         (longest ? std::to_string(*longest) : std::string()) + "}"};
  }

  Result<GrammarPart> enum_part(std::string_view name, Json property) {
    std::vector<Parts> texts;
    const auto add = [&](Json value) {
      const std::string_view text = value.as_string();
      if (text.find(tag()) == std::string_view::npos) texts.push_back({literal(text)});
    };
    for (const Json value : property.find("enum").elements()) add(value);
    if (const Json value = property.find("const")) add(value);
    for (const auto& [key, value] : property.members()) {
      if (key == "enum" || key == "const" || key == "type" || is_remark(key)) continue;
      return unsupported(name, std::string(key) + " beside enum");
    }
    if (texts.empty()) return unsupported(name, "an enum without texts");
    return choice(std::move(texts), 1, 1);
  }

  // A property as a schema of its own; what its $ref lead to comes along.
  static std::string schema_with_definitions(Json property, Json root) {
    if (!property.is_object()) return json_text(property);
    std::string members = json_members(property);
    for (const char* key : {"$defs", "definitions"}) {
      if (!root.find(key) || property.find(key)) continue;
      members += (members.empty() ? "" : ",") + json_string(key) + ":" + json_text(root.find(key));
    }
    return "{" + members + "}";
  }

  Error unsupported(std::string_view property, const std::string& what) const {
    const std::string where = property.empty() ? "" : "property \"" + std::string(property) + "\": ";
    return Error::unsupported(at() + where + what + " cannot be held to in the form " + std::string(format_.name));
  }

  const ToolFormat& format_;
  const ToolFunction& function_;
  const bool with_schema_;
};

}  // namespace

// Each < begins a stretch without another one; a stretch must not go on as the tag does.
std::string text_without(std::string_view tag) {
  const std::string_view rest = tag.substr(1);
  std::string whole, partly, written;
  for (const char c : rest) {
    whole += "|" + written;
    partly += (partly.empty() ? "" : "|") + written + "[^<" + escaped(c) + "]";
    written += escaped(c);
  }
  return "[^<]*(?:<(?:(?:" + partly + ")[^<]*" + whole + "))*";
}

Result<std::vector<GrammarPart>> call_grammar(const ToolFormat& format, const std::vector<ToolFunction>& functions,
                                              const CallGrammarOptions& options) {
  if (format.call.empty()) {
    return Error::unsupported("calls in the form " + std::string(format.name) + " are read, but cannot be constrained");
  }
  if (functions.empty()) return Error::invalid_argument("expected a function that can be called, found none");
  std::vector<Parts> calls;
  for (const ToolFunction& function : functions) {
    ROWMAX_TRY(parts, FunctionGrammar(format, function, options.all_schemas || function.strict).parts());
    calls.push_back(std::move(parts));
  }
  Parts parts;
  if (!options.mark.empty()) {
    parts.push_back({Kind::kRegex, "[^" + escaped(options.mark[0]) + "]*"});
    if (!options.mark_is_of_calls) {
      parts.push_back(literal(options.mark));
      parts.push_back({Kind::kRegex, "[ \\n]{0,4}"});
    }
  }
  if (!format.begin.empty()) parts.push_back(literal(format.begin));
  parts.push_back(choice(calls, 1, 1));
  if (options.many && format.many) parts.push_back(choice({{literal(format.between), choice(calls, 1, 1)}}, 0, -1));
  if (!format.end.empty()) parts.push_back(literal(format.end));
  return parts;
}

}  // namespace rowmax::tool_calls
