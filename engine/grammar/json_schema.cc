#include "engine/grammar/json_schema.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/grammar/enum_filter.h"
#include "engine/grammar/formats.h"
#include "engine/grammar/json_text.h"
#include "engine/grammar/one_of.h"
#include "engine/grammar/schema_facts.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine::grammar {
namespace {

constexpr std::size_t kMaxCountedStates = 1'000'000;

// Schemas that must all be true, with what is chosen of their alternatives.
struct Together {
  std::vector<SchemaPlace> places;
  Choices choices;

  std::string key() const {
    std::vector<std::string_view> pointers;
    for (const SchemaPlace& place : places) pointers.push_back(place.pointer);
    std::ranges::sort(pointers);
    pointers.erase(std::unique(pointers.begin(), pointers.end()), pointers.end());
    std::string key;
    for (const std::string_view pointer : pointers) key += concat(pointer, "\n");
    for (const auto& [pointer, index] : choices) key += concat(pointer, "=", index, "\n");
    return key;
  }
};

// Every set of schemas that is met is a rule; rules wait in a queue, so that nothing here recurses.
class SchemaCompiler {
 public:
  SchemaCompiler(Syntax& syntax, SchemaDocument& document, const JsonOptions& options)
      : syntax_(syntax),
        text_(syntax, options.whitespace),
        document_(document),
        gatherer_(document, options, syntax.limits()) {}

  Result<NodeId> run() {
    const NodeId root = schema({{document_.root()}, {}});
    while (!queue_.empty()) {
      const auto [rule, together] = std::move(queue_.back());
      queue_.pop_back();
      ROWMAX_TRY(node, compile(together));
      syntax_.define(rule, node);
      ROWMAX_RETURN_IF_ERROR(status());
    }
    ROWMAX_RETURN_IF_ERROR(status());
    return root;
  }

 private:
  Status status() const { return failure_.ok() ? syntax_.status() : failure_; }
  void charge(const SchemaPlace& place, std::size_t steps) {
    Status charged = gatherer_.charge(place, steps);
    if (failure_.ok()) failure_ = std::move(charged);
  }

  NodeId schema(Together together) {
    std::erase_if(together.places,
                  [](const SchemaPlace& place) { return place.value.is_bool() && place.value.as_bool(); });
    if (together.places.empty()) return text_.any_value();
    for (const SchemaPlace& place : together.places) {
      if (place.value.is_bool()) return syntax_.never();
    }
    std::string key = together.key();
    charge(together.places[0], together.places.size() + key.size() / 64);
    if (!failure_.ok()) return syntax_.never();
    const auto [known, is_new] = rules_.try_emplace(std::move(key));
    if (is_new) {
      known->second = syntax_.declare(together.places[0].pointer);
      queue_.emplace_back(known->second, std::move(together));
    }
    return syntax_.call(known->second);
  }

  Result<NodeId> compile(const Together& together) {
    SchemaFacts facts;
    for (const SchemaPlace& place : together.places) {
      ROWMAX_RETURN_IF_ERROR(gatherer_.add(place, together.choices, facts));
    }
    if (facts.never) return syntax_.never();
    if (facts.open.empty()) return value(facts, together.places[0].pointer);
    const OpenChoice& open = facts.open[0];
    if (open.only_one) ROWMAX_RETURN_IF_ERROR(check_one_of(gatherer_, open));
    std::vector<NodeId> choices;
    for (std::size_t i = 0; i < open.alternatives.size(); ++i) {
      Together next = together;
      next.choices[open.pointer] = i;
      choices.push_back(schema(std::move(next)));
      ROWMAX_RETURN_IF_ERROR(status());
    }
    return syntax_.choice(choices);
  }

  Result<NodeId> value(const SchemaFacts& facts, const std::string& pointer) {
    if (facts.values) {
      ROWMAX_TRY(texts, allowed_values(facts));
      return syntax_.one_of(std::move(texts));
    }
    std::vector<NodeId> choices;
    if ((facts.types & kNullType) != 0) choices.push_back(syntax_.literal("null"));
    if ((facts.types & kBoolType) != 0)
      choices.push_back(syntax_.choice({syntax_.literal("true"), syntax_.literal("false")}));
    if ((facts.types & (kWholeType | kFractionType)) != 0) choices.push_back(number(facts));
    if ((facts.types & kStringType) != 0) {
      ROWMAX_TRY(text, string(facts));
      choices.push_back(text);
    }
    if ((facts.types & kArrayType) != 0) choices.push_back(array(facts));
    if ((facts.types & kObjectType) != 0) {
      ROWMAX_TRY(inside, object(facts, pointer));
      choices.push_back(inside);
    }
    return syntax_.choice(choices);
  }

  NodeId number(const SchemaFacts& facts) {
    const bool fractions = (facts.types & kFractionType) != 0;
    if (facts.low || facts.high) return number_range(syntax_, facts.low, facts.high, fractions);
    return fractions ? text_.any_number() : text_.any_integer();
  }

  Result<NodeId> string(const SchemaFacts& facts) {
    if (facts.min_length > facts.max_length) return syntax_.never();
    if (facts.number_format) {
      return schema_error(ErrorCode::kUnsupported, facts.number_format->pointer,
                          "supported for numbers alone: expected type integer or number");
    }
    const bool sized = facts.min_length > 0 || facts.max_length != kUnbounded;
    if (facts.patterns.empty() && !facts.format) return text_.string_of(facts.min_length, facts.max_length);
    const SchemaPlace& place = facts.format ? *facts.format : facts.patterns[0];
    if (facts.patterns.size() + (facts.format ? 1 : 0) > 1) {
      return schema_error(ErrorCode::kUnsupported, place.pointer, "pattern and format together, or a second pattern");
    }
    std::map<NodeId, bool> chars;
    const WriteChars write = [&](const CodePointSet& set) {
      const NodeId id = text_.chars(set);
      chars[id] = true;
      return id;
    };
    const std::string_view source =
        facts.format ? format_regex(facts.format->value.as_string()) : place.value.as_string();
    auto inside = parse_regex(syntax_, source, write, facts.format ? Anchoring::kWhole : Anchoring::kSearch);
    if (!inside.ok()) return schema_error(inside.error().code, place.pointer, inside.error().message);
    if (!sized) return text_.quoted(*inside);
    const auto fitted = with_length(*inside, chars, facts.min_length, facts.max_length);
    if (!fitted) {
      return schema_error(ErrorCode::kUnsupported, place.pointer,
                          "a length (minLength, maxLength) that cuts what the pattern or format allows");
    }
    return text_.quoted(*fitted);
  }

  // The texts of a part that are so long: where all are, or where it is repetitions of single characters. Nothing for others.
  std::optional<NodeId> with_length(NodeId id, const std::map<NodeId, bool>& chars, std::uint32_t min,
                                    std::uint32_t max) {
    const auto [least, most] = lengths(id, chars);
    if (least >= min && most <= max) return id;
    const Node node = syntax_.node(id);
    if (node.kind != NodeKind::kRepeat) return std::nullopt;
    const NodeId child = syntax_.children(node)[0];
    if (!chars.contains(child)) return std::nullopt;
    const std::uint32_t low = std::max(min, node.min), high = std::min(max, node.max);
    return low > high ? syntax_.never() : syntax_.repeat(child, low, high);
  }

  std::pair<std::uint64_t, std::uint64_t> lengths(NodeId id, const std::map<NodeId, bool>& chars) const {
    constexpr std::uint64_t kEndless = kUnbounded;
    if (chars.contains(id)) return {1, 1};
    const Node& node = syntax_.node(id);
    if (node.kind == NodeKind::kEmpty) return {0, 0};
    if (node.kind == NodeKind::kNever) return {kEndless, 0};
    if (node.kind != NodeKind::kSequence && node.kind != NodeKind::kChoice && node.kind != NodeKind::kRepeat) {
      return {0, kEndless};
    }
    std::uint64_t least = node.kind == NodeKind::kChoice ? kEndless : 0, most = 0;
    for (const NodeId child : syntax_.children(node)) {
      const auto [low, high] = lengths(child, chars);
      if (node.kind == NodeKind::kSequence) {
        least = std::min(kEndless, least + low);
        most = std::min(kEndless, most + high);
      } else if (node.kind == NodeKind::kChoice) {
        least = std::min(least, low);
        most = std::max(most, high);
      } else {
        least = std::min(kEndless, low * node.min);
        most = node.max == kUnbounded ? kEndless : std::min(kEndless, high * node.max);
      }
    }
    return {least, most};
  }

  // Element i, behind the comma before it: places 0 to prefix, then as many as there may be of the rest.
  NodeId array(const SchemaFacts& facts) {
    if (facts.min_items > facts.max_items) return syntax_.never();
    std::size_t n_prefix = 0;
    for (const ArrayRules& rules : facts.arrays) n_prefix = std::max(n_prefix, rules.prefix.size());
    const NodeId rest = element(facts, n_prefix);
    if (n_prefix == 0) return text_.enclosed("[", text_.list(rest, facts.min_items, facts.max_items), "]");
    // States: 0, the end, and behind 1 to n_prefix elements.
    const auto state = [](std::size_t behind) { return behind == 0 ? 0u : static_cast<std::uint32_t>(behind) + 1; };
    std::vector<Arc> arcs;
    for (std::size_t i = 0; i < n_prefix; ++i) {
      if (i >= facts.min_items) arcs.push_back({state(i), i == 0 ? syntax_.empty() : text_.space(), 1});
      if (i >= facts.max_items) break;
      const NodeId next = element(facts, i);
      arcs.push_back({state(i), i == 0 ? next : text_.after_comma(next), state(i + 1)});
    }
    if (n_prefix <= facts.max_items) {
      const auto n = static_cast<std::uint32_t>(n_prefix);
      const std::uint32_t least = facts.min_items > n ? facts.min_items - n : 0;
      const std::uint32_t most = facts.max_items == kUnbounded ? kUnbounded : facts.max_items - n;
      const NodeId more = syntax_.repeat(text_.after_comma(rest), least, most);
      arcs.push_back({state(n_prefix), syntax_.sequence({more, text_.space()}), 1});
    }
    return text_.enclosed("[", syntax_.graph(static_cast<std::uint32_t>(n_prefix) + 2, arcs), "]");
  }

  NodeId element(const SchemaFacts& facts, std::size_t i) {
    Together together;
    charge({}, facts.arrays.size());
    if (!failure_.ok()) return syntax_.never();
    for (const ArrayRules& rules : facts.arrays) {
      if (i < rules.prefix.size()) {
        together.places.push_back(rules.prefix[i]);
      } else if (rules.items) {
        together.places.push_back(*rules.items);
      }
    }
    return schema(std::move(together));
  }

  // What is said of a property: by its name, or by additionalProperties. No name: of those that are named nowhere.
  NodeId property(const SchemaFacts& facts, const std::string* name) {
    Together together;
    charge({}, facts.objects.size());
    if (!failure_.ok()) return syntax_.never();
    for (const ObjectRules& rules : facts.objects) {
      const auto named = name == nullptr ? rules.properties.end() : rules.properties.find(*name);
      if (named != rules.properties.end()) {
        together.places.push_back(named->second);
      } else if (rules.additional) {
        together.places.push_back(*rules.additional);
      } else if (rules.closed) {
        return syntax_.never();
      }
    }
    return schema(std::move(together));
  }

  Result<NodeId> object(const SchemaFacts& facts, const std::string& pointer) {
    std::vector<std::string> names;
    std::set<std::string_view> known;
    const ObjectRules* patterns = nullptr;
    for (const ObjectRules& rules : facts.objects) {
      for (const std::string& name : rules.order) {
        if (known.insert(name).second) names.push_back(name);
      }
      if (!rules.patterns.empty()) patterns = &rules;
    }
    for (const std::string& name : facts.required) {
      if (known.insert(name).second) names.push_back(name);
    }
    if (patterns != nullptr) return pattern_object(facts, *patterns, names, pointer);
    const NodeId other = property(facts, nullptr);
    const NodeId other_member = other == syntax_.never() ? other : text_.member(text_.string_except(names), other);
    const bool may_repeat = facts.min_properties > facts.required.size() + 1;
    if (other != syntax_.never() && may_repeat) {
      return schema_error(ErrorCode::kUnsupported, facts.min_properties_place,
                          "minProperties where additional properties are allowed, whose names could repeat");
    }
    return members(facts, names, other_member, pointer);
  }

  // States are (properties passed, members written, as far as the counts matter).
  Result<NodeId> members(const SchemaFacts& facts, const std::vector<std::string>& names, NodeId other,
                         const std::string& pointer) {
    const bool limited = facts.max_properties < (other == syntax_.never() ? names.size() : kUnbounded);
    const std::size_t most = limited ? facts.max_properties : std::max<std::size_t>(facts.min_properties, 1);
    const std::size_t n_counts = most + 1;
    if (n_counts > kMaxCountedStates / (names.size() + 1)) {
      return schema_error(ErrorCode::kLimit, pointer,
                          concat("minProperties and maxProperties with ", names.size(), " properties take more than ",
                                 kMaxCountedStates, " states"));
    }
    const auto state = [&](std::size_t i, std::size_t count) {
      return static_cast<std::uint32_t>(i + count == 0 ? 0 : 1 + i * n_counts + count);
    };
    std::vector<Arc> arcs;
    const auto add_member = [&](std::size_t i, std::size_t count, NodeId member, std::size_t next) {
      if (limited && count == most) return;
      const NodeId written = count == 0 ? member : text_.after_comma(member);
      arcs.push_back({state(i, count), written, state(next, std::min(count + 1, most))});
    };
    for (std::size_t i = 0; i < names.size(); ++i) {
      const NodeId member = text_.member(syntax_.literal(json_quote(names[i])), property(facts, &names[i]));
      for (std::size_t count = 0; count < n_counts; ++count) {
        add_member(i, count, member, i + 1);
        if (!facts.is_required.contains(names[i]))
          arcs.push_back({state(i, count), syntax_.empty(), state(i + 1, count)});
      }
      ROWMAX_RETURN_IF_ERROR(status());
    }
    for (std::size_t count = 0; count < n_counts; ++count) {
      if (other != syntax_.never()) add_member(names.size(), count, other, names.size());
      if (count >= facts.min_properties) {
        arcs.push_back({state(names.size(), count), count == 0 ? syntax_.empty() : text_.space(), 1});
      }
    }
    const auto n_states = static_cast<std::uint32_t>((names.size() + 1) * n_counts + 1);
    return text_.enclosed("{", syntax_.graph(n_states, arcs), "}");
  }

  // Names by one pattern, and no others: the rest would be names that it does not match.
  Result<NodeId> pattern_object(const SchemaFacts& facts, const ObjectRules& rules,
                                const std::vector<std::string>& names, const std::string& pointer) {
    const auto& [pattern, place] = rules.patterns[0];
    const bool closed = rules.additional && rules.additional->value.is_bool() && !rules.additional->value.as_bool();
    if (facts.objects.size() > 1 || rules.patterns.size() > 1 || !names.empty() || !closed) {
      return schema_error(ErrorCode::kUnsupported, concat(pointer, "/patternProperties"),
                          "supported with one pattern, additionalProperties: false, and no other names or schemas");
    }
    auto key = parse_regex(syntax_, pattern, text_.writer(), Anchoring::kSearch);
    if (!key.ok()) return schema_error(key.error().code, place.pointer, key.error().message);
    if (facts.min_properties > 1) {
      return schema_error(ErrorCode::kUnsupported, facts.min_properties_place,
                          "minProperties beside patternProperties, whose names could repeat");
    }
    const NodeId member = text_.member(text_.quoted(*key), schema({{place}, {}}));
    return text_.enclosed("{", text_.list(member, facts.min_properties, facts.max_properties), "}");
  }

  Syntax& syntax_;
  JsonText text_;
  SchemaDocument& document_;
  FactGatherer gatherer_;
  Status failure_;
  std::map<std::string, RuleId> rules_;
  std::vector<std::pair<RuleId, Together>> queue_;
};

}  // namespace

Result<NodeId> parse_json_schema(Syntax& syntax, std::string_view source, const JsonOptions& options) {
  ROWMAX_TRY(document, SchemaDocument::parse(source, syntax.limits().max_depth));
  return SchemaCompiler(syntax, document, options).run();
}

NodeId any_json_object(Syntax& syntax, const JsonOptions& options) {
  return JsonText(syntax, options.whitespace).any_object();
}

}  // namespace rowmax::engine::grammar
