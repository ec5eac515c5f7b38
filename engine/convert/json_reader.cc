#include "engine/convert/json_reader.h"

#include <charconv>
#include <utility>

#include "engine/io/text.h"

namespace rowmax::engine {
namespace {

std::string number_text(double value) {
  char text[40];
  return std::string(text, std::to_chars(text, text + sizeof text, value).ptr);
}

}  // namespace

std::string json_text(const Json& value) {
  const std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

JsonReader::JsonReader(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
  if (!object.is_object()) {
    fail(Error{ErrorCode::kCorrupt, concat(where_, ": expected a JSON object, found ", json_text(object))});
  }
}

const Json* JsonReader::find(std::string_view key) const {
  if (!object_.is_object()) return nullptr;
  const auto found = object_.find(std::string(key));
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

void JsonReader::fail(Error error) {
  if (!error_) error_ = std::move(error);
}

void JsonReader::fail(ErrorCode code, std::string_view key, std::string_view message) {
  fail(Error{code, concat(where_, ": ", key, ": ", message)});
}

void JsonReader::mismatch(std::string_view key, std::string_view expected, const Json& found) {
  fail(ErrorCode::kCorrupt, key, concat("expected ", expected, ", found ", json_text(found)));
}

std::int64_t JsonReader::require_int(std::string_view key, std::int64_t low, std::int64_t high) {
  if (!has(key)) fail(ErrorCode::kCorrupt, key, "is missing");
  return int_or(key, low, low, high);
}

std::int64_t JsonReader::int_or(std::string_view key, std::int64_t fallback, std::int64_t low, std::int64_t high) {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  if (value->is_number_integer() && (!value->is_number_unsigned() || value->get<std::uint64_t>() <= INT64_MAX)) {
    const auto number = value->get<std::int64_t>();
    if (number >= low && number <= high) return number;
  }
  mismatch(key, concat("a whole number from ", low, " to ", high), *value);
  return fallback;
}

double JsonReader::require_number(std::string_view key, double low, double high) {
  if (!has(key)) fail(ErrorCode::kCorrupt, key, "is missing");
  return number_or(key, low, low, high);
}

double JsonReader::number_or(std::string_view key, double fallback, double low, double high) {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  if (value->is_number()) {
    const auto number = value->get<double>();
    if (number >= low && number <= high) return number;
  }
  mismatch(key, concat("a number from ", number_text(low), " to ", number_text(high)), *value);
  return fallback;
}

bool JsonReader::bool_or(std::string_view key, bool fallback) {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  if (value->is_boolean()) return value->get<bool>();
  mismatch(key, "true or false", *value);
  return fallback;
}

std::string JsonReader::string_or(std::string_view key, std::string_view fallback) {
  const Json* value = find(key);
  if (value == nullptr) return std::string(fallback);
  if (value->is_string()) return value->get<std::string>();
  mismatch(key, "a string", *value);
  return std::string(fallback);
}

}  // namespace rowmax::engine
