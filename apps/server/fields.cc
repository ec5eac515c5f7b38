#include "apps/server/fields.h"

#include <cmath>
#include <cstdio>
#include <utility>

namespace rowmax::server {

using engine::Json;

namespace {

std::string short_number(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

// 2.0 is the integer 2 to JSON. As far as a double tells integers apart.
std::optional<std::int64_t> whole_number(double value) {
  constexpr double kLargest = 9007199254740992.0;  // 2^53
  if (!(value >= -kLargest && value <= kLargest) || value != std::trunc(value)) return std::nullopt;
  return static_cast<std::int64_t>(value);
}

std::string integer_range(std::int64_t low, std::int64_t high) {
  if (high == std::numeric_limits<std::int64_t>::max() && low == std::numeric_limits<std::int64_t>::min()) {
    return "an integer of 64 bits";
  }
  return "an integer from " + std::to_string(low) + " to " + std::to_string(high);
}

}  // namespace

Fields::Fields(Json object, std::string path) : object_(object), path_(std::move(path)) {
  if (object_.is_object()) return;
  fail({400, (path_.empty() ? "the request's body" : path_) + ": expected an object, found " + object_.text(), path_});
}

std::string Fields::full_name(std::string_view name) const {
  return path_.empty() ? std::string(name) : path_ + "." + std::string(name);
}

void Fields::fail(ApiError error) {
  if (!error_) error_ = std::move(error);
}

void Fields::fail(std::string_view name, std::string_view expected, Json found) {
  const std::string full = full_name(name);
  fail({400, full + ": expected " + std::string(expected) + ", found " + found.text(), full, "invalid_value"});
}

void Fields::fail_missing(std::string_view name, std::string_view expected) {
  const std::string full = full_name(name);
  fail({400, full + ": expected " + std::string(expected) + ", found none", full, "missing_field"});
}

void Fields::fail_unsupported(std::string_view name, std::string_view why) {
  const std::string full = full_name(name);
  fail({400, full + ": " + std::string(why), full, "not_supported"});
}

Json Fields::any(std::string_view name) { return ok() ? object_.find(name) : Json(); }

std::optional<bool> Fields::boolean(std::string_view name) {
  const Json value = any(name);
  if (value.is_null()) return std::nullopt;
  if (value.is_bool()) return value.as_bool();
  fail(name, "true or false", value);
  return std::nullopt;
}

std::optional<std::int64_t> Fields::integer(std::string_view name, std::int64_t low, std::int64_t high) {
  const Json value = any(name);
  if (value.is_null()) return std::nullopt;
  auto number = value.as_int();
  if (!number && value.is_number()) number = whole_number(value.as_double());
  if (number && *number >= low && *number <= high) return number;
  fail(name, integer_range(low, high), value);
  return std::nullopt;
}

std::optional<std::uint64_t> Fields::bits64(std::string_view name) {
  const Json value = any(name);
  if (value.is_null()) return std::nullopt;
  if (const auto large = value.as_uint()) return large;
  if (const auto number = value.as_int()) return static_cast<std::uint64_t>(*number);
  if (const auto number = whole_number(value.as_double()); value.is_number() && number) {
    return static_cast<std::uint64_t>(*number);
  }
  fail(name, "an integer of 64 bits, from -2^63 to 2^64 - 1", value);
  return std::nullopt;
}

std::optional<double> Fields::number(std::string_view name, double low, double high) {
  const Json value = any(name);
  if (value.is_null()) return std::nullopt;
  const double number = value.as_double();
  if (value.is_number() && number >= low && number <= high) return number;
  fail(name, "a number from " + short_number(low) + " to " + short_number(high), value);
  return std::nullopt;
}

std::optional<std::string_view> Fields::string(std::string_view name) {
  const Json value = any(name);
  if (value.is_null()) return std::nullopt;
  if (value.is_string()) return value.as_string();
  fail(name, "a string", value);
  return std::nullopt;
}

Json Fields::array(std::string_view name) {
  const Json value = any(name);
  if (value.is_null() || value.is_array()) return value;
  fail(name, "an array", value);
  return {};
}

Json Fields::object(std::string_view name) {
  const Json value = any(name);
  if (value.is_null() || value.is_object()) return value;
  fail(name, "an object", value);
  return {};
}

std::string_view Fields::needed_string(std::string_view name) {
  const auto text = string(name);
  if (!text) fail_missing(name, "a string");
  return text.value_or(std::string_view());
}

Json Fields::needed_array(std::string_view name) {
  const Json value = array(name);
  if (value.is_null()) fail_missing(name, "an array");
  return value;
}

}  // namespace rowmax::server
