// Expressions: the part of Interpreter that turns a node into a value.
#include <algorithm>
#include <cmath>

#include "engine/template/interpreter.h"
#include "engine/template/nested.h"
#include "rowmax/try.h"

namespace rowmax::engine::jinja {

Result<Value> Interpreter::string(Text text, bool markup) {
  ROWMAX_RETURN_IF_ERROR(meter_.check_size(text.bytes.size()));
  ROWMAX_RETURN_IF_ERROR(meter_.charge_bytes(text.bytes.size()));
  Value value = make_string(std::move(text), &meter_, markup);
  ROWMAX_RETURN_IF_ERROR(meter_.check_alive());
  return value;
}

Result<Value> Interpreter::take(Builder* builder, bool markup) {
  ROWMAX_TRY(text, builder->take());
  return string(std::move(text), markup);
}

Result<Value> Interpreter::str(const Value& value) {
  if (value.is(ValueKind::kString)) return value;
  Builder out(&meter_);
  ROWMAX_RETURN_IF_ERROR(print_str(*this, value, &out));
  return take(&out);
}

Result<Value> Interpreter::evaluate(const Node& node) {
  const Nested nested(&depth_);
  ROWMAX_RETURN_IF_ERROR(enter(node));
  return evaluate_inner(node);
}

Result<Value> Interpreter::evaluate_inner(const Node& node) {
  switch (node.kind) {
    case NodeKind::kConst: return node.value;
    case NodeKind::kName: return lookup(node.name);
    case NodeKind::kList:
    case NodeKind::kTuple: return evaluate_items(node);
    case NodeKind::kDict: return evaluate_dict(node);
    case NodeKind::kGetattr: {
      ROWMAX_TRY(object, evaluate(*node.children[0]));
      return attribute(object, node.name);
    }
    case NodeKind::kGetitem: return evaluate_getitem(node);
    case NodeKind::kCall: return evaluate_call(node);
    case NodeKind::kFilter: return evaluate_filter(node, nullptr);
    case NodeKind::kTest: return evaluate_test(node);
    case NodeKind::kNot: {
      ROWMAX_TRY(operand, evaluate(*node.children[0]));
      return Value::of_bool(!truthy(operand));
    }
    case NodeKind::kNegate:
    case NodeKind::kPlus: return evaluate_sign(node);
    case NodeKind::kMath: return evaluate_math(node);
    case NodeKind::kConcat: return evaluate_concat(node);
    case NodeKind::kCompare: return evaluate_compare(node);
    case NodeKind::kAnd:
    case NodeKind::kOr: return evaluate_logic(node);
    case NodeKind::kCond: return evaluate_cond(node);
    default: return fail("unexpected expression");
  }
}

Result<Value> Interpreter::evaluate_items(const Node& node) {
  std::vector<Value> items;
  items.reserve(node.children.size());
  for (const NodePtr& child : node.children) {
    ROWMAX_TRY(item, evaluate(*child));
    items.push_back(std::move(item));
  }
  return make_list(std::move(items), &meter_, node.kind == NodeKind::kTuple ? ListFlavour::kTuple : ListFlavour::kList);
}

Result<Value> Interpreter::evaluate_dict(const Node& node) {
  std::vector<std::pair<Value, Value>> items;
  for (std::size_t i = 0; i + 1 < node.children.size(); i += 2) {
    ROWMAX_TRY(key, evaluate(*node.children[i]));
    ROWMAX_TRY(value, evaluate(*node.children[i + 1]));
    if (!key.is(ValueKind::kString) && !key.is_number() && !key.is(ValueKind::kNone)) {
      return fail(std::string("a value of type ") + type_name(key) + " cannot be a key of a dict");
    }
    items.emplace_back(std::move(key), std::move(value));
  }
  return make_dict(std::move(items), &meter_);
}

Result<Value> Interpreter::evaluate_getitem(const Node& node) {
  ROWMAX_TRY(object, evaluate(*node.children[0]));
  if (node.children[1]->kind == NodeKind::kSlice) return slice(object, *node.children[1]);
  ROWMAX_TRY(key, evaluate(*node.children[1]));
  return item(object, key);
}

Result<Arguments> Interpreter::evaluate_arguments(const Node& node) {
  Arguments arguments;
  const std::size_t first_named = node.children.size() - node.names.size();
  for (std::size_t i = 1; i < node.children.size(); ++i) {
    ROWMAX_TRY(value, evaluate(*node.children[i]));
    if (i < first_named) {
      arguments.positional.push_back(std::move(value));
    } else {
      ROWMAX_RETURN_IF_ERROR(meter_.charge_more(node.names[i - first_named].size()));
      arguments.named.emplace_back(node.names[i - first_named], std::move(value));
    }
  }
  return arguments;
}

Result<Value> Interpreter::evaluate_call(const Node& node) {
  ROWMAX_TRY(callee, evaluate(*node.children[0]));
  ROWMAX_TRY(arguments, evaluate_arguments(node));
  line_ = node.line;
  return call(callee, std::move(arguments));
}

Result<Value> Interpreter::call(const Value& callee, Arguments arguments) {
  switch (callee.kind) {
    case ValueKind::kMacro: return call_macro(*callee.macro, arguments);
    case ValueKind::kMethod: {
      const MethodRep& method = callee.method();
      return call_method(*this, method.self, method.name, arguments);
    }
    case ValueKind::kBuiltin: return call_function(*this, static_cast<int>(callee.integer), arguments);
    case ValueKind::kUndefined: return undefined_error(callee);
    default: return fail(std::string("a value of type ") + type_name(callee) + " cannot be called");
  }
}

// block: the text of a filter block, the operand of the innermost filter of the chain.
Result<Value> Interpreter::evaluate_filter(const Node& node, const Value* block) {
  Value operand;
  if (node.children[0] == nullptr) {
    operand = *block;
  } else if (block != nullptr) {
    const Nested nested(&depth_);
    ROWMAX_RETURN_IF_ERROR(enter(node));
    ROWMAX_TRY(value, evaluate_filter(*node.children[0], block));
    operand = std::move(value);
  } else {
    ROWMAX_TRY(value, evaluate(*node.children[0]));
    operand = std::move(value);
  }
  ROWMAX_TRY(arguments, evaluate_arguments(node));
  line_ = node.line;
  return apply_filter(*this, node.name, operand, arguments);
}

Result<Value> Interpreter::evaluate_test(const Node& node) {
  ROWMAX_TRY(operand, evaluate(*node.children[0]));
  ROWMAX_TRY(arguments, evaluate_arguments(node));
  line_ = node.line;
  ROWMAX_TRY(result, apply_test(*this, node.name, operand, arguments));
  return Value::of_bool(result);
}

Result<Value> Interpreter::evaluate_concat(const Node& node) {
  Builder out(&meter_);
  for (const NodePtr& child : node.children) {
    ROWMAX_TRY(value, evaluate(*child));
    ROWMAX_RETURN_IF_ERROR(print_str(*this, value, &out));
  }
  return take(&out);
}

Result<Value> Interpreter::evaluate_compare(const Node& node) {
  ROWMAX_TRY(left, evaluate(*node.children[0]));
  for (std::size_t i = 0; i < node.names.size(); ++i) {
    ROWMAX_TRY(right, evaluate(*node.children[i + 1]));
    ROWMAX_TRY(holds, compare(node.names[i], left, right));
    if (!holds) return Value::of_bool(false);
    left = std::move(right);
  }
  return Value::of_bool(true);
}

Result<Value> Interpreter::evaluate_logic(const Node& node) {
  const bool stops_at = node.kind == NodeKind::kOr;
  for (std::size_t i = 0;; ++i) {
    ROWMAX_TRY(value, evaluate(*node.children[i]));
    if (truthy(value) == stops_at || i + 1 == node.children.size()) return value;
  }
}

Result<Value> Interpreter::evaluate_cond(const Node& node) {
  ROWMAX_TRY(condition, evaluate(*node.children[0]));
  if (truthy(condition)) return evaluate(*node.children[1]);
  if (node.children[2] != nullptr) return evaluate(*node.children[2]);
  return make_undefined("the inline if-expression without else", &meter_);
}

// Arithmetic ---------------------------------------------------------------------------------------------------------

Result<Value> Interpreter::evaluate_sign(const Node& node) {
  ROWMAX_TRY(operand, evaluate(*node.children[0]));
  if (operand.is(ValueKind::kUndefined)) return undefined_error(operand);
  if (!operand.is_number()) return fail(std::string("bad operand of type ") + type_name(operand) + " for a sign");
  if (operand.is(ValueKind::kFloat)) {
    return Value::of_float(node.kind == NodeKind::kNegate ? -operand.number : operand.number);
  }
  if (node.kind == NodeKind::kPlus) return Value::of_int(operand.as_int());
  return integer_math("-", 0, operand.as_int());
}

Result<Value> Interpreter::evaluate_math(const Node& node) {
  ROWMAX_TRY(result, evaluate(*node.children[0]));
  for (std::size_t i = 0; i < node.names.size(); ++i) {
    ROWMAX_TRY(right, evaluate(*node.children[i + 1]));
    ROWMAX_TRY(next, math(node.names[i], result, right));
    result = std::move(next);
  }
  return result;
}

Result<Value> Interpreter::math(std::string_view op, const Value& a, const Value& b) {
  if (op == "%" && a.is(ValueKind::kString)) return format_percent(*this, a.text(), b);
  if (a.is(ValueKind::kUndefined)) return undefined_error(a);
  if (b.is(ValueKind::kUndefined)) return undefined_error(b);
  if (op == "+" && !(a.is_number() && b.is_number())) return add(a, b);
  if (op == "*" && !a.is_number() && b.is_integral()) return repeat(a, b.as_int());
  if (op == "*" && !b.is_number() && a.is_integral()) return repeat(b, a.as_int());
  if (!a.is_number() || !b.is_number()) {
    return fail("unsupported operand types for " + std::string(op) + ": " + type_name(a) + " and " + type_name(b));
  }
  if (op == "/" || a.is(ValueKind::kFloat) || b.is(ValueKind::kFloat))
    return float_math(op, a.as_double(), b.as_double());
  return integer_math(op, a.as_int(), b.as_int());
}

Result<Value> Interpreter::integer_math(std::string_view op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  bool overflow = false;
  if (op == "+") {
    overflow = __builtin_add_overflow(a, b, &result);
  } else if (op == "-") {
    overflow = __builtin_sub_overflow(a, b, &result);
  } else if (op == "*") {
    overflow = __builtin_mul_overflow(a, b, &result);
  } else if (op == "**") {
    if (b < 0) return fail("a negative exponent is not supported", ErrorCode::kUnsupported);
    result = 1;
    for (std::int64_t i = 0; i < b && !overflow && !(a == 0 || a == 1); ++i) {
      if (a == -1) {
        result = b % 2 == 0 ? 1 : -1;
        break;
      }
      overflow = __builtin_mul_overflow(result, a, &result);
    }
    if (a == 0 && b > 0) result = 0;
  } else {
    if (b == 0) return fail("division by zero");
    if (b == -1) {
      overflow = op == "//" && __builtin_sub_overflow(std::int64_t{0}, a, &result);
    } else {
      const std::int64_t remainder = a % b;
      const bool floored = remainder != 0 && (remainder < 0) != (b < 0);
      result = op == "//" ? a / b - (floored ? 1 : 0) : remainder + (floored ? b : 0);
    }
  }
  if (overflow) return fail("an integer grows beyond 64 bits", ErrorCode::kUnsupported);
  return Value::of_int(result);
}

Result<Value> Interpreter::float_math(std::string_view op, double a, double b) {
  if (op == "+") return Value::of_float(a + b);
  if (op == "-") return Value::of_float(a - b);
  if (op == "*") return Value::of_float(a * b);
  if (op == "**") return fail("powers of floats are not supported", ErrorCode::kUnsupported);
  if (b == 0) return fail("division by zero");
  if (op == "/") return Value::of_float(a / b);
  double remainder = std::fmod(a, b);
  if (remainder != 0 && (remainder < 0) != (b < 0)) remainder += b;
  if (op == "%") return Value::of_float(remainder != 0 ? remainder : std::copysign(0.0, b));
  const double quotient = (a - remainder) / b;
  const double floored = std::floor(quotient);
  return Value::of_float(quotient - floored > 0.5 ? floored + 1 : floored);
}

// Appends text to out as markup: the five special characters escaped.
static void add_escaped(const Text& text, Builder* out) {
  static constexpr std::string_view kSpecial = "&<>'\"";
  static constexpr std::string_view kEscapes[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
  for (std::size_t i = 0; i < text.bytes.size();) {
    const std::size_t special = std::min(text.bytes.find_first_of(kSpecial, i), text.bytes.size());
    out->add_slice(text, i, special);
    if (special < text.bytes.size()) out->add(kEscapes[kSpecial.find(text.bytes[special])], text.tainted_at(special));
    i = special + 1;
  }
}

Result<Value> Interpreter::add(const Value& a, const Value& b) {
  if (a.is(ValueKind::kString) && b.is(ValueKind::kString)) {
    const bool markup = a.string().markup || b.string().markup;
    Builder out(&meter_);
    for (const Value* part : {&a, &b}) {
      if (markup && !part->string().markup) {
        add_escaped(part->text(), &out);
      } else {
        out.add(part->text());
      }
    }
    return take(&out, markup);
  }
  const bool same = a.is(ValueKind::kList) && b.is(ValueKind::kList) && a.list().flavour == b.list().flavour;
  if (same && (a.is_list(ListFlavour::kList) || a.is_list(ListFlavour::kTuple))) {
    ROWMAX_RETURN_IF_ERROR(meter_.check_size((a.items().size() + b.items().size()) * sizeof(Value)));
    std::vector<Value> items = a.items();
    items.insert(items.end(), b.items().begin(), b.items().end());
    return make_list(std::move(items), &meter_, a.list().flavour);
  }
  return fail(std::string("cannot add values of type ") + type_name(a) + " and " + type_name(b));
}

Result<Value> Interpreter::repeat(const Value& sequence, std::int64_t n) {
  n = std::max<std::int64_t>(n, 0);
  const auto bound = static_cast<std::int64_t>(meter_.limits().max_output_bytes);
  if (sequence.is(ValueKind::kString)) {
    const Text& unit = sequence.text();
    if (unit.bytes.empty() || n == 0) return string(Text());
    if (n > bound) return meter_.check_size(static_cast<std::size_t>(n)).error();
    ROWMAX_RETURN_IF_ERROR(meter_.check_size(static_cast<std::size_t>(n) * unit.bytes.size()));
    Builder out(&meter_);
    for (std::int64_t i = 0; i < n && !out.full(); ++i) out.add(unit);
    return take(&out, sequence.string().markup);
  }
  if (!sequence.is_list(ListFlavour::kList) && !sequence.is_list(ListFlavour::kTuple)) {
    return fail(std::string("cannot repeat a value of type ") + type_name(sequence));
  }
  if (n > bound) return meter_.check_size(static_cast<std::size_t>(n)).error();
  const std::size_t total = static_cast<std::size_t>(n) * sequence.items().size();
  ROWMAX_RETURN_IF_ERROR(meter_.check_size(total * sizeof(Value)));
  ROWMAX_RETURN_IF_ERROR(meter_.charge(n >> 3));
  std::vector<Value> items;
  items.reserve(total);
  for (std::int64_t i = 0; i < n; ++i) {
    items.insert(items.end(), sequence.items().begin(), sequence.items().end());
  }
  return make_list(std::move(items), &meter_, sequence.list().flavour);
}

}  // namespace rowmax::engine::jinja
