// Methods of strings, dicts, lists and the loop variable.
#include <algorithm>

#include "engine/template/interpreter.h"
#include "rowmax/try.h"

namespace rowmax::engine::jinja {
namespace {

using Method = Result<Value> (*)(Interpreter&, const Value&, const Arguments&);
struct MethodRow {
  std::string_view name;
  Method method;  // nullptr: Python has it, the sandbox or this interpreter refuses it
};

Result<const Text*> text_argument(const Interpreter& in, const Value* value) {
  if (value->is(ValueKind::kString)) return &value->text();
  return in.fail(std::string("a string is needed, not a value of type ") + type_name(*value));
}

Result<Value> strip(Interpreter& in, const Value& self, const Arguments& arguments, bool left, bool right) {
  ROWMAX_TRY(bound, bind(in, arguments, "strip", {"chars"}));
  const Text* characters = nullptr;
  if (bound[0] != nullptr && !bound[0]->is(ValueKind::kNone)) {
    ROWMAX_TRY(text, text_argument(in, bound[0]));
    characters = text;
  }
  const std::size_t work = characters == nullptr ? 1 : 1 + characters->bytes.size();
  ROWMAX_RETURN_IF_ERROR(in.meter()->charge_bytes(self.view().size() * std::min<std::size_t>(work, 1 << 20)));
  return in.string(trimmed(self.text(), characters, left, right), self.string().markup);
}

// Pieces between separators, from the left or the right, at most max_splits cuts (all if negative).
Result<std::vector<Text>> cut(Interpreter& in, const Text& text, const Text& separator, std::int64_t max_splits,
                              bool from_right) {
  if (separator.bytes.empty()) return in.fail("split by an empty separator");
  ROWMAX_RETURN_IF_ERROR(in.meter()->charge_bytes(Finder::work(text.bytes, separator.bytes)));
  const Finder finder(separator.bytes);
  std::vector<std::size_t> places;
  for (std::size_t at = finder.find(text.bytes, 0); at != std::string::npos;
       at = finder.find(text.bytes, at + separator.bytes.size())) {
    places.push_back(at);
    if (max_splits >= 0 && !from_right && static_cast<std::int64_t>(places.size()) >= max_splits) break;
  }
  if (max_splits == 0) places.clear();
  if (from_right && max_splits >= 0 && static_cast<std::int64_t>(places.size()) > max_splits) {
    // Overlapping matches are found from the right by Python; refuse the texts where that differs.
    if (separator.bytes.find(separator.bytes[0], 1) != std::string::npos) {
      return in.fail("rsplit by a separator that may overlap itself is not supported", ErrorCode::kUnsupported);
    }
    places.erase(places.begin(), places.end() - max_splits);
  }
  ROWMAX_RETURN_IF_ERROR(in.meter()->charge_items(8 * places.size()));
  ROWMAX_RETURN_IF_ERROR(in.meter()->check_size(places.size() * sizeof(StringRep)));
  std::vector<Text> pieces;
  std::size_t begin = 0;
  for (const std::size_t at : places) {
    pieces.push_back(text.slice(begin, at));
    begin = at + separator.bytes.size();
  }
  pieces.push_back(text.slice(begin, text.bytes.size()));
  return pieces;
}

Result<Value> list_of(Interpreter& in, std::vector<Text> pieces, ListFlavour flavour = ListFlavour::kList) {
  std::vector<Value> items;
  items.reserve(pieces.size());
  for (Text& piece : pieces) {
    ROWMAX_TRY(item, in.string(std::move(piece)));
    items.push_back(std::move(item));
  }
  return make_list(std::move(items), in.meter(), flavour);
}

// split() without a separator: words between runs of white space.
Result<std::vector<Text>> words(Interpreter& in, const Text& text, std::int64_t max_splits) {
  std::vector<Text> pieces;
  const std::string_view bytes = text.bytes;
  const auto skip = [&](std::size_t* i, bool space) {
    while (*i < bytes.size()) {
      const Utf8Char c = utf8_at(bytes, *i);
      if (is_python_space(c.code_point) != space) break;
      *i += c.size;
    }
  };
  ROWMAX_RETURN_IF_ERROR(in.meter()->charge_bytes(bytes.size()));
  std::size_t i = 0;
  skip(&i, true);
  while (i < bytes.size()) {
    ROWMAX_RETURN_IF_ERROR(in.meter()->charge(1));
    const std::size_t begin = i;
    if (max_splits >= 0 && static_cast<std::int64_t>(pieces.size()) >= max_splits) {
      pieces.push_back(text.slice(begin, bytes.size()));
      break;
    }
    skip(&i, false);
    pieces.push_back(text.slice(begin, i));
    skip(&i, true);
  }
  return pieces;
}

Result<Value> split(Interpreter& in, const Value& self, const Arguments& arguments, bool from_right) {
  ROWMAX_TRY(bound, bind(in, arguments, "split", {"sep", "maxsplit"}));
  std::int64_t max_splits = -1;
  if (bound[1] != nullptr) {
    if (!bound[1]->is_integral()) return in.fail("maxsplit must be an integer");
    max_splits = bound[1]->as_int();
  }
  ROWMAX_RETURN_IF_ERROR(in.meter()->charge_bytes(self.view().size()));
  if (bound[0] == nullptr || bound[0]->is(ValueKind::kNone)) {
    if (from_right && max_splits >= 0)
      return in.fail("rsplit at white space is not supported", ErrorCode::kUnsupported);
    ROWMAX_TRY(pieces, words(in, self.text(), max_splits));
    return list_of(in, std::move(pieces));
  }
  ROWMAX_TRY(separator, text_argument(in, bound[0]));
  ROWMAX_TRY(pieces, cut(in, self.text(), *separator, max_splits, from_right));
  return list_of(in, std::move(pieces));
}

Result<Value> partition(Interpreter& in, const Value& self, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "partition", {"sep"}, 1));
  ROWMAX_TRY(separator, text_argument(in, bound[0]));
  ROWMAX_TRY(pieces, cut(in, self.text(), *separator, 1, false));
  if (pieces.size() == 1) {
    pieces.resize(3);
  } else {
    pieces.insert(pieces.begin() + 1, *separator);
  }
  return list_of(in, std::move(pieces), ListFlavour::kTuple);
}

Result<Value> splitlines(Interpreter& in, const Value& self, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "splitlines", {"keepends"}));
  const bool keep = bound[0] != nullptr && truthy(*bound[0]);
  ROWMAX_TRY(lines, split_lines(in, self.text(), keep));
  return list_of(in, std::move(lines));
}

// startswith and endswith of a string or of any in a tuple.
Result<Value> has_affix(Interpreter& in, const Value& self, const Arguments& arguments, bool at_start) {
  ROWMAX_TRY(bound, bind(in, arguments, at_start ? "startswith" : "endswith", {"affix"}, 1));
  std::vector<Value> choices{*bound[0]};
  if (bound[0]->is_list(ListFlavour::kTuple)) choices = bound[0]->items();
  ROWMAX_RETURN_IF_ERROR(in.meter()->charge_items(choices.size()));
  for (const Value& choice : choices) {
    ROWMAX_TRY(text, text_argument(in, &choice));
    ROWMAX_RETURN_IF_ERROR(in.meter()->charge_bytes(text->bytes.size()));
    if (at_start ? self.view().starts_with(text->bytes) : self.view().ends_with(text->bytes)) {
      return Value::of_bool(true);
    }
  }
  return Value::of_bool(false);
}

Result<Value> remove_affix(Interpreter& in, const Value& self, const Arguments& arguments, bool at_start) {
  ROWMAX_TRY(found, has_affix(in, self, arguments, at_start));
  ROWMAX_TRY(text,
             text_argument(in, arguments.positional.empty() ? &arguments.named[0].second : &arguments.positional[0]));
  if (!found.boolean) return self;
  const std::size_t n = text->bytes.size();
  const std::size_t size = self.view().size();
  return in.string(at_start ? self.text().slice(n, size) : self.text().slice(0, size - n));
}

Result<Value> replace_method(Interpreter& in, const Value& self, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "replace", {"old", "new", "count"}, 2));
  ROWMAX_TRY(from, text_argument(in, bound[0]));
  ROWMAX_TRY(to, text_argument(in, bound[1]));
  if (bound[2] != nullptr && !bound[2]->is_integral()) return in.fail("replace needs an integer count");
  return replace_text(in, self.text(), *from, *to, bound[2] == nullptr ? -1 : bound[2]->as_int());
}

// find, rfind, index, count: places are counted in characters.
Result<Value> search(Interpreter& in, const Value& self, const Arguments& arguments, std::string_view how) {
  if (arguments.positional.size() > 1) {
    return in.fail("'" + std::string(how) + "' with a range is not supported", ErrorCode::kUnsupported);
  }
  ROWMAX_TRY(bound, bind(in, arguments, how, {"sub"}, 1));
  ROWMAX_TRY(text, text_argument(in, bound[0]));
  const std::string_view bytes = self.view();
  ROWMAX_RETURN_IF_ERROR(in.meter()->charge_bytes(Finder::work(bytes, text->bytes)));
  if (text->bytes.empty()) {
    const auto n = static_cast<std::int64_t>(utf8_length(bytes));
    return Value::of_int(how == "count" ? n + 1 : how == "rfind" ? n : 0);
  }
  const Finder finder(text->bytes);
  std::int64_t n = 0;
  std::size_t place = std::string_view::npos;
  for (std::size_t at = finder.find(bytes, 0); at != std::string_view::npos;) {
    if ((++n & 3) == 0) ROWMAX_RETURN_IF_ERROR(in.meter()->charge(1));
    place = at;
    if (how == "find" || how == "index") break;
    if (how == "count") {
      at = finder.find(bytes, at + text->bytes.size());
    } else {
      ROWMAX_RETURN_IF_ERROR(in.meter()->charge_bytes(text->bytes.size()));
      at = finder.find(bytes, at + 1);
    }
  }
  if (how == "count") return Value::of_int(n);
  if (place != std::string_view::npos)
    return Value::of_int(static_cast<std::int64_t>(utf8_length(bytes.substr(0, place))));
  if (how == "index") return in.fail("substring not found");
  return Value::of_int(-1);
}

Result<Value> join_method(Interpreter& in, const Value& self, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "join", {"iterable"}, 1));
  ROWMAX_TRY(items, in.iterate(*bound[0]));
  Builder out(in.meter());
  for (std::size_t i = 0; i < items.size() && !out.full(); ++i) {
    ROWMAX_TRY(text, text_argument(in, &items[i]));
    ROWMAX_RETURN_IF_ERROR(in.meter()->charge_bytes(text->bytes.size() + self.view().size()));
    if (i > 0) out.add(self.text());
    out.add(*text);
  }
  return in.take(&out);
}

// isdigit and the like, for ASCII; other characters would need the tables of the Python at hand.
Result<Value> all_are(Interpreter& in, const Value& self, const Arguments& arguments, bool (*test)(char)) {
  ROWMAX_TRY(bound, bind(in, arguments, "this method", {}));
  ROWMAX_RETURN_IF_ERROR(in.meter()->charge_bytes(self.view().size()));
  bool all = !self.view().empty();
  for (const char c : self.view()) {
    if (static_cast<unsigned char>(c) >= 0x80) {
      return in.fail("classes of characters beyond ASCII are not supported", ErrorCode::kUnsupported);
    }
    all = all && test(c);
  }
  return Value::of_bool(all);
}

bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }
bool is_ascii_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

Result<Value> is_space(Interpreter& in, const Value& self, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "isspace", {}));
  ROWMAX_RETURN_IF_ERROR(in.meter()->charge_bytes(self.view().size()));
  return Value::of_bool(!self.view().empty() && trimmed(self.text(), nullptr, true, false).bytes.empty());
}

// str.format with plain fields: {}, {0} and {name}, no attributes, subscripts or format specs.
Result<Value> format_method(Interpreter& in, const Value& self, const Arguments& arguments) {
  Builder out(in.meter());
  const Text& text = self.text();
  std::size_t automatic = 0;
  for (std::size_t i = 0; i < text.bytes.size() && !out.full();) {
    ROWMAX_RETURN_IF_ERROR(in.meter()->charge(1));
    const std::size_t brace = std::min(text.bytes.find_first_of("{}", i), text.bytes.size());
    out.add_slice(text, i, brace);
    if (brace == text.bytes.size()) break;
    if (brace + 1 < text.bytes.size() && text.bytes[brace + 1] == text.bytes[brace]) {
      out.add_slice(text, brace, brace + 1);
      i = brace + 2;
      continue;
    }
    const std::size_t close = text.bytes.find('}', brace);
    if (text.bytes[brace] == '}' || close == std::string::npos) return in.fail("a malformed format string");
    ROWMAX_RETURN_IF_ERROR(in.meter()->charge_more(close - brace));
    const std::string field = text.bytes.substr(brace + 1, close - brace - 1);
    i = close + 1;
    const Value* value = nullptr;
    if (std::all_of(field.begin(), field.end(), is_ascii_digit) && field.size() < 4) {
      const std::size_t n = field.empty() ? automatic++ : static_cast<std::size_t>(std::stoi(field));
      if (n < arguments.positional.size()) value = &arguments.positional[n];
    } else if (field.find_first_of(".[!:{") != std::string::npos) {
      return in.fail("this format string is not supported", ErrorCode::kUnsupported);
    }
    for (const auto& [name, named] : arguments.named) {
      if (name == field) value = &named;
    }
    if (value == nullptr) return in.fail("a format string names a missing argument");
    ROWMAX_RETURN_IF_ERROR(print_str(in, *value, &out));
  }
  return in.take(&out);
}

Result<Value> case_method(Interpreter& in, const Value& self, const Arguments& arguments, std::string_view how) {
  ROWMAX_TRY(bound, bind(in, arguments, how, {}));
  return change_case(in, self.text(), how);
}

Result<Value> case_test(Interpreter& in, const Value& self, const Arguments& arguments, std::string_view how) {
  ROWMAX_TRY(bound, bind(in, arguments, how, {}));
  ROWMAX_TRY(result, apply_test(in, how, self, {}));
  return Value::of_bool(result);
}

constexpr MethodRow kStringMethods[] = {
    {"strip", [](Interpreter& in, const Value& s, const Arguments& a) { return strip(in, s, a, true, true); }},
    {"lstrip", [](Interpreter& in, const Value& s, const Arguments& a) { return strip(in, s, a, true, false); }},
    {"rstrip", [](Interpreter& in, const Value& s, const Arguments& a) { return strip(in, s, a, false, true); }},
    {"split", [](Interpreter& in, const Value& s, const Arguments& a) { return split(in, s, a, false); }},
    {"rsplit", [](Interpreter& in, const Value& s, const Arguments& a) { return split(in, s, a, true); }},
    {"splitlines", splitlines},
    {"partition", partition},
    {"startswith", [](Interpreter& in, const Value& s, const Arguments& a) { return has_affix(in, s, a, true); }},
    {"endswith", [](Interpreter& in, const Value& s, const Arguments& a) { return has_affix(in, s, a, false); }},
    {"removeprefix", [](Interpreter& in, const Value& s, const Arguments& a) { return remove_affix(in, s, a, true); }},
    {"removesuffix", [](Interpreter& in, const Value& s, const Arguments& a) { return remove_affix(in, s, a, false); }},
    {"replace", replace_method},
    {"find", [](Interpreter& in, const Value& s, const Arguments& a) { return search(in, s, a, "find"); }},
    {"rfind", [](Interpreter& in, const Value& s, const Arguments& a) { return search(in, s, a, "rfind"); }},
    {"index", [](Interpreter& in, const Value& s, const Arguments& a) { return search(in, s, a, "index"); }},
    {"count", [](Interpreter& in, const Value& s, const Arguments& a) { return search(in, s, a, "count"); }},
    {"join", join_method},
    {"format", format_method},
    {"upper", [](Interpreter& in, const Value& s, const Arguments& a) { return case_method(in, s, a, "upper"); }},
    {"lower", [](Interpreter& in, const Value& s, const Arguments& a) { return case_method(in, s, a, "lower"); }},
    {"capitalize",
     [](Interpreter& in, const Value& s, const Arguments& a) { return case_method(in, s, a, "capitalize"); }},
    {"islower", [](Interpreter& in, const Value& s, const Arguments& a) { return case_test(in, s, a, "lower"); }},
    {"isupper", [](Interpreter& in, const Value& s, const Arguments& a) { return case_test(in, s, a, "upper"); }},
    {"isdigit", [](Interpreter& in, const Value& s, const Arguments& a) { return all_are(in, s, a, is_ascii_digit); }},
    {"isdecimal",
     [](Interpreter& in, const Value& s, const Arguments& a) { return all_are(in, s, a, is_ascii_digit); }},
    {"isnumeric",
     [](Interpreter& in, const Value& s, const Arguments& a) { return all_are(in, s, a, is_ascii_digit); }},
    {"isalpha", [](Interpreter& in, const Value& s, const Arguments& a) { return all_are(in, s, a, is_ascii_letter); }},
    {"isalnum",
     [](Interpreter& in, const Value& s, const Arguments& a) {
       return all_are(in, s, a, [](char c) { return is_ascii_digit(c) || is_ascii_letter(c); });
     }},
    {"isspace", is_space},
    {"casefold", nullptr},
    {"center", nullptr},
    {"encode", nullptr},
    {"expandtabs", nullptr},
    {"format_map", nullptr},
    {"isascii", nullptr},
    {"isidentifier", nullptr},
    {"isprintable", nullptr},
    {"istitle", nullptr},
    {"ljust", nullptr},
    {"maketrans", nullptr},
    {"rindex", nullptr},
    {"rjust", nullptr},
    {"rpartition", nullptr},
    {"swapcase", nullptr},
    {"title", nullptr},
    {"translate", nullptr},
    {"zfill", nullptr},
};

Result<Value> dict_view(Interpreter& in, const Value& self, const Arguments& arguments, ListFlavour flavour) {
  ROWMAX_TRY(bound, bind(in, arguments, "this method", {}));
  std::vector<Value> items;
  items.reserve(self.dict().items.size());
  for (const auto& [key, value] : self.dict().items) {
    if (flavour == ListFlavour::kItems) {
      ROWMAX_TRY(pair, make_list({key, value}, in.meter(), ListFlavour::kTuple));
      items.push_back(std::move(pair));
    } else {
      items.push_back(flavour == ListFlavour::kKeys ? key : value);
    }
  }
  return make_list(std::move(items), in.meter(), flavour);
}

Result<Value> dict_get(Interpreter& in, const Value& self, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "get", {"key", "default"}, 1));
  const Value otherwise = bound[1] == nullptr ? Value::none() : *bound[1];
  if (bound[0]->is(ValueKind::kString)) {
    ROWMAX_RETURN_IF_ERROR(in.charge_find(self.dict(), bound[0]->view()));
    const Value* value = self.dict().find(bound[0]->view());
    return value == nullptr ? otherwise : *value;
  }
  if (bound[0]->is(ValueKind::kList) || bound[0]->is(ValueKind::kDict))
    return in.fail("a key of a dict must be a scalar");
  ROWMAX_TRY(value, in.item(self, *bound[0]));
  return value.is(ValueKind::kUndefined) ? otherwise : value;
}

constexpr MethodRow kDictMethods[] = {
    {"get", dict_get},
    {"items",
     [](Interpreter& in, const Value& s, const Arguments& a) { return dict_view(in, s, a, ListFlavour::kItems); }},
    {"keys",
     [](Interpreter& in, const Value& s, const Arguments& a) { return dict_view(in, s, a, ListFlavour::kKeys); }},
    {"values",
     [](Interpreter& in, const Value& s, const Arguments& a) { return dict_view(in, s, a, ListFlavour::kValues); }},
    {"copy", [](Interpreter&, const Value& s, const Arguments&) { return Result<Value>(s); }},
    {"clear", nullptr},
    {"fromkeys", nullptr},
    {"pop", nullptr},
    {"popitem", nullptr},
    {"setdefault", nullptr},
    {"update", nullptr},
};

Result<Value> list_search(Interpreter& in, const Value& self, const Arguments& arguments, bool counts) {
  ROWMAX_TRY(bound, bind(in, arguments, counts ? "count" : "index", {"value"}, 1));
  std::int64_t n = 0;
  for (std::size_t i = 0; i < self.items().size(); ++i) {
    ROWMAX_TRY(same, in.equal(self.items()[i], *bound[0]));
    if (same && !counts) return Value::of_int(static_cast<std::int64_t>(i));
    n += same ? 1 : 0;
  }
  if (!counts) return in.fail("the value is not in the list");
  return Value::of_int(n);
}

constexpr MethodRow kTupleMethods[] = {
    {"index", [](Interpreter& in, const Value& s, const Arguments& a) { return list_search(in, s, a, false); }},
    {"count", [](Interpreter& in, const Value& s, const Arguments& a) { return list_search(in, s, a, true); }},
};
constexpr std::string_view kRefusedListMethods[] = {"append", "clear",  "copy",    "extend", "insert",
                                                    "pop",    "remove", "reverse", "sort"};

const MethodRow* method_row(const Value& self, std::string_view name) {
  const auto in_table = [name](const auto& table) {
    const auto it =
        std::find_if(std::begin(table), std::end(table), [name](const MethodRow& row) { return row.name == name; });
    return it == std::end(table) ? nullptr : &*it;
  };
  if (self.is(ValueKind::kString)) return in_table(kStringMethods);
  if (self.is(ValueKind::kDict)) return in_table(kDictMethods);
  if (self.is_list(ListFlavour::kList) || self.is_list(ListFlavour::kTuple)) return in_table(kTupleMethods);
  return nullptr;
}

}  // namespace

MethodState find_method(const Value& self, std::string_view name) {
  if (const MethodRow* row = method_row(self, name))
    return row->method == nullptr ? MethodState::kRefused : MethodState::kYes;
  const auto* end = std::end(kRefusedListMethods);
  if (self.is_list(ListFlavour::kList) && std::find(std::begin(kRefusedListMethods), end, name) != end) {
    return MethodState::kRefused;
  }
  return MethodState::kNone;
}

Result<Value> call_method(Interpreter& in, const Value& self, std::string_view name, const Arguments& arguments) {
  if (self.is(ValueKind::kLoop)) {  // cycle
    if (arguments.positional.empty()) return in.fail("loop.cycle needs arguments");
    return arguments.positional[self.loop().index % arguments.positional.size()];
  }
  const MethodRow* row = method_row(self, name);
  if (row == nullptr || row->method == nullptr) return in.fail("no such method", ErrorCode::kUnsupported);
  return row->method(in, self, arguments);
}

}  // namespace rowmax::engine::jinja
