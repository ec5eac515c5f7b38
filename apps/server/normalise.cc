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

// What one rule may do in a request, in all its messages together.
struct Allowance {
  std::uint64_t steps = 0;
  std::uint64_t bytes = 0;
};
constexpr std::uint64_t kStepsPerByte = 64, kStepsBesides = 10'000'000, kMostBytes = std::uint64_t{64} << 20;

// How many matches were replaced.
Result<std::int64_t> replace_all(const NormaliseRule& rule, std::string& text, Allowance& left) {
  const auto found = rule.pattern.find_all(text, left.steps);
  if (!found) {
    return Error::invalid_argument("--normalise " + rule.name +
                                   ": expected system messages that its pattern finds in " +
                                   std::to_string(kStepsPerByte) + " steps a byte, found more to do");
  }
  const std::vector<Pattern::Match>& matches = *found;
  std::uint64_t bytes = text.size() + matches.size() * rule.text.size();
  for (const Pattern::Match& match : matches) bytes -= match.end - match.begin;
  if (bytes > left.bytes) {
    return Error::invalid_argument("--normalise " + rule.name + ": expected at most " + std::to_string(kMostBytes) +
                                   " bytes of system messages, found more once all is replaced");
  }
  left.bytes -= bytes;
  if (matches.empty()) return 0;
  std::string made;
  made.reserve(bytes);
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

// nullptr: of another role, or no text.
std::string* system_content(TemplateValue& message) {
  std::string* content = nullptr;
  bool is_system = false;
  for (auto& [key, value] : message.dict) {
    if (value.kind != TemplateValue::Kind::kString) continue;
    if (key == "role") is_system = value.string == "system";
    if (key == "content") content = &value.string;
  }
  return is_system ? content : nullptr;
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

Result<std::vector<Normalised>> normalise(const std::vector<NormaliseRule>& rules, engine::ChatInput& input) {
  std::vector<std::pair<std::size_t, std::string*>> contents;
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < input.messages.list.size() && !rules.empty(); ++i) {
    std::string* content = system_content(input.messages.list[i]);
    if (content == nullptr) continue;
    contents.emplace_back(i, content);
    bytes += content->size();
  }
  std::vector<Allowance> left(rules.size(), {kStepsPerByte * bytes + kStepsBesides, kMostBytes});
  std::vector<Normalised> all;
  for (const auto& [message, content] : contents) {
    for (std::size_t i = 0; i < rules.size(); ++i) {
      ROWMAX_TRY(n, replace_all(rules[i], *content, left[i]));
      if (n > 0) all.push_back({rules[i].name, static_cast<std::int64_t>(message), n});
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
