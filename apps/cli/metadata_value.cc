#include "apps/cli/metadata_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace rowmax::cli {
namespace {

using engine::GgufArray;
using engine::GgufType;
using engine::GgufValue;

bool is_float(GgufType type) { return type == GgufType::kF32 || type == GgufType::kF64; }

// NaN and infinities are not JSON numbers.
Json number_json(double value, GgufType type) {
  if (!std::isfinite(value)) return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
  // An f32 shown with the digits that identify it, not with those of its double.
  if (type != GgufType::kF32) return value;
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, static_cast<float>(value)).ptr;
  std::from_chars(digits, end, value);
  return value;
}

Json item_json(const GgufArray& array, std::size_t i) {
  if (array.element_type == GgufType::kString) return std::string(array.strings[i]);
  if (is_float(array.element_type)) return number_json(array.as_double(i), array.element_type);
  if (array.element_type == GgufType::kBool) return array.as_int(i) != 0;
  return array.as_int(i);
}

Json scalar_json(const GgufValue& value) {
  if (const auto* number = std::get_if<std::uint64_t>(&value.value)) return *number;
  if (const auto* number = std::get_if<std::int64_t>(&value.value)) return *number;
  if (const auto* number = std::get_if<double>(&value.value)) return number_json(*number, value.type);
  if (const auto* flag = std::get_if<bool>(&value.value)) return *flag;
  return std::string(std::get<std::string_view>(value.value));
}

std::string cut(std::string_view text, std::size_t max_bytes) {
  if (text.size() <= max_bytes) return std::string(text);
  std::size_t end = max_bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return std::string(text.substr(0, end)) + "…";
}

}  // namespace

std::string metadata_type(const GgufValue& value) {
  const auto* array = std::get_if<GgufArray>(&value.value);
  if (array == nullptr) return engine::gguf_type_name(value.type);
  return std::string("array of ") + engine::gguf_type_name(array->element_type);
}

std::string metadata_text(const GgufValue& value, std::size_t max_items, std::size_t max_bytes) {
  const auto* array = std::get_if<GgufArray>(&value.value);
  if (array == nullptr) {
    const Json json = scalar_json(value);
    return json.text() != nullptr ? Json(cut(*json.text(), max_bytes)).dump() : json.dump();
  }
  std::string text = std::to_string(array->size) + " x [";
  const std::size_t shown = std::min(array->size, max_items);
  for (std::size_t i = 0; i < shown; ++i) text += (i > 0 ? ", " : "") + item_json(*array, i).dump();
  return text + (shown < array->size ? ", …]" : "]");
}

Json metadata_json(const GgufValue& value, std::size_t max_items) {
  Json json = {{"type", metadata_type(value)}};
  const auto* array = std::get_if<GgufArray>(&value.value);
  if (array == nullptr) {
    json["value"] = scalar_json(value);
    return json;
  }
  Json items = Json::array();
  const std::size_t shown = std::min(array->size, max_items);
  for (std::size_t i = 0; i < shown; ++i) items.push_back(item_json(*array, i));
  json["size"] = array->size;
  json[shown < array->size ? "first" : "value"] = std::move(items);
  return json;
}

}  // namespace rowmax::cli
