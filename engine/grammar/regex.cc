#include "engine/grammar/regex.h"

#include <string>
#include <utility>
#include <vector>

#include "engine/grammar/code_points.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine::grammar {
namespace {

constexpr std::uint32_t kMaxRepetitions = 1'000'000'000;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

CodePointSet digits() { return {{'0', '9'}}; }
CodePointSet word_chars() { return {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}; }
CodePointSet white_space() {
  return {{'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
          {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
}
CodePointSet not_line_ends() { return complement({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}); }

// \d and its like; nothing for other letters.
CodePointSet class_of_letter(char letter) {
  switch (letter) {
    case 'd': return digits();
    case 'D': return complement(digits());
    case 'w': return word_chars();
    case 'W': return complement(word_chars());
    case 's': return white_space();
    case 'S': return complement(white_space());
    default: return {};
  }
}

class RegexParser {
 public:
  RegexParser(Syntax& syntax, std::string_view source, const WriteChars& write, Anchoring anchoring)
      : syntax_(syntax), source_(source), write_(write), anchoring_(anchoring) {}

  Result<NodeId> run() {
    std::vector<NodeId> choices;
    do {
      if (!choices.empty()) ++at_;
      ROWMAX_TRY(choice, parse_anchored());
      choices.push_back(choice);
    } while (peek() == '|');
    if (!at_end()) return expected("the end");
    return syntax_.choice(choices);
  }

 private:
  char peek(std::size_t offset = 0) const { return at_ + offset < source_.size() ? source_[at_ + offset] : '\0'; }
  bool at_end() const { return at_ >= source_.size(); }
  Error fail_at(std::size_t at, std::string_view what, ErrorCode code = ErrorCode::kCorrupt) const {
    return Error{code, concat("byte ", at + 1, ": ", what)};
  }
  Error fail(std::string_view what) const { return fail_at(at_, what); }
  Error refuse(std::string_view what) const { return fail_at(at_, what, ErrorCode::kUnsupported); }
  Error expected(std::string_view what) const {
    return fail(concat("expected ", what, ", found ", at_end() ? "the end" : quote(source_.substr(at_, 1))));
  }

  Result<NodeId> parse_anchored() {
    const bool from_begin = peek() == '^';
    if (from_begin) ++at_;
    ROWMAX_TRY(inside, parse_sequence());
    const bool to_end = peek() == '$';
    if (to_end) ++at_;
    if (to_end && !at_end() && peek() != '|') {
      --at_;
      return refuse("$ is supported at the end alone, outside of groups");
    }
    if (anchoring_ == Anchoring::kWhole) return inside;
    const NodeId anything = syntax_.star(write_(all_code_points()));
    return syntax_.sequence({from_begin ? syntax_.empty() : anything, inside, to_end ? syntax_.empty() : anything});
  }

  Result<NodeId> parse_choice() {
    ROWMAX_TRY(first, parse_sequence());
    std::vector<NodeId> choices = {first};
    while (peek() == '|') {
      ++at_;
      ROWMAX_TRY(next, parse_sequence());
      choices.push_back(next);
    }
    return syntax_.choice(choices);
  }

  Result<NodeId> parse_sequence() {
    std::vector<NodeId> parts;
    while (!at_end() && peek() != '|' && peek() != ')' && !(peek() == '$' && depth_ == 0)) {
      const Status status = syntax_.status();
      if (!status.ok()) return fail_at(at_, status.error().message, ErrorCode::kLimit);
      ROWMAX_TRY(atom, parse_atom());
      ROWMAX_TRY(part, parse_repetition(atom));
      parts.push_back(part);
    }
    return syntax_.sequence(parts);
  }

  Result<NodeId> parse_atom() {
    switch (peek()) {
      case '(': return parse_group();
      case '[': return parse_class();
      case '.': ++at_; return write_(not_line_ends());
      case '*':
      case '+':
      case '?':
      case '{': return fail(concat("expected something to repeat before ", quote(source_.substr(at_, 1))));
      case '^': return refuse("^ is supported at the beginning alone, outside of groups");
      case '$': return refuse("$ is supported at the end alone, outside of groups");
      default: break;
    }
    if (peek() == '\\') {
      CodePointSet set = class_of_letter(peek(1));
      if (!set.empty()) {
        at_ += 2;
        return write_(set);
      }
    }
    ROWMAX_TRY(c, parse_char(false));
    return write_({{c, c}});
  }

  Result<NodeId> parse_group() {
    if (depth_ >= syntax_.limits().max_depth) {
      return fail_at(at_, concat("groups nested deeper than max_depth = ", syntax_.limits().max_depth),
                     ErrorCode::kLimit);
    }
    ROWMAX_RETURN_IF_ERROR(parse_group_head());
    ++depth_;
    ROWMAX_TRY(inside, parse_choice());
    --depth_;
    if (peek() != ')') return expected("')'");
    ++at_;
    return inside;
  }
  Status parse_group_head() {
    ++at_;
    if (peek() != '?') return {};
    if (peek(1) == ':') {
      at_ += 2;
      return {};
    }
    if (peek(1) != '<' || peek(2) == '=' || peek(2) == '!') {
      return refuse(peek(1) == '=' || peek(1) == '!' || peek(1) == '<' ? "look-around is not supported"
                                                                       : "this kind of group is not supported");
    }
    at_ += 2;
    const std::size_t begin = at_;
    while (is_letter(peek()) || is_digit(peek()) || peek() == '_') ++at_;
    if (at_ == begin || is_digit(source_[begin]) || peek() != '>') return expected("a group's name");
    ++at_;
    return {};
  }

  Result<std::uint32_t> parse_count() {
    if (!is_digit(peek())) return expected("a number of repetitions");
    const std::size_t begin = at_;
    std::uint64_t value = 0;
    for (; is_digit(peek()); ++at_) {
      value = value * 10 + static_cast<std::uint64_t>(peek() - '0');
      if (value > kMaxRepetitions) {
        return fail_at(begin, concat("more than ", kMaxRepetitions, " repetitions"), ErrorCode::kLimit);
      }
    }
    return static_cast<std::uint32_t>(value);
  }

  // A '?' behind it (fewest first) does not change which texts match.
  Result<NodeId> parse_repetition(NodeId atom) {
    NodeId out = atom;
    switch (peek()) {
      case '*': ++at_, out = syntax_.star(atom); break;
      case '+': ++at_, out = syntax_.plus(atom); break;
      case '?': ++at_, out = syntax_.optional(atom); break;
      case '{': {
        ROWMAX_TRY(counted, parse_counted(atom));
        out = counted;
        break;
      }
      default: return atom;
    }
    if (peek() == '?') ++at_;
    return out;
  }
  Result<NodeId> parse_counted(NodeId atom) {
    ++at_;
    ROWMAX_TRY(min, parse_count());
    std::uint32_t max = min;
    if (peek() == ',') {
      ++at_;
      max = kUnbounded;
      if (peek() != '}') {
        const std::size_t begin = at_;
        ROWMAX_TRY(most, parse_count());
        if (most < min) return fail_at(begin, concat("expected at least ", min, " repetitions, found ", most));
        max = most;
      }
    }
    if (peek() != '}') return expected("'}'");
    ++at_;
    return syntax_.repeat(atom, min, max);
  }

  Result<std::uint32_t> parse_hex(std::size_t n_digits) {
    std::uint32_t value = 0;
    for (std::size_t k = 0; k < n_digits; ++k, ++at_) {
      const int digit = hex_value(peek());
      if (digit < 0) return expected(concat(n_digits, " hexadecimal digits"));
      value = value << 4 | static_cast<std::uint32_t>(digit);
    }
    return value;
  }
  // Behind \u: four digits (of a surrogate: and the other one), or any number of them in braces.
  Result<std::uint32_t> parse_unicode() {
    const std::size_t begin = at_;
    std::uint32_t value = 0;
    if (peek() == '{') {
      ++at_;
      for (; hex_value(peek()) >= 0 && value <= kLastCodePoint; ++at_) {
        value = value << 4 | static_cast<std::uint32_t>(hex_value(peek()));
      }
      if (peek() != '}' || at_ == begin + 1) return expected("hexadecimal digits and '}'");
      ++at_;
    } else {
      ROWMAX_TRY(first, parse_hex(4));
      value = first;
      if (value >= 0xD800 && value <= 0xDBFF && peek() == '\\' && peek(1) == 'u') {
        at_ += 2;
        ROWMAX_TRY(second, parse_hex(4));
        if (second < 0xDC00 || second > 0xDFFF) return fail_at(begin, "expected the second half of a surrogate pair");
        value = 0x10000 + ((value - 0xD800) << 10) + (second - 0xDC00);
      }
    }
    if (value > kLastCodePoint || (value >= 0xD800 && value <= 0xDFFF)) {
      return fail_at(begin, "expected a code point of Unicode, none of its surrogates");
    }
    return value;
  }

  Result<std::uint32_t> parse_char(bool in_class) {
    if (peek() == '\\') return parse_escape(in_class);
    const DecodedCodePoint c = decode_utf8(source_, at_);
    if (c.size == 0) return at_end() ? expected("a character") : fail("malformed UTF-8");
    at_ += c.size;
    return c.value;
  }
  Result<std::uint32_t> parse_escape(bool in_class) {
    const char kind = peek(1);
    if (kind >= '1' && kind <= '9') return refuse("back references are not supported");
    if (kind == 'k') return refuse("back references are not supported");
    if (kind == 'p' || kind == 'P') return refuse("\\p is not supported");
    if (kind == 'B' || (kind == 'b' && !in_class)) return refuse("\\b and \\B are not supported");
    constexpr std::string_view kThemselves = "^$\\.*+?()[]{}|/-";
    if (kind != '\0' && kThemselves.find(kind) != std::string_view::npos) {
      at_ += 2;
      return static_cast<std::uint32_t>(kind);
    }
    const std::size_t begin = at_;
    at_ += 2;
    switch (kind) {
      case 't': return std::uint32_t{'\t'};
      case 'n': return std::uint32_t{'\n'};
      case 'r': return std::uint32_t{'\r'};
      case 'f': return std::uint32_t{'\f'};
      case 'v': return std::uint32_t{'\v'};
      case 'b': return std::uint32_t{'\b'};
      case 'x': return parse_hex(2);
      case 'u': return parse_unicode();
      case 'c':
        if (!is_letter(peek())) break;
        return static_cast<std::uint32_t>(source_[at_++]) % 32;
      case '0':
        if (is_digit(peek())) break;
        return std::uint32_t{0};
      default: break;
    }
    at_ = begin;
    return fail("unknown escape");
  }

  Result<NodeId> parse_class() {
    const std::size_t begin = at_++;
    const bool negated = peek() == '^';
    if (negated) ++at_;
    CodePointSet set;
    while (peek() != ']') {
      if (at_end()) return fail_at(begin, "a set of characters that does not end");
      ROWMAX_RETURN_IF_ERROR(parse_class_part(set));
    }
    ++at_;
    set = normalised(std::move(set));
    return write_(negated ? complement(set) : set);
  }
  Status parse_class_part(CodePointSet& set) {
    const std::size_t begin = at_;
    const auto is_class = [&] { return peek() == '\\' && !class_of_letter(peek(1)).empty(); };
    if (is_class()) {
      const CodePointSet inside = class_of_letter(peek(1));
      set.insert(set.end(), inside.begin(), inside.end());
      at_ += 2;
      if (peek() == '-' && peek(1) != ']') return fail("a range that begins with a set of characters");
      return {};
    }
    ROWMAX_TRY(low, parse_char(true));
    std::uint32_t high = low;
    if (peek() == '-' && peek(1) != ']') {
      ++at_;
      if (is_class()) return fail("a range that ends with a set of characters");
      ROWMAX_TRY(last, parse_char(true));
      high = last;
    }
    if (high < low) return fail_at(begin, "a range whose end comes before its beginning");
    set.push_back({low, high});
    return {};
  }

  Syntax& syntax_;
  std::string_view source_;
  const WriteChars& write_;
  Anchoring anchoring_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

Result<NodeId> parse_regex(Syntax& syntax, std::string_view source, const WriteChars& write, Anchoring anchoring) {
  return RegexParser(syntax, source, write, anchoring).run();
}

}  // namespace rowmax::engine::grammar
