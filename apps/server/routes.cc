#include "apps/server/routes.h"

namespace rowmax::server {
namespace {

constexpr Route kRoutes[] = {
    {"GET", "/openapi.json", openapi, true},
    {"GET", "/v1/models", list_models, true},
    {"GET", "/v1/models/*", show_model, true},
    {"POST", "/v1/chat/completions", chat_completions},
    {"POST", "/v1/completions", completions},
    {"POST", "/v1/embeddings", embeddings},
    {"POST", "/v1/rerank", rerank},
    {"POST", "/v1/responses", responses},
    {"POST", "/v1/messages", messages},
    {"POST", "/v1/messages/count_tokens", count_tokens},
    {"POST", "/tokenize", tokenize},
    {"POST", "/detokenize", detokenize},
    {"POST", "/apply-template", apply_template},
    {"GET", "/tokenizer_info", tokenizer_info, true},
    {"POST", "/rowmax/attention", attention},
    {"POST", "/api/chat", ollama_chat},
    {"POST", "/api/generate", ollama_generate},
    {"GET", "/api/tags", ollama_tags, true},
    {"POST", "/api/show", ollama_show},
    {"GET", "/api/version", ollama_version, true},
};

// "/v1/models/*" holds whatever is behind it.
bool matches(std::string_view pattern, std::string_view path) {
  if (!pattern.ends_with('*')) return pattern == path;
  pattern.remove_suffix(1);
  return path.size() > pattern.size() && path.starts_with(pattern);
}

bool is_under(const Route& route, std::string_view path) {
  constexpr std::string_view kVersion = "/v1";
  if (matches(route.path, path)) return true;
  return route.path.starts_with(kVersion) && matches(route.path.substr(kVersion.size()), path);
}

}  // namespace

std::span<const Route> all_routes() { return kRoutes; }

const Route* find_route(std::string_view method, std::string_view path, std::string& allowed) {
  const Route* found = nullptr;
  for (const Route& route : kRoutes) {
    if (!is_under(route, path)) continue;
    // Who may GET may ask for the head alone.
    if (route.method == method || (method == "HEAD" && route.method == "GET")) found = &route;
    allowed += (allowed.empty() ? "" : ", ") + std::string(route.method) + (route.method == "GET" ? ", HEAD" : "");
  }
  return found;
}

}  // namespace rowmax::server
