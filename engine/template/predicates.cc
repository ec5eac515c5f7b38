// The tests of `is`.
#include <algorithm>
#include <string>

#include "engine/template/interpreter.h"
#include "rowmax/try.h"

namespace rowmax::engine::jinja {
namespace {

bool is_iterable(const Value& v) {
  return v.is(ValueKind::kUndefined) || v.is(ValueKind::kString) || v.is(ValueKind::kList) || v.is(ValueKind::kDict) ||
         v.is(ValueKind::kLoop);
}

// Has a length and subscripts: not the views of a dict, not generators.
bool is_sequence(const Value& v) {
  if (v.is(ValueKind::kString) || v.is(ValueKind::kDict)) return true;
  return v.is_list(ListFlavour::kList) || v.is_list(ListFlavour::kTuple) || v.is_list(ListFlavour::kRange);
}

using PlainTest = bool (*)(const Value&);
struct PlainRow {
  std::string_view name;
  PlainTest test;
};

constexpr PlainRow kPlainTests[] = {
    {"defined", [](const Value& v) { return !v.is(ValueKind::kUndefined); }},
    {"undefined", [](const Value& v) { return v.is(ValueKind::kUndefined); }},
    {"none", [](const Value& v) { return v.is(ValueKind::kNone); }},
    {"boolean", [](const Value& v) { return v.is(ValueKind::kBool); }},
    {"true", [](const Value& v) { return v.is(ValueKind::kBool) && v.boolean; }},
    {"false", [](const Value& v) { return v.is(ValueKind::kBool) && !v.boolean; }},
    {"integer", [](const Value& v) { return v.is(ValueKind::kInt); }},
    {"float", [](const Value& v) { return v.is(ValueKind::kFloat); }},
    {"number", [](const Value& v) { return v.is_number(); }},
    {"string", [](const Value& v) { return v.is(ValueKind::kString); }},
    {"mapping", [](const Value& v) { return v.is(ValueKind::kDict); }},
    {"iterable", is_iterable},
    {"sequence", is_sequence},
    {"escaped", [](const Value& v) { return v.is(ValueKind::kString) && v.string().markup; }},
    {"callable",
     [](const Value& v) {
       return v.is(ValueKind::kMacro) || v.is(ValueKind::kMethod) || v.is(ValueKind::kBuiltin) ||
              v.is(ValueKind::kUndefined);
     }},
};

// Tests of two values; op is the operator they stand for.
struct CompareRow {
  std::string_view name;
  std::string_view op;
};
constexpr CompareRow kCompareTests[] = {
    {"eq", "=="},      {"equalto", "=="}, {"==", "=="}, {"ne", "!="}, {"!=", "!="}, {"lt", "<"},
    {"lessthan", "<"}, {"<", "<"},        {"le", "<="}, {"<=", "<="}, {"gt", ">"},  {"greaterthan", ">"},
    {">", ">"},        {"ge", ">="},      {">=", ">="}, {"in", "in"},
};

constexpr std::string_view kOtherTests[] = {"divisibleby", "even", "odd", "lower", "upper", "sameas", "filter", "test"};

const Value* only_argument(const Arguments& arguments) {
  return arguments.positional.size() == 1 && arguments.named.empty() ? &arguments.positional[0] : nullptr;
}

Result<bool> compare_test(Interpreter& in, std::string_view op, const Value& a, const Value& b) {
  if (op == "==") return in.equal(a, b);
  if (op == "in") return in.contains(b, a);
  if (op == "<") return in.less(a, b);
  if (op == ">") return in.less(b, a);
  if (op == "!=") {
    ROWMAX_TRY(same, in.equal(a, b));
    return !same;
  }
  ROWMAX_TRY(opposite, op == "<=" ? in.less(b, a) : in.less(a, b));
  return !opposite;
}

// str.islower and isupper: at least one cased character, all of them in that case.
Result<bool> has_case(Interpreter& in, const Value& v, std::string_view how) {
  ROWMAX_TRY(text, in.str(v));
  ROWMAX_TRY(same, change_case(in, text.text(), how));
  ROWMAX_TRY(other, change_case(in, text.text(), how == "lower" ? "upper" : "lower"));
  return same.view() == text.view() && other.view() != text.view();
}

bool is_same(const Value& a, const Value& b) {
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case ValueKind::kNone: return true;
    case ValueKind::kBool: return a.boolean == b.boolean;
    case ValueKind::kInt: return a.integer == b.integer;
    case ValueKind::kNamespace: return a.space == b.space;
    case ValueKind::kMacro: return a.macro == b.macro;
    default: return a.rep != nullptr && a.rep == b.rep;
  }
}

Result<bool> other_test(Interpreter& in, std::string_view name, const Value& operand, const Value* argument) {
  if (name == "lower" || name == "upper") return has_case(in, operand, name);
  if (name == "even" || name == "odd") {
    if (!operand.is_integral()) return in.fail("the test '" + std::string(name) + "' needs an integer");
    return (operand.as_int() % 2 == 0) == (name == "even");
  }
  if (name == "filter" || name == "test") {
    if (!operand.is(ValueKind::kString)) return in.fail("the test '" + std::string(name) + "' needs a string");
    return name == "filter" ? is_filter(operand.view()) : is_test(operand.view());
  }
  if (argument == nullptr) return in.fail("the test '" + std::string(name) + "' needs one argument");
  if (name == "sameas") return is_same(operand, *argument);
  if (!operand.is_integral() || !argument->is_integral() || argument->as_int() == 0) {
    return in.fail("divisibleby needs integers");
  }
  return argument->as_int() == -1 || operand.as_int() % argument->as_int() == 0;
}

}  // namespace

bool is_test(std::string_view name) {
  const auto named = [name](const auto& row) { return row.name == name; };
  return std::any_of(std::begin(kPlainTests), std::end(kPlainTests), named) ||
         std::any_of(std::begin(kCompareTests), std::end(kCompareTests), named) ||
         std::find(std::begin(kOtherTests), std::end(kOtherTests), name) != std::end(kOtherTests);
}

Result<bool> apply_test(Interpreter& in, std::string_view name, const Value& operand, const Arguments& arguments) {
  for (const PlainRow& row : kPlainTests) {
    if (row.name != name) continue;
    if (!arguments.positional.empty() || !arguments.named.empty()) {
      return in.fail("the test '" + std::string(name) + "' takes no argument");
    }
    return row.test(operand);
  }
  const Value* argument = only_argument(arguments);
  for (const CompareRow& row : kCompareTests) {
    if (row.name != name) continue;
    if (argument == nullptr) return in.fail("the test '" + std::string(name) + "' needs one argument");
    return compare_test(in, row.op, operand, *argument);
  }
  if (is_test(name)) return other_test(in, name, operand, argument);
  return in.fail("the test '" + std::string(name.substr(0, 50)) + "' is not supported", ErrorCode::kUnsupported);
}

}  // namespace rowmax::engine::jinja
