// JSON as the programs write it.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <ranges>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace rowmax::text {

struct JsonMember;

// A JSON value to print: Json{{"name", name}, {"sizes", sizes}, {"shape", {{"rows", 2}}}}. Members keep their order.
class Json {
 public:
  Json() = default;  // null
  Json(std::initializer_list<JsonMember> members);
  template <class T>
  requires std::same_as<T, bool> Json(T value) : value_(value) {}
  template <std::signed_integral T>
  Json(T value) : value_(static_cast<std::int64_t>(value)) {}
  template <std::unsigned_integral T>
  requires(!std::same_as<T, bool>) Json(T value) : value_(static_cast<std::uint64_t>(value)) {}
  template <std::floating_point T>
  Json(T value) : value_(static_cast<double>(value)) {}
  template <class T>
  requires std::convertible_to<const T&, std::string_view> Json(const T& text)
      : value_(std::string(std::string_view(text))) {}
  template <std::ranges::input_range T>
  requires(!std::convertible_to<const T&, std::string_view> && !std::same_as<T, Json>) Json(const T& items)
      : value_(List()) {
    for (const auto& item : items) push_back(Json(item));
  }

  static Json array();
  static Json object();

  // To a list; null becomes one.
  void push_back(Json item);
  // To an object, without a look whether the key is there; null becomes an object.
  void append(std::string_view key, Json value);
  // The member of an object, made as null where there is none; null becomes an object.
  Json& operator[](std::string_view key);
  // Every member of another object.
  void update(const Json& object);

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  const std::string* text() const { return std::get_if<std::string>(&value_); }

  // On one line. Numbers are the shortest that read back as the same (and 1.0, not 1), not-a-number and infinities are
  // null; bytes that are not UTF-8 become U+FFFD.
  std::string dump() const;

 private:
  using List = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;
  void print(std::string& out) const;

  std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string, List, Object> value_;
};

struct JsonMember {
  std::string_view key;
  Json value;
};

// The double whose shortest digits are those of the float: 0.1f is written as 0.1.
double shortest(float value);

}  // namespace rowmax::text
