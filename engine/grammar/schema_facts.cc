#include "engine/grammar/schema_facts.h"

#include <algorithm>
#include <cmath>

#include "engine/grammar/formats.h"
#include "engine/grammar/json_text.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine::grammar {
namespace {

constexpr std::int64_t kMaxCount = 1'000'000'000;
constexpr std::size_t kMaxPointer = 4096;  // bytes: pointers are written out for every place

Error expected(const SchemaPlace& at, std::string_view what) {
  return schema_error(ErrorCode::kCorrupt, at.pointer, concat("expected ", what, ", found ", at.value.text()));
}
Error unsupported(const SchemaPlace& at, std::string_view what) {
  return schema_error(ErrorCode::kUnsupported, at.pointer, what);
}

unsigned type_bits(std::string_view name) {
  constexpr std::pair<std::string_view, unsigned> kTypes[] = {
      {"null", kNullType},     {"boolean", kBoolType}, {"integer", kWholeType}, {"number", kWholeType | kFractionType},
      {"string", kStringType}, {"array", kArrayType},  {"object", kObjectType}};
  for (const auto& [known, bits] : kTypes) {
    if (known == name) return bits;
  }
  return 0;
}

}  // namespace

Error schema_error(ErrorCode code, std::string_view pointer, std::string_view what) {
  constexpr std::size_t kMostPointer = 200;
  if (pointer.size() <= kMostPointer) return {code, concat(pointer, ": ", what)};
  return {code, concat(pointer.substr(0, kMostPointer / 2), "...", pointer.substr(pointer.size() - kMostPointer / 2),
                       ": ", what)};
}

struct FactGatherer::Keyword {
  std::string_view name;
  Taker take;
};

const FactGatherer::Keyword* FactGatherer::find_keyword(std::string_view name) {
  static constexpr Keyword kKeywords[] = {
      {"type", &FactGatherer::take_type},
      {"enum", &FactGatherer::take_enum},
      {"const", &FactGatherer::take_const},
      {"$ref", &FactGatherer::take_reference},
      {"allOf", &FactGatherer::take_all_of},
      {"anyOf", &FactGatherer::take_any_of},
      {"oneOf", &FactGatherer::take_one_of},
      {"minimum", &FactGatherer::take_minimum},
      {"maximum", &FactGatherer::take_maximum},
      {"exclusiveMinimum", &FactGatherer::take_above},
      {"exclusiveMaximum", &FactGatherer::take_below},
      {"multipleOf", &FactGatherer::take_multiple_of},
      {"minLength", &FactGatherer::take_min_length},
      {"maxLength", &FactGatherer::take_max_length},
      {"pattern", &FactGatherer::take_pattern},
      {"format", &FactGatherer::take_format},
      {"minItems", &FactGatherer::take_min_items},
      {"maxItems", &FactGatherer::take_max_items},
      {"uniqueItems", &FactGatherer::take_unique_items},
      {"minProperties", &FactGatherer::take_min_properties},
      {"maxProperties", &FactGatherer::take_max_properties},
      {"required", &FactGatherer::take_required},
      {"items", &FactGatherer::take_part},
      {"prefixItems", &FactGatherer::take_part},
      {"properties", &FactGatherer::take_part},
      {"patternProperties", &FactGatherer::take_part},
      {"additionalProperties", &FactGatherer::take_part},
      {"additionalItems", &FactGatherer::take_part},
      {"nullable", &FactGatherer::take_part},
      {"$defs", &FactGatherer::take_definitions},
      {"definitions", &FactGatherer::take_definitions},
      {"$id", &FactGatherer::take_id},
      {"id", &FactGatherer::take_id},
      {"$schema", &FactGatherer::take_note},
      {"$comment", &FactGatherer::take_note},
      {"title", &FactGatherer::take_note},
      {"description", &FactGatherer::take_note},
      {"default", &FactGatherer::take_note},
      {"examples", &FactGatherer::take_note},
      {"example", &FactGatherer::take_note},
      {"deprecated", &FactGatherer::take_note},
      {"readOnly", &FactGatherer::take_note},
      {"writeOnly", &FactGatherer::take_note},
  };
  // Others' own words, as OpenAPI and drafts of JSON schema to come have it: notes, whatever they are.
  static constexpr Keyword kExtension = {"x-", &FactGatherer::take_note};
  if (name.starts_with(kExtension.name)) return &kExtension;
  const auto* const found = std::ranges::find(kKeywords, name, &Keyword::name);
  return found == std::end(kKeywords) ? nullptr : found;
}

Status FactGatherer::add(const SchemaPlace& place, const Choices& choices, SchemaFacts& facts) {
  if (place.value.is_bool()) {
    facts.never = facts.never || !place.value.as_bool();
    return {};
  }
  if (!place.value.is_object()) return expected(place, "a schema (an object, true or false)");
  const auto [seen, is_new] = facts.seen.try_emplace(place.pointer, true);
  if (!is_new && seen->second) return unsupported(place, "the schema is part of itself ($ref or allOf)");
  if (!is_new) return {};
  if (depth_ >= limits_.max_depth) {
    return schema_error(ErrorCode::kLimit, place.pointer,
                        concat("$ref and allOf nested deeper than max_depth = ", limits_.max_depth));
  }
  if (place.pointer.size() > kMaxPointer) {
    return schema_error(ErrorCode::kLimit, place.pointer, concat("the pointer has more than ", kMaxPointer, " bytes"));
  }
  choices_ = &choices;
  ++depth_;
  Status status = add_keywords(place, facts);
  --depth_;
  facts.seen[place.pointer] = false;
  return status;
}

Status FactGatherer::charge(const SchemaPlace& place, std::size_t steps) {
  steps_ += steps;
  if (steps_ <= limits_.max_nodes) return {};
  return schema_error(
      ErrorCode::kLimit, place.pointer,
      concat("schemas that are true together take more than max_nodes = ", limits_.max_nodes, " steps"));
}

// Behind an $id that is not the root's, a reference would mean something else.
bool FactGatherer::holds_a_reference(const Json& value) {
  steps_ += value.size();  // schemas with an $id within each other are looked through again
  for (const Json& element : value.elements()) {
    if (holds_a_reference(element)) return true;
  }
  for (const auto& [name, member] : value.members()) {
    if (name == "$ref" || holds_a_reference(member)) return true;
  }
  return false;
}

Status FactGatherer::add_keywords(const SchemaPlace& place, SchemaFacts& facts) {
  const Json nullable = place.value.find("nullable");
  for (const auto& [name, value] : place.value.members()) {
    const Keyword* const keyword = find_keyword(name);
    const SchemaPlace at = place.at(name, value);
    if (keyword == nullptr) return unsupported(at, "the keyword is not supported");
    ROWMAX_RETURN_IF_ERROR(charge(at, 4 + value.size()));
    if (name == "nullable") {
      if (!value.is_bool()) return expected(at, "true or false");
      if (value.as_bool() && !place.value.find("type"))
        return unsupported(at, "nullable is supported beside type alone");
    }
    if ((name == "$id" || name == "id") && place.pointer != "#" && holds_a_reference(place.value)) {
      return unsupported(at, "supported in the root, and where no $ref lies in it");
    }
    const unsigned types_before = facts.types;
    ROWMAX_RETURN_IF_ERROR((this->*keyword->take)(at, facts));
    if (name == "type" && nullable.as_bool()) facts.types |= types_before & kNullType;
  }
  ROWMAX_RETURN_IF_ERROR(add_array_rules(place, facts));
  return add_object_rules(place, facts);
}

Status FactGatherer::take_part(const SchemaPlace& /*at*/, SchemaFacts& /*facts*/) { return {}; }
Status FactGatherer::take_note(const SchemaPlace& /*at*/, SchemaFacts& /*facts*/) { return {}; }

// What references inside would mean is looked at in add_keywords.
Status FactGatherer::take_id(const SchemaPlace& at, SchemaFacts& /*facts*/) {
  return at.value.is_string() ? Status() : Status(expected(at, "a text"));
}

Status FactGatherer::take_definitions(const SchemaPlace& at, SchemaFacts& /*facts*/) {
  return at.value.is_object() ? Status() : Status(expected(at, "an object of schemas"));
}

Status FactGatherer::take_type(const SchemaPlace& at, SchemaFacts& facts) {
  unsigned types = 0;
  const auto add_one = [&](const SchemaPlace& name) -> Status {
    const unsigned bits = name.value.is_string() ? type_bits(name.value.as_string()) : 0;
    if (bits == 0) return expected(name, "null, boolean, integer, number, string, array or object");
    types |= bits;
    return {};
  };
  if (at.value.is_array()) {
    for (std::size_t i = 0; const Json& name : at.value.elements()) ROWMAX_RETURN_IF_ERROR(add_one(at.at(i++, name)));
  } else {
    ROWMAX_RETURN_IF_ERROR(add_one(at));
  }
  facts.types &= types;
  return {};
}

Status FactGatherer::take_enum(const SchemaPlace& at, SchemaFacts& facts) {
  if (!at.value.is_array()) return expected(at, "a list of values");
  std::map<std::string, Json> values;
  for (std::size_t i = 0; const Json& value : at.value.elements()) {
    auto text = json_text(value);
    if (!text) return unsupported(at.at(i, value), concat("the number ", value.text(), " does not fit 64 bits"));
    if (!facts.values || facts.values->contains(*text)) values.emplace(std::move(*text), value);
    ++i;
  }
  facts.values = std::move(values);
  facts.values_place = at.pointer;
  return {};
}

Status FactGatherer::take_const(const SchemaPlace& at, SchemaFacts& facts) {
  auto text = json_text(at.value);
  if (!text) return unsupported(at, concat("the number ", at.value.text(), " does not fit 64 bits"));
  const bool possible = !facts.values || facts.values->contains(*text);
  facts.values.emplace();
  if (possible) facts.values->emplace(std::move(*text), at.value);
  facts.values_place = at.pointer;
  return {};
}

Status FactGatherer::take_reference(const SchemaPlace& at, SchemaFacts& facts) {
  if (!at.value.is_string()) return expected(at, "a text");
  const auto target = document_.follow(at.value.as_string());
  if (!target.ok()) return schema_error(target.error().code, at.pointer, target.error().message);
  return add(*target, *choices_, facts);
}

Status FactGatherer::take_all_of(const SchemaPlace& at, SchemaFacts& facts) {
  if (!at.value.is_array() || at.value.size() == 0) return expected(at, "a list of schemas");
  for (std::size_t i = 0; const Json& schema : at.value.elements()) {
    ROWMAX_RETURN_IF_ERROR(add(at.at(i++, schema), *choices_, facts));
  }
  return {};
}

Status FactGatherer::take_choice(const SchemaPlace& at, SchemaFacts& facts, bool only_one) {
  if (!at.value.is_array() || at.value.size() == 0) return expected(at, "a list of schemas");
  const auto chosen = choices_->find(at.pointer);
  if (chosen != choices_->end()) {
    ROWMAX_RETURN_IF_ERROR(charge(at, chosen->second / 8));
    return add(at.at(chosen->second, at.value.at(chosen->second)), *choices_, facts);
  }
  OpenChoice open = {.pointer = at.pointer, .alternatives = {}, .only_one = only_one};
  for (std::size_t i = 0; const Json& schema : at.value.elements()) {
    open.alternatives.push_back(at.at(i, schema));
    ++i;
  }
  facts.open.push_back(std::move(open));
  return {};
}

Status FactGatherer::take_bound(const SchemaPlace& at, std::optional<DecimalBound>& bound, bool is_low,
                                bool inclusive) {
  if (!at.value.is_number()) return expected(at, "a number");
  const auto whole = at.value.as_int();
  std::optional<DecimalBound> next = whole ? decimal_bound(*whole) : decimal_bound(at.value.as_double(), inclusive);
  if (!next) return unsupported(at, concat("a bound of more than 40 digits, ", at.value.text()));
  next->inclusive = inclusive;
  const int order = bound ? compare(*next, *bound) : 0;
  const bool tighter = !bound || (is_low ? order > 0 : order < 0) || (order == 0 && !inclusive);
  if (tighter) bound = next;
  return {};
}

Status FactGatherer::take_multiple_of(const SchemaPlace& at, SchemaFacts& facts) {
  if (at.value.as_int() != 1) return unsupported(at, "multipleOf is supported as 1 alone");
  facts.types &= ~static_cast<unsigned>(kFractionType);
  return {};
}

static Result<std::int64_t> count_of(const SchemaPlace& at) {
  const double count = at.value.as_double();
  if (!at.value.is_number() || count < 0 || count != std::floor(count))
    return expected(at, "a whole number, not negative");
  return static_cast<std::int64_t>(std::min(count, 2.0 * kMaxCount));
}

Status FactGatherer::take_least(const SchemaPlace& at, std::uint32_t& bound) {
  ROWMAX_TRY(count, count_of(at));
  if (count > kMaxCount) return schema_error(ErrorCode::kLimit, at.pointer, concat("more than ", kMaxCount));
  bound = std::max(bound, static_cast<std::uint32_t>(count));
  return {};
}

// More than kMaxCount is as good as no bound: nothing of that length is ever written.
Status FactGatherer::take_most(const SchemaPlace& at, std::uint32_t& bound) {
  ROWMAX_TRY(count, count_of(at));
  if (count <= kMaxCount) bound = std::min(bound, static_cast<std::uint32_t>(count));
  return {};
}

Status FactGatherer::take_min_properties(const SchemaPlace& at, SchemaFacts& facts) {
  facts.min_properties_place = at.pointer;
  return take_least(at, facts.min_properties);
}

Status FactGatherer::take_pattern(const SchemaPlace& at, SchemaFacts& facts) {
  if (!at.value.is_string()) return expected(at, "a text");
  facts.patterns.push_back(at);
  return {};
}

Status FactGatherer::take_format(const SchemaPlace& at, SchemaFacts& facts) {
  if (!at.value.is_string()) return expected(at, "a text");
  if (const auto bounds = number_format(at.value.as_string())) {
    facts.number_format = at;
    const bool is_lower = bounds->low && (!facts.low || compare(*bounds->low, *facts.low) > 0);
    const bool is_upper = bounds->high && (!facts.high || compare(*bounds->high, *facts.high) < 0);
    if (is_lower) facts.low = bounds->low;
    if (is_upper) facts.high = bounds->high;
    return {};
  }
  if (format_regex(at.value.as_string()).empty()) {
    return unsupported(at, concat("format ", at.value.text(), " is not supported; expected one of ", format_names()));
  }
  if (facts.format && !facts.format->value.is(at.value.as_string())) {
    return unsupported(at, concat("a second format, beside that of ", facts.format->pointer));
  }
  facts.format = at;
  return {};
}

Status FactGatherer::take_unique_items(const SchemaPlace& at, SchemaFacts& /*facts*/) {
  if (!at.value.is_bool()) return expected(at, "true or false");
  return at.value.as_bool() ? Status(unsupported(at, "the keyword is not supported")) : Status();
}

Status FactGatherer::take_required(const SchemaPlace& at, SchemaFacts& facts) {
  if (!at.value.is_array()) return expected(at, "a list of names");
  for (std::size_t i = 0; const Json& name : at.value.elements()) {
    if (!name.is_string()) return expected(at.at(i, name), "a text");
    if (facts.is_required.emplace(name.as_string()).second) facts.required.emplace_back(name.as_string());
    ++i;
  }
  return {};
}

Status FactGatherer::add_array_rules(const SchemaPlace& place, SchemaFacts& facts) {
  ArrayRules rules;
  for (const auto& [name, value] : place.value.members()) {
    const SchemaPlace at = place.at(name, value);
    const bool is_old_prefix = name == "items" && value.is_array();  // until draft 2019-09
    if (is_old_prefix && place.value.find("prefixItems")) return expected(at, "a schema beside prefixItems");
    if (name == "additionalItems") {
      if (place.value.find("items").is_array()) rules.items = at;
    } else if (name == "items" && !is_old_prefix) {
      rules.items = at;
    } else if (name == "prefixItems" || is_old_prefix) {
      if (!value.is_array()) return expected(at, "a list of schemas");
      for (std::size_t i = 0; const Json& schema : value.elements()) {
        rules.prefix.push_back(at.at(i, schema));
        ++i;
      }
    }
  }
  if (rules.items || !rules.prefix.empty()) facts.arrays.push_back(std::move(rules));
  return {};
}

Status FactGatherer::add_properties(const SchemaPlace& at, ObjectRules& rules) {
  if (!at.value.is_object()) return expected(at, "an object of schemas");
  for (const auto& [name, schema] : at.value.members()) {
    rules.properties.emplace(name, at.at(name, schema));
    rules.order.emplace_back(name);
  }
  return {};
}

Status FactGatherer::add_object_rules(const SchemaPlace& place, SchemaFacts& facts) {
  ObjectRules rules;
  bool given = false, named = false;
  for (const auto& [name, value] : place.value.members()) {
    const SchemaPlace at = place.at(name, value);
    given = given || name.ends_with("roperties");
    if (name == "properties") {
      named = true;
      ROWMAX_RETURN_IF_ERROR(add_properties(at, rules));
    } else if (name == "patternProperties") {
      if (!value.is_object()) return expected(at, "an object of schemas");
      for (const auto& [pattern, schema] : value.members()) {
        rules.patterns.emplace_back(pattern, at.at(pattern, schema));
      }
    } else if (name == "additionalProperties") {
      rules.additional = at;
    }
  }
  if (options_.strict && (named || place.value.find("type").is("object")))
    ROWMAX_RETURN_IF_ERROR(check_strict(place, rules));
  rules.closed = options_.closed_objects && named && !rules.additional && rules.patterns.empty();
  if (given) facts.objects.push_back(std::move(rules));
  return {};
}

Status FactGatherer::check_strict(const SchemaPlace& place, const ObjectRules& rules) const {
  if (!rules.additional || !rules.additional->value.is_bool() || rules.additional->value.as_bool()) {
    return schema_error(ErrorCode::kInvalidArgument, place.pointer,
                        "strict mode: expected additionalProperties: false, found " +
                            (rules.additional ? rules.additional->value.text() : std::string("none")));
  }
  std::set<std::string_view> required;
  for (const Json& name : place.value.find("required").elements()) required.insert(name.as_string());
  for (const std::string& name : rules.order) {
    if (!required.contains(name)) {
      return schema_error(ErrorCode::kInvalidArgument, place.pointer,
                          concat("strict mode: expected every property in required, which lacks ", quote(name)));
    }
  }
  return {};
}

}  // namespace rowmax::engine::grammar
