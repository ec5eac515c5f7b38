#include "apps/server/chat_values.h"

#include <algorithm>

#include "apps/server/template_values.h"

namespace rowmax::server {

using engine::Json;
using engine::TemplateValue;

TemplateValue chat_message(std::string_view role, std::string text, Members more) {
  Members members = {{"role", TemplateValue::of(std::string(role))}, {"content", TemplateValue::of(std::move(text))}};
  for (auto& member : more) members.push_back(std::move(member));
  return TemplateValue::make_dict(std::move(members));
}

TemplateValue tool_call(std::string_view id, std::string_view name, TemplateValue arguments) {
  return TemplateValue::make_dict(
      {{"id", TemplateValue::of(std::string(id))},
       {"type", TemplateValue::of("function")},
       {"function", TemplateValue::make_dict(
                        {{"name", TemplateValue::of(std::string(name))}, {"arguments", std::move(arguments)}})}});
}

TemplateValue function_tool(Json tool, const char* parameters_name) {
  Members function;
  for (const char* key : {"name", "description"}) {
    if (const Json value = tool.find(key)) function.emplace_back(key, template_value(value));
  }
  if (const Json value = tool.find(parameters_name)) function.emplace_back("parameters", template_value(value));
  return TemplateValue::make_dict(
      {{"type", TemplateValue::of("function")}, {"function", TemplateValue::make_dict(std::move(function))}});
}

TemplateValue parsed_arguments(std::string_view text) {
  const auto parsed = engine::parse_json(text, "arguments");
  if (parsed.ok() && parsed->root().is_object()) return template_value(parsed->root());
  return TemplateValue::of(std::string(text));
}

std::string content_text(Fields& fields, std::string_view path, Json content,
                         std::initializer_list<std::string_view> skipped) {
  if (content.is_string()) return std::string(content.as_string());
  std::string text;
  if (!content.is_array() && !content.is_null()) {
    fields.fail({400, std::string(path) + ": expected a string or an array of parts, found " + content.text(),
                 std::string(path), "invalid_value"});
  }
  std::size_t index = 0, written = 0;
  for (const Json item : content.elements()) {
    Fields part(item, std::string(path) + "[" + std::to_string(index++) + "]");
    const std::string_view type = part.string("type").value_or("text");
    if (part.ok() && std::ranges::find(skipped, type) != skipped.end()) continue;
    if (part.ok() && type != "text" && type != "input_text" && type != "output_text") {
      part.fail_unsupported("type", "this model reads text alone, found a part of type \"" + std::string(type) + "\"");
    }
    const std::string_view words = part.needed_string("text");
    if (!part.ok()) {
      fields.fail(part.error());
      break;
    }
    if (written++ > 0) text += '\n';
    text += words;
  }
  return text;
}

}  // namespace rowmax::server
