#include "engine/convert/json_reader.h"

#include <algorithm>
#include <utility>

#include "engine/io/text.h"

namespace rowmax::engine {

JsonReader::JsonReader(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
  if (!object.is_object()) {
    fail(Error{ErrorCode::kCorrupt, concat(where_, ": expected a JSON object, found ", object.text())});
  }
}

JsonReader JsonReader::empty(std::string where) { return JsonReader(std::move(where)); }

bool JsonReader::names(std::string_view key) const {
  return std::ranges::any_of(object_.members(), [&](const Json::Member& member) { return member.key == key; });
}

void JsonReader::fail(Error error) {
  if (!error_) error_ = std::move(error);
}

void JsonReader::fail(ErrorCode code, std::string_view key, std::string_view message) {
  const bool lacks_found = message.starts_with("expected ") && message.find("found ") == std::string_view::npos;
  const Json value = object_.is_object() ? find(key) : Json();
  const std::string found = !lacks_found ? "" : value ? concat(", found ", value.text()) : ", found no such field";
  fail(Error{code, concat(where_, ": ", key, ": ", message, found)});
}

void JsonReader::mismatch(std::string_view key, std::string_view expected, const Json& found) {
  fail(ErrorCode::kCorrupt, key, concat("expected ", expected, ", found ", found.text()));
}

std::int64_t JsonReader::require_int(std::string_view key, std::int64_t low, std::int64_t high) {
  if (!has(key)) fail(ErrorCode::kCorrupt, key, "is missing");
  return int_or(key, low, low, high);
}

std::int64_t JsonReader::int_or(std::string_view key, std::int64_t fallback, std::int64_t low, std::int64_t high) {
  const Json value = find(key);
  if (!value) return fallback;
  const std::optional<std::int64_t> number = value.as_int();
  if (number && *number >= low && *number <= high) return *number;
  mismatch(key, concat("a whole number from ", low, " to ", high), value);
  return fallback;
}

double JsonReader::require_number(std::string_view key, double low, double high) {
  if (!has(key)) fail(ErrorCode::kCorrupt, key, "is missing");
  return number_or(key, low, low, high);
}

double JsonReader::number_or(std::string_view key, double fallback, double low, double high) {
  const Json value = find(key);
  if (!value) return fallback;
  const double number = value.as_double();
  if (value.is_number() && number >= low && number <= high) return number;
  mismatch(key, concat("a number from ", number_text(low), " to ", number_text(high)), value);
  return fallback;
}

bool JsonReader::bool_or(std::string_view key, bool fallback) {
  const Json value = find(key);
  if (!value) return fallback;
  if (!value.is_bool()) mismatch(key, "true or false", value);
  return value.is_bool() ? value.as_bool() : fallback;
}

std::string JsonReader::string_or(std::string_view key, std::string_view fallback) {
  const Json value = find(key);
  if (!value) return std::string(fallback);
  if (!value.is_string()) mismatch(key, "a string", value);
  return std::string(value.is_string() ? value.as_string() : fallback);
}

}  // namespace rowmax::engine
