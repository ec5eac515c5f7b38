#include "apps/server/normalise.h"

#include <algorithm>
#include <utility>

#include "rowmax/try.h"

namespace rowmax::server {

using engine::TemplateValue;

namespace {

struct NamedRule {
  std::string_view name, pattern, text;
};
constexpr NamedRule kNamedRules[] = {
    {"date", R"(\b\d{4}-\d\d-\d\d\b)", "0000-00-00"},
    {"time", R"(\b\d\d:\d\d(:\d\d(\.\d+)?)?\b)", "00:00"},
    {"timestamp", R"(\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+\-]\d\d:?\d\d)?\b)", "0000-00-00T00:00:00"},
    {"uuid", R"(\b[0-9A-Fa-f]{8}-([0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}\b)", "00000000-0000-0000-0000-000000000000"},
};

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

// How many matches were replaced.
std::int64_t replace_all(const NormaliseRule& rule, std::string& text) {
  const std::vector<Pattern::Match> matches = rule.pattern.find_all(text);
  if (matches.empty()) return 0;
  std::string made;
  std::size_t at = 0;
  for (const Pattern::Match& match : matches) {
    made.append(text, at, match.begin - at);
    made += rule.text;
    at = match.end;
  }
  made.append(text, at);
  text = std::move(made);
  return std::ssize(matches);
}

}  // namespace

Result<NormaliseRule> NormaliseRule::parse(std::string_view rule) {
  const auto wrong = [&](const std::string& why) {
    return Error::invalid_argument("--normalise: " + std::string(rule) + ": " + why);
  };
  NormaliseRule made;
  made.source = rule;
  std::string_view pattern;
  const auto known = std::ranges::find(kNamedRules, rule, &NamedRule::name);
  if (known != std::end(kNamedRules)) {
    made.name = known->name;
    made.text = known->text;
    pattern = known->pattern;
  } else {
    const std::size_t colon = std::min(rule.find(':'), rule.size());
    made.name = rule.substr(0, colon);
    if (colon == rule.size() || !is_name(made.name)) {
      return wrong("expected date, time, timestamp, uuid, or NAME:/PATTERN/TEXT/");
    }
    const std::string_view rest = rule.substr(colon + 1);
    if (rest.size() < 3 || rest.back() != rest.front() || std::ranges::count(rest, rest.front()) != 3) {
      return wrong("expected /PATTERN/TEXT/ behind the name, with any other sign for / that is in neither");
    }
    const std::size_t middle = rest.find(rest.front(), 1);
    pattern = rest.substr(1, middle - 1);
    made.text = rest.substr(middle + 1, rest.size() - middle - 2);
  }
  auto parsed = Pattern::parse(pattern);
  if (!parsed.ok()) return wrong(parsed.error().message);
  made.pattern = std::move(parsed).value();
  return made;
}

std::vector<Normalised> normalise(const std::vector<NormaliseRule>& rules, engine::ChatInput& input) {
  std::vector<Normalised> all;
  for (std::size_t i = 0; i < input.messages.list.size() && !rules.empty(); ++i) {
    std::string* content = nullptr;
    bool is_system = false;
    for (auto& [key, value] : input.messages.list[i].dict) {
      if (value.kind != TemplateValue::Kind::kString) continue;
      if (key == "role") is_system = value.string == "system";
      if (key == "content") content = &value.string;
    }
    if (!is_system || content == nullptr) continue;
    for (const NormaliseRule& rule : rules) {
      const std::int64_t n = replace_all(rule, *content);
      if (n > 0) all.push_back({rule.name, static_cast<std::int64_t>(i), n});
    }
  }
  return all;
}

text::Json normalised_json(const std::vector<Normalised>& all) {
  text::Json list = text::Json::array();
  for (const Normalised& each : all) {
    list.push_back({{"rule", each.rule}, {"message", each.message}, {"count", each.count}});
  }
  return list;
}

}  // namespace rowmax::server
