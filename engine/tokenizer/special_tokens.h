// Finds the texts of special tokens inside a text: leftmost first, the longest of those that start at one place, as
// Hugging Face `tokenizers` does with added tokens.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/tokenizer/vocabulary.h"

namespace rowmax::engine {

class SpecialTokens {
 public:
  SpecialTokens();
  // text not empty. The token that had the text before, whose place it takes, or -1.
  TokenId add(std::string_view text, TokenId id);

  struct Match {
    std::size_t begin = std::string_view::npos;  // npos: none
    std::size_t size = 0;
    TokenId id = -1;
  };
  // The first match at or after `from`. Time: the text's length times the longest special token's at most.
  Match find(std::string_view text, std::size_t from) const noexcept;

 private:
  // A trie; the children of a node are a linked list (special tokens are few and their branches narrow).
  struct Node {
    std::int32_t first_child = -1;
    std::int32_t sibling = -1;
    TokenId id = -1;
    char byte = 0;
  };
  std::vector<Node> nodes_;
  std::vector<std::int32_t> roots_;  // the node of each first byte, -1 for none

  std::int32_t child(std::int32_t node, char byte) const noexcept;
};

}  // namespace rowmax::engine
