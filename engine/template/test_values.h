// Reading test data: JSON as template values.
#pragma once

#include <nlohmann/json.hpp>

#include <fstream>
#include <string>

#include "rowmax/engine/chat_template.h"

namespace rowmax::engine {

using Json = nlohmann::ordered_json;

inline TemplateValue value_of(const Json& json) {
  if (json.is_boolean()) return TemplateValue::of(json.get<bool>());
  if (json.is_number_integer()) return TemplateValue::of(json.get<std::int64_t>());
  if (json.is_number()) return TemplateValue::of(json.get<double>());
  if (json.is_string()) return TemplateValue::of(json.get<std::string>());
  if (json.is_array()) {
    std::vector<TemplateValue> items;
    for (const Json& item : json) items.push_back(value_of(item));
    return TemplateValue::make_list(std::move(items));
  }
  if (json.is_object()) {
    std::vector<std::pair<std::string, TemplateValue>> items;
    for (const auto& [key, item] : json.items()) items.emplace_back(key, value_of(item));
    return TemplateValue::make_dict(std::move(items));
  }
  return {};
}

inline Json read_json(const std::string& path) {
  std::ifstream file(path);
  return Json::parse(file);
}

// Parses and renders, as one step.
inline Result<std::string> render_once(const std::string& source, const TemplateValue& globals, std::int64_t now = 0,
                                       const TemplateLimits& limits = {}) {
  auto parsed = ChatTemplate::parse(source, limits);
  if (!parsed.ok()) return parsed.error();
  return parsed->render(globals, now);
}

}  // namespace rowmax::engine
