#include "engine/grammar/gbnf.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/grammar/code_points.h"
#include "engine/grammar/source_place.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine::grammar {
namespace {

constexpr std::uint32_t kMaxRepetitions = 1'000'000'000;

bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }

class GbnfParser {
 public:
  GbnfParser(Syntax& syntax, std::string_view source) : syntax_(syntax), source_(source) {}

  Result<NodeId> run() {
    skip_space(true);
    while (at_ < source_.size()) ROWMAX_RETURN_IF_ERROR(parse_rule());
    for (const auto& [name, rule] : rules_) {
      if (!rule.defined) return fail_at(rule.first_use, concat("rule ", quote(name), " is not defined"));
    }
    const auto root = rules_.find("root");
    if (root == rules_.end()) return Error{ErrorCode::kCorrupt, "there is no rule named root"};
    return syntax_.rule_root(root->second.id);
  }

 private:
  struct Rule {
    RuleId id = 0;
    bool defined = false;
    std::size_t first_use = 0;
  };

  char peek(std::size_t offset = 0) const { return at_ + offset < source_.size() ? source_[at_ + offset] : '\0'; }
  bool at_end() const { return at_ >= source_.size(); }
  Error fail_at(std::size_t at, std::string_view what, ErrorCode code = ErrorCode::kCorrupt) const {
    return Error{code, concat(line_and_column(source_, at), ": ", what)};
  }
  Error fail(std::string_view what, ErrorCode code = ErrorCode::kCorrupt) const { return fail_at(at_, what, code); }
  Error expected(std::string_view what) const {
    return fail(concat("expected ", what, ", found ", at_end() ? "the end" : quote(source_.substr(at_, 1))));
  }

  // Blanks and comments; line ends where a rule may go on behind one.
  void skip_space(bool over_lines) {
    while (!at_end()) {
      const char c = peek();
      if (c == '#') {
        while (!at_end() && peek() != '\n' && peek() != '\r') ++at_;
      } else if (c == ' ' || c == '\t' || (over_lines && (c == '\n' || c == '\r'))) {
        ++at_;
      } else {
        return;
      }
    }
  }

  Result<std::string> parse_name() {
    const std::size_t begin = at_;
    while (is_name(peek())) ++at_;
    if (at_ == begin) return expected("a rule's name");
    return std::string(source_.substr(begin, at_ - begin));
  }
  Rule& find_rule(const std::string& name, std::size_t at) {
    const auto [place, is_new] = rules_.try_emplace(name);
    if (is_new) place->second = {syntax_.declare(name), false, at};
    return place->second;
  }

  Status parse_rule() {
    const std::size_t begin = at_;
    ROWMAX_TRY(name, parse_name());
    skip_space(false);
    if (source_.substr(at_, 3) != "::=") return expected("::= behind a rule's name");
    at_ += 3;
    if (find_rule(name, begin).defined) return fail_at(begin, concat("rule ", quote(name), " is defined twice"));
    skip_space(true);
    ROWMAX_TRY(root, parse_choice(false));
    Rule& rule = find_rule(name, begin);
    rule.defined = true;
    syntax_.define(rule.id, root);
    if (!at_end() && peek() != '\n' && peek() != '\r') return expected("a line end behind a rule");
    skip_space(true);
    return {};
  }

  Result<NodeId> parse_choice(bool nested) {
    ROWMAX_TRY(first, parse_sequence(nested));
    std::vector<NodeId> choices = {first};
    while (peek() == '|') {
      ++at_;
      skip_space(true);
      ROWMAX_TRY(next, parse_sequence(nested));
      choices.push_back(next);
    }
    return syntax_.choice(choices);
  }

  Result<NodeId> parse_sequence(bool nested) {
    std::vector<NodeId> parts;
    for (;;) {
      ROWMAX_RETURN_IF_ERROR(check_syntax());
      const char c = peek();
      if (c == '*' || c == '+' || c == '?' || c == '{') {
        if (parts.empty()) return fail(concat("expected something to repeat before ", quote(source_.substr(at_, 1))));
        ROWMAX_TRY(repeated, parse_repetition(parts.back()));
        parts.back() = repeated;
      } else if (c == '"' || c == '[' || c == '.' || c == '(' || is_name(c)) {
        ROWMAX_TRY(part, parse_part());
        parts.push_back(part);
      } else if (c == '<' || c == '!') {
        return fail("tokens (<...>) are not supported: grammars here are of bytes", ErrorCode::kUnsupported);
      } else {
        break;
      }
      skip_space(nested);
    }
    return syntax_.sequence(parts);
  }

  Status check_syntax() const {
    const Status status = syntax_.status();
    return status.ok() ? Status() : Status(fail(status.error().message, ErrorCode::kLimit));
  }

  Result<NodeId> parse_part() {
    switch (peek()) {
      case '"': return parse_literal();
      case '[': return parse_class();
      case '.': ++at_; return syntax_.chars(all_code_points());
      case '(': return parse_group();
      default: break;
    }
    const std::size_t begin = at_;
    ROWMAX_TRY(name, parse_name());
    return syntax_.call(find_rule(name, begin).id);
  }

  Result<NodeId> parse_group() {
    if (depth_ >= syntax_.limits().max_depth) {
      return fail(concat("groups nested deeper than max_depth = ", syntax_.limits().max_depth), ErrorCode::kLimit);
    }
    ++at_;
    ++depth_;
    skip_space(true);
    ROWMAX_TRY(inside, parse_choice(true));
    --depth_;
    if (peek() != ')') return expected("')'");
    ++at_;
    return inside;
  }

  Result<std::uint32_t> parse_count() {
    if (!is_digit(peek())) return expected("a number of repetitions");
    std::uint64_t value = 0;
    const std::size_t begin = at_;
    for (; is_digit(peek()); ++at_) {
      value = value * 10 + static_cast<std::uint64_t>(peek() - '0');
      if (value > kMaxRepetitions) {
        return fail_at(begin, concat("more than ", kMaxRepetitions, " repetitions"), ErrorCode::kLimit);
      }
    }
    return static_cast<std::uint32_t>(value);
  }

  Result<NodeId> parse_repetition(NodeId child) {
    const char sign = source_[at_++];
    if (sign == '*') return syntax_.star(child);
    if (sign == '+') return syntax_.plus(child);
    if (sign == '?') return syntax_.optional(child);
    skip_space(true);
    ROWMAX_TRY(min, parse_count());
    std::uint32_t max = min;
    skip_space(true);
    if (peek() == ',') {
      ++at_;
      skip_space(true);
      max = kUnbounded;
      if (peek() != '}') {
        const std::size_t begin = at_;
        ROWMAX_TRY(most, parse_count());
        if (most < min) return fail_at(begin, concat("expected at least ", min, " repetitions, found ", most));
        max = most;
        skip_space(true);
      }
    }
    if (peek() != '}') return expected("'}'");
    ++at_;
    return syntax_.repeat(child, min, max);
  }

  Result<std::uint32_t> parse_hex(std::size_t n_digits, bool whole_code_points) {
    std::uint32_t value = 0;
    const std::size_t begin = at_;
    for (std::size_t k = 0; k < n_digits; ++k, ++at_) {
      const int digit = hex_value(peek());
      if (digit < 0) return expected(concat(n_digits, " hexadecimal digits"));
      value = value << 4 | static_cast<std::uint32_t>(digit);
    }
    if (whole_code_points && (value > kLastCodePoint || (value >= 0xD800 && value <= 0xDFFF))) {
      return fail_at(begin, "expected a code point of Unicode, none of its surrogates");
    }
    return value;
  }

  // A character, or an escape that stands for one.
  Result<std::uint32_t> parse_char() {
    if (at_end()) return expected("a character");
    if (peek() != '\\') {
      const DecodedCodePoint c = decode_utf8(source_, at_);
      if (c.size == 0) return fail("malformed UTF-8");
      at_ += c.size;
      return c.value;
    }
    const char kind = peek(1);
    at_ += 2;
    switch (kind) {
      case 'x': return parse_hex(2, true);
      case 'u': return parse_hex(4, true);
      case 'U': return parse_hex(8, true);
      case 't': return std::uint32_t{'\t'};
      case 'r': return std::uint32_t{'\r'};
      case 'n': return std::uint32_t{'\n'};
      case '\\':
      case '"':
      case '[':
      case ']': return static_cast<std::uint32_t>(kind);
      default: break;
    }
    at_ -= 2;
    return fail("unknown escape");
  }

  Result<NodeId> parse_literal() {
    const std::size_t begin = at_++;
    std::string text;
    while (peek() != '"' || at_end()) {
      if (at_end()) return fail_at(begin, "a text that does not end");
      ROWMAX_TRY(c, parse_char());
      append_utf8(text, c);
    }
    ++at_;
    return syntax_.literal(text);
  }

  Result<NodeId> parse_class() {
    const std::size_t begin = at_++;
    const bool negated = peek() == '^';
    if (negated) ++at_;
    CodePointSet set;
    while (peek() != ']' || at_end()) {
      if (at_end()) return fail_at(begin, "a set of characters that does not end");
      const std::size_t from = at_;
      ROWMAX_TRY(low, parse_char());
      std::uint32_t high = low;
      if (peek() == '-' && peek(1) != ']') {
        ++at_;
        ROWMAX_TRY(last, parse_char());
        high = last;
      }
      if (high < low) return fail_at(from, "a range whose end comes before its beginning");
      set.push_back({low, high});
    }
    ++at_;
    set = normalised(std::move(set));
    return syntax_.chars(negated ? complement(set) : set);
  }

  Syntax& syntax_;
  std::string_view source_;
  std::size_t at_ = 0;
  int depth_ = 0;
  std::map<std::string, Rule> rules_;
};

}  // namespace

Result<NodeId> parse_gbnf(Syntax& syntax, std::string_view source) { return GbnfParser(syntax, source).run(); }

}  // namespace rowmax::engine::grammar
