// What is answered under which path. A route is a function of a call, run by a worker (a quick one by the network's thread);
// one row each in routes.cc.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "apps/server/answering.h"
#include "apps/server/fields.h"
#include "apps/server/http.h"
#include "apps/server/openai_parts.h"
#include "apps/server/served_model.h"

namespace rowmax::server {

// One request that is being answered.
struct Call {
  const ServedModel& served;
  const HttpRequest& request;
  Fields& fields;  // of its body
  std::shared_ptr<Exchange> exchange;
  ErrorStyle style = ErrorStyle::kOpenAi;
  AnswerCounter counter = {};
  PromptOwner owner = {};

  void answer(const text::Json& json) { exchange->send({.body = json.dump()}); }
  // With the error of the fields.
  void refuse() { exchange->send(error_answer(fields.error(), style)); }
  void refuse(const ApiError& error) { exchange->send(error_answer(error, style)); }
  AnswerHead head(std::string_view prefix) const { return answer_head(served, prefix, request.body, request.number); }
  void generate(GenerationInput input, std::unique_ptr<AnswerForm> form) {
    answer_generation(served, std::move(input), std::move(form), exchange, style, counter, owner);
  }
};

struct Route {
  std::string_view method, path;  // under /v1 and without it where the path begins so
  void (*run)(Call& call);
  bool quick = false;  // reads no body and takes no time: it waits for no worker
};
std::span<const Route> all_routes();

// The route of a path (nullptr: none) for a method; `allowed` gets the methods that the path has.
const Route* find_route(std::string_view method, std::string_view path, std::string& allowed);

void chat_completions(Call& call);
void completions(Call& call);
void embeddings(Call& call);
void rerank(Call& call);
void openapi(Call& call);
void list_models(Call& call);
void show_model(Call& call);  // /v1/models/{id}
void tokenize(Call& call);
void detokenize(Call& call);
void apply_template(Call& call);
void tokenizer_info(Call& call);
void responses(Call& call);
void messages(Call& call);
void count_tokens(Call& call);
void attention(Call& call);
void ollama_chat(Call& call);
void ollama_generate(Call& call);
void ollama_tags(Call& call);
void ollama_show(Call& call);
void ollama_version(Call& call);

}  // namespace rowmax::server
