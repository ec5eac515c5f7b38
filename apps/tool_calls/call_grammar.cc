#include "apps/tool_calls/call_grammar.h"

#include <algorithm>
#include <string>
#include <unordered_set>
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
std::string json_members(Json object, std::span<const std::string_view> without = {}) {
  std::string text;
  for (const auto& [key, value] : object.members()) {
    if (std::ranges::find(without, key) != without.end()) continue;
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
// A few bytes of $ref stand for as many as they lead to.
constexpr std::size_t kMaxPartBytes = 64 << 20;

constexpr std::string_view kDefinitions[] = {"$defs", "definitions"};
// The definitions that a schema refers to and those that they do.
class Definitions {
 public:
  explicit Definitions(Json root) : root_(root) {}

  void add_from(Json schema) {
    std::vector<Json> rest = {schema};
    while (!rest.empty()) {
      const Json value = rest.back();
      rest.pop_back();
      for (const Json element : value.elements()) rest.push_back(element);
      for (const auto& [key, member] : value.members()) {
        rest.push_back(member);
        if (key == "$ref" && member.is_string()) add(member.as_string(), rest);
      }
    }
  }
  // One that leads to something else, which a property alone does not have; empty: none.
  std::string_view elsewhere() const { return elsewhere_; }
  // As members of a schema, each with a comma in front.
  std::string members() const {
    std::string text;
    for (std::size_t i = 0; i < std::size(kDefinitions); ++i) {
      std::string inner;
      for (const auto& [name, value] : root_.find(kDefinitions[i]).members()) {
        if (!all_ && !names_[i].contains(name)) continue;
        inner += (inner.empty() ? "" : ",") + json_string(name) + ":" + json_text(value);
      }
      if (!inner.empty()) text += "," + json_string(kDefinitions[i]) + ":{" + inner + "}";
    }
    return text;
  }

 private:
  // rest: to be looked through.
  void add(std::string_view reference, std::vector<Json>& rest) {
    for (std::size_t i = 0; i < std::size(kDefinitions); ++i) {
      const std::string front = "#/" + std::string(kDefinitions[i]) + "/";
      if (!reference.starts_with(front)) continue;
      const std::string_view name = reference.substr(front.size(), reference.find('/', front.size()) - front.size());
      if (name.find_first_of("~%") == std::string_view::npos) {
        if (names_[i].insert(name).second) rest.push_back(root_.find(kDefinitions[i]).find(name));
      } else if (!std::exchange(all_, true)) {  // escaped: the compiler finds it among all
        for (const std::string_view key : kDefinitions) rest.push_back(root_.find(key));
      }
      return;
    }
    if (reference.starts_with('#')) elsewhere_ = reference;
  }

  const Json root_;
  std::unordered_set<std::string_view> names_[std::size(kDefinitions)];
  bool all_ = false;
  std::string_view elsewhere_;
};

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
  // room: bytes that parts may still take.
  FunctionGrammar(const ToolFormat& format, const ToolFunction& function, bool with_schema, std::string place,
                  std::size_t& room)
      : format_(format), function_(function), with_schema_(with_schema), place_(std::move(place)), room_(room) {}

  Result<Parts> parts() {
    if (!is_callable_name(function_.name)) {
      return Error::invalid_argument(place_ + ": expected a name of letters, digits, _ and -");
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
  static std::string of_property(std::string_view name) {
    return name.empty() ? "" : ": property \"" + std::string(name) + "\"";
  }
  // What each part takes, with the sequence that it is in.
  Status take(std::size_t bytes) {
    bytes += sizeof(Parts) + sizeof(GrammarPart);
    if (bytes > room_) {
      return Error::limit(place_ + ": expected at most " + std::to_string(kMaxPartBytes) +
                          " bytes of all functions, with what the $ref of each property lead to; found more");
    }
    room_ -= bytes;
    return {};
  }
  Result<GrammarPart> part(Kind kind, std::string source, std::string_view property = {}) {
    std::string name = place_ + of_property(property);
    ROWMAX_RETURN_IF_ERROR(take(source.size() + name.size()));
    return GrammarPart{kind, std::move(source), {}, 1, 1, std::move(name)};
  }

  Status add(char what, Parts& parts) {
    if (what == 'n') parts.push_back(literal(function_.name));
    if (what == 'i') parts.push_back({Kind::kRegex, format_.name == "kimi-k2" ? "[0-9]{1,3}" : "[a-zA-Z0-9]{9}"});
    if (what == 'j') {
      const bool any = !with_schema_ || function_.schema.empty();
      ROWMAX_TRY(schema, part(Kind::kJsonSchema, any ? R"({"type":"object"})" : function_.schema));
      parts.push_back(std::move(schema));
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
    std::unordered_set<std::string_view> required;
    for (const Json each : schema.find("required").elements()) required.insert(each.as_string());
    for (const auto& [name, property] : schema.find("properties").members()) {
      ROWMAX_TRY(parameter, parameter_parts(name, property, schema));
      if (required.contains(name)) {
        std::ranges::move(parameter, std::back_inserter(parts));
      } else {
        parts.push_back(choice({std::move(parameter)}, 0, 1));
      }
    }
    return {};
  }

  Result<Parts> parameter_parts(std::string_view name, Json property, Json root) {
    if (name.find_first_of("<>\n") != std::string_view::npos) return unsupported(name, "such a name");
    ROWMAX_RETURN_IF_ERROR(take(name.size() + format_.parameter.size() + 4 * sizeof(GrammarPart)));
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
    if ((types & kString) == 0) {
      ROWMAX_TRY(schema, schema_with_definitions(name, property, root));
      return part(Kind::kJsonSchema, std::move(schema), name);
    }
    if (types == kString && (property.find("enum") || property.find("const"))) return enum_part(name, property);
    if (depth < kMaxReferences && says_only(property, "$ref") && referred_schema(property, root)) {
      return value_part(name, referred_schema(property, root), root, depth + 1);
    }
    for (const char* key : {"anyOf", "oneOf"}) {
      if (depth >= kMaxReferences || !says_only(property, key)) continue;
      std::vector<Parts> alternatives;
      for (const Json each : property.find(key).elements()) {
        ROWMAX_TRY(value, value_part(name, each, root, depth + 1));
        ROWMAX_RETURN_IF_ERROR(take(0));
        alternatives.push_back({std::move(value)});
      }
      if (!alternatives.empty()) return choice(std::move(alternatives), 1, 1);
    }
    for (const char* key : {"enum", "const", "pattern", "format", "anyOf", "oneOf", "allOf", "$ref"}) {
      if (property.find(key)) return unsupported(name, std::string(key) + " of a text without quotes");
    }
    const auto shortest = property.find("minLength").as_int();
    const auto longest = property.find("maxLength").as_int();
    if (!shortest && !longest) return part(Kind::kRegex, text_without(tag()), name);
    // Without the tag's first character its length is that of what is written.
    return part(Kind::kRegex,
                "[^<]{" + std::to_string(shortest.value_or(0)) + "," +
                    (longest ? std::to_string(*longest) : std::string()) + "}",
                name);
  }

  Result<GrammarPart> enum_part(std::string_view name, Json property) {
    std::vector<Parts> texts;
    const auto add = [&](Json value) -> Status {
      const std::string_view text = value.as_string();
      if (text.find(tag()) != std::string_view::npos) return {};
      ROWMAX_RETURN_IF_ERROR(take(text.size()));
      texts.push_back({literal(text)});
      return {};
    };
    for (const Json value : property.find("enum").elements()) ROWMAX_RETURN_IF_ERROR(add(value));
    if (const Json value = property.find("const")) ROWMAX_RETURN_IF_ERROR(add(value));
    for (const auto& [key, value] : property.members()) {
      if (key == "enum" || key == "const" || key == "type" || is_remark(key)) continue;
      return unsupported(name, std::string(key) + " beside enum");
    }
    if (texts.empty()) return unsupported(name, "an enum without texts");
    return choice(std::move(texts), 1, 1);
  }

  // A property as a schema of its own; what its $ref lead to comes along.
  Result<std::string> schema_with_definitions(std::string_view name, Json property, Json root) const {
    if (!property.is_object()) return json_text(property);
    Definitions definitions(root);
    definitions.add_from(property);
    if (!definitions.elsewhere().empty()) return unsupported(name, "$ref to " + json_string(definitions.elsewhere()));
    const std::string members = json_members(property, kDefinitions), more = definitions.members();
    return "{" + (members.empty() ? more.substr(more.empty() ? 0 : 1) : members + more) + "}";
  }

  Error unsupported(std::string_view property, const std::string& what) const {
    return Error::unsupported(place_ + of_property(property) + ": " + what + " cannot be held to in the form " +
                              std::string(format_.name));
  }

  const ToolFormat& format_;
  const ToolFunction& function_;
  const bool with_schema_;
  const std::string place_;
  std::size_t& room_;
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

bool is_callable_name(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_-.:/").find(c) != std::string_view::npos;
  });
}

Result<std::vector<GrammarPart>> call_grammar(const ToolFormat& format, const std::vector<ToolFunction>& functions,
                                              const CallGrammarOptions& options) {
  if (format.call.empty()) {
    return Error::unsupported("calls in the form " + std::string(format.name) + " are read, but cannot be constrained");
  }
  if (functions.empty()) return Error::invalid_argument("expected a function that can be called, found none");
  // Calls that may go on stand there twice.
  const bool twice = options.many && format.many;
  std::size_t room = kMaxPartBytes / (twice ? 2 : 1);
  std::vector<Parts> calls;
  for (std::size_t i = 0; i < functions.size(); ++i) {
    std::string place = i < options.places.size() ? options.places[i] : "function \"" + functions[i].name + "\"";
    const bool with_schema = options.all_schemas || functions[i].strict;
    ROWMAX_TRY(parts, FunctionGrammar(format, functions[i], with_schema, std::move(place), room).parts());
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
  parts.push_back(choice(twice ? calls : std::move(calls), 1, 1));
  if (twice) {
    Parts next = {literal(format.between)};
    next.push_back(choice(std::move(calls), 1, 1));
    parts.push_back(choice({}, 0, -1));
    parts.back().choices.push_back(std::move(next));
  }
  if (!format.end.empty()) parts.push_back(literal(format.end));
  return parts;
}

}  // namespace rowmax::tool_calls
