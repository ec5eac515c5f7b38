// What schemas that must all be true of one value say about it: every keyword taken in, and none passed over.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/grammar/number_range.h"
#include "engine/grammar/schema_document.h"
#include "rowmax/engine/grammar.h"
#include "rowmax/result.h"

namespace rowmax::engine::grammar {

// Types of JSON values, as bits. A number is whole or not, and JSON schema's integer is a whole number.
enum TypeBits : unsigned {
  kNullType = 1,
  kBoolType = 2,
  kWholeType = 4,
  kFractionType = 8,
  kStringType = 16,
  kArrayType = 32,
  kObjectType = 64,
  kAllTypes = 127,
};

struct ObjectRules {
  std::map<std::string, SchemaPlace> properties;
  std::vector<std::string> order;
  std::optional<SchemaPlace> additional;
  std::vector<std::pair<std::string, SchemaPlace>> patterns;  // the texts and their schemas
  bool closed = false;                                        // no property but these, as an option says
};

struct ArrayRules {
  std::vector<SchemaPlace> prefix;
  std::optional<SchemaPlace> items;
};

// Alternatives of an anyOf or oneOf of which none is chosen yet.
struct OpenChoice {
  std::string pointer;
  std::vector<SchemaPlace> alternatives;
  bool only_one = false;
};

struct SchemaFacts {
  bool never = false;
  unsigned types = kAllTypes;
  std::optional<std::map<std::string, Json>> values;  // by their text
  std::string values_place;
  std::optional<DecimalBound> low, high;
  std::uint32_t min_length = 0, max_length = kUnbounded;
  std::vector<SchemaPlace> patterns;  // their texts
  std::optional<SchemaPlace> format;
  std::optional<SchemaPlace> number_format;
  std::uint32_t min_items = 0, max_items = kUnbounded;
  std::vector<ArrayRules> arrays;
  std::uint32_t min_properties = 0, max_properties = kUnbounded;
  std::string min_properties_place;
  std::vector<ObjectRules> objects;
  std::vector<std::string> required;  // in the order of their appearance
  std::set<std::string> is_required;
  std::vector<OpenChoice> open;
  std::map<std::string, bool> seen;  // pointers; true while it is being taken in
};

// Which alternative of which anyOf or oneOf (by its pointer) is to be true.
using Choices = std::map<std::string, std::size_t>;

class FactGatherer {
 public:
  FactGatherer(SchemaDocument& document, const JsonOptions& options, const GrammarLimits& limits)
      : document_(document), options_(options), limits_(limits) {}

  // Errors begin with the JSON pointer.
  Status add(const SchemaPlace& place, const Choices& choices, SchemaFacts& facts);
  // Counts work that grows with schemas that are used together; kLimit past max_nodes.
  Status charge(const SchemaPlace& place, std::size_t steps);

 private:
  using Taker = Status (FactGatherer::*)(const SchemaPlace&, SchemaFacts&);
  struct Keyword;
  static const Keyword* find_keyword(std::string_view name);

  Status take_type(const SchemaPlace& at, SchemaFacts& facts);
  Status take_enum(const SchemaPlace& at, SchemaFacts& facts);
  Status take_const(const SchemaPlace& at, SchemaFacts& facts);
  Status take_reference(const SchemaPlace& at, SchemaFacts& facts);
  Status take_all_of(const SchemaPlace& at, SchemaFacts& facts);
  Status take_any_of(const SchemaPlace& at, SchemaFacts& facts) { return take_choice(at, facts, false); }
  Status take_one_of(const SchemaPlace& at, SchemaFacts& facts) { return take_choice(at, facts, true); }
  Status take_choice(const SchemaPlace& at, SchemaFacts& facts, bool only_one);
  Status take_minimum(const SchemaPlace& at, SchemaFacts& facts) { return take_bound(at, facts.low, true, true); }
  Status take_maximum(const SchemaPlace& at, SchemaFacts& facts) { return take_bound(at, facts.high, false, true); }
  Status take_above(const SchemaPlace& at, SchemaFacts& facts) { return take_bound(at, facts.low, true, false); }
  Status take_below(const SchemaPlace& at, SchemaFacts& facts) { return take_bound(at, facts.high, false, false); }
  Status take_bound(const SchemaPlace& at, std::optional<DecimalBound>& bound, bool is_low, bool inclusive);
  Status take_multiple_of(const SchemaPlace& at, SchemaFacts& facts);
  Status take_min_length(const SchemaPlace& at, SchemaFacts& facts) { return take_least(at, facts.min_length); }
  Status take_max_length(const SchemaPlace& at, SchemaFacts& facts) { return take_most(at, facts.max_length); }
  Status take_min_items(const SchemaPlace& at, SchemaFacts& facts) { return take_least(at, facts.min_items); }
  Status take_max_items(const SchemaPlace& at, SchemaFacts& facts) { return take_most(at, facts.max_items); }
  Status take_min_properties(const SchemaPlace& at, SchemaFacts& facts);
  Status take_max_properties(const SchemaPlace& at, SchemaFacts& facts) { return take_most(at, facts.max_properties); }
  Status take_least(const SchemaPlace& at, std::uint32_t& bound);
  Status take_most(const SchemaPlace& at, std::uint32_t& bound);
  Status take_pattern(const SchemaPlace& at, SchemaFacts& facts);
  Status take_format(const SchemaPlace& at, SchemaFacts& facts);
  Status take_unique_items(const SchemaPlace& at, SchemaFacts& facts);
  Status take_required(const SchemaPlace& at, SchemaFacts& facts);
  Status take_definitions(const SchemaPlace& at, SchemaFacts& facts);
  Status take_id(const SchemaPlace& at, SchemaFacts& facts);
  Status take_note(const SchemaPlace& at, SchemaFacts& facts);
  Status take_part(const SchemaPlace& at, SchemaFacts& facts);  // of what add_rules takes as one

  bool holds_a_reference(const Json& value);
  Status add_keywords(const SchemaPlace& place, SchemaFacts& facts);
  Status add_array_rules(const SchemaPlace& place, SchemaFacts& facts);
  Status add_object_rules(const SchemaPlace& place, SchemaFacts& facts);
  Status add_properties(const SchemaPlace& at, ObjectRules& rules);
  Status check_strict(const SchemaPlace& place, const ObjectRules& rules) const;

  SchemaDocument& document_;
  const JsonOptions& options_;
  const GrammarLimits& limits_;
  const Choices* choices_ = nullptr;
  int depth_ = 0;
  std::size_t steps_ = 0;  // members and elements looked at: schemas that are used together are looked at again
};

Error schema_error(ErrorCode code, std::string_view pointer, std::string_view what);

}  // namespace rowmax::engine::grammar
