#include "apps/server/template_values.h"

#include <utility>

#include "apps/server/chat_values.h"

namespace rowmax::server {

using engine::Json;
using engine::TemplateValue;

TemplateValue template_value(Json json) {
  if (json.is_bool()) return TemplateValue::of(json.as_bool());
  if (json.is_integer()) {
    const auto value = json.as_int();
    return value ? TemplateValue::of(*value) : TemplateValue::of(json.as_double());
  }
  if (json.is_number()) return TemplateValue::of(json.as_double());
  if (json.is_string()) return TemplateValue::of(std::string(json.as_string()));
  if (json.is_array()) {
    std::vector<TemplateValue> items;
    for (const Json item : json.elements()) items.push_back(template_value(item));
    return TemplateValue::make_list(std::move(items));
  }
  if (json.is_object()) {
    std::vector<std::pair<std::string, TemplateValue>> members;
    for (const auto& [key, value] : json.members()) members.emplace_back(std::string(key), template_value(value));
    return TemplateValue::make_dict(std::move(members));
  }
  return {};
}

namespace {

// Templates print the arguments as JSON; clients send that JSON in a string.
void open_arguments(TemplateValue& call) {
  for (auto& [key, value] : call.dict) {
    if (key == "function") open_arguments(value);
    if (key == "arguments" && value.kind == TemplateValue::Kind::kString) value = parsed_arguments(value.string);
  }
}

TemplateValue read_message(Fields& fields, const std::string& path, Json json) {
  Fields message(json, path);
  const std::string_view role = message.needed_string("role");
  const Json calls = message.array("tool_calls");
  std::size_t index = 0;
  for (const Json call : calls.elements()) {
    Fields each(call, path + ".tool_calls[" + std::to_string(index++) + "]");
    if (!each.ok()) message.fail(each.error());
  }
  if (message.ok() && role.empty()) message.fail("role", "a role", json.find("role"));
  if (message.ok() && role != "assistant" && json.find("content").is_null()) {
    message.fail_missing("content", "a string or an array of parts");
  }
  if (!message.ok()) {
    fields.fail(message.error());
    return {};
  }
  std::vector<std::pair<std::string, TemplateValue>> members;
  members.emplace_back("role", TemplateValue::of(std::string(role == "developer" ? "system" : role)));
  members.emplace_back("content", TemplateValue::of(content_text(fields, path + ".content", json.find("content"))));
  for (const auto& [key, value] : json.members()) {
    if (key == "role" || key == "content" || value.is_null()) continue;
    TemplateValue member = template_value(value);
    if (key == "tool_calls") {
      for (TemplateValue& call : member.list) open_arguments(call);
    }
    members.emplace_back(std::string(key), std::move(member));
  }
  return TemplateValue::make_dict(std::move(members));
}

}  // namespace

TemplateValue read_messages(Fields& fields, std::string_view name) {
  const Json list = fields.needed_array(name);
  if (fields.ok() && list.size() == 0) fields.fail(name, "at least one message", list);
  std::vector<TemplateValue> messages;
  std::size_t index = 0;
  for (const Json item : list.elements()) {
    messages.push_back(read_message(fields, fields.full_name(name) + "[" + std::to_string(index++) + "]", item));
    if (!fields.ok()) return {};
  }
  return TemplateValue::make_list(std::move(messages));
}

}  // namespace rowmax::server
