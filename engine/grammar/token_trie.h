// Tokens by their bytes, arranged so that those with a common beginning are tried together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "rowmax/engine/types.h"

namespace rowmax::engine::grammar {

// A tree in the order of a walk through it: a node's children follow it, up to the node `end`.
struct TokenTrie {
  struct Node {
    std::uint32_t end = 0;
    std::uint32_t first_token = 0;  // its tokens: up to the next node's first
    std::uint16_t depth = 0;        // how many bytes
    std::uint8_t byte = 0;          // the last of them
  };
  std::vector<Node> nodes;  // node 0: no bytes; the last one: behind all
  std::vector<TokenId> tokens;
  std::size_t max_bytes = 0;  // of a token

  std::uint32_t root_end() const { return static_cast<std::uint32_t>(nodes.size() - 1); }
};

// Of tokens with their bytes, at least one and at most 65,535 each, sorted by the bytes.
TokenTrie make_trie(std::span<const std::pair<std::string_view, TokenId>> sorted);

}  // namespace rowmax::engine::grammar
