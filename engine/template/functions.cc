// Global functions: range, namespace, dict, raise_exception, strftime_now.
#include <algorithm>
#include <array>
#include <string>

#include "engine/template/interpreter.h"
#include "rowmax/try.h"

namespace rowmax::engine::jinja {

Result<std::vector<const Value*>> bind(const Interpreter& in, const Arguments& arguments, std::string_view callee,
                                       std::initializer_list<std::string_view> names, std::size_t n_required) {
  std::vector<const Value*> bound(names.size(), nullptr);
  const std::string who = "'" + std::string(callee) + "' ";
  if (arguments.positional.size() > names.size()) return in.fail(who + "got too many arguments");
  for (std::size_t i = 0; i < arguments.positional.size(); ++i) bound[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto it = std::find(names.begin(), names.end(), name);
    if (it == names.end()) return in.fail(who + "got an unknown argument '" + name.substr(0, 50) + "'");
    const Value*& slot = bound[static_cast<std::size_t>(it - names.begin())];
    if (slot != nullptr) return in.fail(who + "got the argument '" + name + "' twice");
    slot = &value;
  }
  for (std::size_t i = 0; i < n_required; ++i) {
    if (bound[i] == nullptr) return in.fail(who + "needs the argument '" + std::string(names.begin()[i]) + "'");
  }
  return bound;
}

namespace {

constexpr std::int64_t kMaxRange = 100'000;  // as in jinja2's sandbox

Result<Value> range(Interpreter& in, const Arguments& arguments) {
  const auto& given = arguments.positional;
  if (given.empty() || given.size() > 3 || !arguments.named.empty()) return in.fail("range takes 1 to 3 integers");
  for (const Value& v : given) {
    if (!v.is_integral()) return in.fail("range takes integers");
  }
  const std::int64_t start = given.size() == 1 ? 0 : given[0].as_int();
  const std::int64_t stop = given[given.size() == 1 ? 0 : 1].as_int();
  const std::int64_t step = given.size() == 3 ? given[2].as_int() : 1;
  if (step == 0) return in.fail("range with step 0");
  std::int64_t span = 0;
  if (__builtin_sub_overflow(stop, start, &span)) return in.fail("the range is too long", ErrorCode::kLimit);
  const bool empty = step > 0 ? span <= 0 : span >= 0;
  const std::int64_t n = empty ? 0 : (span + (step > 0 ? -1 : 1)) / step + 1;
  if (n > kMaxRange) {
    return in.fail("a range of " + std::to_string(n) + " is longer than " + std::to_string(kMaxRange),
                   ErrorCode::kLimit);
  }
  ROWMAX_RETURN_IF_ERROR(in.meter()->charge_items(static_cast<std::size_t>(n)));
  std::vector<Value> items;
  items.reserve(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) items.push_back(Value::of_int(start + i * step));
  return make_list(std::move(items), in.meter(), ListFlavour::kRange);
}

Result<Value> make_namespace(Interpreter& in, const Arguments& arguments) {
  if (arguments.positional.size() > 1) return in.fail("namespace takes one dict and named values");
  std::vector<std::pair<std::string, Value>> attributes;
  const auto put = [&attributes](std::string_view name, const Value& value) {
    for (auto& [known, old] : attributes) {
      if (known == name) {
        old = value;
        return;
      }
    }
    attributes.emplace_back(std::string(name), value);
  };
  if (!arguments.positional.empty()) {
    const Value& dict = arguments.positional[0];
    if (!dict.is(ValueKind::kDict) || !dict.dict().all_names) return in.fail("namespace takes a dict of names");
    ROWMAX_RETURN_IF_ERROR(in.meter()->charge_items(dict.dict().items.size()));
    for (const auto& [key, value] : dict.dict().items) attributes.emplace_back(std::string(key.view()), value);
  }
  for (const auto& [name, value] : arguments.named) put(name, value);
  return in.new_namespace(std::move(attributes));
}

Result<Value> make_dict_of(Interpreter& in, const Arguments& arguments) {
  std::vector<std::pair<Value, Value>> items;
  if (arguments.positional.size() > 1) return in.fail("dict takes one dict and named values");
  if (!arguments.positional.empty()) {
    const Value& dict = arguments.positional[0];
    if (!dict.is(ValueKind::kDict))
      return in.fail("dict of anything but a dict is not supported", ErrorCode::kUnsupported);
    items = dict.dict().items;
  }
  for (const auto& [name, value] : arguments.named) {
    items.emplace_back(make_string(Text(name, false), in.meter()), value);
  }
  return make_dict(std::move(items), in.meter());
}

Result<Value> raise_exception(Interpreter& in, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "raise_exception", {"message"}, 1));
  ROWMAX_TRY(message, in.str(*bound[0]));
  std::size_t end = std::min<std::size_t>(message.view().size(), 1000);
  while (end > 0 && end < message.view().size() && (static_cast<unsigned char>(message.view()[end]) & 0xC0) == 0x80)
    --end;
  return in.fail(message.view().substr(0, end));
}

struct CivilTime {
  std::int64_t year;
  int month, day, hour, minute, second, weekday, yearday;  // month and day from 1, weekday from Sunday = 0
};

// Proleptic Gregorian calendar, UTC.
CivilTime civil_time(std::int64_t seconds) {
  std::int64_t days = seconds / 86400;
  std::int64_t rest = seconds % 86400;
  if (rest < 0) {
    rest += 86400;
    --days;
  }
  CivilTime t{};
  t.hour = static_cast<int>(rest / 3600);
  t.minute = static_cast<int>(rest / 60 % 60);
  t.second = static_cast<int>(rest % 60);
  t.weekday = static_cast<int>(((days + 4) % 7 + 7) % 7);
  const std::int64_t shifted = days + 719468;  // days since 0000-03-01
  const std::int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
  const std::int64_t day_of_era = shifted - era * 146097;
  const std::int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const std::int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t shifted_month = (5 * day_of_year + 2) / 153;
  t.day = static_cast<int>(day_of_year - (153 * shifted_month + 2) / 5 + 1);
  t.month = static_cast<int>(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
  t.year = year_of_era + era * 400 + (t.month <= 2 ? 1 : 0);
  const bool leap = (t.year % 4 == 0 && t.year % 100 != 0) || t.year % 400 == 0;
  static constexpr int kBefore[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
  t.yearday = kBefore[t.month - 1] + t.day + (leap && t.month > 2 ? 1 : 0);
  return t;
}

constexpr std::array<std::string_view, 12> kMonths = {"January",   "February", "March",    "April",
                                                      "May",       "June",     "July",     "August",
                                                      "September", "October",  "November", "December"};
constexpr std::array<std::string_view, 7> kWeekdays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                       "Thursday", "Friday", "Saturday"};

// width digits, filled with `fill` ('\0': not at all).
std::string digits(std::int64_t value, std::size_t width, char fill) {
  std::string text = std::to_string(value);
  if (fill != '\0' && text.size() < width) text.insert(0, width - text.size(), fill);
  return text;
}

// One directive of strftime in the C locale; empty optional-like flag `known` for those not supported.
std::string directive(const CivilTime& t, char c, bool unpadded, bool* known) {
  const char zero = unpadded ? '\0' : '0';
  const auto month = static_cast<std::size_t>(t.month - 1);
  const auto weekday = static_cast<std::size_t>(t.weekday);
  const int hour12 = t.hour % 12 == 0 ? 12 : t.hour % 12;
  switch (c) {
    case 'Y': return std::to_string(t.year);
    case 'y': return digits(((t.year % 100) + 100) % 100, 2, zero);
    case 'm': return digits(t.month, 2, zero);
    case 'd': return digits(t.day, 2, zero);
    case 'e': return digits(t.day, 2, unpadded ? '\0' : ' ');
    case 'j': return digits(t.yearday, 3, zero);
    case 'H': return digits(t.hour, 2, zero);
    case 'I': return digits(hour12, 2, zero);
    case 'M': return digits(t.minute, 2, zero);
    case 'S': return digits(t.second, 2, zero);
    case 'p': return t.hour < 12 ? "AM" : "PM";
    case 'B': return std::string(kMonths[month]);
    case 'b':
    case 'h': return std::string(kMonths[month].substr(0, 3));
    case 'A': return std::string(kWeekdays[weekday]);
    case 'a': return std::string(kWeekdays[weekday].substr(0, 3));
    case 'u': return std::to_string(t.weekday == 0 ? 7 : t.weekday);
    case 'w': return std::to_string(t.weekday);
    case 'F': return std::to_string(t.year) + "-" + digits(t.month, 2, '0') + "-" + digits(t.day, 2, '0');
    case 'T': return digits(t.hour, 2, '0') + ":" + digits(t.minute, 2, '0') + ":" + digits(t.second, 2, '0');
    case 'R': return digits(t.hour, 2, '0') + ":" + digits(t.minute, 2, '0');
    case 'n': return "\n";
    case 't': return "\t";
    case '%': return "%";
    case 'Z':
    case 'z': return "";  // the time is naive, as datetime.now()
    default: *known = false; return "";
  }
}

Result<Value> strftime_now(Interpreter& in, const Arguments& arguments) {
  ROWMAX_TRY(bound, bind(in, arguments, "strftime_now", {"format"}, 1));
  if (!bound[0]->is(ValueKind::kString)) return in.fail("strftime_now needs a format");
  const Text& format = bound[0]->text();
  const CivilTime time = civil_time(in.now());
  Builder out(in.meter());
  for (std::size_t i = 0; i < format.bytes.size(); ++i) {
    const std::size_t start = i;
    if (format.bytes[i] != '%' || i + 1 == format.bytes.size()) {
      out.add_slice(format, i, i + 1);
      continue;
    }
    const bool unpadded = format.bytes[i + 1] == '-' && i + 2 < format.bytes.size();
    i += unpadded ? 2 : 1;
    bool known = true;
    const std::string text = directive(time, format.bytes[i], unpadded, &known);
    if (!known) return in.fail("a directive of strftime_now is not supported", ErrorCode::kUnsupported);
    out.add(text, format.tainted_at(start));
  }
  return in.take(&out);
}

using Function = Result<Value> (*)(Interpreter&, const Arguments&);
struct FunctionRow {
  std::string_view name;
  Function function;
};
constexpr FunctionRow kFunctions[] = {
    {"range", range},
    {"namespace", make_namespace},
    {"dict", make_dict_of},
    {"raise_exception", raise_exception},
    {"strftime_now", strftime_now},
};

}  // namespace

int find_function(std::string_view name) {
  for (std::size_t i = 0; i < std::size(kFunctions); ++i) {
    if (kFunctions[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

Result<Value> call_function(Interpreter& in, int id, const Arguments& arguments) {
  return kFunctions[id].function(in, arguments);
}

}  // namespace rowmax::engine::jinja
