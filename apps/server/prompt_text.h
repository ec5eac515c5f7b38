// The text that a prompt was made of, and whose each part of it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/server/normalise.h"
#include "rowmax/engine/chat.h"

namespace rowmax::server {

struct PromptPart {
  enum class Kind : std::uint8_t {
    kText,      // a prompt without messages
    kTemplate,  // the chat template's own words
    kMessage,   // what stands in a message: its content, its role, its calls
    kTools,
    kAnswer,  // what was generated behind the prompt
  };
  std::size_t begin = 0, end = 0;  // bytes
  Kind kind = Kind::kText;
  std::int64_t message = -1;  // its index, of kMessage
  std::string role;           // the message's
};

struct PromptText {
  std::string text;
  std::vector<PromptPart> parts;  // in order, without gaps
  std::vector<Normalised> normalised;
  std::vector<std::int64_t> places;  // prompt_places.h
  std::int64_t now = 0;              // that the template was rendered with
  // The same prompt at another time; empty where the template prints none, or what it was rendered from is too large to
  // be kept. The bytes that it takes.
  std::function<std::string(std::int64_t now)> at_another_time;
  std::size_t input_bytes = 0;
};

// Bytes that it takes, or some number above `most`.
std::size_t footprint(const engine::ChatInput& input, std::size_t most);

// nullptr where the byte is behind the end.
const PromptPart* part_at(const PromptText& prompt, std::size_t byte);

// A prompt that is a text.
PromptText plain_prompt_text(std::string text);

// Of what a template made of a conversation. A message is found by its content, in the order of the messages; other
// strings of the caller's belong to the tools where there are some and the message before them calls none, else to
// the message before them.
PromptText chat_prompt_text(const std::vector<engine::TemplatePiece>& pieces, const engine::ChatInput& input);

}  // namespace rowmax::server
