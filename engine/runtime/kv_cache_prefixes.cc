// What sequences offer to each other, and take up: blocks found by their tokens and the block before them.
#include <algorithm>
#include <utility>

#include "engine/runtime/kv_cache.h"
#include "engine/runtime/kv_pages.h"

namespace rowmax::engine {
namespace {

// Blocks that begin like what is wanted are looked at on both sides of its place, so many at most: which of them has most
// in common is beside it, but one that has less may have a state, or pages, that it lacks.
constexpr int kNeighbours = 8;

std::int64_t common_length(std::span<const TokenId> a, std::span<const TokenId> b) {
  return std::ranges::mismatch(a, b).in1 - a.begin();
}

}  // namespace

std::int32_t KvCache::find_published(std::int32_t parent, std::span<const TokenId> tokens) const {
  const auto found = full_.find(Key{parent, 0, tokens});
  return found == full_.end() ? -1 : *found;
}

std::int32_t KvCache::find_beginning(Key key) const {
  while (key.tokens.size() > 1) {
    key.tokens = key.tokens.first(key.tokens.size() - 1);
    auto found = published_.upper_bound(key);
    if (found == published_.begin()) return -1;
    const Block& b = block(*--found);
    if (b.parent != key.parent || b.owner != key.owner) return -1;
    const std::int64_t n = common_length(b.tokens, key.tokens);
    if (n == std::ssize(b.tokens)) return *found;
    key.tokens = key.tokens.first(static_cast<std::size_t>(n + 1));  // what is wanted can have no more than n
  }
  return -1;
}

KvCache::Begun KvCache::find_begun(const Key& key) const {
  Begun best;
  std::int64_t most = -1;
  const auto look = [&](std::int32_t id) {
    const Block& b = block(id);
    const bool is_near = b.parent == key.parent && b.owner == key.owner;
    const std::int64_t n = is_near ? common_length(b.tokens, key.tokens) : 0;
    if (n == 0) return false;
    const std::int64_t usable = has_all_pages(id) ? last_state(id, n) : 0;
    if (usable > most || (usable == most && n > best.n_tokens)) {
      most = usable;
      best = {id, n};
    }
    return true;
  };
  const auto place = published_.lower_bound(key);
  auto next = place;
  for (int i = 0; i < kNeighbours && next != published_.end() && look(*next); ++i) ++next;
  next = place;
  for (int i = 0; i < kNeighbours && next != published_.begin() && look(*--next); ++i) {
  }
  return best;
}

bool KvCache::has_all_pages(std::int32_t id) const noexcept {
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    if (held(id, g).page < 0) return false;
  }
  return true;
}

std::int64_t KvCache::reuse(SequenceId id, std::span<const TokenId> tokens) {
  SequenceState& sequence = sequences_[static_cast<std::size_t>(id)];
  const std::int64_t bound = std::min(std::ssize(tokens) - 1, shape_.context), size = std::ssize(sequence.tokens);
  const std::int64_t own = common_length(sequence.tokens, tokens.first(static_cast<std::size_t>(bound)));
  // Blocks that other sequences computed continue the whole blocks of it. All memory is taken before anything changes.
  const auto room = static_cast<std::size_t>(bound / kPageTokens + 1);
  std::vector<std::int32_t> blocks;
  blocks.reserve(room);
  sequence.blocks.reserve(std::max(room, sequence.blocks.size()));
  for (Table& table : sequence.tables) table.pages.reserve(std::max(room, table.pages.size()));
  sequence.tokens.reserve(static_cast<std::size_t>(std::max(bound, size)));
  blocks.assign(sequence.blocks.begin(), sequence.blocks.begin() + own / kPageTokens);
  std::int64_t found = std::ssize(blocks) * kPageTokens;
  while (shape_.share && found < bound) {
    // A block of this sequence is a parent only in its published form: those found by others carry that identity.
    const std::int32_t parent = blocks.empty() ? -1 : blocks.back();
    const auto n_rest = std::min(bound - found, kPageTokens);
    const auto rest = tokens.subspan(static_cast<std::size_t>(found), static_cast<std::size_t>(n_rest));
    const std::int32_t whole = n_rest == kPageTokens ? find_published(parent, rest) : -1;
    const Begun next = whole >= 0 ? Begun{whole, kPageTokens} : find_begun({parent, sequence.owner, rest});
    if (next.block < 0) break;
    blocks.push_back(next.block);
    found += next.n_tokens;
    if (whole < 0) break;
  }
  const std::int64_t alone = own == size ? own : restorable(sequence.blocks, own, sequence.mark_position);
  const std::int64_t together = restorable(blocks, found);
  if (together <= alone) {
    // Blocks that others computed were found, too, where nobody can go on from them.
    const std::int64_t all = std::max(own, found);
    const PrefixReuse::Limit limit = alone == all ? PrefixReuse::Limit::kNone : limit_of(blocks, found, alone);
    const std::int64_t kept = truncate(id, own);
    confirm(id, kept);
    last_reuse_ = {kept, all, limit};
    return kept;
  }
  last_reuse_ = {together, found, together == found ? PrefixReuse::Limit::kNone : limit_of(blocks, found, together)};
  if (sequence.mark_position > own) sequence.mark_position = -1;
  std::int64_t kept = together;
  while (true) {
    become(sequence, std::span(blocks).first(static_cast<std::size_t>(pages_of(kept))), kept);
    restore(id, kept);
    const std::int64_t begun = kept % kPageTokens;
    if (begun == 0 || make_private(sequence, begun, true)) break;
    kept = restorable(blocks, kept - begun);  // there is no room for a page of its own
  }
  last_reuse_.tokens = kept;
  sequence.tokens.assign(tokens.begin(), tokens.begin() + kept);
  sequence.confirmed = kept;
  sequence.prompt_end = kept;
  return kept;
}

void KvCache::publish(SequenceId id, std::int64_t n) {
  if (!shape_.share) return;
  SequenceState& sequence = sequences_[static_cast<std::size_t>(id)];
  n = std::min(sequence.confirmed, n);
  const auto full = static_cast<std::size_t>(n / kPageTokens);
  std::size_t first = full;
  while (first > 0 && !block(sequence.blocks[first - 1]).is_full()) --first;
  for (std::size_t i = first; i < full; ++i) {
    const std::int32_t at = sequence.blocks[i], parent = i > 0 ? sequence.blocks[i - 1] : -1;
    const std::span<const TokenId> tokens(sequence.tokens.data() + i * kPageTokens, kPageTokens);
    if (const std::int32_t twin = find_published(parent, tokens); twin >= 0) {
      replace(i, at, twin);
    } else {
      offer(at, {parent, sequence.owner, tokens});
    }
  }
  offer_begun(sequence, n);
}

// The block is found by this key from now on, whose tokens are all that it was found by before, or more.
void KvCache::offer(std::int32_t id, const Key& key) {
  absorb_beginnings(id, key);
  Block& b = block(id);
  if (b.published) {
    auto node = published_.extract(published_.find(id));
    b.tokens.assign(key.tokens.begin(), key.tokens.end());  // within what there is room for
    b.owner = key.owner;
    published_.insert(std::move(node));
  } else {
    b.tokens.reserve(kPageTokens);
    b.tokens.assign(key.tokens.begin(), key.tokens.end());  // what an unpublished block holds here says nothing
    b.parent = key.parent;
    b.owner = key.owner;
    published_.insert(id);
    b.published = true;
    if (b.parent >= 0) ++block(b.parent).children;
  }
  if (b.is_full()) full_.insert(id);
}

// The block behind the full ones, as far as it is filled.
void KvCache::offer_begun(SequenceState& sequence, std::int64_t n) {
  const auto i = static_cast<std::size_t>(n / kPageTokens);
  const std::int64_t begun = n % kPageTokens;
  if (begun == 0) return;
  const std::int32_t id = sequence.blocks[i], parent = i > 0 ? sequence.blocks[i - 1] : -1;
  if (block(id).published && std::ssize(block(id).tokens) >= begun) return;
  const std::span<const TokenId> tokens(sequence.tokens.data() + i * kPageTokens, static_cast<std::size_t>(begun));
  // Another one may begin with all of it.
  const Key key{parent, sequence.owner, tokens};
  const auto found = published_.lower_bound(key);
  if (found != published_.end() && block(*found).parent == parent && block(*found).owner == key.owner &&
      common_length(block(*found).tokens, tokens) == begun) {
    const std::int32_t other = *found;
    if (has_all_pages(other)) return move_checkpoints(id, other, begun);
    if (block(other).users > 0 || block(other).children > 0) return;
    move_checkpoints(other, id, begun);
    unpublish(other);
  }
  offer(id, key);
}

// Blocks that nobody uses and that hold a beginning of these tokens alone are not needed beside one that holds them all.
void KvCache::absorb_beginnings(std::int32_t id, Key key) noexcept {
  if (!has_all_pages(id)) return;
  for (std::int32_t found = find_beginning(key); found >= 0;) {
    const auto n = block(found).tokens.size();
    if (found != id && block(found).users == 0) {
      move_checkpoints(found, id, static_cast<std::int64_t>(n));
      unpublish(found);
    }
    key.tokens = key.tokens.first(n);
    found = find_beginning(key);
  }
}

// Another sequence's block of the same tokens behind the same ones, whose numbers have the same bits, stands in for `own`
// in all sequences that hold that one (a sequence and its forks): each block that is published has its parent before it.
// What the twin has lost since, a page that nobody saw any more or a checkpoint, it gets from here.
void KvCache::replace(std::size_t index, std::int32_t own, std::int32_t twin) noexcept {
  unpublish(own);  // of which others may know the beginning
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    if (held(twin, g).page < 0) std::swap(held(twin, g), held(own, g));  // with those who use it
  }
  move_checkpoints(own, twin, kPageTokens);
  for (SequenceState& sequence : sequences_) {
    if (sequence.blocks.size() <= index || sequence.blocks[index] != own) continue;
    use(twin);
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      Table& table = sequence.tables[g];
      const bool holds = static_cast<std::int64_t>(index) >= table.first && index < table.pages.size();
      if (!holds || table.pages[index] == held(twin, g).page) continue;
      table.pages[index] = held(twin, g).page;
      if (groups_[g].window == 0) continue;
      use(twin, g);
      let_go(own, g, Side::kNewest);
    }
    sequence.blocks[index] = twin;
    let_go(own);
  }
}

}  // namespace rowmax::engine
