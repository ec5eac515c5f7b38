#include "apps/cli/flags.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <limits>
#include <type_traits>

namespace rowmax::cli {
namespace {

template <class T>
std::string number_text(T value) {
  char digits[40];
  return std::string(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

// The whole of the text, exactly: a number too large for its type is refused, not made the largest.
template <class T>
bool parse_whole(const std::string& text, T& value) {
  const char* end = text.data() + text.size();
  const auto [stop, code] = std::from_chars(text.data(), end, value);
  return code == std::errc() && stop == end && !text.empty();
}

std::string expected(const std::string& what, const std::string& text) {
  return "expected " + what + ", found \"" + text + "\"";
}

template <class T>
std::string read_number(const Flag& flag, T& value, const std::string& text) {
  T low = std::numeric_limits<T>::lowest(), high = std::numeric_limits<T>::max();
  if (flag.range) {
    low = static_cast<T>(flag.range->first);
    high = static_cast<T>(flag.range->second);
  }
  T number{};
  const bool read = parse_whole(text, number);
  if constexpr (std::is_floating_point_v<T>) {
    // What is no finite number is refused where the parameters are checked, with the flag's meaning in the message.
    if (!read || (flag.range && !(number >= low && number <= high))) return expected("a number", text);
  } else if (!read || number < low || number > high) {
    return expected("a whole number from " + number_text(low) + " to " + number_text(high), text);
  }
  value = number;
  return "";
}

std::string read_switch(bool& value, const std::string& text) {
  if (text == "1" || text == "true") {
    value = true;
  } else if (text == "0" || text == "false") {
    value = false;
  } else {
    return expected("1, true, 0 or false", text);
  }
  return "";
}

std::string read_text(const Flag& flag, std::string& value, const std::string& text) {
  if (!flag.choices.empty() && std::find(flag.choices.begin(), flag.choices.end(), text) == flag.choices.end()) {
    std::string names;
    for (std::size_t i = 0; i < flag.choices.size(); ++i) {
      names += (i == 0 ? "" : i + 1 == flag.choices.size() ? " or " : ", ") + flag.choices[i];
    }
    return expected(names, text);
  }
  if (text.empty() && !flag.may_be_empty) return expected(flag.type_name, text);
  value = text;
  return "";
}

template <class T>
std::string read_into(const Flag& flag, T& value, const std::string& text) {
  if constexpr (std::is_same_v<T, bool>) {
    return read_switch(value, text);
  } else if constexpr (std::is_same_v<T, std::string>) {
    return read_text(flag, value, text);
  } else if constexpr (std::is_arithmetic_v<T>) {
    return read_number(flag, value, text);
  } else {
    value.push_back(text);
    return "";
  }
}

std::string first_long_name(std::string_view flag_names) {
  const std::size_t begin = flag_names.find("--");
  return std::string(flag_names.substr(begin, flag_names.find(',', begin) - begin));
}

}  // namespace

std::string environment_name(std::string_view flag_names) {
  std::string name = "ROWMAX_";
  for (const char c : first_long_name(flag_names).substr(2)) {
    name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

Flag& Flag::type(std::string name) {
  type_name = std::move(name);
  return *this;
}

Flag& Flag::shows(std::string default_value) {
  default_text = std::move(default_value);
  return *this;
}

Flag& Flag::within(std::int64_t low, std::int64_t high) {
  range = {low, high};
  type_name += " in [" + std::to_string(low) + " - " + std::to_string(high) + "]";
  return *this;
}

Flag& Flag::one_of(std::initializer_list<const char*> values) {
  choices.assign(values.begin(), values.end());
  type_name.clear();
  for (const std::string& choice : choices) type_name += (type_name.empty() ? "" : "|") + choice;
  return *this;
}

Flag& Flag::not_empty() {
  may_be_empty = false;
  return *this;
}

Flag& Flag::tells(bool& whether_named) {
  named = &whether_named;
  return *this;
}

std::string Flag::name() const { return positional ? names : first_long_name(names); }

Flag& Flag::must_be_given() {
  required = true;
  return *this;
}

std::string Flag::read(const std::string& text) const {
  return std::visit([&](auto* value) { return read_into(*this, *value, text); }, target);
}

std::string Flag::complaint(const std::string& text) const {
  return std::visit(
      [&](auto* value) {
        auto copy = *value;
        return read_into(*this, copy, text);
      },
      target);
}

std::string Flag::value() const {
  return std::visit(
      [](const auto* value) {
        using T = std::remove_cvref_t<decltype(*value)>;
        if constexpr (std::is_same_v<T, bool>) {
          return std::string(*value ? "1" : "0");
        } else if constexpr (std::is_same_v<T, std::string>) {
          return *value;
        } else if constexpr (std::is_arithmetic_v<T>) {
          return number_text(*value);
        } else {
          std::string lines;
          for (const std::string& part : *value) lines += part + "\n";
          return lines;
        }
      },
      target);
}

Flag& Flags::append(std::string names, FlagTarget target, std::string help, const char* type_name) {
  Flag& flag = table_.emplace_back();
  flag.names = std::move(names);
  flag.target = target;
  flag.help = std::move(help);
  flag.type_name = type_name;
  flag.positional = !flag.names.starts_with('-');
  if (!flag.positional) flag.variable = environment_name(flag.names);
  return flag;
}

Flag& Flags::add(std::string names, int& value, std::string help) {
  return append(std::move(names), &value, std::move(help), "INT").shows(number_text(value));
}
Flag& Flags::add(std::string names, std::int64_t& value, std::string help) {
  return append(std::move(names), &value, std::move(help), "INT").shows(number_text(value));
}
Flag& Flags::add(std::string names, std::uint64_t& value, std::string help) {
  return append(std::move(names), &value, std::move(help), "UINT").shows(number_text(value));
}
Flag& Flags::add(std::string names, float& value, std::string help) {
  return append(std::move(names), &value, std::move(help), "FLOAT").shows(number_text(value));
}
Flag& Flags::add(std::string names, double& value, std::string help) {
  return append(std::move(names), &value, std::move(help), "FLOAT").shows(number_text(value));
}
Flag& Flags::add(std::string names, std::string& value, std::string help) {
  return append(std::move(names), &value, std::move(help), "TEXT");
}
Flag& Flags::add(std::string names, std::vector<std::string>& value, std::string help) {
  return append(std::move(names), &value, std::move(help), "TEXT");
}
Flag& Flags::add_switch(std::string names, bool& value, std::string help) {
  return append(std::move(names), &value, std::move(help), "");
}
Flag& Flags::add_told_apart(std::string names, std::string& value, std::string help) {
  Flag& flag = append(std::move(names), &value, std::move(help), "TEXT");
  flag.told_apart = true;
  return flag;
}
Flag& Flags::add_word(std::string name, std::string& value, std::string help) {
  return append(std::move(name), &value, std::move(help), "TEXT");
}
Flag& Flags::add_words(std::string name, std::vector<std::string>& value, std::string help) {
  return append(std::move(name), &value, std::move(help), "TEXT");
}

void Flags::apart(std::string flag, std::vector<std::string> others) {
  rules_.push_back({std::move(flag), false, std::move(others)});
}
void Flags::only_with(std::string flag, std::vector<std::string> others) {
  rules_.push_back({std::move(flag), true, std::move(others)});
}
void Flags::choose_one(std::vector<std::vector<std::string>> ways) { choices_.push_back(std::move(ways)); }
const Flag* Flags::find(std::string_view name) const {
  const auto found = std::find_if(table_.begin(), table_.end(), [&](const Flag& flag) { return flag.name() == name; });
  return found == table_.end() ? nullptr : &*found;
}

}  // namespace rowmax::cli
