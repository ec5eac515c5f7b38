// Typed reading of a JSON object from a file, with errors that name file, key, expected and found.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "engine/io/json.h"
#include "rowmax/result.h"

namespace rowmax::engine {

// Reads on after the first problem (with the given defaults) and keeps that one: ask failed() before using anything.
// A key whose value is null counts as absent. Good as long as the object's document.
class JsonReader {
 public:
  // where: "folder/config.json" or, for an object inside, "folder/config.json: rope_scaling". Anything but an object
  // fails.
  JsonReader(const Json& object, std::string where);

  // An object without any members.
  static JsonReader empty(std::string where);

  const std::string& where() const noexcept { return where_; }
  Json find(std::string_view key) const { return object_.find(key); }  // null when absent
  bool has(std::string_view key) const { return !find(key).is_null(); }
  // Whether the key is there, with null for a value or not.
  bool names(std::string_view key) const;
  Json object() const { return object_; }

  std::int64_t require_int(std::string_view key, std::int64_t low, std::int64_t high);
  std::int64_t int_or(std::string_view key, std::int64_t fallback, std::int64_t low, std::int64_t high);
  double require_number(std::string_view key, double low, double high);
  double number_or(std::string_view key, double fallback, double low, double high);
  bool bool_or(std::string_view key, bool fallback);
  std::string string_or(std::string_view key, std::string_view fallback);

  // "where: key: message"
  void fail(ErrorCode code, std::string_view key, std::string_view message);
  void fail(Error error);
  bool failed() const noexcept { return error_.has_value(); }
  Status status() const { return error_ ? Status(*error_) : Status(); }

 private:
  explicit JsonReader(std::string where) : where_(std::move(where)) {}
  void mismatch(std::string_view key, std::string_view expected, const Json& found);

  Json object_;
  std::string where_;
  std::optional<Error> error_;
};

}  // namespace rowmax::engine
