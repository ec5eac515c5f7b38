#include "engine/io/key_rules.h"

#include <algorithm>
#include <charconv>
#include <variant>

#include "engine/io/text.h"

namespace rowmax::engine {
namespace {

constexpr std::size_t kShownItems = 4;

bool is_at(double value, std::string_view neutral) {
  double wanted = 0;
  const auto [end, code] = std::from_chars(neutral.data(), neutral.data() + neutral.size(), wanted);
  return code == std::errc() && end == neutral.data() + neutral.size() && value == wanted;
}

bool is_at(bool value, std::string_view neutral) { return neutral == (value ? "true" : "false"); }

bool element_is_at(const GgufArray& array, std::size_t i, std::string_view neutral) {
  if (array.element_type == GgufType::kString) return array.strings[i] == neutral;
  if (array.element_type == GgufType::kBool) return is_at(array.as_int(i) != 0, neutral);
  return is_at(array.as_double(i), neutral);
}

struct IsAt {
  std::string_view neutral;
  bool operator()(std::uint64_t value) const { return is_at(static_cast<double>(value), neutral); }
  bool operator()(std::int64_t value) const { return is_at(static_cast<double>(value), neutral); }
  bool operator()(double value) const { return is_at(value, neutral); }
  bool operator()(bool value) const { return is_at(value, neutral); }
  bool operator()(std::string_view value) const { return value == neutral; }
  bool operator()(const GgufArray& array) const {
    for (std::size_t i = 0; i < array.size; ++i) {
      if (!element_is_at(array, i, neutral)) return false;
    }
    return true;
  }
};

struct Text {
  std::string operator()(std::uint64_t value) const { return std::to_string(value); }
  std::string operator()(std::int64_t value) const { return std::to_string(value); }
  std::string operator()(double value) const { return number_text(value); }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(std::string_view value) const { return quote(value); }
  std::string operator()(const GgufArray& array) const {
    std::string out = "[";
    for (std::size_t i = 0; i < std::min(array.size, kShownItems); ++i) {
      if (i > 0) out += ", ";
      out += array.element_type == GgufType::kString ? (*this)(array.strings[i]) : number_text(array.as_double(i));
    }
    return out + (array.size > kShownItems ? ", ...]" : "]");
  }
};

}  // namespace

std::string key_value_text(const GgufValue& value) { return std::visit(Text{}, value.value); }

bool has_value_of(const GgufValue& value, std::span<const std::string_view> neutral) {
  return std::any_of(neutral.begin(), neutral.end(),
                     [&](std::string_view one) { return std::visit(IsAt{one}, value.value); });
}

const KeyRule* find_rule(std::span<const KeyRule> rules, std::string_view key) {
  const auto found = std::find_if(rules.begin(), rules.end(), [&](const KeyRule& rule) {
    if (rule.key.ends_with('*')) return key.starts_with(rule.key.substr(0, rule.key.size() - 1));
    return rule.key == key;
  });
  return found == rules.end() ? nullptr : &*found;
}

KeyReport report_unread(std::string_view key, const GgufValue& value, const KeyRule* rule,
                        const std::vector<std::string>& ignored) {
  KeyReport report{key, KeyUse::kRefused, rule == nullptr ? kNotKnown : rule->why};
  if (rule != nullptr && rule->neutral.size() == 0) {
    report.use = KeyUse::kHarmless;
  } else if (rule != nullptr && has_value_of(value, {rule->neutral.begin(), rule->neutral.size()})) {
    report.use = KeyUse::kNeutral;
  } else if (std::find(ignored.begin(), ignored.end(), key) != ignored.end()) {
    report.use = KeyUse::kIgnored;
  }
  return report;
}

RefusedKey refused_key(const KeyReport& report, const GgufValue& value, std::string_view who) {
  const std::string key = concat("key ", quote(report.key), " = ", key_value_text(value));
  return {std::string(report.key), report.why == kNotKnown
                                       ? concat(key, ": ", who, " does not know this key")
                                       : concat(key, " means that ", report.why, ", which ", who, " does not do here")};
}

std::string refusal(std::span<const RefusedKey> refused) {
  const bool several = refused.size() > 1;
  std::string text = several ? concat(refused.size(), " keys that would be passed over: ") : "", flags;
  for (const RefusedKey& each : refused) {
    text += concat(each.text, "; ");
    flags += concat("--ignore-key ", each.key, " ");
  }
  return concat(text, flags, several ? "compute without them" : "computes without it");
}

const char* key_use_name(KeyUse use) noexcept {
  switch (use) {
    case KeyUse::kRead: return "read";
    case KeyUse::kNeutral: return "neutral";
    case KeyUse::kHarmless: return "harmless";
    case KeyUse::kIgnored: return "ignored";
    case KeyUse::kRefused: return "refused";
  }
  return "unknown";
}

}  // namespace rowmax::engine
