#include "engine/grammar/schema_document.h"

#include <algorithm>
#include <charconv>

#include "engine/grammar/code_points.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine::grammar {
namespace {

constexpr std::size_t kMaxValues = std::size_t{1} << 21;

Status check_depth(std::string_view source, int max_depth) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < source.size(); ++i) {
    const char c = source[i];
    if (in_string) {
      if (c == '\\') ++i;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > max_depth) {
        return Error::limit(concat("nested deeper than max_depth = ", max_depth, " at byte ", i + 1));
      }
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return {};
}

// One step of a pointer as it is called in the document: %XX, ~1 and ~0 resolved.
std::string unescaped(std::string_view step) {
  std::string plain;
  for (std::size_t i = 0; i < step.size(); ++i) {
    const bool encoded =
        step[i] == '%' && i + 2 < step.size() && hex_value(step[i + 1]) >= 0 && hex_value(step[i + 2]) >= 0;
    plain += encoded ? static_cast<char>(hex_value(step[i + 1]) * 16 + hex_value(step[i + 2])) : step[i];
    if (encoded) i += 2;
  }
  std::string out;
  for (std::size_t i = 0; i < plain.size(); ++i) {
    const bool tilde = plain[i] == '~' && i + 1 < plain.size() && (plain[i + 1] == '0' || plain[i + 1] == '1');
    out += !tilde ? plain[i] : plain[i + 1] == '0' ? '~' : '/';
    if (tilde) ++i;
  }
  return out;
}

std::string escaped(std::string_view key) {
  std::string out;
  for (const char c : key) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

SchemaPlace SchemaPlace::at(std::string_view key, Json inside) const {
  return {concat(pointer, "/", escaped(key)), inside};
}
SchemaPlace SchemaPlace::at(std::size_t index, Json inside) const { return {concat(pointer, "/", index), inside}; }

Result<SchemaDocument> SchemaDocument::parse(std::string_view source, int max_depth) {
  ROWMAX_RETURN_IF_ERROR(check_depth(source, max_depth));
  const JsonLimits limits = {.depth = max_depth, .values = kMaxValues};
  ROWMAX_TRY(parsed, parse_json(source, "JSON schema", limits));
  SchemaDocument document;
  document.document_ = std::move(parsed);
  return document;
}

const SchemaDocument::Index& SchemaDocument::index(const SchemaPlace& place) {
  const auto [found, is_new] = indices_.try_emplace(place.pointer);
  if (is_new) {
    for (const auto& [key, value] : place.value.members()) found->second.members.emplace(key, value);
    for (const Json& element : place.value.elements()) found->second.elements.push_back(element);
  }
  return found->second;
}

Json SchemaDocument::find(const SchemaPlace& object, std::string_view key) {
  if (object.value.size() < 8) return object.value.find(key);
  const Index& known = index(object);
  const auto found = known.members.find(key);
  return found == known.members.end() ? Json() : found->second;
}

Result<SchemaPlace> SchemaDocument::follow(std::string_view reference) {
  if (reference.empty() || reference[0] != '#' || (reference.size() > 1 && reference[1] != '/')) {
    return Error::unsupported(concat("expected a reference into the document (#/...), found ", quote(reference)));
  }
  SchemaPlace place = root();
  std::string_view rest = reference.substr(1);
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('/', 1), rest.size());
    const std::string step = unescaped(rest.substr(1, end - 1));
    rest.remove_prefix(end);
    const Index& known = index(place);
    const auto member = known.members.find(step);
    std::size_t number = 0;
    const auto parsed = std::from_chars(step.data(), step.data() + step.size(), number);
    const bool is_number = !step.empty() && parsed.ec == std::errc() && parsed.ptr == step.data() + step.size();
    if (member != known.members.end()) {
      place = place.at(step, member->second);
    } else if (is_number && number < known.elements.size()) {
      place = place.at(number, known.elements[number]);
    } else {
      return Error::not_found(
          concat("reference ", quote(reference), ": there is no ", quote(step), " at ", place.pointer));
    }
  }
  return place;
}

}  // namespace rowmax::engine::grammar
