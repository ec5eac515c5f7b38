// str.upper, lower, capitalize and jinja2's title, beyond ASCII by table. Every character's result keeps its taint.
#include <algorithm>

#include "engine/template/case_table.h"
#include "engine/template/interpreter.h"
#include "rowmax/try.h"

namespace rowmax::engine::jinja {
namespace {

// The mapped character as UTF-8 in *out; false if it maps to itself.
template <std::size_t kRanges, std::size_t kSpecials>
bool map_with(const CaseRange (&ranges)[kRanges], const CaseSpecial (&specials)[kSpecials], std::uint32_t code,
              std::string* out) {
  const auto* special = std::find_if(std::begin(specials), std::end(specials),
                                     [code](const CaseSpecial& row) { return row.code_point == code; });
  if (special != std::end(specials)) {
    *out = special->text;
    return true;
  }
  const auto* range = std::upper_bound(std::begin(ranges), std::end(ranges), code,
                                       [](std::uint32_t c, const CaseRange& row) { return c < row.first; });
  // Ranges of stride 2 may interleave with the next one: look at the two that start at or before the character.
  for (int back = 0; back < 2 && range != std::begin(ranges); ++back) {
    --range;
    if (code <= range->last && (code - range->first) % range->stride == 0) {
      append_utf8(out, static_cast<std::uint32_t>(static_cast<std::int64_t>(code) + range->delta));
      return true;
    }
  }
  return false;
}

bool map_char(std::uint32_t code, bool upper, std::string* out) {
  out->clear();
  if (code < 0x80) {
    const char c = static_cast<char>(code);
    if (upper && c >= 'a' && c <= 'z') *out = static_cast<char>(c - 32);
    if (!upper && c >= 'A' && c <= 'Z') *out = static_cast<char>(c + 32);
    return !out->empty();
  }
  return upper ? map_with(kUpperRanges, kUpperSpecials, code, out) : map_with(kLowerRanges, kLowerSpecials, code, out);
}

bool is_cased(std::uint32_t code) {
  std::string mapped;
  return map_char(code, true, &mapped) || map_char(code, false, &mapped);
}

// jinja2's title starts a word after white space, - and the brackets ( { [ <.
bool starts_word(std::uint32_t previous) {
  return is_python_space(previous) || previous == '-' || previous == '(' || previous == '{' || previous == '[' ||
         previous == '<';
}

constexpr std::uint32_t kCapitalSigma = 0x3A3;

}  // namespace

// how: upper, lower, capitalize, or title (jinja2's filter: the first character of each word upper, the rest lower).
Result<Value> change_case(Interpreter& in, const Text& text, std::string_view how) {
  ROWMAX_RETURN_IF_ERROR(in.meter()->charge_bytes(2 * text.bytes.size()));
  Builder out(in.meter());
  std::string mapped;
  std::uint32_t previous = ' ';
  for (std::size_t i = 0; i < text.bytes.size() && !out.full();) {
    const Utf8Char c = utf8_at(text.bytes, i);
    const bool initial = how == "title" ? starts_word(previous) : how == "capitalize" && i == 0;
    const bool upper = how == "upper" || initial;
    if (initial && c.code_point >= 0x80 && is_cased(c.code_point)) {
      return in.fail("title case beyond ASCII is not supported", ErrorCode::kUnsupported);
    }
    if (!upper && c.code_point == kCapitalSigma) {
      return in.fail("the lower case of a capital sigma depends on its place and is not supported",
                     ErrorCode::kUnsupported);
    }
    if (map_char(c.code_point, upper, &mapped)) {
      out.add(mapped, text.tainted_at(i));
    } else {
      out.add_slice(text, i, i + c.size);
    }
    previous = c.code_point;
    i += c.size;
  }
  return in.take(&out);
}

}  // namespace rowmax::engine::jinja
