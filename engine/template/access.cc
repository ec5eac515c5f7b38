// Looking into values: attributes, subscripts, slices, iteration, comparison.
#include <algorithm>
#include <bit>

#include "engine/template/interpreter.h"
#include "rowmax/try.h"

namespace rowmax::engine::jinja {

Status Interpreter::charge_find(const DictRep& dict, std::string_view name) const {
  return meter_.charge_more(name.size() * static_cast<std::size_t>(std::bit_width(dict.items.size())));
}

Result<Value> Interpreter::attribute(const Value& object, std::string_view name) {
  switch (object.kind) {
    case ValueKind::kUndefined: return undefined_error(object);
    case ValueKind::kNamespace:
      ROWMAX_RETURN_IF_ERROR(meter_.charge_items(object.space->attributes.size()));
      ROWMAX_RETURN_IF_ERROR(meter_.charge_more(name.size()));
      for (const auto& [known, value] : object.space->attributes) {
        if (known == name) return value;
      }
      return make_undefined(name, &meter_);
    case ValueKind::kLoop: return loop_attribute(object, name);
    default: break;
  }
  const MethodState state = find_method(object, name);
  if (state == MethodState::kYes) {
    return Value::of_rep(ValueKind::kMethod, std::make_shared<MethodRep>(MethodRep{object, std::string(name)}));
  }
  if (object.is(ValueKind::kDict)) {
    ROWMAX_RETURN_IF_ERROR(charge_find(object.dict(), name));
    if (const Value* value = object.dict().find(name); value != nullptr && state == MethodState::kNone) return *value;
  }
  if (state == MethodState::kRefused) {
    return fail("'" + std::string(name) + "' of a value of type " + type_name(object) + " is refused",
                ErrorCode::kUnsupported);
  }
  return make_undefined(name, &meter_);
}

Result<Value> Interpreter::loop_attribute(const Value& loop, std::string_view name) {
  const LoopRep& rep = loop.loop();
  const auto n = static_cast<std::int64_t>(rep.sequence.items().size());
  const auto index = static_cast<std::int64_t>(rep.index);
  if (name == "index") return Value::of_int(index + 1);
  if (name == "index0") return Value::of_int(index);
  if (name == "revindex") return Value::of_int(n - index);
  if (name == "revindex0") return Value::of_int(n - index - 1);
  if (name == "first") return Value::of_bool(index == 0);
  if (name == "last") return Value::of_bool(index + 1 >= n);
  if (name == "length") return Value::of_int(n);
  if (name == "depth") return Value::of_int(1);
  if (name == "depth0") return Value::of_int(0);
  if (name == "previtem" && index > 0) return rep.sequence.items()[rep.index - 1];
  if (name == "nextitem" && index + 1 < n) return rep.sequence.items()[rep.index + 1];
  if (name == "cycle") {
    return Value::of_rep(ValueKind::kMethod, std::make_shared<MethodRep>(MethodRep{loop, std::string(name)}));
  }
  if (name == "changed") return fail("loop.changed is not supported", ErrorCode::kUnsupported);
  return make_undefined(name, &meter_);
}

Result<Value> Interpreter::item(const Value& object, const Value& key) {
  if (object.is(ValueKind::kUndefined)) return undefined_error(object);
  if (object.is(ValueKind::kDict)) {
    if (key.is(ValueKind::kString)) {
      ROWMAX_RETURN_IF_ERROR(charge_find(object.dict(), key.view()));
      if (const Value* value = object.dict().find(key.view())) return *value;
    } else if (!object.dict().all_names) {
      for (const auto& [known, value] : object.dict().items) {
        ROWMAX_TRY(same, equal(known, key));
        if (same) return value;
      }
    }
  }
  if (key.is(ValueKind::kString)) {
    if (key.view().starts_with("__"))
      return fail("subscripts with two leading underscores are refused", ErrorCode::kUnsupported);
    if (object.is(ValueKind::kDict) && find_method(object, key.view()) == MethodState::kNone) {
      return make_undefined(key.view(), &meter_);
    }
    return attribute(object, key.view());
  }
  if (key.is_integral()) {
    std::int64_t index = key.as_int();
    if (object.is(ValueKind::kString)) {
      ROWMAX_RETURN_IF_ERROR(meter_.charge_bytes(3 * object.view().size()));  // eight bytes for each offset
      const std::vector<std::size_t> offsets = utf8_offsets(object.view());
      const auto n = static_cast<std::int64_t>(offsets.size()) - 1;
      index += index < 0 ? n : 0;
      if (index >= 0 && index < n) {
        const auto i = static_cast<std::size_t>(index);
        return string(object.text().slice(offsets[i], offsets[i + 1]));
      }
    } else if (object.is_list(ListFlavour::kList) || object.is_list(ListFlavour::kTuple) ||
               object.is_list(ListFlavour::kRange)) {
      const auto n = static_cast<std::int64_t>(object.items().size());
      index += index < 0 ? n : 0;
      if (index >= 0 && index < n) return object.items()[static_cast<std::size_t>(index)];
    }
  }
  return make_undefined("element " + std::to_string(key.is_integral() ? key.as_int() : 0), &meter_);
}

// The indices a Python slice visits, over a sequence of n.
struct SliceRange {
  std::int64_t start;
  std::int64_t step;
  std::int64_t count;
};

static SliceRange slice_range(const Value (&bounds)[3], std::int64_t n) {
  const std::int64_t step = bounds[2].is(ValueKind::kNone) ? 1 : std::clamp(bounds[2].as_int(), -n - 1, n + 1);
  const std::int64_t low = step > 0 ? 0 : -1;
  const std::int64_t high = step > 0 ? n : n - 1;
  const auto clip = [&](const Value& bound, std::int64_t otherwise) {
    if (bound.is(ValueKind::kNone)) return otherwise;
    const std::int64_t index = bound.as_int();
    return index < 0 ? (index < -n ? low : std::max(index + n, low)) : std::min(index, high);
  };
  const std::int64_t start = clip(bounds[0], step > 0 ? low : high);
  const std::int64_t stop = clip(bounds[1], step > 0 ? high : low);
  std::int64_t count = 0;
  if (step > 0 && stop > start) count = (stop - start - 1) / step + 1;
  if (step < 0 && start > stop) count = (start - stop - 1) / -step + 1;
  return {start, step, count};
}

Result<Value> Interpreter::slice(const Value& object, const Node& node) {
  Value bounds[3] = {Value::none(), Value::none(), Value::none()};
  for (std::size_t i = 0; i < 3; ++i) {
    if (node.children[i] == nullptr) continue;
    ROWMAX_TRY(bound, evaluate(*node.children[i]));
    if (!bound.is_integral() && !bound.is(ValueKind::kNone)) return fail("a slice needs integers");
    bounds[i] = std::move(bound);
  }
  if (bounds[2].is_integral() && bounds[2].as_int() == 0) return fail("a slice's step is zero");
  if (object.is(ValueKind::kUndefined)) return undefined_error(object);
  if (object.is(ValueKind::kString)) {
    ROWMAX_RETURN_IF_ERROR(meter_.charge_bytes(3 * object.view().size()));
    const std::vector<std::size_t> offsets = utf8_offsets(object.view());
    const SliceRange range = slice_range(bounds, static_cast<std::int64_t>(offsets.size()) - 1);
    Builder out(&meter_);
    std::int64_t index = range.start;
    for (std::int64_t k = 0; k < range.count; ++k, index += range.step) {
      const auto i = static_cast<std::size_t>(index);
      out.add_slice(object.text(), offsets[i], offsets[i + 1]);
    }
    return take(&out, object.string().markup);
  }
  if (!object.is_list(ListFlavour::kList) && !object.is_list(ListFlavour::kTuple) &&
      !object.is_list(ListFlavour::kRange)) {
    return fail(std::string("cannot slice a value of type ") + type_name(object));
  }
  const SliceRange range = slice_range(bounds, static_cast<std::int64_t>(object.items().size()));
  std::vector<Value> items;
  std::int64_t index = range.start;
  for (std::int64_t k = 0; k < range.count; ++k, index += range.step) {
    items.push_back(object.items()[static_cast<std::size_t>(index)]);
  }
  return make_list(std::move(items), &meter_, object.list().flavour);
}

Result<std::vector<Value>> Interpreter::iterate(const Value& value) {
  switch (value.kind) {
    case ValueKind::kUndefined: return std::vector<Value>();
    case ValueKind::kList: {
      const ListRep& list = value.list();
      ROWMAX_RETURN_IF_ERROR(meter_.charge_items(list.items.size()));
      if (list.flavour != ListFlavour::kGenerator) return list.items;
      std::vector<Value> rest(list.items.begin() + static_cast<std::ptrdiff_t>(list.next), list.items.end());
      list.next = list.items.size();
      return rest;
    }
    case ValueKind::kDict: {
      std::vector<Value> keys;
      ROWMAX_RETURN_IF_ERROR(meter_.charge_items(value.dict().items.size()));
      for (const auto& [key, element] : value.dict().items) keys.push_back(key);
      return keys;
    }
    case ValueKind::kString: {
      std::vector<Value> characters;
      const std::string_view text = value.view();
      ROWMAX_RETURN_IF_ERROR(meter_.check_size(text.size() * sizeof(Value)));
      for (std::size_t i = 0; i < text.size();) {
        const std::size_t size = utf8_at(text, i).size;
        ROWMAX_TRY(character, string(value.text().slice(i, i + size)));
        characters.push_back(std::move(character));
        i += size;
      }
      return characters;
    }
    default: return fail(std::string("a value of type ") + type_name(value) + " cannot be iterated over");
  }
}

Result<std::size_t> Interpreter::length(const Value& value) {
  switch (value.kind) {
    case ValueKind::kUndefined: return std::size_t{0};
    case ValueKind::kString:
      ROWMAX_RETURN_IF_ERROR(meter_.charge_bytes(value.view().size()));
      return utf8_length(value.view());
    case ValueKind::kDict: return value.dict().items.size();
    case ValueKind::kLoop: return value.loop().sequence.items().size();
    case ValueKind::kList:
      if (value.list().flavour != ListFlavour::kGenerator) return value.items().size();
      [[fallthrough]];
    default: return fail(std::string("a value of type ") + type_name(value) + " has no length");
  }
}

// Comparison ---------------------------------------------------------------------------------------------------------

Result<bool> Interpreter::compare(std::string_view op, const Value& a, const Value& b) {
  if (op == "==") return equal(a, b);
  if (op == "in") return contains(b, a);
  if (op == "<") return less(a, b);
  if (op == ">") return less(b, a);
  if (op == "!=" || op == "not in") {
    ROWMAX_TRY(holds, op == "!=" ? equal(a, b) : contains(b, a));
    return !holds;
  }
  // <= and >= are not the negation of > and <: NaN compares false with everything.
  const bool has_nan =
      (a.is(ValueKind::kFloat) && a.number != a.number) || (b.is(ValueKind::kFloat) && b.number != b.number);
  ROWMAX_TRY(opposite, op == "<=" ? less(b, a) : less(a, b));
  return !opposite && !has_nan;
}

Result<bool> Interpreter::equal(const Value& a, const Value& b, int depth) {
  ROWMAX_RETURN_IF_ERROR(meter_.charge(1));
  if (depth > 2 * kMaxValueDepth) return fail("a comparison nests too deep", ErrorCode::kLimit);
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) return a.as_int() == b.as_int();
    return a.as_double() == b.as_double();
  }
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case ValueKind::kUndefined:
    case ValueKind::kNone: return true;
    case ValueKind::kString:
      ROWMAX_RETURN_IF_ERROR(meter_.charge_bytes(std::min(a.view().size(), b.view().size())));
      return a.view() == b.view();
    case ValueKind::kList: {
      if (a.list().flavour != b.list().flavour || a.list().flavour == ListFlavour::kGenerator) return a.rep == b.rep;
      if (a.items().size() != b.items().size()) return false;
      for (std::size_t i = 0; i < a.items().size(); ++i) {
        ROWMAX_TRY(same, equal(a.items()[i], b.items()[i], depth + 1));
        if (!same) return false;
      }
      return true;
    }
    case ValueKind::kDict: {
      if (a.dict().items.size() != b.dict().items.size()) return false;
      for (const auto& [key, value] : a.dict().items) {
        if (!key.is(ValueKind::kString)) {
          return fail("comparing dicts whose keys are no strings is not supported", ErrorCode::kUnsupported);
        }
        ROWMAX_RETURN_IF_ERROR(charge_find(b.dict(), key.view()));
        const Value* other = b.dict().find(key.view());
        if (other == nullptr) return false;
        ROWMAX_TRY(same, equal(value, *other, depth + 1));
        if (!same) return false;
      }
      return true;
    }
    case ValueKind::kNamespace: return a.space == b.space;
    case ValueKind::kMacro: return a.macro == b.macro;
    case ValueKind::kBuiltin: return a.integer == b.integer;
    default: return a.rep == b.rep;
  }
}

Result<bool> Interpreter::less(const Value& a, const Value& b, int depth) {
  ROWMAX_RETURN_IF_ERROR(meter_.charge(1));
  if (depth > 2 * kMaxValueDepth) return fail("a comparison nests too deep", ErrorCode::kLimit);
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) return a.as_int() < b.as_int();
    return a.as_double() < b.as_double();
  }
  if (a.is(ValueKind::kString) && b.is(ValueKind::kString)) {
    ROWMAX_RETURN_IF_ERROR(meter_.charge_bytes(std::min(a.view().size(), b.view().size())));
    return a.view() < b.view();  // UTF-8 sorts as its code points do
  }
  const bool lists = a.is(ValueKind::kList) && b.is(ValueKind::kList) && a.list().flavour == b.list().flavour &&
                     (a.is_list(ListFlavour::kList) || a.is_list(ListFlavour::kTuple));
  if (lists) {
    const std::size_t n = std::min(a.items().size(), b.items().size());
    for (std::size_t i = 0; i < n; ++i) {
      ROWMAX_TRY(same, equal(a.items()[i], b.items()[i], depth + 1));
      if (!same) return less(a.items()[i], b.items()[i], depth + 1);
    }
    return a.items().size() < b.items().size();
  }
  if (a.is(ValueKind::kUndefined)) return undefined_error(a);
  if (b.is(ValueKind::kUndefined)) return undefined_error(b);
  return fail(std::string("cannot order values of type ") + type_name(a) + " and " + type_name(b));
}

Result<bool> Interpreter::contains(const Value& container, const Value& element) {
  if (container.is(ValueKind::kString)) {
    if (!element.is(ValueKind::kString)) return fail("'in' of a string needs a string");
    ROWMAX_RETURN_IF_ERROR(meter_.charge_bytes(Finder::work(container.view(), element.view())));
    return Finder(element.view()).find(container.view(), 0) != std::string_view::npos;
  }
  if (container.is(ValueKind::kDict) && element.is(ValueKind::kString)) {
    ROWMAX_RETURN_IF_ERROR(charge_find(container.dict(), element.view()));
    return container.dict().find(element.view()) != nullptr;
  }
  ROWMAX_TRY(items, iterate(container));
  for (const Value& item : items) {
    ROWMAX_TRY(same, equal(item, element));
    if (same) return true;
  }
  return false;
}

}  // namespace rowmax::engine::jinja
