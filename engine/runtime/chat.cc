#include "rowmax/engine/chat.h"

#include <algorithm>
#include <utility>

#include "base/guarded.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

Result<TemplateValue> chat_globals(const Tokenizer& tokenizer, const ChatInput& input) {
  using Kind = TemplateValue::Kind;
  if (input.messages.kind != Kind::kList) return Error::invalid_argument("messages: expected a list of dicts");
  for (std::size_t i = 0; i < input.messages.list.size(); ++i) {
    if (input.messages.list[i].kind == Kind::kDict) continue;
    return Error::invalid_argument("messages: expected a list of dicts; number " + std::to_string(i) + " is none");
  }
  const auto token_text = [&](TokenId id) {
    return TemplateValue::of(id >= 0 ? std::string(tokenizer.text(id)) : std::string());
  };
  std::vector<std::pair<std::string, TemplateValue>> globals = {
      {"messages", input.messages},
      {"tools", input.tools},
      {"documents", input.documents},
      {"add_generation_prompt", TemplateValue::of(input.add_generation_prompt)},
      {"bos_token", token_text(tokenizer.bos())},
      {"eos_token", token_text(tokenizer.eos())}};
  for (const auto& variable : input.variables) {
    const bool taken = std::ranges::any_of(globals, [&](const auto& g) { return g.first == variable.first; });
    if (taken) return Error::invalid_argument("variables: " + variable.first + " is given already");
    globals.push_back(variable);
  }
  return TemplateValue::make_dict(std::move(globals));
}

Result<std::vector<TokenId>> encode(const Model& model, const ChatTemplate& chat_template, const ChatInput& input,
                                    std::vector<TemplatePiece>& pieces) {
  const Tokenizer& tokenizer = model.tokenizer();
  ROWMAX_TRY(globals, chat_globals(tokenizer, input));
  ROWMAX_TRY(made, chat_template.render_pieces(globals, input.now));
  pieces = std::move(made);
  std::vector<TextPart> parts;
  for (const TemplatePiece& piece : pieces) parts.push_back({piece.text, !piece.from_user});
  ROWMAX_TRY(ids, tokenizer.encode(parts));
  // The template may write BOS, the tokenizer's flag may ask for it: one is right, two shift every position.
  const TokenId bos = tokenizer.bos();
  if (bos >= 0) {
    if (tokenizer.add_bos() && (ids.empty() || ids.front() != bos)) ids.insert(ids.begin(), bos);
    while (tokenizer.add_bos() && ids.size() > 1 && ids[0] == bos && ids[1] == bos) ids.erase(ids.begin());
  }
  return ids;
}

Result<std::vector<TokenId>> encode(const Model& model, const ChatTemplate& chat_template, const ChatInput& input,
                                    std::string* rendered) {
  std::vector<TemplatePiece> pieces;
  ROWMAX_TRY(ids, encode(model, chat_template, input, pieces));
  if (rendered != nullptr) {
    rendered->clear();
    for (const TemplatePiece& piece : pieces) *rendered += piece.text;
  }
  return ids;
}

}  // namespace

Result<std::vector<TokenId>> encode_chat_pieces(const Model& model, const ChatTemplate& chat_template,
                                                const ChatInput& input, std::vector<TemplatePiece>& pieces) {
  return base::guarded([&] { return encode(model, chat_template, input, pieces); });
}

Result<std::vector<TokenId>> encode_chat(const Model& model, const ChatTemplate& chat_template, const ChatInput& input,
                                         std::string* rendered) {
  return base::guarded([&] { return encode(model, chat_template, input, rendered); });
}

Result<std::vector<TokenId>> encode_chat(const Model& model, const ChatTemplate& chat_template,
                                         std::span<const ChatMessage> messages, bool add_generation_prompt,
                                         std::int64_t now, std::string* rendered) {
  return base::guarded([&] {
    std::vector<TemplateValue> list;
    for (const ChatMessage& message : messages) {
      list.push_back(TemplateValue::make_dict(
          {{"role", TemplateValue::of(message.role)}, {"content", TemplateValue::of(message.content)}}));
    }
    ChatInput input;
    input.messages = TemplateValue::make_list(std::move(list));
    input.add_generation_prompt = add_generation_prompt;
    input.now = now;
    return encode(model, chat_template, input, rendered);
  });
}

Result<std::vector<TokenId>> encode_prompt(const Model& model, std::string_view text, bool parse_special) {
  return base::guarded([&]() -> Result<std::vector<TokenId>> {
    const Tokenizer& tokenizer = model.tokenizer();
    ROWMAX_TRY(ids, tokenizer.encode(text, parse_special));
    if (tokenizer.add_bos() && tokenizer.bos() >= 0 && (ids.empty() || ids.front() != tokenizer.bos())) {
      ids.insert(ids.begin(), tokenizer.bos());
    }
    return ids;
  });
}

}  // namespace rowmax::engine
