#include "apps/server/prompt_text.h"

#include <algorithm>
#include <utility>

namespace rowmax::server {
namespace {

using engine::TemplateValue;

// Bytes and messages that may be compared to find messages: more than any conversation needs that a template prints as it
// is. Behind them the rest is the last message's that was found.
constexpr std::size_t kMostCompared = std::size_t{32} << 20;
constexpr std::size_t kLongestRole = 64;  // that is kept

struct Message {
  std::string_view role, content;
  bool has_calls = false;
};

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::vector<Message> messages_of(const engine::ChatInput& input) {
  std::vector<Message> messages;
  for (const TemplateValue& each : input.messages.list) {
    Message message;
    for (const auto& [key, value] : each.dict) {
      if (key == "role") message.role = value.string;
      if (key == "content") message.content = trimmed(value.string);
      if (key == "tool_calls") message.has_calls = !value.list.empty();
    }
    messages.push_back(message);
  }
  return messages;
}

// Goes through the caller's pieces in order, and says whose they are.
class Finder {
 public:
  explicit Finder(const engine::ChatInput& input)
      : messages_(messages_of(input)), has_tools_(!input.tools.list.empty()) {}

  void find(std::string_view text, PromptPart& part) {
    for (std::size_t i = next_; i < messages_.size() && compared_ < kMostCompared; ++i) {
      const Message& message = messages_[i];
      ++compared_;
      if (message.content.empty() || message.content.size() > text.size()) continue;
      compared_ += message.content.size();
      const bool found = text.starts_with(message.content) || text.ends_with(message.content) ||
                         trimmed(text).starts_with(message.content);
      if (!found) continue;
      next_ = i + 1;
      return set(part, i);
    }
    // What is printed of a message before its content, and behind it.
    const bool is_role = next_ < messages_.size() && trimmed(text) == messages_[next_].role;
    if (is_role) return set(part, next_);
    if (has_tools_ && (next_ == 0 || !messages_[next_ - 1].has_calls)) {
      part.kind = PromptPart::Kind::kTools;
    } else if (!messages_.empty()) {
      set(part, next_ == 0 ? 0 : next_ - 1);
    }
  }

 private:
  void set(PromptPart& part, std::size_t message) const {
    part.kind = PromptPart::Kind::kMessage;
    part.message = static_cast<std::int64_t>(message);
    part.role = messages_[message].role.substr(0, kLongestRole);
  }

  const std::vector<Message> messages_;
  const bool has_tools_;
  std::size_t next_ = 0;  // the first message that was not found yet
  std::size_t compared_ = 0;
};

// Bytes that a value takes, or more than `most`.
std::size_t footprint(const TemplateValue& value, std::size_t most) {
  std::size_t bytes = sizeof(TemplateValue) + value.string.size();
  for (const TemplateValue& each : value.list) {
    if (bytes <= most) bytes += footprint(each, most - bytes);
  }
  for (const auto& [key, each] : value.dict) {
    if (bytes <= most) bytes += sizeof(key) + key.size() + footprint(each, most - bytes);
  }
  return bytes;
}

}  // namespace

std::size_t footprint(const engine::ChatInput& input, std::size_t most) {
  std::size_t bytes = 0;
  const auto add = [&](const TemplateValue& value) {
    if (bytes <= most) bytes += footprint(value, most - bytes);
  };
  for (const TemplateValue* value : {&input.messages, &input.tools, &input.documents}) add(*value);
  for (const auto& [name, value] : input.variables) add(value);
  return bytes;
}

const PromptPart* part_at(const PromptText& prompt, std::size_t byte) {
  const auto found = std::ranges::upper_bound(prompt.parts, byte, {}, &PromptPart::end);
  return found == prompt.parts.end() ? nullptr : &*found;
}

PromptText plain_prompt_text(std::string text) {
  PromptText prompt;
  prompt.parts.push_back({0, text.size(), PromptPart::Kind::kText, -1, {}});
  prompt.text = std::move(text);
  return prompt;
}

PromptText chat_prompt_text(const std::vector<engine::TemplatePiece>& pieces, const engine::ChatInput& input) {
  PromptText prompt;
  prompt.now = input.now;
  Finder finder(input);
  for (const engine::TemplatePiece& piece : pieces) {
    if (piece.text.empty()) continue;
    PromptPart part;
    part.begin = prompt.text.size();
    prompt.text += piece.text;
    part.end = prompt.text.size();
    part.kind = PromptPart::Kind::kTemplate;
    if (piece.from_user) finder.find(piece.text, part);
    prompt.parts.push_back(std::move(part));
  }
  return prompt;
}

}  // namespace rowmax::server
