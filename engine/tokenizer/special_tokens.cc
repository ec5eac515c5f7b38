#include "engine/tokenizer/special_tokens.h"

#include <utility>

namespace rowmax::engine {

SpecialTokens::SpecialTokens() : roots_(256, -1) {}

std::int32_t SpecialTokens::child(std::int32_t node, char byte) const noexcept {
  std::int32_t at = nodes_[static_cast<std::size_t>(node)].first_child;
  while (at != -1 && nodes_[static_cast<std::size_t>(at)].byte != byte)
    at = nodes_[static_cast<std::size_t>(at)].sibling;
  return at;
}

TokenId SpecialTokens::add(std::string_view text, TokenId id) {
  const auto fresh = [this](char byte, std::int32_t sibling) {
    nodes_.push_back(Node{-1, sibling, -1, byte});
    return static_cast<std::int32_t>(nodes_.size() - 1);
  };
  std::int32_t& root = roots_[static_cast<unsigned char>(text[0])];
  if (root == -1) root = fresh(text[0], -1);
  std::int32_t node = root;
  for (const char byte : text.substr(1)) {
    std::int32_t next = child(node, byte);
    if (next == -1) {
      next = fresh(byte, nodes_[static_cast<std::size_t>(node)].first_child);
      nodes_[static_cast<std::size_t>(node)].first_child = next;
    }
    node = next;
  }
  return std::exchange(nodes_[static_cast<std::size_t>(node)].id, id);
}

SpecialTokens::Match SpecialTokens::find(std::string_view text, std::size_t from) const noexcept {
  if (nodes_.empty()) return {};
  for (std::size_t begin = from; begin < text.size(); ++begin) {
    std::int32_t node = roots_[static_cast<unsigned char>(text[begin])];
    Match best;
    for (std::size_t i = begin + 1; node != -1; ++i) {
      const TokenId id = nodes_[static_cast<std::size_t>(node)].id;
      if (id != -1) best = {begin, i - begin, id};
      node = i < text.size() ? child(node, text[i]) : -1;
    }
    if (best.id != -1) return best;
  }
  return {};
}

}  // namespace rowmax::engine
