// POST /v1/messages and /v1/messages/count_tokens (Anthropic's API)
#include <ctime>

#include "apps/server/chat_values.h"
#include "apps/server/openai_parts.h"
#include "apps/server/routes.h"
#include "apps/server/template_values.h"
#include "apps/server/tool_input.h"

namespace rowmax::server {

using engine::TemplateValue;
using text::Json;

namespace {

const char* stop_reason(const AnswerChoice& choice) {
  if (!choice.stop_string.empty()) return "stop_sequence";
  if (was_cut(choice)) return "max_tokens";
  return choice.n_calls > 0 ? "tool_use" : "end_turn";
}

class MessageForm final : public AnswerForm {
 public:
  MessageForm(AnswerHead head, SamplingInput sampling) : head_(std::move(head)), sampling_(std::move(sampling)) {}

  std::string whole(const std::vector<AnswerChoice>& choices, const AnswerTotals& totals) override {
    const AnswerChoice& choice = choices.front();
    Json content = Json::array();
    int n_calls = 0;
    for (const AnswerPart& part : choice.parts) content.push_back(block(part, n_calls));
    if (choice.parts.empty()) content.push_back(block({}, n_calls));
    Json json = message(std::move(content), stop_reason(choice), stop_reason_json(choice), totals);
    json.append("rowmax", rowmax_json(sampling_, totals, choice));
    return json.dump();
  }

  std::string ping() const override { return event({{"type", "ping"}}, "ping"); }
  std::string opening(const AnswerTotals& totals, int /*n_choices*/) override {
    Json start = message(Json::array(), Json(), Json(), totals);
    start.append("rowmax", rowmax_json(sampling_, totals));
    return event({{"type", "message_start"}, {"message", std::move(start)}}, "message_start");
  }
  std::string piece(int /*choice*/, std::string_view text, const AnswerToken* /*token*/) override {
    std::string out = in_block(AnswerPart::Kind::kText);
    return out += delta({{"type", "text_delta"}, {"text", text}});
  }
  std::string reasoning(int /*choice*/, std::string_view text) override {
    std::string out = in_block(AnswerPart::Kind::kReasoning);
    return out += delta({{"type", "thinking_delta"}, {"thinking", text}});
  }
  std::string call_begin(int /*choice*/, int call, const AnswerPart& part) override {
    std::string out = end_block();
    return out += begin_block(part, call);
  }
  std::string call_arguments(int /*choice*/, int /*call*/, std::string_view json) override {
    return delta({{"type", "input_json_delta"}, {"partial_json", json}});
  }
  std::string call_end(int /*choice*/, int /*call*/, const AnswerPart& /*part*/) override { return end_block(); }
  std::string choice_end(int /*choice*/, const AnswerChoice& /*end*/) override { return {}; }
  std::string closing(const std::vector<AnswerChoice>& choices, const AnswerTotals& totals) override {
    const AnswerChoice& choice = choices.front();
    Json last = {{"type", "message_delta"},
                 {"delta", {{"stop_reason", stop_reason(choice)}, {"stop_sequence", stop_reason_json(choice)}}},
                 {"usage", usage(totals)}};
    add_not_understood(last, choice);
    std::string out = index_ < 0 ? in_block(AnswerPart::Kind::kText) : std::string();
    out += end_block();
    return out += event(last, "message_delta") + event({{"type", "message_stop"}}, "message_stop");
  }
  std::string broken(const ApiError& error) override { return sse("error", error_body(error, ErrorStyle::kAnthropic)); }

 private:
  Json block(const AnswerPart& part, int& n_calls) const {
    switch (part.kind) {
      case AnswerPart::Kind::kText: break;
      case AnswerPart::Kind::kReasoning: return {{"type", "thinking"}, {"thinking", part.text}, {"signature", ""}};
      case AnswerPart::Kind::kCall: {
        Json json = {{"type", "tool_use"},
                     {"id", call_id(head_, 0, n_calls++, part)},
                     {"name", part.name},
                     {"input", arguments_json(part)}};
        if (!part.whole) json.append("partial_json", part.text);
        return json;
      }
    }
    return {{"type", "text"}, {"text", part.text}};
  }

  // Blocks follow each other: one of another kind ends the last one.
  std::string in_block(AnswerPart::Kind kind) {
    if (open_ && *open_ == kind) return {};
    std::string out = end_block();
    return out += begin_block({.kind = kind}, 0);
  }
  std::string begin_block(AnswerPart part, int call) {
    open_ = part.kind;
    part.text.clear();
    part.whole = true;
    return event({{"type", "content_block_start"}, {"index", ++index_}, {"content_block", block(part, call)}},
                 "content_block_start");
  }
  std::string end_block() {
    if (!open_) return {};
    open_.reset();
    return event({{"type", "content_block_stop"}, {"index", index_}}, "content_block_stop");
  }
  std::string delta(Json json) const {
    return event({{"type", "content_block_delta"}, {"index", index_}, {"delta", std::move(json)}},
                 "content_block_delta");
  }

  static std::string event(const Json& json, const char* name) { return sse(name, json.dump()); }

  // Tokens that were found in the cache are counted apart, as this API has it.
  static Json usage(const AnswerTotals& totals) {
    return {{"input_tokens", totals.prompt_tokens - totals.cached_tokens},
            {"cache_creation_input_tokens", 0},
            {"cache_read_input_tokens", totals.cached_tokens},
            {"output_tokens", totals.generated_tokens}};
  }

  Json message(Json content, Json reason, Json sequence, const AnswerTotals& totals) const {
    return {{"id", head_.id},
            {"type", "message"},
            {"role", "assistant"},
            {"model", head_.model},
            {"content", std::move(content)},
            {"stop_reason", std::move(reason)},
            {"stop_sequence", std::move(sequence)},
            {"usage", usage(totals)}};
  }

  const AnswerHead head_;
  const SamplingInput sampling_;
  int index_ = -1;  // of the last block that was begun
  std::optional<AnswerPart::Kind> open_;
};

// A turn's blocks: its text, calls of tools (an assistant's), and their results, which are messages of their own.
void read_blocks(Fields& fields, const std::string& path, std::string_view role, engine::Json blocks,
                 std::vector<TemplateValue>& messages) {
  std::string text, thoughts;
  std::vector<TemplateValue> calls;
  std::size_t index = 0, n_texts = 0;
  for (const engine::Json item : blocks.elements()) {
    const std::string at = path + "[" + std::to_string(index++) + "]";
    Fields block(item, at);
    const std::string_view type = block.needed_string("type");
    if (type == "text") {
      if (n_texts++ > 0) text += '\n';
      text += block.needed_string("text");
    } else if (type == "tool_use") {
      calls.push_back(tool_call(block.string("id").value_or(""), block.needed_string("name"),
                                template_value(block.object("input"))));
    } else if (type == "tool_result") {
      messages.push_back(
          chat_message("tool", content_text(block, at + ".content", item.find("content")),
                       {{"tool_call_id", TemplateValue::of(std::string(block.string("tool_use_id").value_or("")))}}));
    } else if (type == "thinking") {
      thoughts += block.string("thinking").value_or("");
    } else if (block.ok() && type != "redacted_thinking") {
      block.fail_unsupported("type",
                             "this model reads text alone, found a block of type \"" + std::string(type) + "\"");
    }
    if (!block.ok()) return fields.fail(block.error());
  }
  if (n_texts == 0 && calls.empty() && role != "assistant") return;
  Members more;
  if (!thoughts.empty()) more.emplace_back("reasoning_content", TemplateValue::of(std::move(thoughts)));
  if (!calls.empty()) more.emplace_back("tool_calls", TemplateValue::make_list(std::move(calls)));
  messages.push_back(chat_message(role, std::move(text), std::move(more)));
}

void read_turns(Fields& fields, std::vector<TemplateValue>& messages) {
  const engine::Json list = fields.needed_array("messages");
  if (fields.ok() && list.size() == 0) fields.fail("messages", "at least one message", list);
  std::size_t index = 0;
  for (const engine::Json item : list.elements()) {
    const std::string path = "messages[" + std::to_string(index++) + "]";
    Fields message(item, path);
    const std::string_view role = message.needed_string("role");
    if (message.ok() && role != "user" && role != "assistant" && role != "system") {
      message.fail("role", "\"user\" or \"assistant\"", item.find("role"));
    }
    const engine::Json content = item.find("content");
    if (message.ok() && content.is_null()) message.fail_missing("content", "a string or an array of blocks");
    if (!message.ok()) return fields.fail(message.error());
    if (content.is_array()) {
      read_blocks(fields, path + ".content", role, content, messages);
    } else {
      messages.push_back(chat_message(role, content_text(fields, path + ".content", content)));
    }
    if (!fields.ok()) return;
  }
}

engine::ChatInput read_input(Fields& fields, ToolRequest& request) {
  engine::ChatInput input;
  std::vector<TemplateValue> messages;
  const engine::Json system = fields.any("system");
  if (system) messages.push_back(chat_message("system", content_text(fields, "system", system)));
  read_turns(fields, messages);
  input.messages = TemplateValue::make_list(std::move(messages));
  std::vector<TemplateValue> tools;
  request = read_anthropic_tools(fields);
  for (const engine::Json tool : fields.array("tools").elements()) tools.push_back(function_tool(tool, "input_schema"));
  if (!tools.empty() && request.choice != ToolChoice::kNone) input.tools = TemplateValue::make_list(std::move(tools));
  if (const engine::Json thinking = fields.object("thinking")) {
    const bool on = thinking.find("type").is("enabled") || thinking.find("type").is("adaptive");
    input.variables.emplace_back("enable_thinking", TemplateValue::of(on));
  }
  input.now = static_cast<std::int64_t>(std::time(nullptr));
  return input;
}

}  // namespace

void messages(Call& call) {
  Fields& fields = call.fields;
  GenerationInput input = read_generation(fields, call.served, {"max_tokens"});
  if (fields.ok() && fields.any("max_tokens").is_null()) fields.fail_missing("max_tokens", "an integer from 1 on");
  input.work.choices = 1;
  input.work.options.stop = read_stop(fields, "stop_sequences");
  ToolRequest tools;
  const engine::ChatInput chat = read_input(fields, tools);
  auto prompt = encode_messages(fields, call.served, chat, &input.texts.emplace_back());
  if (!prompt || !fits_context(fields, call.served, *prompt, "messages")) return call.refuse();
  apply_tools(fields, call.served, std::move(tools), input.texts.back().text, input);
  if (!fields.ok()) return call.refuse();
  input.prompts.push_back(std::move(*prompt));
  auto form = std::make_unique<MessageForm>(call.head("msg_"), input.sampling);
  call.generate(std::move(input), std::move(form));
}

void count_tokens(Call& call) {
  ToolRequest tools;
  const engine::ChatInput chat = read_input(call.fields, tools);
  const auto prompt = encode_messages(call.fields, call.served, chat, nullptr);
  if (!prompt) return call.refuse();
  call.answer({{"input_tokens", prompt->size()}});
}

}  // namespace rowmax::server
