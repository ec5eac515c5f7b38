// ollama's own API, which editors ask for: /api/chat, /api/generate, /api/tags, /api/show, /api/version
#include <algorithm>
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

std::string time_text(std::int64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts = {};
  ::gmtime_r(&time, &parts);
  char text[40];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

// One line of JSON a piece; a whole answer is the last line with all of the text.
class OllamaForm final : public AnswerForm {
 public:
  OllamaForm(std::string model, std::int64_t created, bool chat, SamplingInput sampling)
      : model_(std::move(model)), created_(time_text(created)), chat_(chat), sampling_(std::move(sampling)) {}

  std::string whole(const std::vector<AnswerChoice>& choices, const AnswerTotals& totals) override {
    const AnswerChoice& choice = choices.front();
    Json json = line(text_of(choice), text_of(choice, AnswerPart::Kind::kReasoning), calls_json(choice.parts));
    finish(json, choice, totals);
    return json.dump();
  }

  std::string stream_type() const override { return "application/x-ndjson"; }
  std::string ping() const override { return {}; }  // a line would be an answer
  std::string opening(const AnswerTotals& /*totals*/, int /*n_choices*/) override { return {}; }
  std::string piece(int /*choice*/, std::string_view text, const AnswerToken* /*token*/) override {
    return piece_line(line(text));
  }
  std::string reasoning(int /*choice*/, std::string_view text) override { return piece_line(line("", text)); }
  // This API has no pieces of calls.
  std::string call_end(int /*choice*/, int /*call*/, const AnswerPart& part) override {
    return piece_line(line("", "", calls_json({part})));
  }
  std::string choice_end(int /*choice*/, const AnswerChoice& /*end*/) override { return {}; }
  std::string closing(const std::vector<AnswerChoice>& choices, const AnswerTotals& totals) override {
    Json json = line("");
    finish(json, choices.front(), totals);
    return json.dump() + "\n";
  }
  std::string broken(const ApiError& error) override { return error_body(error, ErrorStyle::kOllama) + "\n"; }

 private:
  static std::string piece_line(Json json) {
    json.append("done", false);
    return json.dump() + "\n";
  }

  static Json calls_json(const std::vector<AnswerPart>& parts) {
    Json calls;
    for (const AnswerPart& part : parts) {
      if (part.kind != AnswerPart::Kind::kCall) continue;
      calls.push_back({{"function", {{"name", part.name}, {"arguments", arguments_json(part)}}}});
    }
    return calls;
  }

  Json line(std::string_view text, std::string_view thoughts = {}, Json calls = {}) const {
    Json json = {{"model", model_}, {"created_at", created_}};
    Json message = {{"role", "assistant"}, {"content", text}};
    Json& held = chat_ ? message : json;
    if (!chat_) json.append("response", text);
    if (!thoughts.empty()) held.append("thinking", thoughts);
    if (!calls.is_null()) held.append("tool_calls", std::move(calls));
    if (chat_) json.append("message", std::move(message));
    return json;
  }

  void finish(Json& json, const AnswerChoice& choice, const AnswerTotals& totals) const {
    const auto nanoseconds = [](double ms) { return static_cast<std::int64_t>(ms * 1e6); };
    json.update({{"done", true},
                 {"done_reason", was_cut(choice) ? "length" : "stop"},
                 {"total_duration", nanoseconds(totals.first_token_ms + totals.generation_ms)},
                 {"load_duration", 0},
                 {"prompt_eval_count", totals.prompt_tokens},
                 {"prompt_eval_duration", nanoseconds(totals.prompt_ms)},
                 {"eval_count", totals.generated_tokens},
                 {"eval_duration", nanoseconds(totals.generation_ms)},
                 {"rowmax", rowmax_json(sampling_, totals, choice)}});
  }

  const std::string model_, created_;
  const bool chat_;
  const SamplingInput sampling_;
};

// options are the same names as elsewhere; how the model is loaded (num_ctx, num_gpu, ...) is the command line's.
void refuse_images(Fields& fields) {
  if (fields.array("images").size() > 0) fields.fail_unsupported("images", "this model reads text alone");
}

GenerationInput read_options(Fields& fields, const ServedModel& served) {
  const engine::Json options = fields.object("options");
  static const auto* kNone = new engine::JsonDocument(std::move(engine::parse_json("{}", "no options")).value());
  Fields inner(options ? options : kNone->root(), "options");
  GenerationInput input = read_generation(inner, served, {"num_predict"});
  if (!inner.ok()) fields.fail(inner.error());
  input.work.choices = 1;
  input.include_usage = false;
  input.stream = fields.boolean("stream").value_or(true);
  if (auto mask = read_ollama_format(fields, served)) input.work.options.token_mask = std::move(mask);
  return input;
}

void add_variables(Fields& fields, engine::ChatInput& chat) {
  const engine::Json think = fields.any("think");
  if (think.is_bool()) chat.variables.emplace_back("enable_thinking", TemplateValue::of(think.as_bool()));
  chat.now = static_cast<std::int64_t>(std::time(nullptr));
}

void generate(Call& call, GenerationInput input, std::optional<std::vector<engine::TokenId>> prompt, const char* name,
              bool chat, std::optional<ToolRequest> tools) {
  if (!prompt || !fits_context(call.fields, call.served, *prompt, name)) return call.refuse();
  // A prompt that no template made has a reply that is text.
  if (tools) apply_tools(call.fields, call.served, std::move(*tools), input.texts.back().text, input);
  if (!call.fields.ok()) return call.refuse();
  input.prompts.push_back(std::move(*prompt));
  auto form = std::make_unique<OllamaForm>(call.served.name, std::time(nullptr), chat, input.sampling);
  call.generate(std::move(input), std::move(form));
}

// Go's durations, as ollama reads them: 5m, 1h30m, -1s, 0.
bool is_duration(std::string_view text) {
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) text.remove_prefix(1);
  if (text == "0") return true;
  if (text.empty()) return false;
  while (!text.empty()) {
    const std::size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
    const std::string_view number = text.substr(0, digits);
    if (std::ranges::count(number, '.') > 1 || std::ranges::count(number, '.') == std::ssize(number)) return false;
    text.remove_prefix(digits);
    const std::string_view units[] = {"ns", "us", "\u00b5s", "\u03bcs", "ms", "s", "m", "h"};
    const auto* unit = std::ranges::find_if(units, [&](std::string_view each) { return text.starts_with(each); });
    if (unit == std::end(units)) return false;
    text.remove_prefix(unit->size());
  }
  return true;
}

// How long the model stays loaded is not for requests to say here; what is no such time is refused all the same.
void check_keep_alive(Fields& fields) {
  const engine::Json value = fields.any("keep_alive");
  if (value.is_null() || value.is_number() || (value.is_string() && is_duration(value.as_string()))) return;
  fields.fail("keep_alive", "seconds as a number, or a time like \"5m\" or \"1h30m\"", value);
}

// A request without a prompt asks for the model to be there, and it is.
void answer_loaded(Call& call, bool chat) {
  if (!call.fields.ok()) return call.refuse();
  Json json = {{"model", call.served.name}, {"created_at", time_text(std::time(nullptr))}};
  if (chat) json.append("message", {{"role", "assistant"}, {"content", ""}});
  if (!chat) json.append("response", "");
  json.append("done", true);
  json.append("done_reason", "load");
  call.answer(json);
}

std::string level_of(const ServedModel& served) {
  // The format that most of the weights have.
  std::vector<std::pair<std::string_view, std::int64_t>> sizes;
  for (const engine::GgufTensor& tensor : served.model->file().tensors()) {
    const std::string_view name = engine::gguf_tensor_format_name(tensor);
    auto found = std::ranges::find(sizes, name, &std::pair<std::string_view, std::int64_t>::first);
    if (found == sizes.end()) found = sizes.insert(sizes.end(), {name, 0});
    found->second += tensor.n_elements();
  }
  const auto most = std::ranges::max_element(sizes, {}, &std::pair<std::string_view, std::int64_t>::second);
  return most == sizes.end() ? std::string() : std::string(most->first);
}

Json details_json(const ServedModel& served) {
  const std::string& architecture = served.model->description().architecture;
  std::int64_t weights = 0;
  for (const engine::GgufTensor& tensor : served.model->file().tensors()) weights += tensor.n_elements();
  return {{"parent_model", ""},
          {"format", "gguf"},
          {"family", architecture},
          {"families", std::vector<std::string>{architecture}},
          {"parameter_size", std::to_string(weights / 1'000'000) + "M"},
          {"quantization_level", level_of(served)}};
}

}  // namespace

void ollama_chat(Call& call) {
  Fields& fields = call.fields;
  GenerationInput input = read_options(fields, call.served);
  check_keep_alive(fields);
  if (fields.ok() && fields.array("messages").size() == 0) return answer_loaded(call, true);
  engine::ChatInput chat;
  chat.messages = read_messages(fields, "messages");
  std::size_t index = 0;
  for (const engine::Json message : fields.array("messages").elements()) {
    Fields each(message, "messages[" + std::to_string(index++) + "]");
    refuse_images(each);
    if (!each.ok()) fields.fail(each.error());
  }
  const engine::Json shown = fields.array("tools");
  if (shown.size() > 0) chat.tools = template_value(shown);
  ToolRequest tools = read_ollama_tools(fields);
  add_variables(fields, chat);
  auto prompt = encode_messages(fields, call.served, chat, &input.texts.emplace_back());
  generate(call, std::move(input), std::move(prompt), "messages", true, std::move(tools));
}

void ollama_generate(Call& call) {
  Fields& fields = call.fields;
  GenerationInput input = read_options(fields, call.served);
  check_keep_alive(fields);
  const std::string_view text = fields.string("prompt").value_or("");
  if (text.empty()) return answer_loaded(call, false);
  const auto system = fields.string("system");
  refuse_images(fields);
  if (const auto suffix = fields.string("suffix"); suffix && !suffix->empty()) {
    fields.fail_unsupported("suffix", "text behind the answer is not supported");
  }
  const bool raw = fields.boolean("raw").value_or(false) || call.served.chat_template == nullptr;
  std::optional<std::vector<engine::TokenId>> prompt;
  if (fields.ok() && raw) {
    auto ids = engine::encode_prompt(*call.served.model, text, true);
    if (!ids.ok()) return call.refuse(api_error(ids.error()));
    prompt = std::move(ids).value();
    input.texts.push_back(plain_prompt_text(std::string(text)));
  } else if (fields.ok()) {
    engine::ChatInput chat;
    std::vector<TemplateValue> turns;
    if (system && !system->empty()) turns.push_back(chat_message("system", std::string(*system)));
    turns.push_back(chat_message("user", std::string(text)));
    chat.messages = TemplateValue::make_list(std::move(turns));
    add_variables(fields, chat);
    prompt = encode_messages(fields, call.served, chat, &input.texts.emplace_back());
  }
  generate(call, std::move(input), std::move(prompt), "prompt", false,
           raw ? std::nullopt : std::optional<ToolRequest>(ToolRequest()));
}

void ollama_tags(Call& call) {
  const ServedModel& served = call.served;
  Json list = Json::array();
  list.push_back({{"name", served.name},
                  {"model", served.name},
                  {"modified_at", time_text(served.created)},
                  {"size", served.model->file().file_bytes()},
                  {"digest", served.fingerprint},
                  {"details", details_json(served)}});
  call.answer({{"models", std::move(list)}});
}

void ollama_show(Call& call) {
  const ServedModel& served = call.served;
  const std::string& architecture = served.model->description().architecture;
  const engine::ModelShape& shape = served.model->shape();
  Json info = {{"general.architecture", architecture}};
  info.append(architecture + ".context_length", served.context);
  info.append(architecture + ".embedding_length", shape.n_embd);
  info.append(architecture + ".block_count", shape.n_layer);
  std::vector<std::string> capabilities = {"completion"};
  if (served.template_text.find("tools") != std::string::npos) capabilities.emplace_back("tools");
  if (served.reasoning) capabilities.emplace_back("thinking");
  if (served.pooling) capabilities.emplace_back("embedding");
  call.answer({{"modelfile", ""},
               {"parameters", ""},
               {"template", served.template_text},
               {"details", details_json(served)},
               {"model_info", std::move(info)},
               {"capabilities", capabilities}});
}

// Editors want a version of ollama that has these routes.
void ollama_version(Call& call) { call.answer({{"version", "0.9.0"}}); }

}  // namespace rowmax::server
