#include "engine/arch/key_reader.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "engine/arch/unread_keys.h"

namespace rowmax::engine {

KeyReader::KeyReader(const GgufFile& file, const KeyOverrides& overrides, std::string prefix)
    : file_(file), overrides_(overrides), override_used_(overrides.size(), false), prefix_(std::move(prefix)) {}

std::string KeyReader::full_key(std::string_view key) const { return prefix_ + "." + std::string(key); }

void KeyReader::fail(ErrorCode code, std::string message) {
  if (!error_) error_ = Error{code, file_.name() + ": " + std::move(message)};
}

void KeyReader::fact(std::string name, std::string value, std::string source) {
  facts_.push_back({std::move(name), std::move(value), std::move(source)});
}

const std::string* KeyReader::override_for(std::string_view full_key) {
  const std::string* value = nullptr;
  for (std::size_t i = 0; i < overrides_.size(); ++i) {  // given twice, the later one counts
    if (overrides_[i].first != full_key) continue;
    override_used_[i] = true;
    value = &overrides_[i].second;
  }
  return value;
}

void KeyReader::check_overrides_used() {
  for (std::size_t i = 0; i < overrides_.size(); ++i) {
    if (!override_used_[i] && !overrides_[i].first.starts_with("tokenizer.")) {
      fail(ErrorCode::kInvalidArgument, "override of key '" + overrides_[i].first + "': architecture '" + prefix_ +
                                            "' does not read a key of that name");
    }
  }
}

std::vector<KeyReport> KeyReader::report(const IgnoredKeys& ignored) const {
  std::vector<KeyReport> out;
  const std::string prefix = prefix_ + ".";
  for (const auto& [key, value] : file_.metadata()) {
    if (!key.starts_with(prefix)) continue;
    const KeyRule* rule = find_rule(unread_key_rules(), key.substr(prefix.size()));
    out.push_back(asked_.contains(key) ? KeyReport{key, KeyUse::kRead, ""} : report_unread(key, value, rule, ignored));
  }
  return out;
}

void KeyReader::check_all_read(const IgnoredKeys& ignored, std::span<const KeyReport> tokenizer) {
  for (const std::string& key : ignored) {
    if (key.starts_with("tokenizer.")) continue;  // the tokenizer's business
    if (asked_.contains(key)) {
      fail(ErrorCode::kInvalidArgument,
           "--ignore-key " + key + ": rowmax acts on this key; --set " + key + "=VALUE gives it another value");
    } else if (!key.starts_with(prefix_ + ".")) {
      fail(ErrorCode::kInvalidArgument, "--ignore-key " + key + ": no key of the architecture '" + prefix_ +
                                            "' or the tokenizer, so it changes nothing");
    }
  }
  std::vector<RefusedKey> refused;
  for (const KeyReport& entry : report(ignored)) {
    const GgufValue& value = *file_.find(entry.key);
    if (entry.use == KeyUse::kIgnored) {
      notice("key " + quote(entry.key) + " = " + key_value_text(value) + " is ignored, as told (" +
             std::string(entry.why) + ")");
    } else if (entry.use == KeyUse::kRefused) {
      refused.push_back(refused_key(entry, value, "architecture '" + prefix_ + "'"));
    }
  }
  if (refused.empty()) return;  // the tokenizer says what it refuses
  for (const KeyReport& entry : tokenizer) {
    if (entry.use == KeyUse::kRefused) refused.push_back(refused_key(entry, *file_.find(entry.key), "the tokenizer"));
  }
  fail(ErrorCode::kUnsupported, refusal(refused));
}

bool KeyReader::has(std::string_view key) const {
  const std::string full = full_key(key);
  for (const auto& [name, value] : overrides_) {
    if (name == full) return true;
  }
  return file_.find(full) != nullptr;
}

std::optional<double> KeyReader::find_number(std::string_view key, bool integer, std::string* source) {
  const std::string full = full_key(key);
  asked_.insert(full);
  if (const std::string* text = override_for(full)) {
    double value = 0;
    const auto result = std::from_chars(text->data(), text->data() + text->size(), value);
    if (result.ec != std::errc() || result.ptr != text->data() + text->size() ||
        (integer && value != std::floor(value))) {
      fail(ErrorCode::kInvalidArgument, "override of key '" + full + "': expected " +
                                            (integer ? "an integer" : "a number") + ", found '" + *text + "'");
      return std::nullopt;
    }
    *source = "override of key " + full;
    return value;
  }
  const GgufValue* found = file_.find(full);
  if (found == nullptr) return std::nullopt;
  *source = "key " + full;
  if (found->type == GgufType::kArray) {  // per-layer values: only the same one everywhere is understood
    const GgufArray& array = std::get<GgufArray>(found->value);
    if (array.element_type == GgufType::kString || array.size == 0) {
      fail(ErrorCode::kCorrupt, "key '" + full + "': expected a number, found an array that is empty or of strings");
      return std::nullopt;
    }
    const auto n_layer = file_.find_uint(full_key("block_count"));
    if (key == "block_count" || (n_layer && array.size != *n_layer)) {
      fail(ErrorCode::kCorrupt,
           "key '" + full + "': expected a number" +
               (key == "block_count" ? std::string() : " or one for each of " + std::to_string(*n_layer) + " layers") +
               ", found an array of " + std::to_string(array.size));
      return std::nullopt;
    }
    for (std::size_t i = 1; i < array.size; ++i) {
      if (array.as_double(i) != array.as_double(0)) {
        fail(ErrorCode::kUnsupported, "key '" + full + "': values that differ between layers are not supported");
        return std::nullopt;
      }
    }
    return array.as_double(0);
  }
  if (integer) {
    auto value = file_.get_uint(full);
    if (!value.ok()) {
      if (!error_) error_ = std::move(value).error();
      return std::nullopt;
    }
    return static_cast<double>(*value);
  }
  auto value = file_.get_float(full);
  if (!value.ok()) {
    if (!error_) error_ = std::move(value).error();
    return std::nullopt;
  }
  return *value;
}

double KeyReader::checked(std::string_view key, double value, double low, double high, std::string_view bound) {
  if (value >= low && value <= high) return value;
  fail(ErrorCode::kCorrupt, "key '" + full_key(key) + "': expected " + number_text(low) + " to " + number_text(high) +
                                (bound.empty() ? "" : " (by " + std::string(bound) + ")") + ", found " +
                                number_text(value));
  return low;
}

std::int64_t KeyReader::require_int(std::string_view key, std::int64_t low, std::int64_t high, const char* name,
                                    std::string_view bound) {
  return static_cast<std::int64_t>([&] {
    std::string source;
    const std::optional<double> value = find_number(key, true, &source);
    if (!value) {
      fail(ErrorCode::kCorrupt, "key '" + full_key(key) + "' is missing; --set " + full_key(key) + "=VALUE gives one");
      return static_cast<double>(low);
    }
    const double result = checked(key, *value, static_cast<double>(low), static_cast<double>(high), bound);
    if (name != nullptr) fact(name, number_text(result), source);
    return result;
  }());
}

double KeyReader::require_float(std::string_view key, double low, double high, const char* name) {
  std::string source;
  const std::optional<double> value = find_number(key, false, &source);
  if (!value) {
    fail(ErrorCode::kCorrupt, "key '" + full_key(key) + "' is missing; --set " + full_key(key) + "=VALUE gives one");
    return low;
  }
  const double result = checked(key, *value, low, high);
  if (name != nullptr) fact(name, number_text(result), source);
  return result;
}

std::int64_t KeyReader::int_or(std::string_view key, std::int64_t fallback, std::int64_t low, std::int64_t high,
                               const char* name, std::string_view why, std::string_view bound) {
  std::string source(why);
  const std::optional<double> value = find_number(key, true, &source);
  const double result = value ? checked(key, *value, static_cast<double>(low), static_cast<double>(high), bound)
                              : static_cast<double>(fallback);
  if (name != nullptr) fact(name, number_text(result), source);
  return static_cast<std::int64_t>(result);
}

double KeyReader::float_or(std::string_view key, double fallback, double low, double high, const char* name,
                           std::string_view why) {
  std::string source(why);
  const std::optional<double> value = find_number(key, false, &source);
  const double result = value ? checked(key, *value, low, high) : fallback;
  if (name != nullptr) fact(name, number_text(result), source);
  return result;
}

bool KeyReader::bool_or(std::string_view key, bool fallback) {
  const std::string full = full_key(key);
  asked_.insert(full);
  const auto of = [&](std::string_view text, ErrorCode code, const std::string& what) {
    if (text == "true" || text == "1") return true;
    if (text != "false" && text != "0") {
      fail(code, what + "key '" + full + "': expected true or false, found " + std::string(text));
    }
    return false;
  };
  if (const std::string* text = override_for(full)) return of(*text, ErrorCode::kInvalidArgument, "override of ");
  const GgufValue* found = file_.find(full);
  return found == nullptr ? fallback : of(key_value_text(*found), ErrorCode::kCorrupt, "");
}

std::optional<std::vector<std::int64_t>> KeyReader::ints(std::string_view key, std::size_t most) {
  const std::string full = full_key(key);
  asked_.insert(full);
  const auto wrong = [&](const std::string& text) {
    fail(ErrorCode::kCorrupt, "key '" + full + "': expected " + text);
    return std::nullopt;
  };
  if (const std::string* text = override_for(full)) {
    if (*text == "true" || *text == "false") return std::vector<std::int64_t>{*text == "true"};
    std::int64_t value = 0;
    const auto result = std::from_chars(text->data(), text->data() + text->size(), value);
    if (result.ec == std::errc() && result.ptr == text->data() + text->size()) return std::vector{value};
    fail(ErrorCode::kInvalidArgument,
         "override of key '" + full + "': expected an integer, true or false, found '" + *text + "'");
    return std::nullopt;
  }
  const GgufValue* found = file_.find(full);
  if (found == nullptr) return std::nullopt;
  if (const auto* value = std::get_if<bool>(&found->value)) return std::vector<std::int64_t>{*value};
  if (const auto* value = std::get_if<std::uint64_t>(&found->value)) {
    return std::vector{static_cast<std::int64_t>(*value >> 63 != 0 ? INT64_MAX : *value)};
  }
  if (const auto* value = std::get_if<std::int64_t>(&found->value)) return std::vector{*value};
  const auto* array = std::get_if<GgufArray>(&found->value);
  if (array == nullptr) return wrong("integers, found " + key_value_text(*found));
  const GgufType type = array->element_type;
  if (type == GgufType::kString || type == GgufType::kF32 || type == GgufType::kF64) {
    return wrong("integers, found an array of " + std::string(gguf_type_name(type)) + ": " + key_value_text(*found));
  }
  if (array->size > most) {
    return wrong("at most " + std::to_string(most) + " numbers, found " + std::to_string(array->size));
  }
  std::vector<std::int64_t> out;
  for (std::size_t i = 0; i < array->size; ++i) out.push_back(array->as_int(i));
  return out;
}

double KeyReader::float_of_two(std::string_view key, std::string_view other, double fallback, double low, double high,
                               const char* name, std::string_view why) {
  std::string source(why), other_source;
  std::optional<double> value = find_number(key, false, &source);
  const std::optional<double> second = find_number(other, false, &other_source);
  const bool overridden = override_for(full_key(key)) != nullptr, second_is = override_for(full_key(other)) != nullptr;
  if (value && second && *value != *second && overridden == second_is) {
    fail(overridden ? ErrorCode::kInvalidArgument : ErrorCode::kCorrupt,
         "key '" + full_key(key) + "' = " + number_text(*value) + " and key '" + full_key(other) + "' = " +
             number_text(*second) + " say the same thing and differ; --set " + full_key(key) + "=VALUE decides");
  }
  const bool take_second = second && (!value || (second_is && !overridden));
  if (take_second) {
    value = second;
    source = other_source;
  }
  const double result = value ? checked(take_second ? other : key, *value, low, high) : fallback;
  if (name != nullptr) fact(name, number_text(result), source);
  return result;
}

std::string KeyReader::string_or(std::string_view key, std::string_view fallback) {
  const std::string full = full_key(key);
  asked_.insert(full);
  if (const std::string* text = override_for(full)) return *text;
  if (file_.find(full) == nullptr) return std::string(fallback);
  auto value = file_.get_string(full);
  if (!value.ok()) {
    if (!error_) error_ = std::move(value).error();
    return std::string(fallback);
  }
  return std::string(*value);
}

}  // namespace rowmax::engine
