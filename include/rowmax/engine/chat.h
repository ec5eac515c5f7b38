// From conversations and texts to token ids.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rowmax/engine/chat_template.h"
#include "rowmax/engine/model.h"
#include "rowmax/result.h"

namespace rowmax::engine {

struct ChatMessage {
  std::string role;  // system, user, assistant
  std::string content;
};

// What a template is rendered with, as Hugging Face transformers' apply_chat_template hands it over. Strings of messages,
// tools and documents are the user's: no control token comes from them.
struct ChatInput {
  TemplateValue
      messages;         // a list of dicts: role, content, and what the template knows (tool_calls, reasoning_content)
  TemplateValue tools;  // a list of JSON schemas; None where there are none
  TemplateValue documents;  // a list of dicts; None where there are none
  bool add_generation_prompt = true;
  // Other names that the template asks for (enable_thinking, ...). Strings in one called *_token count as the
  // template's own text: control tokens may come from it. kInvalidArgument for the names above, bos_token and eos_token.
  std::vector<std::pair<std::string, TemplateValue>> variables;
  std::int64_t now = 0;  // seconds since the epoch (UTC), for templates that print the date
};

// Renders with the template and tokenizes: control tokens only from the template's own text, exactly one BOS where the
// model wants one. bos_token and eos_token are the model's. rendered (may be null) gets the text. kInvalidArgument when
// messages are no list of dicts; the template's errors as ChatTemplate::render_pieces has them.
Result<std::vector<TokenId>> encode_chat(const Model& model, const ChatTemplate& chat_template, const ChatInput& input,
                                         std::string* rendered);
// The same; what is rendered comes in its pieces.
Result<std::vector<TokenId>> encode_chat_pieces(const Model& model, const ChatTemplate& chat_template,
                                                const ChatInput& input, std::vector<TemplatePiece>& pieces);
// The same for messages of texts alone.
Result<std::vector<TokenId>> encode_chat(const Model& model, const ChatTemplate& chat_template,
                                         std::span<const ChatMessage> messages, bool add_generation_prompt,
                                         std::int64_t now, std::string* rendered);

// Plain text as a prompt: BOS first where the model wants one (exactly one); control tokens are text unless
// parse_special.
Result<std::vector<TokenId>> encode_prompt(const Model& model, std::string_view text, bool parse_special);

}  // namespace rowmax::engine
