#include "engine/grammar/token_trie.h"

#include <algorithm>

namespace rowmax::engine::grammar {

TokenTrie make_trie(std::span<const std::pair<std::string_view, TokenId>> sorted) {
  TokenTrie trie;
  trie.nodes.push_back({});
  std::vector<std::uint32_t> path = {0};  // nodes along the token before
  std::string_view before;
  const auto close = [&](std::size_t depth) {
    for (; path.size() > depth + 1; path.pop_back()) {
      trie.nodes[path.back()].end = static_cast<std::uint32_t>(trie.nodes.size());
    }
  };
  for (const auto& [bytes, id] : sorted) {
    close(static_cast<std::size_t>(std::ranges::mismatch(before, bytes).in1 - before.begin()));
    while (path.size() <= bytes.size()) {
      const auto depth = static_cast<std::uint16_t>(path.size());
      const auto byte = static_cast<std::uint8_t>(bytes[path.size() - 1]);
      path.push_back(static_cast<std::uint32_t>(trie.nodes.size()));
      trie.nodes.push_back({0, static_cast<std::uint32_t>(trie.tokens.size()), depth, byte});
    }
    trie.tokens.push_back(id);
    trie.max_bytes = std::max(trie.max_bytes, bytes.size());
    before = bytes;
  }
  close(0);
  trie.nodes[0].end = static_cast<std::uint32_t>(trie.nodes.size());
  trie.nodes.push_back({0, static_cast<std::uint32_t>(trie.tokens.size()), 0, 0});
  return trie;
}

}  // namespace rowmax::engine::grammar
