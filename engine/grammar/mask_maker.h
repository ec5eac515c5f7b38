// From a state of the machine to the tokens that may come next.
//
// What a token does to an item is the same whatever lies below the item's frame, until the rule ends inside of the token. So
// each item is looked at once, alone: which tokens it takes, and in which nodes of the tries its rule may end; only from
// those nodes on does the walk depend on the frame. Inside of a string, wherever it stands, nearly all tokens are known.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <tuple>
#include <vector>

#include "engine/grammar/machine.h"
#include "engine/grammar/vocabulary.h"

namespace rowmax::engine::grammar {

class MaskMaker {
 public:
  MaskMaker(Machine& machine, const GrammarVocabulary::Impl& vocabulary);

  // Sets the bits of the tokens whose bytes the state goes on with. allowed has a bit for each token. Where the machine
  // has failed then, they are not all there.
  void add_tokens(StateId state, std::span<std::uint64_t> allowed);

  std::size_t bytes() const { return bytes_; }
  void forget();

 private:
  // Ids where there are few, else a bitmap.
  struct TokenSet {
    bool is_bitmap = false;
    std::vector<std::uint64_t> words;
    std::vector<TokenId> ids;
  };
  struct Alone {
    TokenSet tokens;
    std::vector<std::uint32_t> ends;  // nodes in which the item's rule may end
  };
  using Key = std::tuple<std::size_t, Item>;  // which trie; the item, on the bottom frame

  const Alone& alone(std::size_t trie, Item item);
  void walk(const TokenTrie& trie, std::uint32_t node, StateId state, std::span<std::uint64_t> allowed,
            std::vector<std::uint32_t>* ends);
  TokenSet stored(std::span<const std::uint64_t> bits);
  static void add(const TokenSet& set, std::span<std::uint64_t> allowed);

  Machine& machine_;
  const GrammarVocabulary::Impl& vocabulary_;
  std::map<Key, Alone> alone_;
  std::map<StateId, TokenSet> known_;
  std::vector<StateId> path_;  // states along the bytes of a walk
  std::vector<std::uint64_t> bits_;
  Alone failed_;
  std::size_t bytes_ = 0;
};

}  // namespace rowmax::engine::grammar
