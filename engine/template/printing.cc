#include "engine/template/printing.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "engine/template/interpreter.h"
#include "rowmax/try.h"

namespace rowmax::engine::jinja {

Result<Text> Builder::take() {
  if (full_) {
    ROWMAX_RETURN_IF_ERROR(meter_->charge(0));
    ROWMAX_RETURN_IF_ERROR(meter_->check_size(static_cast<std::size_t>(meter_->limits().max_output_bytes) + 1));
  }
  return std::move(text_);
}

Status print_str(Interpreter& in, const Value& value, Builder* out) {
  switch (value.kind) {
    case ValueKind::kUndefined: return {};
    case ValueKind::kString: out->add(value.text()); return {};
    default: return print_repr(in, value, out);
  }
}

// Characters that repr() escapes beyond ASCII: separators, controls, format marks, surrogates, private use and
// non-characters. Code points that Unicode has not assigned count as printable here, unlike in Python.
static bool is_unprintable(std::uint32_t c) {
  return (c >= 0x7F && c <= 0xA0) || c == 0xAD || c == 0x61C || c == 0x180E || (c >= 0x2000 && c <= 0x200F) ||
         (c >= 0x2028 && c <= 0x202F) || (c >= 0x205F && c <= 0x206F) || c == 0x1680 || c == 0x3000 || c == 0xFEFF ||
         (c >= 0xFFF0 && c <= 0xFFFB) || (c >= 0xD800 && c <= 0xF8FF) || (c & 0xFFFE) == 0xFFFE || c >= 0xE0000;
}

static std::string hex_escape(std::uint32_t c) {
  char buffer[12];
  std::snprintf(buffer, sizeof buffer,
                c < 0x100     ? "\\x%02x"
                : c < 0x10000 ? "\\u%04x"
                              : "\\U%08x",
                static_cast<unsigned>(c));
  return buffer;
}

static void print_quoted(const Text& text, Builder* out) {
  const std::string_view bytes = text.bytes;
  const bool has_single = bytes.find('\'') != std::string_view::npos;
  const char quote = has_single && bytes.find('"') == std::string_view::npos ? '"' : '\'';
  out->add(std::string_view(&quote, 1));
  for (std::size_t i = 0; i < bytes.size() && !out->full();) {
    const Utf8Char c = utf8_at(bytes, i);
    const char byte = bytes[i];
    std::string escaped;
    if (byte == quote || byte == '\\') {
      escaped = {'\\', byte};
    } else if (byte == '\n') {
      escaped = "\\n";
    } else if (byte == '\r') {
      escaped = "\\r";
    } else if (byte == '\t') {
      escaped = "\\t";
    } else if (c.code_point < 0x20 || is_unprintable(c.code_point)) {
      escaped = hex_escape(c.code_point);
    }
    if (escaped.empty()) {
      out->add_slice(text, i, i + c.size);
    } else {
      out->add(escaped, text.tainted_at(i));
    }
    i += c.size;
  }
  out->add(std::string_view(&quote, 1));
}

static Status print_elements(Interpreter& in, const ListRep& list, Builder* out, int depth) {
  bool is_first = true;
  for (const Value& item : list.items) {
    if (!is_first) out->add(", ");
    is_first = false;
    ROWMAX_RETURN_IF_ERROR(print_repr(in, item, out, depth + 1));
    if (out->full()) break;
  }
  return {};
}

static Status print_list(Interpreter& in, const Value& value, Builder* out, int depth) {
  const ListRep& list = value.list();
  switch (list.flavour) {
    case ListFlavour::kList: out->add("["); break;
    case ListFlavour::kTuple: out->add("("); break;
    case ListFlavour::kKeys: out->add("dict_keys(["); break;
    case ListFlavour::kValues: out->add("dict_values(["); break;
    case ListFlavour::kItems: out->add("dict_items(["); break;
    default:
      return in.fail(std::string("printing a value of type ") + type_name(value) + " is not supported",
                     ErrorCode::kUnsupported);
  }
  ROWMAX_RETURN_IF_ERROR(print_elements(in, list, out, depth));
  if (list.flavour == ListFlavour::kList) {
    out->add("]");
  } else if (list.flavour == ListFlavour::kTuple) {
    out->add(list.items.size() == 1 ? ",)" : ")");
  } else {
    out->add("])");
  }
  return {};
}

Status print_repr(Interpreter& in, const Value& value, Builder* out, int depth) {
  ROWMAX_RETURN_IF_ERROR(in.meter()->charge(1));
  if (depth > 2 * kMaxValueDepth) return in.fail("a printed value nests too deep", ErrorCode::kLimit);
  switch (value.kind) {
    case ValueKind::kUndefined: out->add("Undefined"); return {};
    case ValueKind::kNone: out->add("None"); return {};
    case ValueKind::kBool: out->add(value.boolean ? "True" : "False"); return {};
    case ValueKind::kInt: out->add(std::to_string(value.integer)); return {};
    case ValueKind::kFloat: out->add(float_repr(value.number)); return {};
    case ValueKind::kString: {
      ROWMAX_RETURN_IF_ERROR(in.meter()->charge_bytes(value.view().size()));
      if (value.string().markup) out->add("Markup(");
      print_quoted(value.text(), out);
      if (value.string().markup) out->add(")");
      return {};
    }
    case ValueKind::kList: return print_list(in, value, out, depth);
    case ValueKind::kDict: {
      out->add("{");
      bool is_first = true;
      for (const auto& [key, element] : value.dict().items) {
        if (!is_first) out->add(", ");
        is_first = false;
        ROWMAX_RETURN_IF_ERROR(print_repr(in, key, out, depth + 1));
        out->add(": ");
        ROWMAX_RETURN_IF_ERROR(print_repr(in, element, out, depth + 1));
        if (out->full()) break;
      }
      out->add("}");
      return {};
    }
    default:
      return in.fail(std::string("printing a value of type ") + type_name(value) + " is not supported",
                     ErrorCode::kUnsupported);
  }
}

// json.dumps ---------------------------------------------------------------------------------------------------------

static std::string json_unit(std::uint32_t unit) {
  char buffer[16];
  std::snprintf(buffer, sizeof buffer, "\\u%04x", static_cast<unsigned>(unit));
  return buffer;
}

static std::string json_escape(std::uint32_t c, bool ensure_ascii) {
  switch (c) {
    case '"': return "\\\"";
    case '\\': return "\\\\";
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    case '\f': return "\\f";
    case '\b': return "\\b";
    default: break;
  }
  if (c < 0x20) return json_unit(c);
  if (!ensure_ascii || c < 0x7F) return {};
  if (c < 0x10000) return json_unit(c);
  return json_unit(0xD800 + ((c - 0x10000) >> 10)) + json_unit(0xDC00 + ((c - 0x10000) & 0x3FF));
}

static void print_json_string(const Text& text, bool ensure_ascii, Builder* out) {
  out->add("\"");
  std::size_t plain = 0;
  std::size_t i = 0;
  while (i < text.bytes.size() && !out->full()) {
    const Utf8Char c = utf8_at(text.bytes, i);
    const std::string escaped = json_escape(c.code_point, ensure_ascii);
    if (!escaped.empty()) {
      out->add_slice(text, plain, i);
      out->add(escaped, text.tainted_at(i));
      plain = i + c.size;
    }
    i += c.size;
  }
  out->add_slice(text, plain, i);
  out->add("\"");
}

static std::string json_float(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return float_repr(value);
}

static Status print_json_key(Interpreter& in, const Value& key, const JsonStyle& style, Builder* out) {
  switch (key.kind) {
    case ValueKind::kString: print_json_string(key.text(), style.ensure_ascii, out); return {};
    case ValueKind::kNone: out->add("\"null\""); return {};
    case ValueKind::kBool: out->add(key.boolean ? "\"true\"" : "\"false\""); return {};
    case ValueKind::kInt: out->add("\"" + std::to_string(key.integer) + "\""); return {};
    case ValueKind::kFloat: out->add("\"" + json_float(key.number) + "\""); return {};
    default: return in.fail(std::string("a key of type ") + type_name(key) + " cannot be written as JSON");
  }
}

static void break_line(const JsonStyle& style, Builder* out, int level) {
  if (style.indent < 0) return;
  out->add("\n");
  for (int i = 0; i < level && !out->full(); ++i) out->add(std::string(static_cast<std::size_t>(style.indent), ' '));
}

static Status print_json_dict(Interpreter& in, const DictRep& dict, const JsonStyle& style, Builder* out, int level) {
  std::vector<std::size_t> order(dict.items.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  if (style.sort_keys) {
    if (!dict.all_names) return in.fail("sorting keys that are no strings is not supported", ErrorCode::kUnsupported);
    std::sort(order.begin(), order.end(), [&dict](std::size_t a, std::size_t b) {
      return dict.items[a].first.view() < dict.items[b].first.view();
    });
  }
  out->add("{");
  for (std::size_t i = 0; i < order.size() && !out->full(); ++i) {
    const auto& [key, value] = dict.items[order[i]];
    if (i > 0) out->add(style.item_separator);
    break_line(style, out, level + 1);
    ROWMAX_RETURN_IF_ERROR(print_json_key(in, key, style, out));
    out->add(style.key_separator);
    ROWMAX_RETURN_IF_ERROR(print_json(in, value, style, out, level + 1));
  }
  if (!order.empty()) break_line(style, out, level);
  out->add("}");
  return {};
}

Status print_json(Interpreter& in, const Value& value, const JsonStyle& style, Builder* out, int level) {
  ROWMAX_RETURN_IF_ERROR(in.meter()->charge(1));
  if (level > 2 * kMaxValueDepth) return in.fail("a value written as JSON nests too deep", ErrorCode::kLimit);
  switch (value.kind) {
    case ValueKind::kNone: out->add("null"); return {};
    case ValueKind::kBool: out->add(value.boolean ? "true" : "false"); return {};
    case ValueKind::kInt: out->add(std::to_string(value.integer)); return {};
    case ValueKind::kFloat: out->add(json_float(value.number)); return {};
    case ValueKind::kString:
      ROWMAX_RETURN_IF_ERROR(in.meter()->charge_bytes(value.view().size()));
      print_json_string(value.text(), style.ensure_ascii, out);
      return {};
    case ValueKind::kDict: return print_json_dict(in, value.dict(), style, out, level);
    default: break;
  }
  if (!value.is_list(ListFlavour::kList) && !value.is_list(ListFlavour::kTuple)) {
    return in.fail(std::string("a value of type ") + type_name(value) + " cannot be written as JSON");
  }
  out->add("[");
  bool is_first = true;
  for (const Value& item : value.items()) {
    if (!is_first) out->add(style.item_separator);
    is_first = false;
    break_line(style, out, level + 1);
    ROWMAX_RETURN_IF_ERROR(print_json(in, item, style, out, level + 1));
    if (out->full()) break;
  }
  if (!value.items().empty()) break_line(style, out, level);
  out->add("]");
  return {};
}

}  // namespace rowmax::engine::jinja
