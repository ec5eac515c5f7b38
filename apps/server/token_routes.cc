// POST /tokenize, /detokenize and /apply-template, GET /tokenizer_info
#include "apps/server/openai_parts.h"
#include "apps/server/routes.h"

namespace rowmax::server {

using text::Json;

namespace {

// An answer is made in memory, and a token with its piece is some 40 bytes of it (and more while it is made).
constexpr std::size_t kMostTokens = std::size_t{1} << 22, kMostTokensWithPieces = std::size_t{1} << 18;

// Refuses what would be too long an answer; false where it did.
bool tokens_fit(Call& call, std::string_view field, std::size_t n_tokens, bool with_pieces) {
  const std::size_t most = with_pieces ? kMostTokensWithPieces : kMostTokens;
  if (n_tokens <= most) return true;
  call.refuse({400,
               std::string(field) + ": expected at most " + std::to_string(most) + " tokens" +
                   (with_pieces ? " with with_pieces" : "") + ", found " + std::to_string(n_tokens),
               std::string(field)});
  return false;
}

Json tokens_json(const ServedModel& served, const std::vector<engine::TokenId>& ids, bool with_pieces) {
  Json tokens = Json::array();
  for (const engine::TokenId id : ids) {
    tokens.push_back(with_pieces ? Json{{"id", id}, {"piece", token_bytes(served, id)}} : Json(id));
  }
  return tokens;
}

}  // namespace

void tokenize(Call& call) {
  Fields& fields = call.fields;
  // content as llama.cpp has it, prompt as vLLM. All are looked at, also where the first is enough: a wrong type is told.
  const auto content = fields.string("content"), prompt = fields.string("prompt");
  const auto special = fields.boolean("add_special"), special_tokens = fields.boolean("add_special_tokens");
  const bool add_special = special.value_or(false) || special_tokens.value_or(false);
  const bool parse_special = fields.boolean("parse_special").value_or(true);
  const bool with_pieces = fields.boolean("with_pieces").value_or(false);
  if (!content && !prompt) fields.fail_missing("content", "a string");
  if (!fields.ok()) return call.refuse();
  const std::string_view text = content ? *content : *prompt;
  auto ids = add_special ? engine::encode_prompt(*call.served.model, text, parse_special)
                         : call.served.tokenizer().encode(text, parse_special);
  if (!ids.ok()) return call.refuse(api_error(ids.error()));
  if (!tokens_fit(call, content ? "content" : "prompt", ids->size(), with_pieces)) return;
  call.answer({{"tokens", tokens_json(call.served, *ids, with_pieces)},
               {"count", ids->size()},
               {"max_model_len", call.served.context}});
}

void detokenize(Call& call) {
  Fields& fields = call.fields;
  const engine::Json tokens = fields.needed_array("tokens");
  const bool special = fields.boolean("special").value_or(false);
  const std::int64_t n_vocab = call.served.model->shape().n_vocab;
  std::vector<engine::TokenId> ids;
  for (const engine::Json token : tokens.elements()) {
    const auto id = token.as_int();
    if (!id || *id < 0 || *id >= n_vocab) {
      fields.fail("tokens", "token ids 0 to " + std::to_string(n_vocab - 1), token);
      break;
    }
    ids.push_back(static_cast<engine::TokenId>(*id));
  }
  if (!fields.ok()) return call.refuse();
  const auto text = call.served.tokenizer().decode(ids, special);
  if (!text.ok()) return call.refuse(api_error(text.error()));
  call.answer({{"content", *text}, {"prompt", *text}});
}

// As vLLM has it. lm-eval asks for it, and then splits its texts by /tokenize in place of a tokenizer of its own.
void tokenizer_info(Call& call) {
  const ServedModel& served = call.served;
  const engine::Tokenizer& tokenizer = served.tokenizer();
  const auto text_of = [&](engine::TokenId id) { return id < 0 ? Json() : Json(token_bytes(served, id)); };
  call.answer({{"bos_token", text_of(tokenizer.bos())},
               {"eos_token", text_of(tokenizer.eos())},
               {"add_bos_token", tokenizer.add_bos()},
               {"vocab_size", served.model->shape().n_vocab},
               {"model_max_length", served.context},
               {"chat_template", served.chat_template == nullptr ? Json() : Json(served.template_text)}});
}

void apply_template(Call& call) {
  const engine::ChatInput chat = read_chat(call.fields);
  PromptText rendered;
  const bool with_pieces = call.fields.boolean("with_pieces").value_or(false);
  const auto ids = encode_messages(call.fields, call.served, chat, &rendered);
  if (!ids) return call.refuse();
  if (!tokens_fit(call, "messages", ids->size(), with_pieces)) return;
  call.answer({{"prompt", rendered.text}, {"tokens", tokens_json(call.served, *ids, with_pieces)}});
}

}  // namespace rowmax::server
