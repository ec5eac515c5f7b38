// POST /v1/responses (OpenAI's newer API)
#include <ctime>

#include "apps/server/chat_values.h"
#include "apps/server/constraint_input.h"
#include "apps/server/openai_parts.h"
#include "apps/server/routes.h"
#include "apps/server/template_values.h"

namespace rowmax::server {

using engine::TemplateValue;
using text::Json;

namespace {

// What an answer repeats of its request.
struct RequestEcho {
  Json instructions, max_output_tokens;
  Json format = {{"type", "text"}};
};

class ResponseForm final : public AnswerForm {
 public:
  ResponseForm(AnswerHead head, SamplingInput sampling, RequestEcho echo)
      : head_(std::move(head)), sampling_(std::move(sampling)), echo_(std::move(echo)) {}

  std::string whole(const std::vector<AnswerChoice>& choices, const AnswerTotals& totals) override {
    const AnswerChoice& choice = choices.front();
    return response(status_of(choice), {item(status_of(choice), choice.text)}, usage(totals), totals).dump();
  }

  std::string opening(const AnswerTotals& totals, int /*n_choices*/) override {
    const Json begun = response("in_progress", {}, Json(), totals);
    std::string out = event("response.created", {{"response", begun}});
    out += event("response.in_progress", {{"response", begun}});
    out += event("response.output_item.added", {{"output_index", 0}, {"item", item("in_progress", std::nullopt)}});
    return out += event("response.content_part.added", at_part({{"part", part("")}}));
  }
  std::string piece(int /*choice*/, std::string_view text, const AnswerToken* /*token*/) override {
    text_ += text;
    return event("response.output_text.delta", at_part({{"delta", text}, {"logprobs", Json::array()}}));
  }
  std::string choice_end(int /*choice*/, const AnswerChoice& /*end*/) override { return {}; }
  std::string closing(const std::vector<AnswerChoice>& choices, const AnswerTotals& totals) override {
    const char* status = status_of(choices.front());
    const Json done = item(status, text_);
    std::string out = event("response.output_text.done", at_part({{"text", text_}, {"logprobs", Json::array()}}));
    out += event("response.content_part.done", at_part({{"part", part(text_)}}));
    out += event("response.output_item.done", {{"output_index", 0}, {"item", done}});
    return out +=
           event("response." + std::string(status), {{"response", response(status, {done}, usage(totals), totals)}});
  }
  std::string broken(const ApiError& error) override {
    return event(
        "error",
        {{"code", error.code.empty() ? Json() : Json(error.code)}, {"message", error.message}, {"param", Json()}});
  }

 private:
  static const char* status_of(const AnswerChoice& choice) {
    return std::string_view(finish_reason(choice.reason)) == "length" ? "incomplete" : "completed";
  }

  static Json usage(const AnswerTotals& totals) {
    return {{"input_tokens", totals.prompt_tokens},
            {"input_tokens_details", {{"cached_tokens", totals.cached_tokens}}},
            {"output_tokens", totals.generated_tokens},
            {"output_tokens_details", {{"reasoning_tokens", 0}}},
            {"total_tokens", totals.prompt_tokens + totals.generated_tokens}};
  }

  static Json part(std::string_view text) {
    return {{"type", "output_text"}, {"text", text}, {"annotations", Json::array()}, {"logprobs", Json::array()}};
  }

  // nullopt: nothing was written yet.
  Json item(const char* status, const std::optional<std::string>& text) const {
    Json content = Json::array();
    if (text) content.push_back(part(*text));
    return {{"type", "message"},
            {"id", "msg_" + head_.id.substr(5)},
            {"status", status},
            {"role", "assistant"},
            {"content", std::move(content)}};
  }

  Json at_part(Json more) const {
    Json json = {{"item_id", "msg_" + head_.id.substr(5)}, {"output_index", 0}, {"content_index", 0}};
    json.update(more);
    return json;
  }

  Json response(const char* status, std::vector<Json> output, Json used, const AnswerTotals& totals) const {
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
            {"parallel_tool_calls", true},
            {"previous_response_id", Json()},
            {"reasoning", {{"effort", Json()}, {"summary", Json()}}},
            {"store", false},
            {"temperature", text::shortest(sampling_.params.temperature)},
            {"text", {{"format", echo_.format}}},
            {"tool_choice", "auto"},
            {"tools", Json::array()},
            {"top_p", text::shortest(sampling_.params.top_p)},
            {"truncation", "disabled"},
            {"usage", std::move(used)},
            {"user", Json()},
            {"metadata", Json::object()},
            {"rowmax", rowmax_json(sampling_, totals)}};
  }

  std::string event(const std::string& type, Json more) {
    Json json = {{"type", type}, {"sequence_number", sequence_++}};
    json.update(more);
    return sse(type, json.dump());
  }

  const AnswerHead head_;
  const SamplingInput sampling_;
  const RequestEcho echo_;
  std::string text_;
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

void read_tools(Fields& fields, engine::ChatInput& input) {
  std::vector<TemplateValue> tools;
  std::size_t index = 0;
  for (const engine::Json tool : fields.array("tools").elements()) {
    const Fields each(tool, "tools[" + std::to_string(index++) + "]");
    if (!each.ok()) fields.fail(each.error());
    if (tool.find("type").is("function")) tools.push_back(function_tool(tool, "parameters"));
  }
  const engine::Json choice = fields.any("tool_choice");
  if (choice && !choice.is("auto") && !choice.is("none")) {
    fields.fail_unsupported("tool_choice", "only \"none\" and \"auto\" are supported, found " + choice.text());
  }
  if (!tools.empty() && !choice.is("none")) input.tools = TemplateValue::make_list(std::move(tools));
}

void refuse_unsupported(Fields& fields) {
  if (fields.any("previous_response_id")) {
    fields.fail_unsupported("previous_response_id", "answers are not stored: send the conversation in input");
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
  read_tools(fields, chat);
  chat.now = static_cast<std::int64_t>(std::time(nullptr));
  auto prompt = encode_messages(fields, call.served, chat, &input.texts.emplace_back());
  if (!prompt || !fits_context(fields, call.served, *prompt, "input")) return call.refuse();
  input.prompts.push_back(std::move(*prompt));
  RequestEcho echo;
  if (const auto text = fields.string("instructions")) echo.instructions = Json(*text);
  if (const auto most = fields.any("max_output_tokens").as_int()) echo.max_output_tokens = Json(*most);
  if (const engine::Json format = fields.object("text").find("format")) echo.format = copy_of(format);
  auto form = std::make_unique<ResponseForm>(call.head("resp_"), input.sampling, std::move(echo));
  call.generate(std::move(input), std::move(form));
}

}  // namespace rowmax::server
