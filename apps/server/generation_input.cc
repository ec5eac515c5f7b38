#include "apps/server/generation_input.h"

#include <ctime>
#include <utility>

#include "apps/server/constraint_input.h"
#include "apps/server/prompt_places.h"
#include "apps/server/template_values.h"
#include "apps/server/tool_input.h"

namespace rowmax::server {
namespace {

constexpr std::int64_t kMaxTokens = std::int64_t{1} << 31;
constexpr std::size_t kMaxStops = 64;
constexpr std::size_t kMostKeptInput = std::size_t{4} << 20;  // of what a prompt was rendered from, for its date
constexpr std::size_t kMaxStopBytes = 1024;

bool ends_in_token(std::string_view name) { return name.ends_with("_token"); }

}  // namespace

std::vector<std::string> read_stop(Fields& fields, const char* name) {
  std::vector<std::string> stops;
  const engine::Json value = fields.any(name);
  const auto add = [&](const engine::Json& text) {
    const bool fine = text.is_string() && !text.as_string().empty() && text.as_string().size() <= kMaxStopBytes;
    if (!fine) return fields.fail(name, "texts of 1 to 1024 bytes", text);
    stops.emplace_back(text.as_string());
  };
  if (value.is_array()) {
    if (value.size() > kMaxStops) fields.fail(name, "at most 64 texts", value);
    for (const engine::Json item : value.elements()) {
      if (!fields.ok()) break;
      add(item);
    }
  } else if (!value.is_null()) {
    add(value);
  }
  return stops;
}

GenerationInput read_generation(Fields& fields, const ServedModel& served,
                                std::initializer_list<const char*> max_tokens_names) {
  GenerationInput input;
  input.sampling = read_sampling(fields, served.sampling, served.model->shape().n_vocab);
  engine::GenerationOptions& options = input.work.options;
  options.sampling = input.sampling.params;
  options.max_tokens = served.max_tokens;
  bool named = false;
  for (const char* name : max_tokens_names) {
    const auto value = fields.integer(name, -1, kMaxTokens);
    if (value && !named) options.max_tokens = *value;
    named = named || value;
  }
  input.work.draft = served.draft;
  input.work.choices = static_cast<int>(fields.integer("n", 1, served.max_choices).value_or(1));
  options.stop = read_stop(fields, "stop");
  options.ignore_eos = fields.boolean("ignore_eos").value_or(false);
  options.token_mask = read_constraint(fields, served);
  input.stream = fields.boolean("stream").value_or(false);
  const engine::Json stream_options = fields.object("stream_options");
  if (stream_options) {
    Fields inner(stream_options, "stream_options");
    input.include_usage = inner.boolean("include_usage").value_or(false);
    if (!inner.ok()) fields.fail(inner.error());
  }
  return input;
}

engine::ChatInput read_chat(Fields& fields, ToolRequest* tools) {
  engine::ChatInput input;
  input.messages = read_messages(fields, "messages");
  ToolRequest request = read_openai_tools(fields, false);
  const engine::Json shown = fields.array("tools");
  if (shown.size() > 0 && request.choice != ToolChoice::kNone) input.tools = template_value(shown);
  if (tools != nullptr) *tools = std::move(request);
  input.add_generation_prompt = fields.boolean("add_generation_prompt").value_or(true);
  const engine::Json variables = fields.object("chat_template_kwargs");
  for (const auto& [name, value] : variables.members()) {
    if (ends_in_token(name)) {
      fields.fail_unsupported("chat_template_kwargs", "names in _token are the model's, found " + std::string(name));
      break;
    }
    input.variables.emplace_back(std::string(name), template_value(value));
  }
  if (const auto effort = fields.string("reasoning_effort"); effort && variables.find("reasoning_effort").is_null()) {
    input.variables.emplace_back("reasoning_effort", engine::TemplateValue::of(std::string(*effort)));
  }
  input.now = static_cast<std::int64_t>(std::time(nullptr));
  return input;
}

std::optional<std::vector<engine::TokenId>> encode_messages(Fields& fields, const ServedModel& served,
                                                            const engine::ChatInput& given, PromptText* rendered) {
  if (!fields.ok()) return std::nullopt;
  if (served.chat_template == nullptr) {
    fields.fail({400,
                 "this model has no chat template: start the server with --chat-template FILE, or ask /v1/completions",
                 "messages", "no_chat_template"});
    return std::nullopt;
  }
  engine::ChatInput changed;
  std::vector<Normalised> normalised;
  if (!served.normalise.empty()) {
    changed = given;
    auto done = normalise(served.normalise, changed);
    if (!done.ok()) {
      fields.fail({400, "messages: " + done.error().message, "messages", "invalid_value"});
      return std::nullopt;
    }
    normalised = std::move(done).value();
  }
  const engine::ChatInput& input = normalised.empty() ? given : changed;
  std::vector<engine::TemplatePiece> pieces;
  auto ids = engine::encode_chat_pieces(*served.model, *served.chat_template, input, pieces);
  if (!ids.ok()) {
    ApiError error = api_error(ids.error());
    error.param = "messages";
    fields.fail(std::move(error));
    return std::nullopt;
  }
  if (rendered != nullptr) {
    *rendered = chat_prompt_text(pieces, input);
    rendered->places = prompt_places(served, input, *rendered, *ids);
    rendered->normalised = std::move(normalised);
    const std::size_t bytes = footprint(input, kMostKeptInput);
    if (bytes <= kMostKeptInput && served.template_text.find("strftime_now") != std::string::npos) {
      rendered->input_bytes = bytes;
      rendered->at_another_time = [&served, again = input](std::int64_t now) {
        engine::ChatInput other = again;
        other.now = now;
        std::string text;
        const auto encoded = engine::encode_chat(*served.model, *served.chat_template, other, &text);
        return encoded.ok() ? text : std::string();
      };
    }
  }
  return std::move(ids).value();
}

bool fits_context(Fields& fields, const ServedModel& served, const std::vector<engine::TokenId>& prompt,
                  const char* name) {
  const auto size = std::ssize(prompt);
  if (size == 0) {
    fields.fail({400, std::string(name) + ": expected at least one token, found none", name, "invalid_value"});
  } else if (size > served.context) {
    fields.fail({400,
                 std::string(name) + ": the prompt of " + std::to_string(size) +
                     " tokens does not fit the context of " + std::to_string(served.context),
                 name, "context_length_exceeded"});
  }
  return fields.ok();
}

}  // namespace rowmax::server
