// The filters of `|`.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "engine/template/interpreter.h"
#include "engine/template/nested.h"
#include "rowmax/try.h"

namespace rowmax::engine::jinja {
namespace {

using Filter = Result<Value> (*)(Interpreter&, const Value&, const Arguments&);
struct FilterRow {
  std::string_view name;
  Filter filter;
};

bool given(const Value* argument) { return argument != nullptr && !argument->is(ValueKind::kNone); }

Result<std::int64_t> integer(const Interpreter& in, const Value* argument, std::int64_t otherwise) {
  if (!given(argument)) return otherwise;
  if (!argument->is_integral()) return in.fail("an integer argument is needed");
  return argument->as_int();
}

Result<Value> generator(Interpreter& in, std::vector<Value> items) {
  return make_list(std::move(items), in.meter(), ListFlavour::kGenerator);
}

// An attribute path as map(attribute="a.b.0") takes it.
Result<Value> walk(Interpreter& in, Value value, const Value& path) {
  if (path.is_integral()) return in.item(value, path);
  if (!path.is(ValueKind::kString)) return in.fail("an attribute must be a string or an integer");
  std::string_view rest = path.view();
  for (;;) {
    ROWMAX_RETURN_IF_ERROR(in.meter()->charge(1));
    const std::size_t dot = std::min(rest.find('.'), rest.size());
    const std::string_view part = rest.substr(0, dot);
    ROWMAX_RETURN_IF_ERROR(in.meter()->charge_more(part.size()));
    std::int64_t index = 0;
    const auto parsed = std::from_chars(part.data(), part.data() + part.size(), index);
    const bool is_index = parsed.ec == std::errc() && parsed.ptr == part.data() + part.size() && part[0] != '-';
    ROWMAX_TRY(next, in.item(value, is_index ? Value::of_int(index) : make_string(Text(part, false), in.meter())));
    value = std::move(next);
    if (dot == rest.size()) return value;
    rest.remove_prefix(dot + 1);
  }
}

// Strings.

Result<Value> trim(Interpreter& in, const Value& operand, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "trim", {"chars"}));
  ROWMAX_TRY(text, in.str(operand));
  const Text* characters = nullptr;
  if (given(bound[0])) {
    if (!bound[0]->is(ValueKind::kString)) return in.fail("trim takes a string");
    characters = &bound[0]->text();
  }
  const std::size_t work = characters == nullptr ? 1 : 1 + characters->bytes.size();
  ROWMAX_RETURN_IF_ERROR(in.meter()->charge_bytes(text.view().size() * std::min<std::size_t>(work, 1 << 20)));
  return in.string(trimmed(text.text(), characters, true, true), text.string().markup);
}

Result<Value> case_filter(Interpreter& in, const Value& operand, const Arguments& arguments, std::string_view how) {
  ROWMAX_TRY(bound, bind(in, arguments, how, {}));
  ROWMAX_TRY(text, in.str(operand));
  return change_case(in, text.text(), how);
}

Result<Value> replace(Interpreter& in, const Value& operand, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "replace", {"old", "new", "count"}, 2));
  ROWMAX_TRY(text, in.str(operand));
  ROWMAX_TRY(from, in.str(*bound[0]));
  ROWMAX_TRY(to, in.str(*bound[1]));
  ROWMAX_TRY(count, integer(in, bound[2], -1));
  return replace_text(in, text.text(), from.text(), to.text(), count);
}

Result<Value> to_string(Interpreter& in, const Value& operand, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "string", {}));
  return in.str(operand);
}

Result<Value> safe(Interpreter& in, const Value& operand, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "safe", {}));
  ROWMAX_TRY(text, in.str(operand));
  return in.string(text.text(), true);
}

Result<Value> escape(Interpreter& in, const Value& operand, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "escape", {}));
  ROWMAX_TRY(text, in.str(operand));
  if (text.string().markup) return text;
  ROWMAX_TRY(empty, in.string(Text(), true));
  return in.math("+", empty, text);
}

Result<Value> indent(Interpreter& in, const Value& operand, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "indent", {"width", "first", "blank"}));
  if (!operand.is(ValueKind::kString)) return in.fail("indent needs a string");
  Text margin;
  if (bound[0] != nullptr && bound[0]->is(ValueKind::kString)) {
    margin = bound[0]->text();
    ROWMAX_RETURN_IF_ERROR(in.meter()->charge_bytes(margin.bytes.size()));
  } else {
    ROWMAX_TRY(width, integer(in, bound[0], 4));
    if (width > 0) {
      ROWMAX_RETURN_IF_ERROR(in.meter()->check_size(static_cast<std::size_t>(width)));
      ROWMAX_RETURN_IF_ERROR(in.meter()->charge_bytes(static_cast<std::size_t>(width)));
    }
    margin = Text(std::string(static_cast<std::size_t>(std::max<std::int64_t>(width, 0)), ' '), false);
  }
  const bool first = bound[1] != nullptr && truthy(*bound[1]);
  const bool blank = bound[2] != nullptr && truthy(*bound[2]);
  Text text = operand.text();
  text.append("\n", false);
  ROWMAX_TRY(lines, split_lines(in, text, false));
  Builder out(in.meter());
  for (std::size_t i = 0; i < lines.size() && !out.full(); ++i) {
    if (i > 0) out.add("\n");
    if (i == 0 ? first : blank || !lines[i].bytes.empty()) out.add(margin);
    out.add(lines[i]);
  }
  return in.take(&out);
}

Result<Value> format(Interpreter& in, const Value& operand, const Arguments& arguments) {
  ROWMAX_TRY(text, in.str(operand));
  if (arguments.named.empty()) {
    ROWMAX_TRY(tuple, make_list(arguments.positional, in.meter(), ListFlavour::kTuple));
    return format_percent(in, text.text(), tuple);
  }
  if (!arguments.positional.empty()) return in.fail("format takes positional or named values, not both");
  std::vector<std::pair<Value, Value>> items;
  for (const auto& [name, value] : arguments.named)
    items.emplace_back(make_string(Text(name, false), in.meter()), value);
  ROWMAX_TRY(dict, make_dict(std::move(items), in.meter()));
  return format_percent(in, text.text(), dict);
}

Result<Value> tojson(Interpreter& in, const Value& operand, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "tojson", {"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style;
  style.ensure_ascii = bound[0] != nullptr && truthy(*bound[0]);
  ROWMAX_TRY(spaces, integer(in, bound[1], -1));
  if (spaces > 1000) return in.fail("tojson with such an indent is not supported", ErrorCode::kUnsupported);
  if (given(bound[1])) style.indent = static_cast<int>(std::max<std::int64_t>(spaces, 0));
  style.item_separator = Text(style.indent < 0 ? ", " : ",", false);
  style.key_separator = Text(": ", false);
  if (given(bound[2])) {
    ROWMAX_TRY(pair, in.iterate(*bound[2]));
    if (pair.size() != 2 || !pair[0].is(ValueKind::kString) || !pair[1].is(ValueKind::kString)) {
      return in.fail("tojson takes two separators");
    }
    style.item_separator = pair[0].text();
    style.key_separator = pair[1].text();
  }
  style.sort_keys = bound[3] != nullptr && truthy(*bound[3]);
  Builder out(in.meter());
  ROWMAX_RETURN_IF_ERROR(print_json(in, operand, style, &out));
  return in.take(&out);
}

Result<Value> join(Interpreter& in, const Value& operand, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "join", {"d", "attribute"}));
  Value separator = make_string(Text(), in.meter());
  if (bound[0] != nullptr) {
    ROWMAX_TRY(text, in.str(*bound[0]));
    separator = std::move(text);
  }
  ROWMAX_TRY(items, in.iterate(operand));
  Builder out(in.meter());
  for (std::size_t i = 0; i < items.size() && !out.full(); ++i) {
    Value item = items[i];
    if (given(bound[1])) {
      ROWMAX_TRY(part, walk(in, item, *bound[1]));
      item = std::move(part);
    }
    ROWMAX_RETURN_IF_ERROR(in.meter()->charge_bytes(separator.view().size()));
    if (i > 0) out.add(separator.text());
    if (item.is(ValueKind::kString)) ROWMAX_RETURN_IF_ERROR(in.meter()->charge_bytes(item.view().size()));
    ROWMAX_RETURN_IF_ERROR(print_str(in, item, &out));
  }
  return in.take(&out);
}

// Numbers.

// The text of a number without white space around it and without a plus sign.
Result<std::string> number_text(const Interpreter& in, const Value& operand) {
  ROWMAX_RETURN_IF_ERROR(in.meter()->charge_bytes(operand.view().size()));
  std::string text = trimmed(operand.text(), nullptr, true, true).bytes;
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.erase(0, 1);
  return text;
}

bool parse_float(const std::string& text, double* value) {
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), *value);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
}

Result<Value> to_int(Interpreter& in, const Value& operand, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "int", {"default", "base"}));
  const Value otherwise = bound[0] == nullptr ? Value::of_int(0) : *bound[0];
  ROWMAX_TRY(base, integer(in, bound[1], 10));
  if (operand.is(ValueKind::kUndefined)) return in.undefined_error(operand);
  if (operand.is_integral()) return Value::of_int(operand.as_int());
  double number = 0;
  if (operand.is(ValueKind::kFloat)) {
    number = operand.number;
  } else if (operand.is(ValueKind::kString)) {
    if (base != 10) return in.fail("int of another base than 10 is not supported", ErrorCode::kUnsupported);
    ROWMAX_TRY(text, number_text(in, operand));
    std::int64_t whole = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), whole);
    const bool all = parsed.ptr == text.data() + text.size() && !text.empty();
    if (all && parsed.ec == std::errc()) return Value::of_int(whole);
    if (all && parsed.ec == std::errc::result_out_of_range) {
      return in.fail("an integer beyond 64 bits", ErrorCode::kUnsupported);
    }
    if (!parse_float(text, &number)) return otherwise;
  } else {
    return otherwise;
  }
  if (std::isnan(number)) return otherwise;
  if (!(std::fabs(number) < 9.2e18)) return in.fail("an integer beyond 64 bits", ErrorCode::kUnsupported);
  return Value::of_int(static_cast<std::int64_t>(number));
}

Result<Value> to_float(Interpreter& in, const Value& operand, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "float", {"default"}));
  const Value otherwise = bound[0] == nullptr ? Value::of_float(0) : *bound[0];
  if (operand.is(ValueKind::kUndefined)) return in.undefined_error(operand);
  if (operand.is_number()) return Value::of_float(operand.as_double());
  if (!operand.is(ValueKind::kString)) return otherwise;
  ROWMAX_TRY(text, number_text(in, operand));
  double number = 0;
  if (!parse_float(text, &number)) return otherwise;
  return Value::of_float(number);
}

Result<Value> absolute(Interpreter& in, const Value& operand, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "abs", {}));
  if (operand.is(ValueKind::kFloat)) return Value::of_float(std::fabs(operand.number));
  if (!operand.is_integral()) return in.fail("abs needs a number");
  if (operand.as_int() >= 0) return Value::of_int(operand.as_int());
  return in.math("-", Value::of_int(0), operand);
}

Result<Value> round(Interpreter& in, const Value& operand, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "round", {"precision", "method"}));
  ROWMAX_TRY(precision, integer(in, bound[0], 0));
  const std::string_view method = bound[1] != nullptr && bound[1]->is(ValueKind::kString) ? bound[1]->view() : "common";
  if (!operand.is_number()) return in.fail("round needs a number");
  if (precision < 0 || precision > 15)
    return in.fail("this precision of round is not supported", ErrorCode::kUnsupported);
  if (method == "common") {
    if (operand.is_integral()) return Value::of_int(operand.as_int());
    char buffer[400];  // the exact decimal value, rounded half to even, as Python does
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, operand.number, std::chars_format::fixed,
                                   static_cast<int>(precision));
    double rounded = operand.number;
    if (end.ec == std::errc()) std::from_chars(buffer, end.ptr, rounded);
    return Value::of_float(rounded);
  }
  if (method != "ceil" && method != "floor") return in.fail("round takes common, ceil or floor");
  double scale = 1;
  for (std::int64_t i = 0; i < precision; ++i) scale *= 10;
  const double scaled = operand.as_double() * scale;
  return Value::of_float((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

// Sequences.

Result<Value> length(Interpreter& in, const Value& operand, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "length", {}));
  ROWMAX_TRY(n, in.length(operand));
  return Value::of_int(static_cast<std::int64_t>(n));
}

Result<Value> to_list(Interpreter& in, const Value& operand, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "list", {}));
  ROWMAX_TRY(items, in.iterate(operand));
  return make_list(std::move(items), in.meter());
}

Result<Value> first(Interpreter& in, const Value& operand, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "first", {}));
  if (operand.is_list(ListFlavour::kGenerator)) {
    const ListRep& list = operand.list();
    return list.next < list.items.size() ? list.items[list.next++] : make_undefined("the first of nothing", in.meter());
  }
  if (operand.is(ValueKind::kString))
    return operand.view().empty() ? Result<Value>(Value()) : in.item(operand, Value::of_int(0));
  ROWMAX_TRY(items, in.iterate(operand));
  return items.empty() ? make_undefined("the first of nothing", in.meter()) : items.front();
}

Result<Value> last(Interpreter& in, const Value& operand, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "last", {}));
  if (operand.is_list(ListFlavour::kGenerator)) return in.fail("a generator cannot be reversed");
  if (operand.is(ValueKind::kString)) return in.item(operand, Value::of_int(-1));
  ROWMAX_TRY(items, in.iterate(operand));
  return items.empty() ? make_undefined("the last of nothing", in.meter()) : items.back();
}

Result<Value> reverse(Interpreter& in, const Value& operand, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "reverse", {}));
  ROWMAX_TRY(items, in.iterate(operand));
  std::reverse(items.begin(), items.end());
  if (!operand.is(ValueKind::kString)) return generator(in, std::move(items));
  Builder out(in.meter());
  for (const Value& item : items) out.add(item.text());
  return in.take(&out);
}

Result<Value> items_of(Interpreter& in, const Value& operand, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "items", {}));
  if (operand.is(ValueKind::kUndefined)) return generator(in, {});
  if (!operand.is(ValueKind::kDict)) return in.fail("items needs a dict");
  ROWMAX_TRY(view, call_method(in, operand, "items", {}));
  return generator(in, view.items());
}

// The key by which sort, unique, min, max and dictsort order: strings without regard to case unless asked for.
Result<Value> order_key(Interpreter& in, const Value& value, bool case_sensitive) {
  if (case_sensitive || !value.is(ValueKind::kString)) return value;
  return change_case(in, value.text(), "lower");
}

using Keyed = std::pair<Value, Value>;  // key, element

// Stable. All keys must be strings or all numbers, so that they have one order.
Status sort_keyed(Interpreter& in, std::vector<Keyed>* items, bool reversed) {
  std::size_t longest = 0;
  std::size_t n_strings = 0;
  for (const Keyed& item : *items) {
    const Value& key = item.first;
    if (key.is(ValueKind::kString)) {
      ++n_strings;
      longest = std::max(longest, key.view().size());
    } else if (!key.is_number() || (key.is(ValueKind::kFloat) && std::isnan(key.number))) {
      return in.fail(std::string("sorting values of type ") + type_name(key) + " is not supported",
                     ErrorCode::kUnsupported);
    }
  }
  if (n_strings != 0 && n_strings != items->size()) return in.fail("cannot order strings and numbers");
  std::size_t levels = 1;
  while ((std::size_t{1} << levels) < items->size()) ++levels;
  ROWMAX_RETURN_IF_ERROR(in.meter()->charge(static_cast<std::int64_t>(items->size() * levels * (1 + (longest >> 7)))));
  const auto less = [](const Value& a, const Value& b) {
    if (a.is(ValueKind::kString)) return a.view() < b.view();
    return a.is_integral() && b.is_integral() ? a.as_int() < b.as_int() : a.as_double() < b.as_double();
  };
  std::stable_sort(items->begin(), items->end(), [&less, reversed](const Keyed& a, const Keyed& b) {
    return reversed ? less(b.first, a.first) : less(a.first, b.first);
  });
  return {};
}

Result<std::vector<Keyed>> keyed(Interpreter& in, const Value& operand, const Value* attribute, bool case_sensitive) {
  ROWMAX_TRY(items, in.iterate(operand));
  std::vector<Keyed> out;
  for (Value& item : items) {
    Value key = item;
    if (attribute != nullptr && !attribute->is(ValueKind::kNone)) {
      ROWMAX_TRY(part, walk(in, item, *attribute));
      key = std::move(part);
    }
    ROWMAX_TRY(folded, order_key(in, key, case_sensitive));
    out.emplace_back(std::move(folded), std::move(item));
  }
  return out;
}

bool flag(const Value* argument) { return argument != nullptr && truthy(*argument); }

Result<Value> sort(Interpreter& in, const Value& operand, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "sort", {"reverse", "case_sensitive", "attribute"}));
  ROWMAX_TRY(items, keyed(in, operand, bound[2], flag(bound[1])));
  ROWMAX_RETURN_IF_ERROR(sort_keyed(in, &items, flag(bound[0])));
  std::vector<Value> sorted;
  for (Keyed& item : items) sorted.push_back(std::move(item.second));
  return make_list(std::move(sorted), in.meter());
}

Result<Value> extreme(Interpreter& in, const Value& operand, const Arguments& arguments, bool maximum) {
  ROWMAX_TRY(bound, bind(in, arguments, maximum ? "max" : "min", {"case_sensitive", "attribute"}));
  ROWMAX_TRY(items, keyed(in, operand, bound[1], flag(bound[0])));
  if (items.empty()) return make_undefined("the extreme of nothing", in.meter());
  ROWMAX_RETURN_IF_ERROR(sort_keyed(in, &items, maximum));
  return items.front().second;
}

Result<Value> unique(Interpreter& in, const Value& operand, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "unique", {"case_sensitive", "attribute"}));
  ROWMAX_TRY(items, keyed(in, operand, bound[1], flag(bound[0])));
  std::vector<Value> kept;
  std::vector<Value> keys;
  for (Keyed& item : items) {
    bool seen = false;
    for (std::size_t i = 0; i < keys.size() && !seen; ++i) {
      ROWMAX_TRY(same, in.equal(keys[i], item.first));
      seen = same;
    }
    if (seen) continue;
    keys.push_back(std::move(item.first));
    kept.push_back(std::move(item.second));
  }
  return generator(in, std::move(kept));
}

Result<Value> dictsort(Interpreter& in, const Value& operand, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "dictsort", {"case_sensitive", "by", "reverse"}));
  if (!operand.is(ValueKind::kDict)) return in.fail("dictsort needs a dict");
  const bool by_value = bound[1] != nullptr && bound[1]->is(ValueKind::kString) && bound[1]->view() == "value";
  ROWMAX_TRY(view, call_method(in, operand, "items", {}));
  std::vector<Keyed> items;
  for (const Value& pair : view.items()) {
    ROWMAX_TRY(key, order_key(in, pair.items()[by_value ? 1 : 0], flag(bound[0])));
    items.emplace_back(std::move(key), pair);
  }
  ROWMAX_RETURN_IF_ERROR(sort_keyed(in, &items, flag(bound[2])));
  std::vector<Value> sorted;
  for (Keyed& item : items) sorted.push_back(std::move(item.second));
  return make_list(std::move(sorted), in.meter());
}

Result<Value> sum(Interpreter& in, const Value& operand, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "sum", {"attribute", "start"}));
  ROWMAX_TRY(items, in.iterate(operand));
  Value total = bound[1] == nullptr ? Value::of_int(0) : *bound[1];
  for (Value& item : items) {
    if (given(bound[0])) {
      ROWMAX_TRY(part, walk(in, item, *bound[0]));
      item = std::move(part);
    }
    ROWMAX_TRY(next, in.math("+", total, item));
    total = std::move(next);
  }
  return total;
}

Result<Value> map(Interpreter& in, const Value& operand, const Arguments& arguments) {
  if (!truthy(operand)) return generator(in, {});  // as jinja2, None included
  ROWMAX_TRY(items, in.iterate(operand));
  ROWMAX_RETURN_IF_ERROR(in.meter()->charge(static_cast<std::int64_t>(arguments.positional.size())));
  Arguments rest = arguments;
  if (rest.positional.empty()) {
    ROWMAX_TRY(bound, bind(in, arguments, "map", {"attribute", "default"}, 1));
    for (Value& item : items) {
      ROWMAX_TRY(part, walk(in, item, *bound[0]));
      item = part.is(ValueKind::kUndefined) && bound[1] != nullptr ? *bound[1] : std::move(part);
    }
    return generator(in, std::move(items));
  }
  const Value name = rest.positional[0];
  if (!name.is(ValueKind::kString)) return in.fail("map takes the name of a filter");
  rest.positional.erase(rest.positional.begin());
  for (Value& item : items) {
    ROWMAX_RETURN_IF_ERROR(in.meter()->charge(1));
    ROWMAX_TRY(mapped, apply_filter(in, name.view(), item, rest));
    item = std::move(mapped);
  }
  return generator(in, std::move(items));
}

// select, reject (by the element) and selectattr, rejectattr (by an attribute of it).
Result<Value> pick(Interpreter& in, const Value& operand, const Arguments& arguments, bool by_attribute, bool wanted) {
  if (!truthy(operand)) return generator(in, {});  // as jinja2, None included
  ROWMAX_TRY(items, in.iterate(operand));
  ROWMAX_RETURN_IF_ERROR(in.meter()->charge(static_cast<std::int64_t>(arguments.positional.size())));
  Arguments rest = arguments;
  Value path;
  if (by_attribute) {
    if (rest.positional.empty()) return in.fail("selecting by an attribute needs its name");
    path = rest.positional[0];
    rest.positional.erase(rest.positional.begin());
  }
  Value test;
  if (!rest.positional.empty()) {
    test = rest.positional[0];
    if (!test.is(ValueKind::kString)) return in.fail("the name of a test is needed");
    rest.positional.erase(rest.positional.begin());
  }
  std::vector<Value> picked;
  for (Value& item : items) {
    ROWMAX_RETURN_IF_ERROR(in.meter()->charge(1));
    Value subject = item;
    if (by_attribute) {
      ROWMAX_TRY(part, walk(in, item, path));
      subject = std::move(part);
    }
    bool passes = truthy(subject);
    if (test.is(ValueKind::kString)) {
      ROWMAX_TRY(result, apply_test(in, test.view(), subject, rest));
      passes = result;
    }
    if (passes == wanted) picked.push_back(std::move(item));
  }
  return generator(in, std::move(picked));
}

Result<Value> or_default(Interpreter& in, const Value& operand, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "default", {"default_value", "boolean"}));
  const bool missing = operand.is(ValueKind::kUndefined) || (flag(bound[1]) && !truthy(operand));
  if (!missing) return operand;
  return bound[0] == nullptr ? in.string(Text()) : Result<Value>(*bound[0]);
}

constexpr FilterRow kFilters[] = {
    {"abs", absolute},
    {"capitalize",
     [](Interpreter& in, const Value& v, const Arguments& a) { return case_filter(in, v, a, "capitalize"); }},
    {"count", length},
    {"d", or_default},
    {"default", or_default},
    {"dictsort", dictsort},
    {"e", escape},
    {"escape", escape},
    {"first", first},
    {"float", to_float},
    {"format", format},
    {"indent", indent},
    {"int", to_int},
    {"items", items_of},
    {"join", join},
    {"last", last},
    {"length", length},
    {"list", to_list},
    {"lower", [](Interpreter& in, const Value& v, const Arguments& a) { return case_filter(in, v, a, "lower"); }},
    {"map", map},
    {"max", [](Interpreter& in, const Value& v, const Arguments& a) { return extreme(in, v, a, true); }},
    {"min", [](Interpreter& in, const Value& v, const Arguments& a) { return extreme(in, v, a, false); }},
    {"reject", [](Interpreter& in, const Value& v, const Arguments& a) { return pick(in, v, a, false, false); }},
    {"rejectattr", [](Interpreter& in, const Value& v, const Arguments& a) { return pick(in, v, a, true, false); }},
    {"replace", replace},
    {"reverse", reverse},
    {"round", round},
    {"safe", safe},
    {"select", [](Interpreter& in, const Value& v, const Arguments& a) { return pick(in, v, a, false, true); }},
    {"selectattr", [](Interpreter& in, const Value& v, const Arguments& a) { return pick(in, v, a, true, true); }},
    {"sort", sort},
    {"string", to_string},
    {"sum", sum},
    {"title", [](Interpreter& in, const Value& v, const Arguments& a) { return case_filter(in, v, a, "title"); }},
    {"tojson", tojson},
    {"trim", trim},
    {"unique", unique},
    {"upper", [](Interpreter& in, const Value& v, const Arguments& a) { return case_filter(in, v, a, "upper"); }},
};

const FilterRow* find_filter(std::string_view name) {
  const auto it =
      std::find_if(std::begin(kFilters), std::end(kFilters), [name](const FilterRow& row) { return row.name == name; });
  return it == std::end(kFilters) ? nullptr : &*it;
}

}  // namespace

bool is_filter(std::string_view name) { return find_filter(name) != nullptr; }

Result<Value> apply_filter(Interpreter& in, std::string_view name, const Value& operand, const Arguments& arguments) {
  const FilterRow* row = find_filter(name);
  if (row == nullptr) {
    return in.fail("the filter '" + std::string(name.substr(0, 50)) + "' is not supported", ErrorCode::kUnsupported);
  }
  const Nested nested(in.depth());  // map applies filters, map among them
  ROWMAX_RETURN_IF_ERROR(in.check_depth());
  return row->filter(in, operand, arguments);
}

}  // namespace rowmax::engine::jinja
