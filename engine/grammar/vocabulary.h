// What GrammarVocabulary holds.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/grammar/token_trie.h"
#include "rowmax/engine/grammar.h"

namespace rowmax::engine {

// Short tokens lie apart from long ones. A repetition that has room for ten more characters tells only long tokens
// anything, and those are few: what is known of the short ones stays.
struct GrammarVocabulary::Impl {
  static constexpr std::array<std::size_t, 3> kMaxBytes = {6, 20, 65'535};

  std::string bytes;                   // of all tokens that are text
  std::vector<std::uint32_t> offsets;  // [tokens + 1]
  std::vector<TokenId> end_tokens;
  std::array<grammar::TokenTrie, kMaxBytes.size()> tries;

  std::size_t size() const { return offsets.size() - 1; }
  std::string_view piece(TokenId id) const {
    const auto i = static_cast<std::size_t>(id);
    return std::string_view(bytes).substr(offsets[i], offsets[i + 1] - offsets[i]);
  }
};

}  // namespace rowmax::engine
