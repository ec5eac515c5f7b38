// GET /openapi.json: what is asked here and with which fields. One row a route and one a field; routes themselves come from
// all_routes(), and tests/server/openapi_test.py holds the fields to what the sources read.
#include <string>

#include "apps/server/routes.h"

namespace rowmax::server {
namespace {

// Of a request's body: in which groups of fields it is, its name, and its schema in JSON.
struct Field {
  std::string_view group, name, schema;
};

constexpr std::string_view kText = R"({"type":"string"})", kYesNo = R"({"type":"boolean"})",
                           kThing = R"({"type":"object"})", kList = R"({"type":"array","items":{"type":"object"}})",
                           kAny = "{}", kIds = R"({"type":"array","items":{"type":"integer","minimum":0}})",
                           kCount = R"({"type":"integer","minimum":-1})";

constexpr Field kFields[] = {
    {"any", "model", kAny},  // whatever it is, the model that is served answers
    {"sampling", "temperature", R"({"type":"number","minimum":0,"maximum":100})"},
    {"sampling", "top_k", R"({"type":"integer","minimum":-1,"maximum":1073741824})"},
    {"sampling", "top_p", R"({"type":"number","minimum":0,"maximum":1})"},
    {"sampling", "min_p", R"({"type":"number","minimum":0,"maximum":1})"},
    {"sampling", "repeat_penalty", R"({"type":"number","minimum":0.01,"maximum":100})"},
    {"sampling", "repetition_penalty", R"({"type":"number","minimum":0.01,"maximum":100})"},
    {"sampling", "frequency_penalty", R"({"type":"number","minimum":-100,"maximum":100})"},
    {"sampling", "presence_penalty", R"({"type":"number","minimum":-100,"maximum":100})"},
    {"sampling", "repeat_last_n", R"({"type":"integer","minimum":-1,"maximum":1073741824})"},
    {"sampling", "logit_bias", R"({"type":"object","additionalProperties":{"type":"number"}})"},
    {"sampling", "seed", R"({"type":"integer","minimum":-9223372036854775808,"maximum":18446744073709551615})"},
    {"generation", "n", R"({"type":"integer","minimum":1,"maximum":128})"},
    {"generation", "max_tokens", kCount},
    {"generation", "max_completion_tokens", kCount},
    {"generation", "ignore_eos", kYesNo},
    {"stop", "stop", R"({"oneOf":[{"type":"string"},{"type":"array","items":{"type":"string"},"maxItems":64}]})"},
    {"generation", "stream", kYesNo},
    {"generation", "stream_options", R"({"type":"object","properties":{"include_usage":{"type":"boolean"}}})"},
    {"constraint", "response_format", R"({"$ref":"#/components/schemas/Format"})"},
    {"constraint", "json_schema", kAny},
    {"constraint", "grammar", kText},
    {"constraint", "regex", kText},
    {"chat", "messages", R"({"type":"array","items":{"$ref":"#/components/schemas/Message"}})"},
    {"chat", "tools", kList},
    {"chat", "tool_choice", kAny},
    {"chat", "parallel_tool_calls", kYesNo},
    {"chat", "add_generation_prompt", kYesNo},
    {"chat", "chat_template_kwargs", kThing},
    {"chat", "reasoning_effort", kText},
    {"chat logprobs", "logprobs", kYesNo},
    {"chat logprobs", "top_logprobs", R"({"type":"integer","minimum":0,"maximum":20})"},
    {"completions", "prompt", R"({"oneOf":[{"type":"string"},{"type":"array"}]})"},
    {"completions", "parse_special", kYesNo},
    {"completions", "add_special_tokens", kYesNo},
    {"completions", "best_of", R"({"type":"integer","minimum":1,"maximum":128})"},
    {"completions", "suffix", kText},
    {"completions", "logprobs", R"({"type":"integer","minimum":0,"maximum":20})"},
    {"completions", "echo", kYesNo},
    {"embeddings", "input", R"({"oneOf":[{"type":"string"},{"type":"array"}]})"},
    {"embeddings", "encoding_format", R"({"type":"string","enum":["float","base64"]})"},
    {"embeddings", "dimensions", R"({"type":"integer","minimum":1})"},
    {"rerank", "query", kText},
    {"rerank", "documents", R"({"type":"array","minItems":1,"maxItems":2048})"},
    {"rerank", "top_n", R"({"type":"integer","minimum":1})"},
    {"rerank", "return_documents", kYesNo},
    {"responses", "input",
     R"({"oneOf":[{"type":"string"},{"type":"array","items":{"$ref":"#/components/schemas/Message"}}]})"},
    {"responses", "instructions", kText},
    {"responses", "max_output_tokens", kCount},
    {"responses", "stream", kYesNo},
    {"responses", "text", R"({"type":"object","properties":{"format":{"$ref":"#/components/schemas/Format"}}})"},
    {"responses", "tools", kList},
    {"responses", "tool_choice", kAny},
    {"responses", "parallel_tool_calls", kYesNo},
    {"responses", "previous_response_id", kText},
    {"responses", "conversation", kText},
    {"responses", "background", kYesNo},
    {"responses", "ignore_eos", kYesNo},
    {"messages", "messages", R"({"type":"array","items":{"$ref":"#/components/schemas/Message"}})"},
    {"messages", "system", R"({"oneOf":[{"type":"string"},{"type":"array"}]})"},
    {"messages", "max_tokens", R"({"type":"integer","minimum":1})"},
    {"messages", "stop_sequences", R"({"type":"array","items":{"type":"string"}})"},
    {"messages", "stream", kYesNo},
    {"messages", "tools", kList},
    {"messages", "tool_choice",
     R"({"type":"object","properties":{"type":{"type":"string"},"name":{"type":"string"},"disable_parallel_tool_use":{"type":"boolean"}}})"},
    {"messages", "thinking", kThing},
    {"tokenize", "content", kText},
    {"tokenize", "prompt", kText},
    {"tokenize", "add_special", kYesNo},
    {"tokenize", "add_special_tokens", kYesNo},
    {"tokenize", "parse_special", kYesNo},
    {"tokenize", "with_pieces", kYesNo},
    {"detokenize", "tokens", kIds},
    {"detokenize", "special", kYesNo},
    {"template", "with_pieces", kYesNo},
    {"attention", "tokens", kIds},
    {"attention", "prompt", kText},
    {"attention", "messages", kList},
    {"attention", "parse_special", kYesNo},
    {"attention", "position", R"({"type":"integer"})"},
    {"attention", "key", R"({"type":"integer","minimum":0})"},
    {"attention", "layers", kIds},
    {"attention", "heads", kAny},
    {"attention", "reduce", kText},
    {"ollama", "stream", kYesNo},
    {"ollama", "options", kThing},
    {"ollama", "format", kAny},
    {"ollama", "think", kAny},
    {"ollama", "images", kList},
    {"ollama", "keep_alive", R"({"type":["number","string","null"]})"},
    {"ollama chat", "messages", R"({"type":"array","items":{"$ref":"#/components/schemas/Message"}})"},
    {"ollama chat", "tools", kList},
    {"ollama generate", "prompt", kText},
    {"ollama generate", "system", kText},
    {"ollama generate", "suffix", kText},
    {"ollama generate", "raw", kYesNo},
};

struct Page {
  std::string_view method, path, summary, groups, needs;  // groups and needed fields, each with a comma behind it
};

constexpr Page kPages[] = {
    {"GET", "/health", "200 once the model is loaded; needs no key", "", ""},
    {"GET", "/ready", "200 while new requests are taken", "", ""},
    {"GET", "/metrics", "Counters and histograms for Prometheus", "", ""},
    {"GET", "/openapi.json", "This document", "", ""},
    {"GET", "/v1/models", "The model that is served", "", ""},
    {"GET", "/v1/models/*", "The model of a name", "", ""},
    {"POST", "/v1/chat/completions", "OpenAI's chat completions",
     "any,sampling,generation,stop,constraint,chat,chat logprobs,", "messages,"},
    {"POST", "/v1/completions", "OpenAI's completions", "any,sampling,generation,stop,constraint,completions,",
     "prompt,"},
    {"POST", "/v1/embeddings", "OpenAI's embeddings", "any,embeddings,", "input,"},
    {"POST", "/v1/rerank", "Documents by what they have to do with a query", "any,rerank,", "query,documents,"},
    {"POST", "/v1/responses", "OpenAI's responses; nothing is stored", "any,sampling,responses,", "input,"},
    {"POST", "/v1/messages", "Anthropic's messages", "any,sampling,messages,", "messages,max_tokens,"},
    {"POST", "/v1/messages/count_tokens", "Tokens of such a request", "any,messages,", "messages,"},
    {"POST", "/tokenize", "Token ids of a text", "tokenize,", ""},
    {"POST", "/detokenize", "The text of token ids", "detokenize,", "tokens,"},
    {"POST", "/apply-template", "The prompt of a chat request", "chat,template,", "messages,"},
    {"GET", "/tokenizer_info", "Its special tokens and chat template, as vLLM tells them", "", ""},
    {"POST", "/rowmax/attention", "What one token of a text attends to", "attention,", ""},
    {"POST", "/api/chat", "ollama's chat, as lines of JSON", "any,ollama,ollama chat,", ""},
    {"POST", "/api/generate", "ollama's completion", "any,ollama,ollama generate,", ""},
    {"GET", "/api/tags", "ollama's list of models", "", ""},
    {"POST", "/api/show", "ollama's facts of a model", "any,", ""},
    {"GET", "/api/version", "ollama's version", "", ""},
};

constexpr std::string_view kComponents = R"("components":{"schemas":{
"Error":{"type":"object"},
"Format":{"type":"object","properties":{"type":{"type":"string"},"strict":{"type":"boolean"},"schema":{},"json_schema":{"type":"object","properties":{"name":{"type":"string"},"strict":{"type":"boolean"},"schema":{}}}},"required":["type"]},
"Message":{"type":"object","properties":{"role":{"type":"string"},"content":{"oneOf":[{"type":"string"},{"type":"array","items":{"$ref":"#/components/schemas/Part"}},{"type":"null"}]},"tool_calls":{"type":"array","items":{"type":"object"}},"type":{"type":"string"},"call_id":{"type":"string"},"name":{"type":"string"},"arguments":{"type":"string"}}},
"Part":{"type":"object","properties":{"type":{"type":"string"},"text":{"type":"string"},"id":{"type":"string"},"name":{"type":"string"},"input":{"type":"object"},"tool_use_id":{"type":"string"},"thinking":{"type":"string"}},"required":["type"]}},
"responses":{"Error":{"description":"what was wrong, what was expected and what was found","content":{"application/json":{"schema":{"$ref":"#/components/schemas/Error"}}}}},
"securitySchemes":{"bearer":{"type":"http","scheme":"bearer"},"header":{"type":"apiKey","in":"header","name":"X-Api-Key"}}},
"security":[{},{"bearer":[]},{"header":[]}])";

bool has(std::string_view list, std::string_view name) {
  return (',' + std::string(list)).find(',' + std::string(name) + ',') != std::string::npos;
}

std::string in_quotes(std::string_view text) { return '"' + std::string(text) + '"'; }

// "model","input",
std::string quoted_names(std::string_view list) {
  std::string all;
  while (!list.empty()) {
    const std::size_t end = list.find(',');
    all += (all.empty() ? "" : ",") + in_quotes(list.substr(0, end));
    list.remove_prefix(end + 1);
  }
  return all;
}

std::string body_of(const Page& page) {
  std::string properties;
  for (const Field& field : kFields) {
    if (!has(page.groups, field.group)) continue;
    properties += (properties.empty() ? "" : ",") + in_quotes(field.name) + ":";
    // A field that is null is absent.
    const bool may_be_null = !has(page.needs, field.name) && field.schema != kAny;
    properties +=
        may_be_null ? R"({"anyOf":[)" + std::string(field.schema) + R"(,{"type":"null"}]})" : std::string(field.schema);
  }
  std::string body =
      R"("requestBody":{"required":true,"content":{"application/json":{"schema":{"type":"object","properties":{)";
  body += properties + "}";
  if (!page.needs.empty()) body += R"(,"required":[)" + quoted_names(page.needs) + "]";
  return body + "}}}},";
}

std::string answers_of(const Page& page) {
  const bool metrics = page.path == "/metrics";
  std::string content =
      metrics ? R"("text/plain":{"schema":{"type":"string"}})" : R"("application/json":{"schema":{"type":"object"}})";
  if (has(page.groups, "generation") || has(page.groups, "responses") || page.path == "/v1/messages") {
    content += R"(,"text/event-stream":{"schema":{"type":"string"}})";
  }
  if (has(page.groups, "ollama")) content += R"(,"application/x-ndjson":{"schema":{"type":"string"}})";
  return R"("responses":{"200":{"description":"the answer","content":{)" + content +
         R"(}},"default":{"$ref":"#/components/responses/Error"}})";
}

std::string operation_of(const Page& page) {
  const bool get = page.method == "GET";
  std::string operation = in_quotes(get ? "get" : "post") + R"(:{"summary":)" + in_quotes(page.summary) + ",";
  if (page.path.ends_with('*')) {
    operation += R"("parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"string"}}],)";
  }
  if (!get) operation += body_of(page);
  return operation + answers_of(page) + "}";
}

std::string document() {
  std::string paths;
  for (const Page& page : kPages) {
    std::string path(page.path);
    if (path.ends_with('*')) path.replace(path.size() - 1, 1, "{id}");
    paths += (paths.empty() ? "" : ",\n") + in_quotes(path) + ":{" + operation_of(page) + "}";
  }
  return R"({"openapi":"3.1.0","info":{"title":"rowmax serve","version":"1","description":"docs/server.md says more of each field"},"paths":{)" +
         paths + "},\n" + std::string(kComponents) + "}";
}

}  // namespace

void openapi(Call& call) {
  static const std::string text = document();
  call.exchange->send({.body = text});
}

}  // namespace rowmax::server
