#include "engine/template/value.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>

#include "rowmax/try.h"

namespace rowmax::engine::jinja {

DictRep::DictRep(std::vector<std::pair<Value, Value>> pairs, int d, Meter* meter)
    : items(std::move(pairs)), depth(d), all_names(true), metered(meter, sizeof(DictRep) + items.size() * 160) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (items[i].first.is(ValueKind::kString)) {
      by_name.emplace(items[i].first.view(), i);
    } else {
      all_names = false;
    }
  }
}

const Value* DictRep::find(std::string_view name) const {
  const auto it = by_name.find(name);
  return it == by_name.end() ? nullptr : &items[it->second].second;
}

int value_depth(const Value& value) {
  if (value.is(ValueKind::kList)) return value.list().depth;
  if (value.is(ValueKind::kDict)) return value.dict().depth;
  if (value.is(ValueKind::kMethod)) return 1 + value_depth(value.method().self);
  if (value.is(ValueKind::kLoop)) return value.loop().depth;
  return 0;
}

Value make_string(Text text, Meter* meter, bool markup) {
  return Value::of_rep(ValueKind::kString, std::make_shared<StringRep>(std::move(text), markup, meter));
}

Value make_undefined(std::string_view name, Meter* meter) {
  return Value::of_rep(ValueKind::kUndefined,
                       std::make_shared<StringRep>(Text(name.substr(0, 100), true), false, meter));
}

static Status check_new(int depth, Meter* meter) {
  if (depth > kMaxValueDepth) {
    return Error{ErrorCode::kLimit, "a value of the chat template nests deeper than " + std::to_string(kMaxValueDepth)};
  }
  return meter == nullptr ? Status() : meter->check_alive();
}

Result<Value> make_list(std::vector<Value> items, Meter* meter, ListFlavour flavour) {
  int depth = 1;
  for (const Value& item : items) depth = std::max(depth, 1 + value_depth(item));
  ROWMAX_RETURN_IF_ERROR(check_new(depth, meter));
  if (meter != nullptr) {
    ROWMAX_RETURN_IF_ERROR(meter->charge_items(items.size()));
    ROWMAX_RETURN_IF_ERROR(meter->check_size(items.size() * sizeof(Value)));
  }
  return Value::of_rep(ValueKind::kList, std::make_shared<ListRep>(std::move(items), flavour, depth, meter));
}

// Keys that Python's dict holds to be one: 1, 1.0 and True are.
static bool same_scalar(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return a.as_double() == b.as_double();
  return a.is(ValueKind::kNone) && b.is(ValueKind::kNone);
}

Result<Value> make_dict(std::vector<std::pair<Value, Value>> items, Meter* meter) {
  int depth = 1;
  std::map<std::string_view, std::size_t> seen;
  std::size_t n = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    depth = std::max({depth, 1 + value_depth(items[i].second), 1 + value_depth(items[i].first)});
    if (items[i].first.is(ValueKind::kString)) {
      const std::size_t bytes = items[i].first.view().size() * static_cast<std::size_t>(std::bit_width(items.size()));
      if (meter != nullptr) ROWMAX_RETURN_IF_ERROR(meter->charge_more(2 * bytes));  // here and in DictRep
      const auto [it, is_new] = seen.emplace(items[i].first.view(), n);
      if (!is_new) {
        items[it->second].second = std::move(items[i].second);
        continue;
      }
    } else {
      std::size_t same = 0;
      while (same < n && !same_scalar(items[same].first, items[i].first)) ++same;
      if (meter != nullptr) ROWMAX_RETURN_IF_ERROR(meter->charge_items(n));
      if (same < n) {
        items[same].second = std::move(items[i].second);
        continue;
      }
    }
    if (n != i) items[n] = std::move(items[i]);
    ++n;
  }
  items.resize(n);
  ROWMAX_RETURN_IF_ERROR(check_new(depth, meter));
  if (meter != nullptr) {
    ROWMAX_RETURN_IF_ERROR(meter->charge_items(items.size()));
    ROWMAX_RETURN_IF_ERROR(meter->check_size(items.size() * 2 * sizeof(Value)));
  }
  return Value::of_rep(ValueKind::kDict, std::make_shared<DictRep>(std::move(items), depth, meter));
}

static Result<Value> import_string(const std::string& text, bool tainted, Meter* meter) {
  ROWMAX_RETURN_IF_ERROR(meter->charge_bytes(text.size()));
  ROWMAX_RETURN_IF_ERROR(meter->check_size(text.size()));
  ROWMAX_RETURN_IF_ERROR(meter->check_alive());
  return make_string(Text(text, tainted), meter);
}

Result<Value> import_value(const TemplateValue& value, bool tainted, Meter* meter, int depth) {
  ROWMAX_RETURN_IF_ERROR(check_new(depth, meter));
  switch (value.kind) {
    case TemplateValue::Kind::kUndefined: return Value();
    case TemplateValue::Kind::kNone: return Value::none();
    case TemplateValue::Kind::kBool: return Value::of_bool(value.boolean);
    case TemplateValue::Kind::kInt: return Value::of_int(value.integer);
    case TemplateValue::Kind::kFloat: return Value::of_float(value.number);
    case TemplateValue::Kind::kString: return import_string(value.string, tainted, meter);
    case TemplateValue::Kind::kList: {
      std::vector<Value> items;
      items.reserve(value.list.size());
      for (const TemplateValue& item : value.list) {
        ROWMAX_TRY(element, import_value(item, tainted, meter, depth + 1));
        items.push_back(std::move(element));
      }
      return make_list(std::move(items), meter);
    }
    case TemplateValue::Kind::kDict: {
      std::vector<std::pair<Value, Value>> items;
      items.reserve(value.dict.size());
      for (const auto& [name, item] : value.dict) {
        ROWMAX_TRY(key, import_string(name, tainted, meter));
        ROWMAX_TRY(element, import_value(item, tainted, meter, depth + 1));
        items.emplace_back(std::move(key), std::move(element));
      }
      return make_dict(std::move(items), meter);
    }
  }
  return Value();
}

bool truthy(const Value& value) {
  switch (value.kind) {
    case ValueKind::kUndefined:
    case ValueKind::kNone: return false;
    case ValueKind::kBool: return value.boolean;
    case ValueKind::kInt: return value.integer != 0;
    case ValueKind::kFloat: return value.number != 0;
    case ValueKind::kString: return !value.view().empty();
    case ValueKind::kList: return value.list().flavour == ListFlavour::kGenerator || !value.items().empty();
    case ValueKind::kDict: return !value.dict().items.empty();
    default: return true;
  }
}

const char* type_name(const Value& value) {
  switch (value.kind) {
    case ValueKind::kUndefined: return "Undefined";
    case ValueKind::kNone: return "NoneType";
    case ValueKind::kBool: return "bool";
    case ValueKind::kInt: return "int";
    case ValueKind::kFloat: return "float";
    case ValueKind::kString: return "str";
    case ValueKind::kDict: return "dict";
    case ValueKind::kNamespace: return "Namespace";
    case ValueKind::kLoop: return "LoopContext";
    case ValueKind::kMacro: return "Macro";
    case ValueKind::kMethod: return "method";
    case ValueKind::kBuiltin: return "function";
    case ValueKind::kList: break;
  }
  switch (value.list().flavour) {
    case ListFlavour::kList: return "list";
    case ListFlavour::kTuple: return "tuple";
    case ListFlavour::kGenerator: return "generator";
    case ListFlavour::kRange: return "range";
    case ListFlavour::kKeys: return "dict_keys";
    case ListFlavour::kValues: return "dict_values";
    case ListFlavour::kItems: return "dict_items";
  }
  return "object";
}

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  std::string_view text(buffer, static_cast<std::size_t>(end - buffer));
  std::string out;
  if (text.front() == '-') {
    out = "-";
    text.remove_prefix(1);
  }
  const std::size_t e = text.find('e');
  std::string digits(text.substr(0, 1));
  if (e > 2) digits += text.substr(2, e - 2);
  int exponent = 0;
  std::string_view tail = text.substr(e + 1);
  if (tail.front() == '+') tail.remove_prefix(1);
  std::from_chars(tail.data(), tail.data() + tail.size(), exponent);
  if (exponent < -4 || exponent >= 16) {
    out += digits.substr(0, 1);
    if (digits.size() > 1) out += "." + digits.substr(1);
    const std::string magnitude = std::to_string(std::abs(exponent));
    return out + (exponent < 0 ? "e-" : "e+") + (magnitude.size() < 2 ? "0" : "") + magnitude;
  }
  if (exponent < 0) return out + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  const std::size_t whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() <= whole) return out + digits + std::string(whole - digits.size(), '0') + ".0";
  return out + digits.substr(0, whole) + "." + digits.substr(whole);
}

}  // namespace rowmax::engine::jinja
