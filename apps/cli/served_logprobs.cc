#include "apps/cli/served_logprobs.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "apps/cli/interrupt.h"
#include "apps/cli/json_output.h"
#include "apps/store/http.h"
#include "engine/io/json.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

using Answer = engine::JsonDocument;
using engine::TokenId;

constexpr std::size_t kMostAnswerBytes = std::size_t{64} << 20;
constexpr std::int64_t kMostPrefixes = 16;
constexpr int kTop = 10;

class Server {
 public:
  Server(const ServerFlags& flags, const engine::Model& model, std::span<const TokenId> tokens)
      : flags_(flags), model_(model) {
    while (flags_.url.ends_with('/')) flags_.url.pop_back();
    served_.name = flags_.url;
    served_.tokens.assign(tokens.begin(), tokens.end());
  }

  Result<doctor::ServedLogprobs> ask() {
    if (flags_.url.starts_with("http://") && !flags_.plain_http) {
      return Error::invalid_argument("--server " + flags_.url +
                                     ": what is sent over http can be read on the way; --plain-http allows it (for a "
                                     "server on this machine, say)");
    }
    if (flags_.api != "openai") {
      Status asked = ask_llama();
      if (asked.ok()) return std::move(served_);
      if (flags_.api == "llama" || asked.error().code != ErrorCode::kNotFound) return std::move(asked).error();
    }
    ROWMAX_RETURN_IF_ERROR(ask_openai());
    return std::move(served_);
  }

 private:
  Result<Answer> post(const std::string& path, const Json& question) {
    std::string answer;
    store::HttpHandlers handlers;
    handlers.body = [&](std::string_view bytes) -> Status {
      if (answer.size() + bytes.size() > kMostAnswerBytes) {
        return Error{ErrorCode::kLimit, flags_.url + path + ": answers with more than 64 MiB"};
      }
      answer += bytes;
      return {};
    };
    handlers.tick = [] { return !interrupted(); };
    store::HttpRequest request;
    request.url = flags_.url + path;
    request.stall_seconds = 300;  // a slow machine may be silent while it computes
    ROWMAX_RETURN_IF_ERROR(store::http_post(request, question.dump(), handlers).status);
    return engine::parse_json(answer, flags_.url + path);
  }

  // Lengths of the prefixes that are asked about.
  std::vector<std::int64_t> prefixes() const {
    const auto n = static_cast<std::int64_t>(served_.tokens.size());
    const std::int64_t count = std::min(n, kMostPrefixes);
    std::vector<std::int64_t> out;
    for (std::int64_t i = 1; i <= count; ++i) out.push_back(n * i / count);
    return out;
  }
  Json first_tokens(std::int64_t n) const { return Json(std::span(served_.tokens).first(static_cast<std::size_t>(n))); }

  // The id whose text it is; nothing where none or several have it.
  std::optional<TokenId> id_of(std::string_view text) {
    if (ids_.empty()) {
      for (TokenId id = 0; id < model_.shape().n_vocab; ++id) {
        const auto piece = model_.tokenizer().piece(id, true);
        if (!piece.ok() || piece->empty()) continue;
        const auto [at, fresh] = ids_.emplace(*piece, id);
        if (!fresh) at->second = -1;
      }
    }
    const auto found = ids_.find(std::string(text));
    if (found == ids_.end() || found->second < 0) return std::nullopt;
    return found->second;
  }

  void add(std::int64_t n, std::optional<std::int64_t> id, double logprob) {
    if (!id || *id < 0 || *id >= model_.shape().n_vocab) return;
    served_.values.push_back({n - 1, static_cast<TokenId>(*id), logprob});
  }

  Status ask_llama() {
    for (const std::int64_t n : prefixes()) {
      ROWMAX_TRY(answer, post("/completion", Json{{"prompt", first_tokens(n)},
                                                  {"n_predict", 1},
                                                  {"n_probs", kTop},
                                                  {"temperature", 0.0},
                                                  {"cache_prompt", false}}));
      const engine::Json step = answer.root().find("completion_probabilities").at(0);
      if (!step) {
        return Error{ErrorCode::kCorrupt,
                     flags_.url + "/completion: expected completion_probabilities, found " + answer.root().text()};
      }
      for (const engine::Json each : step.find("top_logprobs").elements()) {
        add(n, each.find("id").as_int(), each.find("logprob").as_double());
      }
      for (const engine::Json each : step.find("probs").elements()) {  // until 2024
        const auto id = id_of(each.find("tok_str").as_string());
        if (id && each.find("prob").as_double() > 0) add(n, *id, std::log(each.find("prob").as_double()));
      }
    }
    return {};
  }

  Status ask_openai() {
    const auto n_token = static_cast<std::int64_t>(served_.tokens.size());
    const auto question = [&](std::int64_t n, bool echo) {
      Json json{{"model", flags_.model},
                {"prompt", first_tokens(n)},
                {"max_tokens", 1},
                {"temperature", 0.0},
                {"logprobs", 5}};
      if (echo) json.append("echo", true);
      return json;
    };
    const auto logprobs_of = [](const Answer& answer) { return answer.root().find("choices").at(0).find("logprobs"); };
    if (const auto echoed = post("/v1/completions", question(n_token, true)); echoed.ok()) {
      const engine::Json values = logprobs_of(*echoed).find("token_logprobs");
      if (static_cast<std::int64_t>(values.size()) >= n_token && n_token > 1) {
        std::int64_t i = 0;
        for (const engine::Json value : values.elements()) {
          if (i > 0 && i < n_token && value.is_number()) {
            add(i, served_.tokens[static_cast<std::size_t>(i)], value.as_double());
          }
          ++i;
        }
        return {};
      }
    } else if (echoed.error().code == ErrorCode::kNotFound || echoed.error().code == ErrorCode::kCancelled) {
      return echoed.error();
    }
    for (const std::int64_t n : prefixes()) {
      ROWMAX_TRY(answer, post("/v1/completions", question(n, false)));
      for (const auto& [text, value] : logprobs_of(answer).find("top_logprobs").at(0).members()) {
        add(n, id_of(text), value.as_double());
      }
    }
    return {};
  }

  ServerFlags flags_;
  const engine::Model& model_;
  doctor::ServedLogprobs served_;
  std::map<std::string, TokenId> ids_;  // -1: of several
};

}  // namespace

Result<doctor::ServedLogprobs> ask_server(const ServerFlags& flags, const engine::Model& model,
                                          std::span<const TokenId> tokens) {
  return Server(flags, model, tokens).ask();
}

}  // namespace rowmax::cli
