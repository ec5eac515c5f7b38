// POST /v1/responses (OpenAI's newer API)
#include <ctime>

#include "apps/server/chat_values.h"
#include "apps/server/constraint_input.h"
#include "apps/server/openai_parts.h"
#include "apps/server/routes.h"
#include "apps/server/template_values.h"
#include "apps/server/tool_input.h"

namespace rowmax::server {

using engine::TemplateValue;
using text::Json;

namespace {

// What an answer repeats of its request.
struct RequestEcho {
  Json instructions, max_output_tokens;
  Json format = {{"type", "text"}};
  Json tools = Json::array(), tool_choice = "auto";
  bool parallel = true;
};

class ResponseForm final : public AnswerForm {
 public:
  ResponseForm(AnswerHead head, SamplingInput sampling, RequestEcho echo)
      : head_(std::move(head)), sampling_(std::move(sampling)), echo_(std::move(echo)) {}

  std::string whole(const std::vector<AnswerChoice>& choices, const AnswerTotals& totals) override {
    const AnswerChoice& choice = choices.front();
    return response(status_of(choice), items_of(choice), usage(totals), totals, &choice).dump();
  }

  std::string opening(const AnswerTotals& totals, int /*n_choices*/) override {
    const Json begun = response("in_progress", {}, Json(), totals);
    std::string out = event("response.created", {{"response", begun}});
    return out += event("response.in_progress", {{"response", begun}});
  }
  std::string piece(int /*choice*/, std::string_view text, const AnswerToken* /*token*/) override {
    std::string out = in_item(AnswerPart::Kind::kText);
    open_.text += text;
    return out += event("response.output_text.delta", at_part({{"delta", text}, {"logprobs", Json::array()}}));
  }
  std::string reasoning(int /*choice*/, std::string_view text) override {
    std::string out = in_item(AnswerPart::Kind::kReasoning);
    open_.text += text;
    return out += event("response.reasoning_text.delta", at_part({{"delta", text}}));
  }
  std::string call_begin(int /*choice*/, int call, const AnswerPart& part) override {
    std::string out = end_item("completed");
    return out += begin_item({part.kind, "", part.name, call_id(head_, 0, call, part)});
  }
  std::string call_arguments(int /*choice*/, int /*call*/, std::string_view json) override {
    open_.text += json;
    return event("response.function_call_arguments.delta",
                 {{"item_id", item_id(open_.kind, index_)}, {"output_index", index_}, {"delta", json}});
  }
  std::string call_end(int /*choice*/, int /*call*/, const AnswerPart& part) override {
    return end_item(part.whole ? "completed" : "incomplete");
  }
  std::string choice_end(int /*choice*/, const AnswerChoice& /*end*/) override { return {}; }
  std::string closing(const std::vector<AnswerChoice>& choices, const AnswerTotals& totals) override {
    const AnswerChoice& choice = choices.front();
    const std::string status = status_of(choice);
    std::string out = index_ < 0 ? in_item(AnswerPart::Kind::kText) : std::string();
    out += end_item(status);
    return out += event("response." + status,
                        {{"response", response(status_of(choice), items_of(choice), usage(totals), totals, &choice)}});
  }
  std::string broken(const ApiError& error) override {
    return event(
        "error",
        {{"code", error.code.empty() ? Json() : Json(error.code)}, {"message", error.message}, {"param", Json()}});
  }

 private:
  static const char* status_of(const AnswerChoice& choice) { return was_cut(choice) ? "incomplete" : "completed"; }

  static Json usage(const AnswerTotals& totals) {
    return {{"input_tokens", totals.prompt_tokens},
            {"input_tokens_details", {{"cached_tokens", totals.cached_tokens}}},
            {"output_tokens", totals.generated_tokens},
            {"output_tokens_details", {{"reasoning_tokens", totals.reasoning_tokens}}},
            {"total_tokens", totals.prompt_tokens + totals.generated_tokens}};
  }

  static Json part(std::string_view text) {
    return {{"type", "output_text"}, {"text", text}, {"annotations", Json::array()}, {"logprobs", Json::array()}};
  }

  std::string item_id(AnswerPart::Kind kind, int index) const {
    const char* prefix = kind == AnswerPart::Kind::kText ? "msg_" : kind == AnswerPart::Kind::kCall ? "fc_" : "rs_";
    return prefix + head_.id.substr(5) + (index > 0 ? "_" + std::to_string(index) : "");
  }

  static Json content_part(const AnswerPart& of) {
    if (of.kind == AnswerPart::Kind::kText) return part(of.text);
    return {{"type", "reasoning_text"}, {"text", of.text}};
  }

  // A part whose id is that of its call. begun: nothing was written yet.
  Json item(const std::string& status, const AnswerPart& of, int index, bool begun) const {
    Json json = {{"id", item_id(of.kind, index)}, {"status", status}};
    Json content = Json::array();
    if (!begun && of.kind != AnswerPart::Kind::kCall) content.push_back(content_part(of));
    switch (of.kind) {
      case AnswerPart::Kind::kText:
        json.update({{"type", "message"}, {"role", "assistant"}, {"content", std::move(content)}});
        break;
      case AnswerPart::Kind::kReasoning:
        json.update({{"type", "reasoning"}, {"summary", Json::array()}, {"content", std::move(content)}});
        break;
      case AnswerPart::Kind::kCall:
        json.update({{"type", "function_call"}, {"call_id", of.id}, {"name", of.name}, {"arguments", of.text}});
        break;
    }
    return json;
  }

  std::vector<Json> items_of(const AnswerChoice& choice) const {
    std::vector<Json> items;
    int n_calls = 0;
    for (AnswerPart part : choice.parts) {
      if (part.kind == AnswerPart::Kind::kCall) part.id = call_id(head_, 0, n_calls++, part);
      const auto index = static_cast<int>(items.size());
      const bool last = items.size() + 1 == choice.parts.size();
      const bool cut = part.kind == AnswerPart::Kind::kCall ? !part.whole : last && was_cut(choice);
      items.push_back(item(cut ? "incomplete" : "completed", part, index, false));
    }
    if (items.empty()) items.push_back(item(status_of(choice), {}, 0, false));
    return items;
  }

  // Items follow each other: one of another kind ends the last one.
  std::string in_item(AnswerPart::Kind kind) {
    if (is_open_ && open_.kind == kind) return {};
    std::string out = end_item("completed");
    return out += begin_item({.kind = kind});
  }
  std::string begin_item(AnswerPart begun) {
    open_ = std::move(begun);
    is_open_ = true;
    ++index_;
    std::string out = event("response.output_item.added",
                            {{"output_index", index_}, {"item", item("in_progress", open_, index_, true)}});
    if (open_.kind == AnswerPart::Kind::kCall) return out;
    return out += event("response.content_part.added", at_part({{"part", content_part(open_)}}));
  }
  std::string end_item(const std::string& status) {
    if (!std::exchange(is_open_, false)) return {};
    std::string out;
    switch (open_.kind) {
      case AnswerPart::Kind::kText:
        out = event("response.output_text.done", at_part({{"text", open_.text}, {"logprobs", Json::array()}}));
        break;
      case AnswerPart::Kind::kReasoning:
        out = event("response.reasoning_text.done", at_part({{"text", open_.text}}));
        break;
      case AnswerPart::Kind::kCall:
        out = event("response.function_call_arguments.done", {{"item_id", item_id(open_.kind, index_)},
                                                              {"output_index", index_},
                                                              {"name", open_.name},
                                                              {"arguments", open_.text}});
        break;
    }
    if (open_.kind != AnswerPart::Kind::kCall) {
      out += event("response.content_part.done", at_part({{"part", content_part(open_)}}));
    }
    return out +=
           event("response.output_item.done", {{"output_index", index_}, {"item", item(status, open_, index_, false)}});
  }

  Json at_part(Json more) const {
    Json json = {{"item_id", item_id(open_.kind, index_)}, {"output_index", index_}, {"content_index", 0}};
    json.update(more);
    return json;
  }

  // choice: null until there is one.
  Json response(const char* status, std::vector<Json> output, Json used, const AnswerTotals& totals,
                const AnswerChoice* choice = nullptr) const {
    const bool cut = std::string_view(status) == "incomplete";
    Json list = Json::array();
    for (Json& each : output) list.push_back(std::move(each));
    return {{"id", head_.id},
            {"object", "response"},
            {"created_at", head_.created},
            {"status", status},
            {"error", Json()},
            {"incomplete_details", cut ? Json{{"reason", "max_output_tokens"}} : Json()},
            {"instructions", echo_.instructions},
            {"max_output_tokens", echo_.max_output_tokens},
            {"model", head_.model},
            {"output", std::move(list)},
            {"parallel_tool_calls", echo_.parallel},
            {"previous_response_id", Json()},
            {"reasoning", {{"effort", Json()}, {"summary", Json()}}},
            {"store", false},
            {"temperature", text::shortest(sampling_.params.temperature)},
            {"text", {{"format", echo_.format}}},
            {"tool_choice", echo_.tool_choice},
            {"tools", echo_.tools},
            {"top_p", text::shortest(sampling_.params.top_p)},
            {"truncation", "disabled"},
            {"usage", std::move(used)},
            {"user", Json()},
            {"metadata", Json::object()},
            {"rowmax", choice == nullptr ? rowmax_json(sampling_, totals) : rowmax_json(sampling_, totals, *choice)}};
  }

  std::string event(const std::string& type, Json more) {
    Json json = {{"type", type}, {"sequence_number", sequence_++}};
    json.update(more);
    return sse(type, json.dump());
  }

  const AnswerHead head_;
  const SamplingInput sampling_;
  const RequestEcho echo_;
  AnswerPart open_;  // the last item that was begun, with what was written of it
  bool is_open_ = false;
  int index_ = -1;
  std::int64_t sequence_ = 0;
};

// One item of the input: a message (with or without its type), a call of a function, or what it gave.
void read_item(Fields& fields, const std::string& path, engine::Json json, std::vector<TemplateValue>& messages) {
  Fields item(json, path);
  const std::string_view type = item.string("type").value_or("message");
  if (type == "message") {
    const std::string_view role = item.needed_string("role");
    std::string text = content_text(item, path + ".content", json.find("content"), {"refusal"});
    if (item.ok()) messages.push_back(chat_message(role == "developer" ? "system" : role, std::move(text)));
  } else if (type == "function_call") {
    TemplateValue call = tool_call(item.string("call_id").value_or(""), item.needed_string("name"),
                                   parsed_arguments(item.string("arguments").value_or("{}")));
    messages.push_back(chat_message("assistant", "", {{"tool_calls", TemplateValue::make_list({std::move(call)})}}));
  } else if (type == "function_call_output") {
    messages.push_back(
        chat_message("tool", content_text(item, path + ".output", json.find("output")),
                     {{"tool_call_id", TemplateValue::of(std::string(item.string("call_id").value_or("")))}}));
  }  // What else there is (reasoning, calls of tools that others run) is not shown to the model.
  if (!item.ok()) fields.fail(item.error());
}

// Instructions and system messages are one, in front: templates know one.
std::vector<TemplateValue> read_input_items(Fields& fields) {
  std::vector<TemplateValue> messages;
  if (const auto instructions = fields.string("instructions")) {
    messages.push_back(chat_message("system", std::string(*instructions)));
  }
  const engine::Json input = fields.any("input");
  if (input.is_string()) {
    messages.push_back(chat_message("user", std::string(input.as_string())));
  } else if (input.is_array() && input.size() > 0) {
    std::size_t index = 0;
    for (const engine::Json item : input.elements()) {
      read_item(fields, "input[" + std::to_string(index++) + "]", item, messages);
      if (!fields.ok()) break;
    }
  } else if (input.is_null()) {
    fields.fail_missing("input", "a text or an array of items");
  } else {
    fields.fail("input", "a text or an array of items", input);
  }
  return messages;
}

ToolRequest read_tools(Fields& fields, engine::ChatInput& input) {
  ToolRequest request = read_openai_tools(fields, true);
  std::vector<TemplateValue> tools;
  for (const engine::Json tool : fields.array("tools").elements()) {
    if (tool.find("type").is("function")) tools.push_back(function_tool(tool, "parameters"));
  }
  if (!tools.empty() && request.choice != ToolChoice::kNone) input.tools = TemplateValue::make_list(std::move(tools));
  return request;
}

void refuse_unsupported(Fields& fields) {
  if (fields.any("previous_response_id")) {
    fields.fail_unsupported("previous_response_id", "answers are not stored: send the conversation in input");
  }
  if (fields.any("conversation")) {
    fields.fail_unsupported("conversation", "conversations are not stored: send this one in input");
  }
  if (fields.boolean("background").value_or(false)) fields.fail_unsupported("background", "only false is supported");
}

}  // namespace

void responses(Call& call) {
  Fields& fields = call.fields;
  GenerationInput input = read_generation(fields, call.served, {"max_output_tokens"});
  input.work.choices = 1;
  refuse_unsupported(fields);
  if (auto mask = read_text_format(fields, call.served)) input.work.options.token_mask = std::move(mask);
  engine::ChatInput chat;
  chat.messages = TemplateValue::make_list(read_input_items(fields));
  ToolRequest tools = read_tools(fields, chat);
  const bool parallel = tools.parallel;
  chat.now = static_cast<std::int64_t>(std::time(nullptr));
  auto prompt = encode_messages(fields, call.served, chat, &input.texts.emplace_back());
  if (!prompt || !fits_context(fields, call.served, *prompt, "input")) return call.refuse();
  apply_tools(fields, call.served, std::move(tools), input.texts.back().text, input);
  if (!fields.ok()) return call.refuse();
  input.prompts.push_back(std::move(*prompt));
  RequestEcho echo;
  if (const auto text = fields.string("instructions")) echo.instructions = Json(*text);
  if (const auto most = fields.any("max_output_tokens").as_int()) echo.max_output_tokens = Json(*most);
  if (const engine::Json format = fields.object("text").find("format")) echo.format = copy_of(format);
  if (const engine::Json given = fields.array("tools")) echo.tools = copy_of(given);
  if (const engine::Json given = fields.any("tool_choice")) echo.tool_choice = copy_of(given);
  echo.parallel = parallel;
  auto form = std::make_unique<ResponseForm>(call.head("resp_"), input.sampling, std::move(echo));
  call.generate(std::move(input), std::move(form));
}

}  // namespace rowmax::server
