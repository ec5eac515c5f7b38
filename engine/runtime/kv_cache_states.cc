// Recurrent states that are kept: checkpoints at tokens of blocks, and the mark that a sequence has before drafts.
#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "engine/runtime/kv_cache.h"
#include "engine/runtime/kv_pages.h"

namespace rowmax::engine {
namespace {

constexpr std::uint64_t bit_of(std::int64_t n_tokens) noexcept { return std::uint64_t{1} << (n_tokens - 1); }

// Of states behind at most so many tokens of a block.
constexpr std::uint64_t bits_up_to(std::int64_t n_tokens) noexcept {
  return n_tokens == 0 ? 0 : ~std::uint64_t{0} >> (64 - n_tokens);
}

// The block in which the token before a position lies, and how many of its tokens are before the position.
constexpr std::size_t block_before(std::int64_t position) noexcept {
  return static_cast<std::size_t>((position - 1) / KvCache::kPageTokens);
}
constexpr std::int64_t tokens_before(std::int64_t position) noexcept {
  return (position - 1) % KvCache::kPageTokens + 1;
}

}  // namespace

static_assert(KvCache::kPageTokens == 64);  // a bit for each

float* KvCache::state(SequenceId id) noexcept {
  if (shape_.state_floats == 0) return nullptr;
  return states_.as<float>() + sequences_[static_cast<std::size_t>(id)].state_slot * shape_.state_floats;
}

bool KvCache::has_checkpoint(SequenceId id, std::int64_t position) const noexcept {
  return (block(sequence(id).blocks[block_before(position)]).states & bit_of(tokens_before(position))) != 0;
}

std::size_t KvCache::checkpoint_at(std::int32_t id, std::int64_t n_tokens) const noexcept {
  const auto is_it = [&](const Checkpoint& each) { return each.block == id && each.n_tokens == n_tokens; };
  return static_cast<std::size_t>(std::ranges::find_if(checkpoints_, is_it) - checkpoints_.begin());
}

std::int64_t KvCache::last_state(std::int32_t id, std::int64_t n) const noexcept {
  if (shape_.state_floats == 0) return n;
  return 64 - std::countl_zero(block(id).states & bits_up_to(n));
}

// Whether there is room for one more beside n_taken. The least recently used go, of those that nobody is likely to go on
// from while they have more than a quarter of all places, else of the others.
bool KvCache::make_checkpoint_room(std::size_t n_taken, bool is_likely) noexcept {
  const std::int64_t n_bytes = shape_.state_floats * static_cast<std::int64_t>(sizeof(float));
  const std::size_t most =
      std::min(checkpoints_.capacity(), static_cast<std::size_t>(shape_.checkpoint_bytes / n_bytes));
  while (checkpoints_.size() + n_taken + 1 > most) {
    if (checkpoints_.empty()) return false;
    const auto n_unlikely = static_cast<std::size_t>(std::ranges::count(checkpoints_, false, &Checkpoint::is_likely));
    if (!is_likely && n_unlikely == 0 && most < 4) return false;
    const bool of_unlikely = n_unlikely + (is_likely ? 0 : 1) > most / 4;
    auto goes = std::ranges::find(checkpoints_, !of_unlikely, &Checkpoint::is_likely);
    if (goes == checkpoints_.end()) goes = checkpoints_.begin();
    block(goes->block).states &= ~bit_of(goes->n_tokens);
    checkpoints_.erase(goes);
  }
  return true;
}

base::Buffer KvCache::take_checkpoint(std::size_t n_taken, bool is_likely) noexcept {
  if (shape_.state_floats == 0 || !make_checkpoint_room(n_taken, is_likely)) return {};
  auto made = base::Buffer::allocate(static_cast<std::size_t>(shape_.state_floats) * sizeof(float));
  return made.ok() ? std::move(made).value() : base::Buffer();
}

void KvCache::keep_checkpoint(SequenceId id, std::int64_t position, base::Buffer state, bool is_likely) noexcept {
  const std::int32_t at = sequence(id).blocks[block_before(position)];
  const std::int64_t n_tokens = tokens_before(position);
  block(at).states |= bit_of(n_tokens);
  checkpoints_.push_back({at, static_cast<std::int32_t>(n_tokens), is_likely, std::move(state)});  // there is room
}

void KvCache::save_checkpoint(SequenceId id, std::int64_t position, bool is_likely) noexcept {
  if (shape_.state_floats == 0 || position == 0) return;
  if (has_checkpoint(id, position)) {
    Checkpoint& there =
        checkpoints_[checkpoint_at(sequence(id).blocks[block_before(position)], tokens_before(position))];
    there.is_likely = there.is_likely || is_likely;
    std::memcpy(there.state.data(), state(id), there.state.size());
    return;
  }
  base::Buffer copy = take_checkpoint(0, is_likely);
  if (copy.size() == 0) return;
  std::memcpy(copy.data(), state(id), copy.size());
  keep_checkpoint(id, position, std::move(copy), is_likely);
}

// Those behind more than so many of the block's tokens.
void KvCache::drop_checkpoints(std::int32_t id, std::int64_t behind) noexcept {
  if ((block(id).states & ~bits_up_to(behind)) == 0) return;
  block(id).states &= bits_up_to(behind);
  std::erase_if(checkpoints_, [&](const Checkpoint& each) { return each.block == id && each.n_tokens > behind; });
}

// Those behind at most n_tokens, which both blocks begin with, where the other has none.
void KvCache::move_checkpoints(std::int32_t from, std::int32_t to, std::int64_t n_tokens) noexcept {
  const std::uint64_t moved = block(from).states & ~block(to).states & bits_up_to(n_tokens);
  if (moved == 0) return;
  for (Checkpoint& each : checkpoints_) {
    if (each.block == from && (moved & bit_of(each.n_tokens)) != 0) each.block = to;
  }
  block(from).states &= ~moved;
  block(to).states |= moved;
}

void KvCache::save_mark(SequenceId id, std::int64_t position) noexcept {
  SequenceState& sequence = sequences_[static_cast<std::size_t>(id)];
  const auto n_bytes = static_cast<std::size_t>(shape_.state_floats) * sizeof(float);
  if (n_bytes == 0) return;
  if (sequence.mark.size() == 0) {
    auto made = base::Buffer::allocate(n_bytes);
    if (!made.ok()) return;  // it saves time, and nothing else
    sequence.mark = std::move(made).value();
  }
  std::memcpy(sequence.mark.data(), state(id), n_bytes);
  sequence.mark_position = position;
}

void KvCache::restore(SequenceId id, std::int64_t position) noexcept {
  if (shape_.state_floats == 0) return;
  const auto n_bytes = static_cast<std::size_t>(shape_.state_floats) * sizeof(float);
  if (position == 0) {
    std::memset(state(id), 0, n_bytes);
    return;
  }
  const SequenceState& sequence = sequences_[static_cast<std::size_t>(id)];
  if (position == sequence.mark_position) {
    std::memcpy(state(id), sequence.mark.data(), n_bytes);
    return;
  }
  const std::size_t from = checkpoint_at(sequence.blocks[block_before(position)], tokens_before(position));
  std::memcpy(state(id), checkpoints_[from].state.data(), n_bytes);
  const auto used = checkpoints_.begin() + static_cast<std::ptrdiff_t>(from);
  std::rotate(used, used + 1, checkpoints_.end());
}

bool KvCache::windows_are_there(std::span<const std::int32_t> blocks, std::int64_t position) const noexcept {
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    for (std::int64_t i = first_page_seen(groups_[g].window, position); groups_[g].window > 0 && i < pages_of(position);
         ++i) {
      if (held(blocks[static_cast<std::size_t>(i)], g).page < 0) return false;
    }
  }
  return true;
}

std::int64_t KvCache::restorable(std::span<const std::int32_t> blocks, std::int64_t n,
                                 std::int64_t mark) const noexcept {
  const bool has_state = shape_.state_floats > 0;
  if (!has_state && windows_are_there(blocks, n)) return n;
  if (mark > n || mark < 0 || !windows_are_there(blocks, mark)) mark = 0;
  for (std::int64_t i = pages_of(n) - 1; i >= 0; --i) {
    const std::int64_t begin = i * kPageTokens, within = std::min(n - begin, kPageTokens);
    // Without states a sequence can go on from anywhere; for want of a window's page, from before that page.
    std::uint64_t states = has_state ? block(blocks[static_cast<std::size_t>(i)]).states : bit_of(kPageTokens);
    for (states &= bits_up_to(within); states != 0;) {
      const std::int64_t n_tokens = 64 - std::countl_zero(states);
      if (begin + n_tokens <= mark) return mark;
      if (windows_are_there(blocks, begin + n_tokens)) return begin + n_tokens;
      states &= ~bit_of(n_tokens);
    }
  }
  return mark;
}

// Why a sequence that holds n tokens in `blocks` can go on no later than from `kept`.
PrefixReuse::Limit KvCache::limit_of(std::span<const std::int32_t> blocks, std::int64_t n,
                                     std::int64_t kept) const noexcept {
  if (shape_.state_floats == 0) return PrefixReuse::Limit::kWindow;
  for (std::int64_t i = kept / kPageTokens; i < pages_of(n); ++i) {
    const std::int64_t begin = i * kPageTokens, within = std::min(n - begin, kPageTokens);
    const std::uint64_t before = bits_up_to(std::max<std::int64_t>(kept - begin, 0));
    if ((block(blocks[static_cast<std::size_t>(i)]).states & bits_up_to(within) & ~before) != 0) {
      return PrefixReuse::Limit::kWindow;
    }
  }
  return PrefixReuse::Limit::kCheckpoint;
}

}  // namespace rowmax::engine
