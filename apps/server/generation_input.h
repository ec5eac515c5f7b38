// What a request wants generated, as all APIs say it.
#pragma once

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/server/fields.h"
#include "apps/server/prompt_text.h"
#include "apps/server/served_model.h"
#include "apps/tool_calls/reply_parser.h"
#include "rowmax/engine/chat.h"
#include "rowmax/engine/scheduler.h"

namespace rowmax::server {

struct ToolRequest;  // tool_input.h

struct GenerationInput {
  std::vector<std::vector<engine::TokenId>> prompts;  // one, but for completions
  std::vector<PromptText> texts;                      // theirs
  engine::GenerationRequest work;                     // of each prompt
  SamplingInput sampling;
  bool stream = false, include_usage = false;
  std::shared_ptr<const tool_calls::ReplyOptions> reply;  // how the text is taken apart; null: it is text
  std::string tools_note;                                 // that the model is shown no tools
  std::string reply_note;                                 // why calls are not what was asked for
};

// Sampling, constraints (constraint_input.h), n, the first of `max_tokens_names` that is given, stop (or stop_sequences), stream, stream_options, ignore_eos.
GenerationInput read_generation(Fields& fields, const ServedModel& served,
                                std::initializer_list<const char*> max_tokens_names);
// A text or an array of texts, each of which ends the generation.
std::vector<std::string> read_stop(Fields& fields, const char* name);

// messages, tools, tool_choice, chat_template_kwargs, reasoning_effort, add_generation_prompt, as a chat template takes
// them.
// tools (may be null): gets what the request says of calling them.
engine::ChatInput read_chat(Fields& fields, ToolRequest* tools = nullptr);
// The prompt that it makes, once what the operator declared is normalised; `rendered` (may be null) gets the text. 400 where the model has no template.
std::optional<std::vector<engine::TokenId>> encode_messages(Fields& fields, const ServedModel& served,
                                                            const engine::ChatInput& input, PromptText* rendered);
// kLimit of the context as the APIs name it.
bool fits_context(Fields& fields, const ServedModel& served, const std::vector<engine::TokenId>& prompt,
                  const char* name);

}  // namespace rowmax::server
