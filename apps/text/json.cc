#include "apps/text/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "apps/text/utf8.h"

namespace rowmax::text {
namespace {

// As JSON spells a character that is not written as it is: one or two UTF-16 units. The same value to every reader.
void print_escape(char32_t code, std::string& out) {
  constexpr char kDigits[] = "0123456789abcdef";
  const auto unit = [&](char32_t value) {
    out += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) out += kDigits[value >> shift & 0xF];
  };
  if (code > 0xFFFF) unit(0xD800 + ((code - 0x10000) >> 10));
  unit(code > 0xFFFF ? 0xDC00 + ((code - 0x10000) & 0x3FF) : code);
}

void print_string(std::string_view text, std::string& out) {
  out += '"';
  while (!text.empty()) {
    const Utf8Character c = first_character(text);
    switch (c.code) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (!c.valid) {
          out += "\xEF\xBF\xBD";
        } else if (c.code < 0x20 || steers_terminal(c.code)) {
          print_escape(c.code, out);
        } else {
          out += text.substr(0, c.bytes);
        }
    }
    text.remove_prefix(c.bytes);
  }
  out += '"';
}

template <class T>
void print_number(T value, std::string& out) {
  char digits[40];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

void print_double(double value, std::string& out) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  const std::size_t begin = out.size();
  print_number(value, out);
  if (out.find_first_of(".e", begin) == std::string::npos) out += ".0";
}

}  // namespace

Json::Json(std::initializer_list<JsonMember> members) : value_(Object()) {
  for (const JsonMember& member : members) append(member.key, member.value);
}

Json Json::array() {
  Json json;
  json.value_ = List();
  return json;
}

Json Json::object() {
  Json json;
  json.value_ = Object();
  return json;
}

void Json::push_back(Json item) {
  if (std::holds_alternative<std::monostate>(value_)) value_ = List();
  std::get<List>(value_).push_back(std::move(item));
}

void Json::append(std::string_view key, Json value) {
  if (std::holds_alternative<std::monostate>(value_)) value_ = Object();
  std::get<Object>(value_).emplace_back(key, std::move(value));
}

Json& Json::operator[](std::string_view key) {
  if (std::holds_alternative<std::monostate>(value_)) value_ = Object();
  Object& object = std::get<Object>(value_);
  const auto found =
      std::find_if(object.begin(), object.end(), [&](const auto& member) { return member.first == key; });
  return found != object.end() ? found->second : object.emplace_back(key, Json()).second;
}

void Json::update(const Json& object) {
  for (const auto& [key, value] : std::get<Object>(object.value_)) (*this)[key] = value;
}

std::string Json::dump() const {
  std::string out;
  print(out);
  return out;
}

void Json::print(std::string& out) const {
  if (std::holds_alternative<std::monostate>(value_)) out += "null";
  if (const auto* flag = std::get_if<bool>(&value_)) out += *flag ? "true" : "false";
  if (const auto* number = std::get_if<std::int64_t>(&value_)) print_number(*number, out);
  if (const auto* number = std::get_if<std::uint64_t>(&value_)) print_number(*number, out);
  if (const auto* number = std::get_if<double>(&value_)) print_double(*number, out);
  if (const auto* string = std::get_if<std::string>(&value_)) print_string(*string, out);
  if (const auto* list = std::get_if<List>(&value_)) {
    out += '[';
    for (std::size_t i = 0; i < list->size(); ++i) {
      if (i > 0) out += ',';
      (*list)[i].print(out);
    }
    out += ']';
  }
  if (const auto* object = std::get_if<Object>(&value_)) {
    out += '{';
    for (std::size_t i = 0; i < object->size(); ++i) {
      if (i > 0) out += ',';
      print_string((*object)[i].first, out);
      out += ':';
      (*object)[i].second.print(out);
    }
    out += '}';
  }
}

double shortest(float value) {
  char text[32];
  const auto* end = std::to_chars(text, text + sizeof text, value).ptr;
  double out = 0;
  std::from_chars(text, end, out);
  return out;
}

}  // namespace rowmax::text
