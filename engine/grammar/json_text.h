// Parts of JSON texts (RFC 8259).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/grammar/regex.h"
#include "engine/grammar/syntax.h"
#include "engine/io/json.h"
#include "rowmax/engine/grammar.h"

namespace rowmax::engine::grammar {

// text in quotes, each character in its one canonical way: as it is, else \" \\ \b \f \n \r \t, else \u00XX.
std::string json_quote(std::string_view text);

// The value without white space; numbers in the shortest form, whole ones as integers. Nothing for a number that does not
// stand in 64 bits exactly.
std::optional<std::string> json_text(const Json& value);

class JsonText {
 public:
  JsonText(Syntax& syntax, JsonWhitespace whitespace);

  NodeId space() const { return space_; }
  NodeId any_value();
  NodeId any_object();
  NodeId any_string();
  NodeId any_number();
  NodeId any_integer();

  // Characters of a string, in the canonical way.
  NodeId chars(const CodePointSet& set);
  WriteChars writer() {
    return [this](const CodePointSet& set) { return chars(set); };
  }
  // A string of min to max characters, which may be escaped in any way.
  NodeId string_of(std::uint32_t min, std::uint32_t max);
  NodeId quoted(NodeId inside) { return syntax_.sequence({quote_, inside, quote_}); }
  // Any string in the canonical way but these.
  NodeId string_except(const std::vector<std::string>& texts);

  // open, first and (comma, next) as often as next says, close; with the white space between.
  NodeId after_comma(NodeId next) { return syntax_.sequence({comma_, space_, next}); }
  NodeId enclosed(std::string_view open, NodeId inside, std::string_view close);
  NodeId member(NodeId key, NodeId value) { return syntax_.sequence({key, colon_, space_, value}); }
  // first and more of them behind commas.
  NodeId list(NodeId item, std::uint32_t min, std::uint32_t max);

 private:
  NodeId any_char();

  Syntax& syntax_;
  NodeId space_ = 0, quote_ = 0, comma_ = 0, colon_ = 0;
  std::optional<RuleId> value_, object_, string_, key_;
  std::optional<NodeId> any_char_;
};

}  // namespace rowmax::engine::grammar
