// The tools of a request, what it says of calling them, and what that makes of its reply.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "apps/server/fields.h"
#include "apps/server/generation_input.h"
#include "apps/server/served_model.h"
#include "apps/tool_calls/tool_function.h"
#include "rowmax/engine/chat_template.h"

namespace rowmax::server {

enum class ToolChoice { kNone, kAuto, kRequired };

struct ToolRequest {
  std::vector<tool_calls::ToolFunction> functions;  // those that may be called
  std::vector<std::string> places;                  // of their schemas in the request, for errors
  ToolChoice choice = ToolChoice::kAuto;
  bool restricted = false;  // not all functions that the template shows may be called
  bool parallel = true;
};

// Functions of one API's tools are read one by one; `place`: of the tool, "tools[0]".
void add_function(ToolRequest& request, Fields& function, const std::string& place, const char* schema_name);

// OpenAI's tools, tool_choice ("none", "auto", "required", a function, allowed_tools) and parallel_tool_calls, in the words
// of chat completions or, flat, of responses.
ToolRequest read_openai_tools(Fields& fields, bool flat);
// Anthropic's tools and tool_choice (auto, any, tool, none).
ToolRequest read_anthropic_tools(Fields& fields);
// Ollama's tools, which are OpenAI's; there is no choice.
ToolRequest read_ollama_tools(Fields& fields);

// How the reply is taken apart, which control tokens are part of its text, and what its calls are held to; all of that goes
// into `input`. prompt: the rendered text. What cannot be obeyed is a 400 of tool_choice, or of the schema's place.
void apply_tools(Fields& fields, const ServedModel& served, ToolRequest request, std::string_view prompt,
                 GenerationInput& input);

}  // namespace rowmax::server
