#include "engine/grammar/enum_filter.h"

#include <cmath>

#include "engine/grammar/code_points.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine::grammar {
namespace {

unsigned type_of(const Json& value) {
  if (value.is_null()) return kNullType;
  if (value.is_bool()) return kBoolType;
  if (value.is_string()) return kStringType;
  if (value.is_array()) return kArrayType;
  if (value.is_object()) return kObjectType;
  return value.as_double() == std::floor(value.as_double()) ? kWholeType : kFractionType;
}

std::size_t length_of(std::string_view text) {
  std::size_t length = 0;
  for (const char c : text) length += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return length;
}

Result<bool> is_in_range(const SchemaFacts& facts, const Json& value) {
  if (!facts.low && !facts.high) return true;
  const auto whole = value.as_int();
  const std::optional<DecimalBound> number = whole ? decimal_bound(*whole) : decimal_bound(value.as_double(), true);
  if (!number) {
    return schema_error(ErrorCode::kUnsupported, facts.values_place,
                        concat("the number ", value.text(), " beside a bound: more than 40 digits"));
  }
  const auto fits = [&](const DecimalBound& bound, int wanted) {
    const int order = compare(*number, bound);
    return order == wanted || (order == 0 && bound.inclusive);
  };
  return (!facts.low || fits(*facts.low, 1)) && (!facts.high || fits(*facts.high, -1));
}

Error beside(const SchemaFacts& facts, std::string_view what) {
  return schema_error(ErrorCode::kUnsupported, facts.values_place, concat("values beside ", what));
}

Result<bool> is_allowed(const SchemaFacts& facts, const Json& value) {
  const unsigned type = type_of(value);
  if ((facts.types & type) == 0) return false;
  if ((type & (kWholeType | kFractionType)) != 0) return is_in_range(facts, value);
  if (type == kStringType) {
    if (!facts.patterns.empty()) return beside(facts, concat("the pattern of ", facts.patterns[0].pointer));
    if (facts.format) return beside(facts, concat("the format of ", facts.format->pointer));
    const std::size_t length = length_of(value.as_string());
    return length >= facts.min_length && (facts.max_length == kUnbounded || length <= facts.max_length);
  }
  if (type == kArrayType) {
    if (!facts.arrays.empty()) return beside(facts, "items or prefixItems");
    return value.size() >= facts.min_items && value.size() <= facts.max_items;
  }
  if (type == kObjectType) {
    if (!facts.objects.empty()) return beside(facts, "properties");
    for (const std::string& name : facts.required) {
      bool found = false;
      for (const auto& [key, member] : value.members()) found = found || key == name;
      if (!found) return false;
    }
  }
  return true;
}

}  // namespace

Result<std::vector<std::string>> allowed_values(const SchemaFacts& facts) {
  std::vector<std::string> texts;
  for (const auto& [text, value] : *facts.values) {
    ROWMAX_TRY(allowed, is_allowed(facts, value));
    if (allowed) texts.push_back(text);
  }
  return texts;
}

}  // namespace rowmax::engine::grammar
