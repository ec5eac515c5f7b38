#include "apps/server/tool_input.h"

#include <algorithm>
#include <memory>
#include <unordered_set>
#include <utility>

#include "apps/server/constraint_input.h"
#include "apps/tool_calls/call_grammar.h"
#include "apps/tool_calls/call_mask.h"
#include "rowmax/engine/grammar.h"

namespace rowmax::server {

using engine::Json;
using tool_calls::ReplyOptions;
using tool_calls::ToolFunction;

namespace {

constexpr std::size_t kMaxFunctions = 1024;

// Only this function may be called, or only these.
void restrict_to(Fields& fields, const std::vector<std::string_view>& names, ToolRequest& request) {
  std::unordered_set<std::string_view> known, named;
  for (const ToolFunction& function : request.functions) known.insert(function.name);
  for (const std::string_view name : names) {
    if (!known.contains(name)) {
      return fields.fail({400, "tool_choice: expected a function of tools, found \"" + std::string(name) + "\"",
                          "tool_choice", "invalid_value"});
    }
    named.insert(name);  // once, however often it is given
  }
  ToolRequest kept;
  for (std::size_t i = 0; i < request.functions.size(); ++i) {
    if (!named.contains(request.functions[i].name)) continue;
    kept.functions.push_back(std::move(request.functions[i]));
    kept.places.push_back(std::move(request.places[i]));
  }
  request.restricted = kept.functions.size() < request.functions.size();
  request.functions = std::move(kept.functions);
  request.places = std::move(kept.places);
}

std::string_view name_of(Json tool, bool flat) {
  return (flat ? tool : tool.find("function")).find("name").as_string();
}

void read_openai_choice(Fields& fields, bool flat, ToolRequest& request) {
  const Json choice = fields.any("tool_choice");
  if (choice.is_null() || choice.is("auto")) return;
  if (choice.is("none")) {
    request.choice = ToolChoice::kNone;
  } else if (choice.is("required")) {
    request.choice = ToolChoice::kRequired;
  } else if (choice.is_object() && choice.find("type").is("function")) {
    request.choice = ToolChoice::kRequired;
    // Once: a small model that may go on calling what it was told to call does so until its tokens are spent.
    request.parallel = fields.boolean("parallel_tool_calls").value_or(false);
    restrict_to(fields, {name_of(choice, flat)}, request);
  } else if (choice.is_object() && choice.find("type").is("allowed_tools")) {
    const Json allowed = flat ? choice : choice.find("allowed_tools");
    const Json mode = allowed.find("mode");
    if (!mode.is("auto") && !mode.is("required")) {
      return fields.fail("tool_choice", "allowed_tools with mode auto or required", choice);
    }
    if (mode.is("required")) request.choice = ToolChoice::kRequired;
    std::vector<std::string_view> names;
    for (const Json tool : allowed.find("tools").elements()) {
      if (tool.find("type").is("function")) names.push_back(name_of(tool, flat));
    }
    if (names.empty()) return fields.fail("tool_choice", "allowed_tools with a function among tools", choice);
    restrict_to(fields, names, request);
  } else if (choice.is_object()) {
    fields.fail_unsupported("tool_choice", "expected a function or allowed_tools, found " + choice.text());
  } else {
    fields.fail("tool_choice", "\"none\", \"auto\", \"required\" or an object", choice);
  }
}

void refuse(Fields& fields, const std::string& name, std::string message, ErrorCode code) {
  fields.fail({code == ErrorCode::kOutOfMemory ? 503 : 400, std::move(message), name,
               code == ErrorCode::kUnsupported ? "not_supported" : "invalid_value"});
}
void refuse(Fields& fields, const std::string& name, const Error& error) {
  refuse(fields, name, name + ": " + error.message, error.code);
}
// The error of a grammar of all functions: of one of them where the message begins with its place, else of all.
void refuse_tools(Fields& fields, const std::vector<std::string>& places, const Error& error) {
  const auto place =
      std::ranges::find_if(places, [&](const std::string& each) { return error.message.starts_with(each + ": "); });
  if (place == places.end()) return refuse(fields, "tools", error);
  const bool together = error.code == ErrorCode::kLimit && place != places.begin();
  refuse(fields, *place, error.message + (together ? " (with the functions before it)" : ""), error.code);
}

// The mask of a reply that must be calls, or must be where its calls begin.
class CallMasks {
 public:
  CallMasks(Fields& fields, const ServedModel& served, const ToolRequest& request)
      : fields_(fields), served_(served), request_(request) {}

  // Errors go to the fields. Empty where there is one.
  engine::TokenMask make(const std::shared_ptr<const ReplyOptions>& reply) {
    const bool required = request_.choice == ToolChoice::kRequired;
    for (std::size_t i = 0; i < request_.functions.size(); ++i) {
      const ToolFunction& function = request_.functions[i];
      if (!tool_calls::is_callable_name(function.name)) {
        const std::string name = request_.places[i].substr(0, request_.places[i].rfind('.')) + ".name";
        const std::string found = tool_calls::json_string(function.name);
        fields_.fail({400, name + ": expected letters, digits, _ and -, found " + found, name, "invalid_value"});
        return {};
      }
      if (function.schema.empty() || (!required && !function.strict)) continue;
      const auto alone = engine::Grammar::from_json_schema(function.schema, {.strict = function.strict});
      if (!alone.ok()) return refuse(fields_, request_.places[i], alone.error()), engine::TokenMask();
    }
    const tool_calls::ToolFormat& format = *served_.tool_format;
    tool_calls::CallGrammarOptions options{
        .many = request_.parallel, .all_schemas = required, .places = request_.places};
    if (required && reply->reasoning_open) options.mark = reply->reasoning.close;
    if (!required) options.mark = format.marks.front(), options.mark_is_of_calls = true;
    const auto parts = tool_calls::call_grammar(format, request_.functions, options);
    if (!parts.ok()) return refuse_tools(fields_, request_.places, parts.error()), engine::TokenMask();
    const auto grammar = engine::Grammar::from_parts(*parts);
    if (!grammar.ok()) return refuse_tools(fields_, request_.places, grammar.error()), engine::TokenMask();
    auto mask = grammar_mask(served_, *grammar, true);
    if (!mask.ok()) return refuse(fields_, "tools", mask.error()), engine::TokenMask();
    engine::TokenMask named = named_mask("tools", std::move(mask).value());
    if (options.mark.empty()) return named;
    return tool_calls::mask_behind(required ? tool_calls::MaskBehind::kReasoning : tool_calls::MaskBehind::kCallMark,
                                   reply, served_.tokenizer(), served_.text_tokens, std::move(named));
  }

 private:
  Fields& fields_;
  const ServedModel& served_;
  const ToolRequest& request_;
};

}  // namespace

void add_function(ToolRequest& request, Fields& function, const std::string& place, const char* schema_name) {
  const std::string_view name = function.needed_string("name");
  const Json schema = function.any(schema_name);
  const bool strict = function.boolean("strict").value_or(false);
  const Json type = schema.find("type");
  if ((schema && !schema.is_object()) || (type.is_string() && !type.is("object"))) {
    function.fail(schema_name, "a JSON schema of an object", schema);
  }
  if (request.functions.size() == kMaxFunctions) {
    const std::string most = std::to_string(kMaxFunctions), found = std::to_string(kMaxFunctions + 1);
    function.fail(
        {400, "tools: expected at most " + most + " functions, found " + found + " or more", "tools", "invalid_value"});
  }
  if (!function.ok()) return;
  request.functions.push_back(
      tool_calls::tool_function(std::string(name), schema, schema ? copy_of(schema).dump() : std::string(), strict));
  request.places.push_back(place + "." + schema_name);
}

ToolRequest read_openai_tools(Fields& fields, bool flat) {
  ToolRequest request;
  std::size_t index = 0;
  for (const Json tool : fields.array("tools").elements()) {
    std::string place = "tools[" + std::to_string(index++) + "]";
    const Fields each(tool, place);
    if (!each.ok()) fields.fail(each.error());
    // Tools of other types are run by others, and a chat template is shown whatever there is.
    const Json held = flat ? tool : tool.find("function");
    if (!fields.ok() || !held.is_object() || (flat && !tool.find("type").is("function"))) continue;
    if (!flat) place += ".function";
    Fields function(held, place);
    add_function(request, function, place, "parameters");
    if (!function.ok()) fields.fail(function.error());
  }
  request.parallel = fields.boolean("parallel_tool_calls").value_or(true);
  if (fields.ok()) read_openai_choice(fields, flat, request);
  return request;
}

ToolRequest read_anthropic_tools(Fields& fields) {
  ToolRequest request;
  std::size_t index = 0;
  for (const Json tool : fields.array("tools").elements()) {
    const std::string place = "tools[" + std::to_string(index++) + "]";
    Fields each(tool, place);
    add_function(request, each, place, "input_schema");
    if (!each.ok()) fields.fail(each.error());
  }
  const Json choice = fields.object("tool_choice");
  if (!fields.ok() || !choice) return request;
  Fields inner(choice, "tool_choice");
  const std::string_view type = inner.needed_string("type");
  request.parallel = !inner.boolean("disable_parallel_tool_use").value_or(false);
  if (type == "none") {
    request.choice = ToolChoice::kNone;
  } else if (type == "any") {
    request.choice = ToolChoice::kRequired;
  } else if (type == "tool") {
    request.choice = ToolChoice::kRequired;
    const std::string_view name = inner.needed_string("name");
    if (inner.ok()) restrict_to(fields, {name}, request);
  } else if (inner.ok() && type != "auto") {
    inner.fail("type", "auto, any, tool or none", choice.find("type"));
  }
  if (!inner.ok()) fields.fail(inner.error());
  return request;
}

ToolRequest read_ollama_tools(Fields& fields) {
  ToolRequest request;
  std::size_t index = 0;
  for (const Json tool : fields.array("tools").elements()) {
    const std::string place = "tools[" + std::to_string(index++) + "].function";
    if (!tool.find("function").is_object()) continue;
    Fields function(tool.find("function"), place);
    add_function(request, function, place, "parameters");
    if (!function.ok()) fields.fail(function.error());
  }
  return request;
}

void apply_tools(Fields& fields, const ServedModel& served, ToolRequest request, std::string_view prompt,
                 GenerationInput& input) {
  if (!fields.ok()) return;
  const bool calls = request.choice != ToolChoice::kNone && !request.functions.empty();
  const bool required = request.choice == ToolChoice::kRequired;
  if (calls && served.ignores_tools) {
    input.tools_note = "the chat template ignores tools: the model is shown none of them";
  }
  if (required && request.functions.empty()) {
    return fields.fail({400, "tool_choice: expected functions in tools, found none", "tool_choice", "invalid_value"});
  }
  if (required && served.tool_format == nullptr) {
    return fields.fail_unsupported(
        "tool_choice", "the model's chat template writes no calls in a form that is known (--tool-format names one)");
  }
  ReplyOptions reply;
  reply.format = calls ? served.tool_format : nullptr;
  reply.reasoning = served.reasoning;
  reply.reasoning_open = tool_calls::opens_reasoning(served.reasoning, prompt);
  if (calls) reply.functions = request.functions;
  if (!request.parallel) reply.max_calls = 1;

  const bool wants = required || request.restricted || !request.parallel ||
                     std::ranges::any_of(request.functions, &ToolFunction::strict);
  // Before a call that has no mark nothing says that one begins.
  const bool can = calls && reply.format != nullptr && !reply.format->call.empty() &&
                   (required || (!reply.format->bare && !input.work.options.token_mask));
  if (required && input.work.options.token_mask) {
    return fields.fail({400, "tool_choice: another field constrains the output already; give one of them",
                        "tool_choice", "invalid_value"});
  }
  if (required && !can) {
    return fields.fail_unsupported(
        "tool_choice", "calls in the form " + std::string(reply.format->name) + " are read, and cannot be forced");
  }
  if (calls && wants && can) {
    if (input.work.options.ignore_eos) {
      return fields.fail_unsupported("ignore_eos", "the calls' form says where the text ends");
    }
    reply.constrained = true;
    const auto shared = std::make_shared<const ReplyOptions>(reply);
    input.work.options.token_mask = CallMasks(fields, served, request).make(shared);
    input.reply = shared;
  } else {
    if (calls && reply.format == nullptr) {
      input.reply_note = "the model's chat template writes no calls of tools in a form that is known";
    } else if (calls && input.work.options.token_mask) {
      input.reply_note = "another field constrains the text, which leaves no room for calls";
    } else if (calls && wants) {
      input.reply_note =
          "calls in this form cannot be constrained: schemas, parallel_tool_calls and allowed tools are not held to";
    }
    input.reply = std::make_shared<const ReplyOptions>(std::move(reply));
  }
  input.work.options.text_tokens = served.text_tokens;
}

}  // namespace rowmax::server
