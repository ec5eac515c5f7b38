// GET /v1/models and /v1/models/{id}
#include <charconv>

#include "apps/server/openai_parts.h"
#include "apps/server/routes.h"

namespace rowmax::server {

using text::Json;

namespace {

Json model_json(const ServedModel& served) {
  const engine::ModelShape& shape = served.model->shape();
  return {{"id", served.name},
          {"name", served.name},
          {"object", "model"},
          {"created", served.created},
          {"owned_by", "rowmax"},
          {"max_model_len", served.context},
          {"meta",
           {{"architecture", served.model->description().architecture},
            {"n_vocab", shape.n_vocab},
            {"n_embd", shape.n_embd},
            {"n_ctx", served.context},
            {"n_ctx_train", shape.context_length},
            {"weight_bytes", served.model->weight_bytes()},
            {"has_chat_template", served.chat_template != nullptr}}}};
}

// "%2F" -> "/"; what is no such thing stays.
std::string percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    const char* begin = text.data() + i + 1;
    if (text[i] == '%' && i + 2 < text.size() && std::from_chars(begin, begin + 2, value, 16).ptr == begin + 2) {
      out += static_cast<char>(value);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

void list_models(Call& call) {
  Json list = Json::array();
  list.push_back(model_json(call.served));
  call.answer({{"object", "list"}, {"data", list}, {"models", list}});
}

void show_model(Call& call) {
  constexpr std::string_view kBefore = "/models/";
  const std::string_view path = call.request.path();
  const std::string name = percent_decoded(path.substr(path.find(kBefore) + kBefore.size()));
  if (name != call.served.name) {
    return call.refuse(
        {404, "model: expected \"" + call.served.name + "\", found \"" + name + "\"", "model", "model_not_found"});
  }
  call.answer(model_json(call.served));
}

}  // namespace rowmax::server
