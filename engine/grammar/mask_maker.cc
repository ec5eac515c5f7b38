#include "engine/grammar/mask_maker.h"

#include <algorithm>
#include <bit>

namespace rowmax::engine::grammar {
namespace {

// Beyond, a state is walked as a whole.
constexpr std::size_t kMaxItemsAlone = 8;

}  // namespace

MaskMaker::MaskMaker(Machine& machine, const GrammarVocabulary::Impl& vocabulary)
    : machine_(machine), vocabulary_(vocabulary), bits_((vocabulary.size() + 63) / 64) {
  std::size_t longest = 0;
  for (const TokenTrie& trie : vocabulary.tries) longest = std::max(longest, trie.max_bytes);
  path_.resize(longest + 1);
}

void MaskMaker::forget() {
  alone_.clear();
  known_.clear();
  bytes_ = 0;
}

MaskMaker::TokenSet MaskMaker::stored(std::span<const std::uint64_t> bits) {
  std::size_t count = 0;
  for (const std::uint64_t word : bits) count += static_cast<std::size_t>(std::popcount(word));
  TokenSet set;
  set.is_bitmap = count > 2 * bits.size();
  if (set.is_bitmap) {
    set.words.assign(bits.begin(), bits.end());
  } else {
    set.ids.reserve(count);
    for (std::size_t i = 0; i < bits.size(); ++i) {
      for (std::uint64_t word = bits[i]; word != 0; word &= word - 1) {
        set.ids.push_back(static_cast<TokenId>(i * 64 + static_cast<std::size_t>(std::countr_zero(word))));
      }
    }
  }
  bytes_ += set.words.size() * sizeof(std::uint64_t) + set.ids.size() * sizeof(TokenId) + 128;
  return set;
}

void MaskMaker::add(const TokenSet& set, std::span<std::uint64_t> allowed) {
  for (std::size_t i = 0; i < set.words.size(); ++i) allowed[i] |= set.words[i];
  for (const TokenId id : set.ids) allowed[static_cast<std::size_t>(id) / 64] |= std::uint64_t{1} << (id % 64);
}

// Tries what lies below a node, in which the machine is in `state`.
void MaskMaker::walk(const TokenTrie& trie, std::uint32_t node, StateId state, std::span<std::uint64_t> allowed,
                     std::vector<std::uint32_t>* ends) {
  const std::uint32_t end = node == 0 ? trie.root_end() : trie.nodes[node].end;
  path_[trie.nodes[node].depth] = state;
  std::int64_t visited = 0;
  for (std::uint32_t i = node + 1; i < end; ++visited) {
    const TokenTrie::Node& at = trie.nodes[i];
    const StateId next = machine_.step(path_[at.depth - 1u], at.byte);
    if (next == Machine::kDead) {
      if (machine_.failed()) break;
      i = at.end;
      continue;
    }
    path_[at.depth] = next;
    for (std::uint32_t t = at.first_token; t < trie.nodes[i + 1].first_token; ++t) {
      const auto id = static_cast<std::size_t>(trie.tokens[t]);
      allowed[id / 64] |= std::uint64_t{1} << (id % 64);
    }
    if (ends != nullptr && machine_.accepts(next) && at.end > i + 1) ends->push_back(i);
    ++i;
  }
  machine_.charge(visited);
}

// Of its counters only so much matters as a token has bytes.
const MaskMaker::Alone& MaskMaker::alone(std::size_t trie, Item item) {
  const auto enough = static_cast<std::uint32_t>(vocabulary_.tries[trie].max_bytes + 1);
  item.need = std::min(item.need, enough);
  item.left = std::min(item.left, enough);
  item.frame = Machine::kBottom;
  const auto [place, is_new] = alone_.try_emplace({trie, item});
  Alone& found = place->second;
  if (!is_new) return found;
  std::ranges::fill(bits_, 0);
  walk(vocabulary_.tries[trie], 0, machine_.alone(item), bits_, &found.ends);
  if (machine_.failed()) {
    alone_.erase(place);
    return failed_;
  }
  found.tokens = stored(bits_);
  bytes_ += found.ends.size() * sizeof(std::uint32_t) + 128;
  return found;
}

void MaskMaker::add_tokens(StateId state, std::span<std::uint64_t> allowed) {
  const auto known = known_.find(state);
  if (known != known_.end()) return add(known->second, allowed);
  std::vector<std::uint64_t> sum(bits_.size());
  const bool as_a_whole = machine_.is_at_many(state) || machine_.items(state).size() > kMaxItemsAlone;
  const std::vector<Item> items(machine_.items(state).begin(), machine_.items(state).end());
  for (std::size_t k = 0; k < vocabulary_.tries.size(); ++k) {
    const TokenTrie& trie = vocabulary_.tries[k];
    if (as_a_whole) {
      walk(trie, 0, state, sum, nullptr);
      continue;
    }
    for (const Item& item : items) {
      const Alone& found = alone(k, item);
      add(found.tokens, sum);
      if (item.frame == Machine::kBottom || found.ends.empty()) continue;
      const StateId behind = machine_.behind(item.frame);
      for (const std::uint32_t node : found.ends) {
        if (machine_.failed()) return;
        walk(trie, node, behind, sum, nullptr);
      }
    }
  }
  if (machine_.failed()) return;
  const TokenSet& set = known_.emplace(state, stored(sum)).first->second;
  add(set, allowed);
}

}  // namespace rowmax::engine::grammar
