// Messages of a chat, made of what other APIs call them.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apps/server/fields.h"
#include "rowmax/engine/chat_template.h"

namespace rowmax::server {

using Members = std::vector<std::pair<std::string, engine::TemplateValue>>;

engine::TemplateValue chat_message(std::string_view role, std::string text, Members more = {});
// {"id", "type": "function", "function": {"name", "arguments"}}; arguments as JSON, or the text where it is none.
engine::TemplateValue tool_call(std::string_view id, std::string_view name, engine::TemplateValue arguments);
// {"type": "function", "function": {"name", "description", "parameters"}}
engine::TemplateValue function_tool(engine::Json tool, const char* parameters_name);
// What a string of JSON holds; the string where it is no object.
engine::TemplateValue parsed_arguments(std::string_view text);
// The text of a content: a string, or parts of type text, input_text and output_text with a line end between; those whose
// type is `skipped` are left out.
std::string content_text(Fields& fields, std::string_view path, engine::Json content,
                         std::initializer_list<std::string_view> skipped = {});

}  // namespace rowmax::server
