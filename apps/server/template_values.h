// JSON of a request as values for chat templates.
#pragma once

#include "apps/server/fields.h"
#include "rowmax/engine/chat_template.h"

namespace rowmax::server {

engine::TemplateValue template_value(engine::Json json);

// The messages of a chat request (OpenAI's form): parts of a content that are texts become one, arguments of tool calls
// that are JSON in a string become that JSON, "developer" is "system". None where `fields` has an error.
engine::TemplateValue read_messages(Fields& fields, std::string_view name);

}  // namespace rowmax::server
