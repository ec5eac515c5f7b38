#include "engine/template/lexer.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "engine/template/text.h"
#include "rowmax/try.h"

namespace rowmax::engine::jinja {

Error source_error(ErrorCode code, int line, int column, std::string_view what) {
  return Error{code, "chat template, line " + std::to_string(line) + ", column " + std::to_string(column) + ": " +
                         std::string(what)};
}

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}
bool is_name(char c) { return is_name_start(c) || is_digit(c); }
bool is_ascii_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1C && c <= 0x1F); }

// As jinja2: every line break becomes \n, and one at the very end is dropped.
std::string normalized(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out.push_back('\n');
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out.push_back(source[i]);
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  Result<std::vector<Token>> run() {
    while (at_ < source_.size()) {
      ROWMAX_RETURN_IF_ERROR(text_and_tag());
    }
    push(TokenKind::kEnd, {});
    return std::move(tokens_);
  }

 private:
  std::string source_;
  std::size_t at_ = 0;
  std::size_t counted_ = 0;  // where line_ and line_start_ were last brought up to date
  std::size_t line_start_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;

  void sync_line() {
    for (; counted_ < at_; ++counted_) {
      if (source_[counted_] == '\n') {
        ++line_;
        line_start_ = counted_ + 1;
      }
    }
  }
  Token& push(TokenKind kind, std::string text) {
    sync_line();
    Token token;
    token.kind = kind;
    token.line = line_;
    token.column = static_cast<int>(at_ - line_start_) + 1;
    token.text = std::move(text);
    tokens_.push_back(std::move(token));
    return tokens_.back();
  }
  Error fail(std::string_view what, ErrorCode code = ErrorCode::kCorrupt) {
    sync_line();
    return source_error(code, line_, static_cast<int>(at_ - line_start_) + 1, what);
  }
  char peek(std::size_t offset = 0) const { return at_ + offset < source_.size() ? source_[at_ + offset] : '\0'; }
  bool looking_at(std::string_view text) const { return std::string_view(source_).substr(at_, text.size()) == text; }
  void skip_space() {
    while (at_ < source_.size()) {
      const Utf8Char c = utf8_at(source_, at_);
      if (!is_python_space(c.code_point)) break;
      at_ += c.size;
    }
  }

  std::size_t find_tag(std::size_t from) const {
    for (std::size_t i = source_.find('{', from); i != std::string::npos; i = source_.find('{', i + 1)) {
      const char next = i + 1 < source_.size() ? source_[i + 1] : '\0';
      if (next == '{' || next == '%' || next == '#') return i;
    }
    return std::string::npos;
  }

  // The data before a tag, stripped as the tag's sign and lstrip_blocks say.
  std::string_view stripped(std::string_view text, char sign, bool is_variable) const {
    if (sign == '-') {
      std::size_t end = text.size();
      while (end > 0) {
        std::size_t start = end - 1;
        while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
        if (!is_python_space(utf8_at(text, start).code_point)) break;
        end = start;
      }
      return text.substr(0, end);
    }
    if (sign == '+' || is_variable) return text;
    const std::size_t newline = text.rfind('\n');
    const std::size_t line = newline == std::string_view::npos ? 0 : newline + 1;
    if (line == 0 && !line_starting_) return text;
    for (std::size_t i = line; i < text.size();) {
      const Utf8Char c = utf8_at(text, i);
      if (!is_python_space(c.code_point)) return text;
      i += c.size;
    }
    return text.substr(0, line);
  }

  // Consumes an end mark ("%}" or "#}"): "-" eats the white space after it, "+" keeps the newline, plain drops one.
  bool end_mark(std::string_view mark) {
    const char sign = peek();
    const bool has_sign = sign == '-' || sign == '+';
    if (std::string_view(source_).substr(std::min(at_ + has_sign, source_.size()), 2) != mark) return false;
    at_ += 2 + has_sign;
    if (sign == '-') {
      skip_space();
    } else if (sign != '+' && peek() == '\n') {
      ++at_;
    }
    line_starting_ = source_[at_ - 1] == '\n';
    return true;
  }

  Status text_and_tag() {
    const std::size_t tag = find_tag(at_);
    if (tag == std::string::npos) {
      std::string rest = source_.substr(at_);
      push(TokenKind::kData, std::move(rest));
      at_ = source_.size();
      return {};
    }
    const char kind = source_[tag + 1];
    const char next = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    const char sign = next == '-' || next == '+' ? next : '\0';
    const std::string_view text = std::string_view(source_).substr(at_, tag - at_);
    std::string data(stripped(text, sign, kind == '{'));
    if (!data.empty()) push(TokenKind::kData, std::move(data));
    at_ = tag;
    sync_line();
    if (kind == '#') return comment(sign);
    if (kind == '%') {
      bool is_raw = false;
      ROWMAX_RETURN_IF_ERROR(raw(sign, &is_raw));
      if (is_raw) return {};
    }
    push(kind == '{' ? TokenKind::kVariableBegin : TokenKind::kBlockBegin, {});
    at_ += sign == '\0' ? 2 : 3;
    return expression(kind == '{');
  }

  Status comment(char sign) {
    const std::size_t start = at_ + 2 + (sign != '\0');
    const std::size_t end = source_.find("#}", start);
    if (end == std::string::npos) {
      if (start < source_.size()) return fail("a comment is not closed");
      at_ = source_.size();  // as jinja2
      return {};
    }
    at_ = end > start && (source_[end - 1] == '-' || source_[end - 1] == '+') ? end - 1 : end;
    end_mark("#}");
    return {};
  }

  // {% raw %}: everything up to {% endraw %} is data.
  Status raw(char sign, bool* is_raw) {
    const std::size_t saved = at_;
    at_ += sign == '\0' ? 2 : 3;
    skip_space();
    const bool named = looking_at("raw");
    at_ += named ? 3 : 0;
    if (named) skip_space();
    if (!named || !(looking_at("%}") || looking_at("-%}"))) {
      at_ = saved;
      return {};
    }
    *is_raw = true;
    const bool eats = peek() == '-';
    at_ += eats ? 3 : 2;
    if (eats) skip_space();
    line_starting_ = source_[at_ - 1] == '\n';
    const std::size_t start = at_;
    for (std::size_t i = source_.find("{%", start); i != std::string::npos; i = source_.find("{%", i + 1)) {
      at_ = i + 2;
      const char end_sign = peek() == '-' || peek() == '+' ? peek() : '\0';
      at_ += end_sign != '\0';
      skip_space();
      if (!looking_at("endraw")) continue;
      at_ += 6;
      skip_space();
      std::string data(stripped(std::string_view(source_).substr(start, i - start), end_sign, false));
      if (!end_mark("%}")) continue;
      if (!data.empty()) push(TokenKind::kData, std::move(data));
      return {};
    }
    at_ = saved;
    return fail("{% raw %} is not closed");
  }

  Status expression(bool is_variable) {
    std::string open;  // brackets not closed yet
    while (at_ < source_.size()) {
      const char c = peek();
      if (is_ascii_space(c)) {
        ++at_;
        continue;
      }
      if (open.empty() && is_variable && (looking_at("}}") || looking_at("-}}"))) {
        push(TokenKind::kVariableEnd, {});
        at_ += c == '-' ? 3 : 2;
        if (c == '-') skip_space();
        line_starting_ = source_[at_ - 1] == '\n';
        return {};
      }
      if (open.empty() && !is_variable && (looking_at("%}") || looking_at("-%}") || looking_at("+%}"))) {
        push(TokenKind::kBlockEnd, {});
        end_mark("%}");
        return {};
      }
      ROWMAX_RETURN_IF_ERROR(token(&open));
    }
    return fail(is_variable ? "{{ is not closed" : "{% is not closed");
  }

  Status token(std::string* open) {
    const char c = peek();
    if (is_digit(c)) return number();
    if (is_name_start(c)) {
      std::size_t end = at_;
      while (end < source_.size() && is_name(source_[end])) ++end;
      std::string name = source_.substr(at_, end - at_);
      push(TokenKind::kName, std::move(name));
      at_ = end;
      return {};
    }
    if (c == '\'' || c == '"') return string_literal(c);
    static constexpr std::string_view kTwo[] = {"//", "**", "==", "!=", ">=", "<="};
    for (const std::string_view two : kTwo) {
      if (looking_at(two)) {
        push(TokenKind::kOperator, std::string(two));
        at_ += 2;
        return {};
      }
    }
    if (std::string_view("+-*/%~[](){}><=.:|,;").find(c) == std::string_view::npos || c == '\0') {
      return fail("unexpected character");
    }
    if (c == '(' || c == '[' || c == '{') open->push_back(c == '(' ? ')' : static_cast<char>(c + 2));
    if (c == ')' || c == ']' || c == '}') {
      if (open->empty() || open->back() != c) return fail("a bracket closes what is not open");
      open->pop_back();
    }
    push(TokenKind::kOperator, std::string(1, c));
    ++at_;
    return {};
  }

  // (\d+_)*\d+ from `from`; returns its end, or from if there is none.
  std::size_t digits(std::size_t from) const {
    std::size_t i = from;
    while (i < source_.size() && is_digit(source_[i])) {
      ++i;
      if (i + 1 < source_.size() && source_[i] == '_' && is_digit(source_[i + 1])) ++i;
    }
    return i;
  }

  Status number() {
    std::size_t end = digits(at_);
    bool is_float = false;
    const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';
    if (!after_dot) {
      if (end + 1 < source_.size() && source_[end] == '.' && is_digit(source_[end + 1])) {
        end = digits(end + 1);
        is_float = true;
      }
      if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
        const bool has_sign = end + 1 < source_.size() && (source_[end + 1] == '+' || source_[end + 1] == '-');
        const std::size_t tail = digits(end + 1 + has_sign);
        if (tail > end + 1 + has_sign) {
          end = tail;
          is_float = true;
        }
      }
    }
    std::string text;
    for (std::size_t i = at_; i < end; ++i) {
      if (source_[i] != '_') text.push_back(source_[i]);
    }
    Token& token = push(is_float ? TokenKind::kFloat : TokenKind::kInteger, {});
    if (is_float) {
      if (std::from_chars(text.data(), text.data() + text.size(), token.number).ec != std::errc()) {
        return fail("a number out of range", ErrorCode::kUnsupported);
      }
    } else {
      const bool zero_led = text.size() > 1 && text[0] == '0';
      if (zero_led && text.find_first_not_of('0') != std::string::npos) return fail("a number with leading zeros");
      if (end < source_.size() && is_name_start(source_[end])) {
        return fail("a name starts with a digit, or a number is not decimal", ErrorCode::kUnsupported);
      }
      if (std::from_chars(text.data(), text.data() + text.size(), token.integer).ec != std::errc()) {
        return fail("an integer beyond 64 bits", ErrorCode::kUnsupported);
      }
    }
    at_ = end;
    return {};
  }

  Status string_literal(char quote) {
    std::size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) return fail("a string is not closed");
    Token& token = push(TokenKind::kString, {});
    const std::string_view body = std::string_view(source_).substr(at_ + 1, end - at_ - 1);
    for (std::size_t i = 0; i < body.size();) {
      if (body[i] != '\\') {
        token.text.push_back(body[i++]);
      } else if (!escape(body, &i, &token.text)) {
        return fail("a string has a malformed or unsupported escape");
      }
    }
    at_ = end + 1;
    return {};
  }

  // Python's escapes; *i stands on the backslash.
  static bool escape(std::string_view body, std::size_t* i, std::string* out) {
    const char c = body[*i + 1];
    static constexpr std::string_view kFrom = "\\'\"abfnrtv";
    static constexpr std::string_view kTo = "\\'\"\a\b\f\n\r\t\v";
    if (const std::size_t known = kFrom.find(c); known != std::string_view::npos) {
      out->push_back(kTo[known]);
      *i += 2;
      return true;
    }
    if (c == '\n') {
      *i += 2;
      return true;
    }
    std::uint32_t code = 0;
    if (c >= '0' && c <= '7') {
      std::size_t n = 1;
      for (; n <= 3 && *i + n < body.size() && body[*i + n] >= '0' && body[*i + n] <= '7'; ++n) {
        code = code * 8 + static_cast<std::uint32_t>(body[*i + n] - '0');
      }
      *i += n;
      append_utf8(out, code);
      return true;
    }
    const std::size_t n_hex = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (n_hex == 0) {
      if (c == 'N') return false;
      out->push_back('\\');  // an unknown escape stands for itself
      ++*i;
      return true;
    }
    if (*i + 2 + n_hex > body.size()) return false;
    const char* first = body.data() + *i + 2;
    const auto parsed = std::from_chars(first, first + n_hex, code, 16);
    if (parsed.ec != std::errc() || parsed.ptr != first + n_hex) return false;
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return false;
    *i += 2 + n_hex;
    append_utf8(out, code);
    return true;
  }
};

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view source, const TemplateLimits& limits) {
  if (source.size() > static_cast<std::size_t>(limits.max_source_bytes)) {
    return Error{ErrorCode::kLimit,
                 "the chat template has " + std::to_string(source.size()) +
                     " bytes, more than max_source_bytes = " + std::to_string(limits.max_source_bytes)};
  }
  return Lexer(normalized(source)).run();
}

}  // namespace rowmax::engine::jinja
