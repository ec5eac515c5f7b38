#include "engine/grammar/one_of.h"

#include <algorithm>
#include <optional>

#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine::grammar {
namespace {

constexpr std::size_t kMaxAlternatives = 500;

// Texts sorted as both maps are.
bool share_a_text(const std::map<std::string, Json>& a, const std::map<std::string, Json>& b) {
  for (auto i = a.begin(), j = b.begin(); i != a.end() && j != b.end();) {
    if (i->first == j->first) return true;
    i->first < j->first ? ++i : ++j;
  }
  return false;
}

bool differ_as_values(const SchemaFacts& a, const SchemaFacts& b) {
  return a.never || b.never || (a.types & b.types) == 0 ||
         (a.values && b.values && !share_a_text(*a.values, *b.values));
}

// What an object schema says of a property.
Result<SchemaFacts> property_facts(FactGatherer& gatherer, const SchemaFacts& object, const std::string& name) {
  SchemaFacts facts;
  ROWMAX_RETURN_IF_ERROR(gatherer.charge({}, 1 + object.objects.size()));
  for (const ObjectRules& rules : object.objects) {
    const auto named = rules.properties.find(name);
    if (named != rules.properties.end()) {
      ROWMAX_RETURN_IF_ERROR(gatherer.add(named->second, {}, facts));
    } else if (rules.patterns.empty() && rules.additional && rules.additional->value.is_bool()) {
      facts.never = facts.never || !rules.additional->value.as_bool();
    } else if (rules.closed) {
      facts.never = true;
    }
  }
  return facts;
}

Result<bool> are_apart(FactGatherer& gatherer, const SchemaFacts& a, const SchemaFacts& b) {
  if (differ_as_values(a, b)) return true;
  if ((a.types & b.types) != kObjectType) return false;
  for (const auto& [one, other] : {std::pair(&a, &b), std::pair(&b, &a)}) {
    for (const std::string& name : one->required) {
      ROWMAX_TRY(in_other, property_facts(gatherer, *other, name));
      if (in_other.never) return true;
      if (!other->is_required.contains(name)) continue;
      ROWMAX_TRY(in_one, property_facts(gatherer, *one, name));
      if (differ_as_values(in_one, in_other)) return true;
    }
  }
  return false;
}

}  // namespace

Status check_one_of(FactGatherer& gatherer, const OpenChoice& choice) {
  const std::size_t n = choice.alternatives.size();
  if (n > kMaxAlternatives) {
    return schema_error(ErrorCode::kLimit, choice.pointer, concat("more than ", kMaxAlternatives, " alternatives"));
  }
  std::vector<SchemaFacts> facts(n);
  for (std::size_t i = 0; i < n; ++i) ROWMAX_RETURN_IF_ERROR(gatherer.add(choice.alternatives[i], {}, facts[i]));
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = i + 1; k < n; ++k) {
      const std::size_t n_values =
          facts[i].values && facts[k].values ? facts[i].values->size() + facts[k].values->size() : 0;
      ROWMAX_RETURN_IF_ERROR(gatherer.charge(choice.alternatives[i], 1 + n_values / 8));
      ROWMAX_TRY(apart, are_apart(gatherer, facts[i], facts[k]));
      if (apart) continue;
      return schema_error(
          ErrorCode::kUnsupported, choice.pointer,
          concat("alternatives ", i, " and ", k, " could both be true; anyOf asks for no more than one"));
    }
  }
  return {};
}

}  // namespace rowmax::engine::grammar
