#include "apps/server/prompt_places.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace rowmax::server {
namespace {

using engine::TemplateValue;
using engine::TokenId;

TemplateValue message_of(const char* role) {
  return TemplateValue::make_dict({{"role", TemplateValue::of(role)}, {"content", TemplateValue::of("x")}});
}

// How many tokens the next turn begins with, as the template writes it; 0 where it writes none.
std::int64_t common_with_next_turn(const ServedModel& served, const engine::ChatInput& input,
                                   const std::vector<TokenId>& tokens) {
  engine::ChatInput next = input;
  next.messages.list.push_back(message_of("assistant"));
  next.messages.list.push_back(message_of("user"));
  std::vector<engine::TemplatePiece> pieces;
  const auto ids = engine::encode_chat_pieces(*served.model, *served.chat_template, next, pieces);
  if (!ids.ok()) return 0;
  return std::ranges::mismatch(tokens, *ids).in1 - tokens.begin();
}

// The bytes of the prompt's text at which the messages' contents begin.
std::vector<std::size_t> beginnings(const engine::ChatInput& input, const PromptText& prompt) {
  const auto begin_of = [&](const auto& is_it) {
    for (const PromptPart& part : prompt.parts) {
      const bool is_role = std::string_view(prompt.text).substr(part.begin, part.end - part.begin) == part.role;
      if (part.kind == PromptPart::Kind::kMessage && !is_role && is_it(part)) return part.begin;
    }
    return std::size_t{0};
  };
  const std::int64_t last = std::ssize(input.messages.list) - 1;
  return {begin_of([](const PromptPart& part) { return part.role == "user"; }),
          begin_of([&](const PromptPart& part) { return part.message == last; })};
}

}  // namespace

std::vector<std::int64_t> prompt_places(const ServedModel& served, const engine::ChatInput& input,
                                        const PromptText& prompt, const std::vector<TokenId>& tokens) {
  std::vector<std::int64_t> places;
  if (!served.keeps_places) return places;
  if (input.add_generation_prompt) places.push_back(common_with_next_turn(served, input, tokens));
  // The bytes of each token; those before the text's (a BOS that no template wrote) count for nothing.
  std::vector<std::size_t> sizes;
  std::size_t total = 0;
  for (const TokenId& token : tokens) {
    const auto piece = served.tokenizer().decode({&token, 1}, true);
    sizes.push_back(piece.ok() ? piece->size() : 0);
    total += sizes.back();
  }
  const std::size_t before = total > prompt.text.size() ? total - prompt.text.size() : 0;
  for (const std::size_t byte : beginnings(input, prompt)) {
    std::size_t end = 0;
    std::int64_t n = 0;
    for (const std::size_t size : sizes) {
      if (end + size > byte + before) break;
      end += size;
      ++n;
    }
    places.push_back(n);
  }
  std::ranges::sort(places);
  places.erase(std::unique(places.begin(), places.end()), places.end());
  std::erase_if(places, [&](std::int64_t place) { return place <= 0 || place > std::ssize(tokens); });
  return places;
}

}  // namespace rowmax::server
