#include "engine/grammar/json_text.h"

#include <array>
#include <charconv>
#include <cmath>
#include <map>

#include "engine/io/text.h"

namespace rowmax::engine::grammar {
namespace {

constexpr std::uint32_t kMaxIndent = 20;
constexpr double kExact = 9007199254740992.0;  // 2^53: whole numbers below are themselves as f64

struct ShortEscape {
  char value, letter;
};
constexpr std::array<ShortEscape, 7> kShortEscapes = {
    {{'"', '"'}, {'\\', '\\'}, {'\b', 'b'}, {'\f', 'f'}, {'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}}};

std::string escape_of(std::uint32_t c) {
  for (const ShortEscape& escape : kShortEscapes) {
    if (c == static_cast<std::uint32_t>(escape.value)) return {'\\', escape.letter};
  }
  constexpr std::string_view kDigits = "0123456789abcdef";
  return concat("\\u00", kDigits.substr(c >> 4, 1), kDigits.substr(c & 15, 1));
}

CodePointSet plain_chars() { return complement({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}}); }

std::optional<std::string> number_text_of(const Json& value) {
  if (value.is_integer()) return value.as_int() ? std::to_string(*value.as_int()) : value.text();
  const double number = value.as_double();
  if (number == std::floor(number)) {
    if (std::abs(number) >= kExact) return std::nullopt;
    return std::to_string(static_cast<std::int64_t>(number));
  }
  char digits[64];
  return std::string(digits, std::to_chars(digits, digits + sizeof(digits), number).ptr);
}

bool append_json(std::string& out, const Json& value) {
  if (value.is_null()) {
    out += "null";
  } else if (value.is_bool()) {
    out += value.as_bool() ? "true" : "false";
  } else if (value.is_string()) {
    out += json_quote(value.as_string());
  } else if (value.is_number()) {
    const auto text = number_text_of(value);
    if (!text) return false;
    out += *text;
  } else if (value.is_array()) {
    out += '[';
    for (bool first = true; const Json& element : value.elements()) {
      if (!std::exchange(first, false)) out += ',';
      if (!append_json(out, element)) return false;
    }
    out += ']';
  } else {
    out += '{';
    for (bool first = true; const auto& [key, member] : value.members()) {
      if (!std::exchange(first, false)) out += ',';
      out += json_quote(key) + ':';
      if (!append_json(out, member)) return false;
    }
    out += '}';
  }
  return true;
}

}  // namespace

std::string json_quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<std::uint8_t>(c);
    if (byte < 0x20 || c == '"' || c == '\\') {
      out += escape_of(byte);
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::optional<std::string> json_text(const Json& value) {
  std::string out;
  if (!append_json(out, value)) return std::nullopt;
  return out;
}

JsonText::JsonText(Syntax& syntax, JsonWhitespace whitespace) : syntax_(syntax) {
  quote_ = syntax.literal("\"");
  comma_ = syntax.literal(",");
  colon_ = syntax.literal(":");
  space_ = syntax.empty();
  if (whitespace == JsonWhitespace::kBounded) {
    const NodeId line = syntax.chars({{'\n', '\n'}});
    const NodeId indent = syntax.repeat(syntax.chars({{'\t', '\t'}, {' ', ' '}}), 0, kMaxIndent);
    const NodeId lines = syntax.sequence({line, syntax.optional(line), indent});
    space_ = syntax.as_rule("space", syntax.optional(syntax.choice({syntax.chars({{' ', ' '}}), lines})));
  }
}

NodeId JsonText::chars(const CodePointSet& set) {
  std::vector<NodeId> choices = {syntax_.chars(intersection(set, plain_chars()))};
  for (const CodePointRange& range : intersection(set, complement(plain_chars()))) {
    for (std::uint32_t c = range.low; c <= range.high; ++c) choices.push_back(syntax_.literal(escape_of(c)));
  }
  return syntax_.choice(choices);
}

NodeId JsonText::any_char() {
  if (any_char_) return *any_char_;
  const auto hex = [&](CodePointSet set) { return syntax_.chars(normalised(std::move(set))); };
  const NodeId any = hex({{'0', '9'}, {'A', 'F'}, {'a', 'f'}});
  const NodeId d = hex({{'D', 'D'}, {'d', 'd'}});
  const NodeId low = syntax_.sequence({d, hex({{'C', 'F'}, {'c', 'f'}}), any, any});
  const NodeId high = syntax_.sequence({d, hex({{'8', '9'}, {'A', 'B'}, {'a', 'b'}}), any, any});
  const NodeId unit = syntax_.choice(
      {syntax_.sequence({hex({{'0', '9'}, {'A', 'C'}, {'E', 'F'}, {'a', 'c'}, {'e', 'f'}}), any, any, any}),
       syntax_.sequence({d, hex({{'0', '7'}}), any, any})});
  const NodeId u = syntax_.literal("u");
  const NodeId escape = syntax_.choice(
      {hex({{'"', '"'}, {'\\', '\\'}, {'/', '/'}, {'b', 'b'}, {'f', 'f'}, {'n', 'n'}, {'r', 'r'}, {'t', 't'}}),
       syntax_.sequence({u, unit}), syntax_.sequence({u, high, syntax_.literal("\\u"), low})});
  any_char_ = syntax_.choice({syntax_.chars(plain_chars()), syntax_.sequence({syntax_.literal("\\"), escape})});
  return *any_char_;
}

NodeId JsonText::string_of(std::uint32_t min, std::uint32_t max) {
  if (min == 0 && max == kUnbounded) return any_string();
  return quoted(syntax_.repeat(any_char(), min, max));
}

NodeId JsonText::any_string() {
  if (!string_) {
    string_ = syntax_.declare("string");
    syntax_.define(*string_, quoted(syntax_.star(any_char())));
  }
  return syntax_.call(*string_);
}

NodeId JsonText::any_integer() {
  const NodeId digit = syntax_.chars({{'0', '9'}});
  return syntax_.choice({syntax_.literal("0"), syntax_.sequence({syntax_.optional(syntax_.literal("-")),
                                                                 syntax_.chars({{'1', '9'}}), syntax_.star(digit)})});
}

NodeId JsonText::any_number() {
  const NodeId digits = syntax_.plus(syntax_.chars({{'0', '9'}}));
  const NodeId whole =
      syntax_.choice({syntax_.literal("0"),
                      syntax_.sequence({syntax_.chars({{'1', '9'}}), syntax_.star(syntax_.chars({{'0', '9'}}))})});
  const NodeId fraction = syntax_.optional(syntax_.sequence({syntax_.literal("."), digits}));
  const NodeId exponent = syntax_.optional(syntax_.sequence(
      {syntax_.chars({{'E', 'E'}, {'e', 'e'}}), syntax_.optional(syntax_.chars({{'+', '+'}, {'-', '-'}})), digits}));
  return syntax_.sequence({syntax_.optional(syntax_.literal("-")), whole, fraction, exponent});
}

NodeId JsonText::enclosed(std::string_view open, NodeId inside, std::string_view close) {
  return syntax_.sequence({syntax_.literal(open), space_, inside, syntax_.literal(close)});
}

NodeId JsonText::list(NodeId item, std::uint32_t min, std::uint32_t max) {
  if (max == 0) return syntax_.empty();
  const std::uint32_t more = max == kUnbounded ? kUnbounded : max - 1;
  const NodeId filled =
      syntax_.sequence({item, syntax_.repeat(after_comma(item), min == 0 ? 0 : min - 1, more), space_});
  return min == 0 ? syntax_.optional(filled) : filled;
}

NodeId JsonText::any_object() {
  if (!object_) {
    object_ = syntax_.declare("object");
    syntax_.define(*object_, enclosed("{", list(member(string_except({}), any_value()), 0, kUnbounded), "}"));
  }
  return syntax_.call(*object_);
}

NodeId JsonText::any_value() {
  if (!value_) {
    value_ = syntax_.declare("value");
    const NodeId array = enclosed("[", list(any_value(), 0, kUnbounded), "]");
    syntax_.define(*value_,
                   syntax_.choice({any_object(), syntax_.as_rule("array", array), any_string(), any_number(),
                                   syntax_.literal("true"), syntax_.literal("false"), syntax_.literal("null")}));
  }
  return syntax_.call(*value_);
}

// A tree of the texts' characters; what leaves it goes on with anything.
NodeId JsonText::string_except(const std::vector<std::string>& texts) {
  if (texts.empty()) {
    if (!key_) {
      key_ = syntax_.declare("key");
      syntax_.define(*key_, quoted(syntax_.star(chars(all_code_points()))));
    }
    return syntax_.call(*key_);
  }
  constexpr std::uint32_t kEnd = 1, kAny = 2;
  struct State {
    std::map<std::uint32_t, std::uint32_t> next;  // by character
    bool is_text = false;
  };
  std::vector<State> states(3);
  for (const std::string& text : texts) {
    std::uint32_t at = 0;
    for (std::size_t i = 0; i < text.size();) {
      const DecodedCodePoint c = decode_utf8(text, i);
      if (c.size == 0) break;  // JSON documents are UTF-8
      i += c.size;
      const auto [place, is_new] = states[at].next.try_emplace(c.value, static_cast<std::uint32_t>(states.size()));
      at = place->second;
      if (is_new) states.push_back({});
    }
    states[at].is_text = true;
  }
  std::vector<Arc> arcs = {{kAny, syntax_.star(chars(all_code_points())), kEnd}};
  const CodePointSet not_ascii = complement({{0, 0x7F}});
  const NodeId other_chars = chars(not_ascii);
  for (std::uint32_t i = 0; i < states.size(); ++i) {
    if (i == kEnd || i == kAny || !syntax_.status().ok()) continue;
    CodePointSet used;
    for (const auto& [c, to] : states[i].next) {
      used.push_back({c, c});
      arcs.push_back({i, chars({{c, c}}), to});
    }
    const bool ascii = used.empty() || used.back().high < 0x80;
    CodePointSet others = complement(normalised(used));
    if (ascii) {
      others = intersection(others, complement(not_ascii));
      arcs.push_back({i, other_chars, kAny});
    }
    arcs.push_back({i, chars(others), kAny});
    if (!states[i].is_text) arcs.push_back({i, syntax_.empty(), kEnd});
  }
  return quoted(syntax_.graph(static_cast<std::uint32_t>(states.size()), arcs));
}

}  // namespace rowmax::engine::grammar
