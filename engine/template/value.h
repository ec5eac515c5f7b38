// Values of the template interpreter. Strings, lists and dicts are immutable and shared (the sandbox forbids changing
// them), so no cycle can form; the one mutable thing, a namespace, and macros belong to the rendering's arena.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/template/meter.h"
#include "engine/template/text.h"

namespace rowmax::engine::jinja {

struct StringRep;
struct ListRep;
struct DictRep;
struct LoopRep;
struct MethodRep;
struct Namespace;
struct Macro;

enum class ValueKind : std::uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,  // every sequence and iterator; ListRep::flavour says which
  kDict,
  kNamespace,
  kLoop,
  kMacro,
  kMethod,   // a method bound to its value
  kBuiltin,  // a global function; integer is its id
};

enum class ListFlavour : std::uint8_t { kList, kTuple, kGenerator, kRange, kKeys, kValues, kItems };

struct Value {
  ValueKind kind = ValueKind::kUndefined;
  union {
    bool boolean;
    std::int64_t integer = 0;
    double number;
    Namespace* space;
    const Macro* macro;
  };
  std::shared_ptr<const void> rep;  // of the kind's *Rep; for kUndefined the name that was asked for (a StringRep)

  static Value none() {
    Value v;
    v.kind = ValueKind::kNone;
    return v;
  }
  static Value of_bool(bool b) {
    Value v;
    v.kind = ValueKind::kBool;
    v.boolean = b;
    return v;
  }
  static Value of_int(std::int64_t i) {
    Value v;
    v.kind = ValueKind::kInt;
    v.integer = i;
    return v;
  }
  static Value of_float(double d) {
    Value v;
    v.kind = ValueKind::kFloat;
    v.number = d;
    return v;
  }
  static Value of_rep(ValueKind kind, std::shared_ptr<const void> rep) {
    Value v;
    v.kind = kind;
    v.rep = std::move(rep);
    return v;
  }

  bool is(ValueKind k) const { return kind == k; }
  bool is_number() const { return kind == ValueKind::kInt || kind == ValueKind::kFloat || kind == ValueKind::kBool; }
  bool is_integral() const { return kind == ValueKind::kInt || kind == ValueKind::kBool; }
  std::int64_t as_int() const { return kind == ValueKind::kBool ? std::int64_t{boolean} : integer; }
  double as_double() const { return kind == ValueKind::kFloat ? number : static_cast<double>(as_int()); }
  const StringRep& string() const { return *static_cast<const StringRep*>(rep.get()); }
  const Text& text() const;
  std::string_view view() const;
  const ListRep& list() const { return *static_cast<const ListRep*>(rep.get()); }
  const std::vector<Value>& items() const;
  const DictRep& dict() const { return *static_cast<const DictRep*>(rep.get()); }
  const LoopRep& loop() const { return *static_cast<const LoopRep*>(rep.get()); }
  const MethodRep& method() const { return *static_cast<const MethodRep*>(rep.get()); }
  bool is_list(ListFlavour flavour) const;
};

struct StringRep {
  Text text;
  bool markup;  // made by safe or escape: adding other text escapes that
  Metered metered;
  StringRep(Text t, bool m, Meter* meter)
      : text(std::move(t)), markup(m), metered(meter, sizeof(StringRep) + text.heap_bytes()) {}
};

struct ListRep {
  std::vector<Value> items;
  ListFlavour flavour;
  int depth;                     // 1 + that of the deepest element
  mutable std::size_t next = 0;  // a generator yields its items once; this one comes next
  Metered metered;
  ListRep(std::vector<Value> list, ListFlavour f, int d, Meter* meter)
      : items(std::move(list)), flavour(f), depth(d), metered(meter, sizeof(ListRep) + items.size() * sizeof(Value)) {}
};

struct DictRep {
  std::vector<std::pair<Value, Value>> items;  // insertion order, keys differ
  std::map<std::string_view, std::size_t> by_name;
  int depth;
  bool all_names;  // every key is a string
  Metered metered;
  DictRep(std::vector<std::pair<Value, Value>> pairs, int d, Meter* meter);
  const Value* find(std::string_view name) const;
};

// The variable `loop`. Its position changes as the loop runs.
struct LoopRep {
  Value sequence;  // a list
  mutable std::size_t index = 0;
  mutable Value last_changed;  // argument tuple of the latest loop.changed()
  mutable bool has_changed = false;
  int depth = 1;
};

struct MethodRep {
  Value self;
  std::string name;
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> attributes;
};

inline const Text& Value::text() const { return string().text; }
inline std::string_view Value::view() const { return string().text.bytes; }
inline const std::vector<Value>& Value::items() const { return list().items; }
inline bool Value::is_list(ListFlavour flavour) const { return kind == ValueKind::kList && list().flavour == flavour; }

// How deep a value nests: 0 for scalars.
int value_depth(const Value& value);

Value make_string(Text text, Meter* meter, bool markup = false);
Value make_undefined(std::string_view name, Meter* meter);
// These fail with kLimit when nesting passes kMaxValueDepth or too much would be alive. A repeated key of a dict keeps
// its first place and takes the last value.
constexpr int kMaxValueDepth = 256;
Result<Value> make_list(std::vector<Value> items, Meter* meter, ListFlavour flavour = ListFlavour::kList);
Result<Value> make_dict(std::vector<std::pair<Value, Value>> items, Meter* meter);

// The caller's value; every string in it tainted or not. Nesting beyond kMaxValueDepth is kLimit.
Result<Value> import_value(const TemplateValue& value, bool tainted, Meter* meter, int depth = 0);

bool truthy(const Value& value);
const char* type_name(const Value& value);  // Python's
std::string float_repr(double value);       // Python's

}  // namespace rowmax::engine::jinja
