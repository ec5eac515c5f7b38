// Reading the fields of a request. A field that is null counts as absent, one that nobody asks for is ignored, and one of
// another type or outside its range is an error that names it, what was expected and what was found.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/server/api_error.h"
#include "engine/io/json.h"

namespace rowmax::server {

// Of one object. The first error counts; after it everything is absent.
class Fields {
 public:
  // path: in front of the names in errors, "messages[0]"; empty for the request itself.
  explicit Fields(engine::Json object, std::string path = {});

  std::optional<bool> boolean(std::string_view name);
  std::optional<std::int64_t> integer(std::string_view name, std::int64_t low, std::int64_t high);
  // The bits of an integer from -2^63 to 2^64 - 1.
  std::optional<std::uint64_t> bits64(std::string_view name);
  std::optional<double> number(std::string_view name, double low, double high);
  std::optional<std::string_view> string(std::string_view name);
  // Null where it is absent or no array (object).
  engine::Json array(std::string_view name);
  engine::Json object(std::string_view name);
  engine::Json any(std::string_view name);

  // As the two, and an error where there is none.
  std::string_view needed_string(std::string_view name);
  engine::Json needed_array(std::string_view name);

  bool ok() const { return !error_; }
  const ApiError& error() const { return *error_; }
  void fail(ApiError error);
  // "NAME: expected EXPECTED, found ..." with the value as it stands there.
  void fail(std::string_view name, std::string_view expected, engine::Json found);
  void fail_missing(std::string_view name, std::string_view expected);
  void fail_unsupported(std::string_view name, std::string_view why);
  std::string full_name(std::string_view name) const;

 private:
  engine::Json object_;
  std::string path_;
  std::optional<ApiError> error_;
};

}  // namespace rowmax::server
