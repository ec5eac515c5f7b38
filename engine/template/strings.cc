// What methods and filters of strings share: trimming, replacing, and formatting with % and {}.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "engine/template/interpreter.h"
#include "rowmax/try.h"

namespace rowmax::engine::jinja {

Text trimmed(const Text& text, const Text* characters, bool left, bool right) {
  const std::string_view bytes = text.bytes;
  const auto drops = [characters, bytes](std::size_t position, std::size_t* size) {
    const Utf8Char c = utf8_at(bytes, position);
    *size = c.size;
    if (characters == nullptr) return is_python_space(c.code_point);
    for (std::size_t i = 0; i < characters->bytes.size();) {
      const Utf8Char other = utf8_at(characters->bytes, i);
      if (other.code_point == c.code_point) return true;
      i += other.size;
    }
    return false;
  };
  std::size_t begin = 0;
  std::size_t end = bytes.size();
  std::size_t size = 0;
  while (left && begin < end && drops(begin, &size)) begin += size;
  while (right && end > begin) {
    std::size_t start = end - 1;
    while (start > begin && end - start < 4 && (static_cast<unsigned char>(bytes[start]) & 0xC0) == 0x80) --start;
    if (start + utf8_at(bytes, start).size != end) start = end - 1;  // a stray byte is a character of its own
    if (!drops(start, &size)) break;
    end = start;
  }
  return text.slice(begin, end);
}

Result<Value> replace_text(Interpreter& in, const Text& text, const Text& from, const Text& to,
                           std::int64_t max_count) {
  ROWMAX_RETURN_IF_ERROR(in.meter()->charge_bytes(Finder::work(text.bytes, from.bytes)));
  Builder out(in.meter());
  std::int64_t left = max_count < 0 ? INT64_MAX : max_count;
  std::size_t done = 0;
  if (from.bytes.empty()) {  // between all characters and at both ends
    for (; left > 0 && done < text.bytes.size() && !out.full(); --left) {
      const std::size_t size = utf8_at(text.bytes, done).size;
      out.add(to);
      out.add_slice(text, done, done + size);
      done += size;
    }
    if (left > 0 && done == text.bytes.size()) out.add(to);
  } else {
    const Finder finder(from.bytes);
    for (; left > 0 && !out.full(); --left) {
      const std::size_t at = finder.find(text.bytes, done);
      if (at == std::string::npos) break;
      out.add_slice(text, done, at);
      out.add(to);
      done = at + from.bytes.size();
    }
  }
  out.add_slice(text, done, text.bytes.size());
  return in.take(&out);
}

Result<std::vector<Text>> split_lines(Interpreter& in, const Text& text, bool keep_ends) {
  ROWMAX_RETURN_IF_ERROR(in.meter()->charge_bytes(text.bytes.size()));
  const auto breaks = [](std::uint32_t c) {
    return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
  };
  std::vector<Text> lines;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < text.bytes.size();) {
    const Utf8Char c = utf8_at(text.bytes, i);
    std::size_t next = i + c.size;
    if (breaks(c.code_point)) {
      ROWMAX_RETURN_IF_ERROR(in.meter()->charge(1));
      if (c.code_point == '\r' && next < text.bytes.size() && text.bytes[next] == '\n') ++next;
      lines.push_back(text.slice(begin, keep_ends ? next : i));
      begin = next;
    }
    i = next;
  }
  if (begin < text.bytes.size()) lines.push_back(text.slice(begin, text.bytes.size()));
  return lines;
}

namespace {

// One conversion of the % operator.
struct Conversion {
  bool left = false, plus = false, space = false, zero = false;
  std::size_t width = 0;
  int precision = -1;
  char type = '\0';
};

constexpr std::size_t kMaxWidth = 1000;

std::string fixed(double value, int precision) {
  char buffer[700];
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed, precision);
  return std::string(buffer, static_cast<std::size_t>(result.ptr - buffer));
}

Status add_number(Interpreter& in, const Conversion& c, const Value& value, Builder* out) {
  if (!value.is_number()) return in.fail("a number is needed to format with %" + std::string(1, c.type));
  std::string text;
  if (c.type == 'f' || c.type == 'F') {
    const double number = value.as_double();
    if (!std::isfinite(number))
      return in.fail("formatting a non-finite number is not supported", ErrorCode::kUnsupported);
    text = fixed(number, c.precision < 0 ? 6 : c.precision);
  } else {
    if (c.precision >= 0) return in.fail("this format is not supported", ErrorCode::kUnsupported);
    if (value.is(ValueKind::kFloat) && !(std::fabs(value.number) < 9e18))
      return in.fail("a number too large to format");
    text = std::to_string(value.is(ValueKind::kFloat) ? static_cast<std::int64_t>(value.number) : value.as_int());
  }
  if (text[0] != '-' && (c.plus || c.space)) text.insert(0, 1, c.plus ? '+' : ' ');
  if (text.size() < c.width) {
    const std::size_t n = c.width - text.size();
    const bool has_sign = text[0] == '-' || text[0] == '+' || text[0] == ' ';
    if (c.left) {
      text.append(n, ' ');
    } else {
      text.insert(c.zero && has_sign ? 1 : 0, n, c.zero ? '0' : ' ');
    }
  }
  out->add(text);
  return {};
}

Status add_text(Interpreter& in, const Conversion& c, const Value& value, Builder* out) {
  Builder part(in.meter());
  ROWMAX_RETURN_IF_ERROR(c.type == 'r' ? print_repr(in, value, &part) : print_str(in, value, &part));
  ROWMAX_TRY(text, part.take());
  const std::vector<std::size_t> offsets = utf8_offsets(text.bytes);
  std::size_t n = offsets.size() - 1;
  if (c.precision >= 0) n = std::min(n, static_cast<std::size_t>(c.precision));
  const std::string fill(n < c.width ? c.width - n : 0, ' ');
  if (!c.left) out->add(fill);
  out->add_slice(text, 0, offsets[n]);
  if (c.left) out->add(fill);
  return {};
}

// The arguments of one % operation, taken in order or by name.
class PercentArguments {
 public:
  explicit PercentArguments(const Value& value) : value_(value) {}
  Result<Value> next(const Interpreter& in) {
    if (!value_.is_list(ListFlavour::kTuple)) {
      if (used_++ == 0) return value_;
    } else if (used_ < value_.items().size()) {
      return value_.items()[used_++];
    }
    return in.fail("not enough arguments for a format string");
  }
  Result<Value> named(const Interpreter& in, std::string_view name) {
    by_name_ = true;
    if (!value_.is(ValueKind::kDict)) return in.fail("a format string with names needs a dict");
    const Value* value = value_.dict().find(name);
    if (value == nullptr) return in.fail("a format string names a missing key");
    return *value;
  }
  bool all_used() const {
    if (by_name_ || value_.is(ValueKind::kDict)) return true;
    return used_ == (value_.is_list(ListFlavour::kTuple) ? value_.items().size() : 1);
  }

 private:
  const Value& value_;
  std::size_t used_ = 0;
  bool by_name_ = false;
};

// Reads flags, width, precision and type at *i; false when malformed or too wide.
bool read_conversion(std::string_view text, std::size_t* i, Conversion* c) {
  for (; *i < text.size(); ++*i) {
    if (text[*i] == '-') {
      c->left = true;
    } else if (text[*i] == '+') {
      c->plus = true;
    } else if (text[*i] == ' ') {
      c->space = true;
    } else if (text[*i] == '0') {
      c->zero = true;
    } else {
      break;
    }
  }
  const auto number = [&](std::size_t* value) {
    for (*value = 0; *i < text.size() && text[*i] >= '0' && text[*i] <= '9'; ++*i) {
      *value = std::min<std::size_t>(*value * 10 + static_cast<std::size_t>(text[*i] - '0'), kMaxWidth + 1);
    }
    return *value <= kMaxWidth;
  };
  if (!number(&c->width)) return false;
  if (*i < text.size() && text[*i] == '.') {
    ++*i;
    std::size_t precision = 0;
    if (!number(&precision) || precision > 300) return false;
    c->precision = static_cast<int>(precision);
  }
  if (*i >= text.size()) return false;
  c->type = text[(*i)++];
  return true;
}

}  // namespace

Result<Value> format_percent(Interpreter& in, const Text& format, const Value& arguments) {
  Builder out(in.meter());
  PercentArguments source(arguments);
  const std::string_view text = format.bytes;
  for (std::size_t i = 0; i < text.size() && !out.full();) {
    ROWMAX_RETURN_IF_ERROR(in.meter()->charge(1));
    const std::size_t percent = std::min(text.find('%', i), text.size());
    out.add_slice(format, i, percent);
    i = percent + 1;
    if (percent == text.size()) break;
    std::string_view name;
    const bool has_name = i < text.size() && text[i] == '(';
    if (has_name) {
      const std::size_t close = text.find(')', i);
      if (close == std::string_view::npos) return in.fail("a malformed format string");
      name = text.substr(i + 1, close - i - 1);
      i = close + 1;
    }
    Conversion conversion;
    if (!read_conversion(text, &i, &conversion)) return in.fail("a malformed or unsupported format string");
    if (conversion.type == '%') {
      out.add_slice(format, percent, percent + 1);
      continue;
    }
    ROWMAX_TRY(value, has_name ? source.named(in, name) : source.next(in));
    switch (conversion.type) {
      case 's':
      case 'r': ROWMAX_RETURN_IF_ERROR(add_text(in, conversion, value, &out)); break;
      case 'd':
      case 'i':
      case 'u':
      case 'f':
      case 'F': ROWMAX_RETURN_IF_ERROR(add_number(in, conversion, value, &out)); break;
      default: return in.fail("this format is not supported", ErrorCode::kUnsupported);
    }
  }
  if (!source.all_used()) return in.fail("not all arguments of a format string were used");
  return in.take(&out);
}

}  // namespace rowmax::engine::jinja
