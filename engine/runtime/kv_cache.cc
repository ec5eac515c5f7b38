#include "engine/runtime/kv_cache.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "base/seeded_hash.h"
#include "engine/model/batch.h"
#include "engine/runtime/kv_pages.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

std::uint64_t hash_block(std::int32_t parent, std::span<const TokenId> tokens) {
  return base::seeded_hash(static_cast<std::uint32_t>(parent)) ^
         base::seeded_hash(std::string_view(reinterpret_cast<const char*>(tokens.data()), tokens.size_bytes()));
}

// Room for n elements in all, at least doubled where it grows, so that what is appended later cannot fail.
template <class T>
void make_room(std::vector<T>& list, std::size_t n) {
  if (list.capacity() < n) list.reserve(std::max(n, 2 * list.capacity()));
}

}  // namespace

Result<KvCache> KvCache::create(const Shape& shape) {
  KvCache cache;
  cache.shape_ = shape;
  for (const Layer& layer : shape.layers) {
    if (layer.n_kv_head == 0) {
      cache.places_.push_back({});
      continue;
    }
    const auto same = std::ranges::find(cache.groups_, layer.window, &Group::window);
    const auto index = static_cast<std::size_t>(same - cache.groups_.begin());
    if (same == cache.groups_.end()) cache.groups_.push_back({.window = layer.window});
    Group& group = cache.groups_[index];
    const std::int64_t half = dtype_bytes(dtype_of(shape.type), layer.n_kv_head * layer.head_dim * kPageTokens);
    const std::int64_t values = layer.v_in_k > 0 ? 0 : half;  // behind the keys, or in them
    cache.places_.push_back({index, group.page_bytes, group.page_bytes + values});
    group.page_bytes += half + values;
    ++group.n_layer;
  }
  const std::int64_t pages_each = pages_of(shape.context), n_blocks = pages_each * shape.max_sequences;
  std::int64_t share = 0;  // of a sequence
  for (const Group& group : cache.groups_) {
    if (group.window > 0) {
      cache.has_windows_ = true;
    } else {
      cache.block_bytes_ += group.page_bytes;
    }
    share += pages_at_once(group.window, shape.rows_at_once + kMostDrafts, pages_each) * group.page_bytes;
  }
  if (cache.shape_.kv_budget_bytes == 0 &&
      __builtin_mul_overflow(share, std::int64_t{shape.max_sequences}, &cache.shape_.kv_budget_bytes)) {
    return Error{ErrorCode::kLimit, "K/V cache: context times sequences is larger than the address space"};
  }
  std::vector<KvPool::Group> pools;
  for (const Group& group : cache.groups_) {
    pools.push_back({group.page_bytes, std::min(n_blocks, cache.shape_.kv_budget_bytes / group.page_bytes)});
  }
  ROWMAX_TRY(pool, KvPool::create(pools, cache.shape_.kv_budget_bytes));
  cache.pool_ = std::move(pool);
  std::size_t state_bytes = 0;
  if (!base::checked_mul(static_cast<std::size_t>(shape.state_floats) * sizeof(float),
                         static_cast<std::size_t>(shape.max_sequences), &state_bytes)) {
    return Error{ErrorCode::kLimit, "recurrent state: sequences take more than the address space"};
  }
  if (state_bytes > 0) {
    ROWMAX_TRY(states, base::Buffer::allocate_zeroed(state_bytes));
    cache.states_ = std::move(states);
  }
  const auto n = static_cast<std::size_t>(n_blocks), n_group = cache.groups_.size();
  cache.blocks_.resize(n);
  cache.held_.resize(n * n_group);
  cache.links_.resize(n * (n_group + 1));
  cache.free_.reserve(n);  // giving a block back never fails
  for (std::int64_t id = n_blocks - 1; id >= 0; --id) cache.free_.push_back(static_cast<std::int32_t>(id));
  if (shape.state_floats > 0) cache.checkpoints_.reserve(n);
  cache.sequences_.resize(static_cast<std::size_t>(shape.max_sequences));
  for (std::size_t id = 0; id < cache.sequences_.size(); ++id) {
    cache.sequences_[id].tables.resize(n_group);
    cache.sequences_[id].state_slot = static_cast<std::int64_t>(id);
  }
  return cache;
}

KvView KvCache::view(std::int64_t layer) const noexcept {
  const auto i = static_cast<std::size_t>(layer);
  const Layer& l = shape_.layers[i];
  const DType dtype = dtype_of(shape_.type);
  KvView view = page_view(dtype, l.n_kv_head, l.head_dim, l.v_in_k);
  if (l.n_kv_head > 0) {
    view.k.page_stride = view.v.page_stride =
        groups_[places_[i].group].page_bytes / dtype_info(dtype).block_bytes * dtype_info(dtype).block_elements;
  }
  return view;
}
void* KvCache::layer_keys(std::int64_t layer) const noexcept {
  const auto i = static_cast<std::size_t>(layer);
  return shape_.layers[i].n_kv_head == 0 ? nullptr : pool_.pages(places_[i].group) + places_[i].keys;
}
void* KvCache::layer_values(std::int64_t layer) const noexcept {
  const auto i = static_cast<std::size_t>(layer);
  return shape_.layers[i].n_kv_head == 0 ? nullptr : pool_.pages(places_[i].group) + places_[i].values;
}
std::int64_t KvCache::bytes_per_token() const noexcept {
  std::int64_t total = 0;
  for (const Group& group : groups_) total += group.page_bytes;
  return total / kPageTokens;
}

float* KvCache::state(SequenceId id) noexcept {
  if (shape_.state_floats == 0) return nullptr;
  return states_.as<float>() + sequences_[static_cast<std::size_t>(id)].state_slot * shape_.state_floats;
}

void KvCache::save_checkpoint(SequenceId id, std::int64_t position) noexcept {
  const auto n_bytes = static_cast<std::size_t>(shape_.state_floats) * sizeof(float);
  if (n_bytes == 0 || static_cast<std::int64_t>(n_bytes) > shape_.checkpoint_bytes) return;
  const std::int32_t at =
      sequences_[static_cast<std::size_t>(id)].blocks[static_cast<std::size_t>(position / kPageTokens - 1)];
  drop_checkpoint(at);
  while ((n_checkpoints() + 1) * static_cast<std::int64_t>(n_bytes) > shape_.checkpoint_bytes) {
    drop_checkpoint(checkpoints_.front());
  }
  auto copy = base::Buffer::allocate(n_bytes);
  if (!copy.ok()) return;  // it saves time, and nothing else
  std::memcpy(copy->data(), state(id), n_bytes);
  block(at).checkpoint = std::move(copy).value();
  checkpoints_.push_back(at);  // there is room for one a block
}

void KvCache::drop_checkpoint(std::int32_t id) noexcept {
  if (block(id).checkpoint.size() == 0) return;
  block(id).checkpoint = {};
  checkpoints_.erase(std::ranges::find(checkpoints_, id));
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
  for (std::int64_t i = n / kPageTokens; i * kPageTokens > mark; --i) {
    if (has_state && block(blocks[static_cast<std::size_t>(i - 1)]).checkpoint.size() == 0) continue;
    if (windows_are_there(blocks, i * kPageTokens)) return i * kPageTokens;
  }
  return mark;
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
  const std::int32_t from = sequence.blocks[static_cast<std::size_t>(position / kPageTokens - 1)];
  std::memcpy(state(id), block(from).checkpoint.data(), n_bytes);
  const auto used = std::ranges::find(checkpoints_, from);
  std::rotate(used, used + 1, checkpoints_.end());
}

Result<SequenceId> KvCache::find_closed() const {
  const auto found = std::ranges::find(sequences_, false, &SequenceState::open);
  if (found != sequences_.end()) return static_cast<SequenceId>(found - sequences_.begin());
  return Error{ErrorCode::kLimit, "all " + std::to_string(sequences_.size()) + " sequences of the session are in use"};
}

Result<SequenceId> KvCache::open() {
  ROWMAX_TRY(id, find_closed());
  sequences_[static_cast<std::size_t>(id)].open = true;
  restore(id, 0);
  return id;
}

Result<SequenceId> KvCache::fork(SequenceId id) {
  ROWMAX_TRY(other, find_closed());
  const SequenceState& from = sequences_[static_cast<std::size_t>(id)];
  SequenceState& to = sequences_[static_cast<std::size_t>(other)];
  const auto n_bytes = static_cast<std::size_t>(shape_.state_floats) * sizeof(float);
  SequenceState made;  // all memory is taken before anything changes
  made.open = true;
  made.tokens = from.tokens;
  made.blocks = from.blocks;
  made.tables = from.tables;
  made.confirmed = from.confirmed;
  made.prompt_end = from.prompt_end;
  made.mark_position = from.mark_position;
  made.state_slot = to.state_slot;
  if (from.mark_position >= 0) {
    ROWMAX_TRY(mark, base::Buffer::allocate(n_bytes));
    std::memcpy(mark.data(), from.mark.data(), n_bytes);
    made.mark = std::move(mark);
  }
  for (const std::int32_t at : made.blocks) use(at);
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const Table& table = made.tables[g];
    if (groups_[g].window == 0) continue;
    for (std::int64_t i = table.first; i < std::ssize(table.pages); ++i)
      use(made.blocks[static_cast<std::size_t>(i)], g);
  }
  to = std::move(made);
  // Both go on writing the block that is partly filled.
  if (std::ssize(to.tokens) % kPageTokens != 0 && !make_private(to)) {
    close(other);
    return Error{ErrorCode::kLimit, "K/V cache: a fork of sequence " + std::to_string(id) + " needs " +
                                        std::to_string(bytes_per_token() * kPageTokens) + " bytes more; " +
                                        std::to_string(pool_.budget_bytes() - in_use_) + " of the budget's " +
                                        std::to_string(pool_.budget_bytes()) + " are there"};
  }
  if (n_bytes > 0) std::memcpy(state(other), state(id), n_bytes);
  return other;
}

void KvCache::swap(SequenceId a, SequenceId b) noexcept {
  std::swap(sequences_[static_cast<std::size_t>(a)], sequences_[static_cast<std::size_t>(b)]);
}

void KvCache::close(SequenceId id) {
  SequenceState& sequence = sequences_[static_cast<std::size_t>(id)];
  become(sequence, {}, 0);
  sequence.mark = {};
  sequence.open = false;
}

bool KvCache::is_open(SequenceId id) const noexcept {
  return id >= 0 && id < static_cast<SequenceId>(sequences_.size()) && sequences_[static_cast<std::size_t>(id)].open;
}

void KvCache::join_unused(std::int32_t entry, Side side) noexcept {
  Link& link = links_[static_cast<std::size_t>(entry)];
  if (side == Side::kNewest) {
    link = {newest_, -1};
    (newest_ >= 0 ? links_[static_cast<std::size_t>(newest_)].newer : oldest_) = entry;
    newest_ = entry;
  } else {
    link = {-1, oldest_};
    (oldest_ >= 0 ? links_[static_cast<std::size_t>(oldest_)].older : newest_) = entry;
    oldest_ = entry;
  }
}

void KvCache::leave_unused(std::int32_t entry) noexcept {
  const Link link = links_[static_cast<std::size_t>(entry)];
  (link.older >= 0 ? links_[static_cast<std::size_t>(link.older)].newer : oldest_) = link.newer;
  (link.newer >= 0 ? links_[static_cast<std::size_t>(link.newer)].older : newest_) = link.older;
}

// Only what nobody uses can go; a block that another one continues is used by it.
void KvCache::evict(std::int32_t entry) noexcept {
  const auto n_entry = static_cast<std::int32_t>(groups_.size() + 1);
  const std::int32_t id = entry / n_entry;
  if (entry % n_entry == 0) {
    unpublish(id);
  } else {
    const auto group = static_cast<std::size_t>(entry % n_entry - 1);
    leave_unused(entry);
    drop_page(id, group);
  }
}

std::int32_t KvCache::take_block() noexcept {
  if (free_.empty()) {
    std::int32_t entry = oldest_;
    while (entry >= 0 && entry % static_cast<std::int32_t>(groups_.size() + 1) != 0) {
      entry = links_[static_cast<std::size_t>(entry)].newer;
    }
    if (entry < 0) return -1;
    evict(entry);
  }
  const std::int32_t id = free_.back();
  free_.pop_back();
  use(id);
  return id;
}

std::int32_t KvCache::take_page(std::size_t group) noexcept {
  std::int32_t page = pool_.take(group);
  while (page < 0 && oldest_ >= 0) {
    evict(oldest_);
    page = pool_.take(group);
  }
  return page;
}

void KvCache::use(std::int32_t id) noexcept {
  Block& b = block(id);
  if (b.users++ > 0) return;
  in_use_ += block_bytes_;
  if (b.published && b.children == 0) leave_unused(entry(id));
}

void KvCache::let_go(std::int32_t id) noexcept {
  if (--block(id).users > 0) return;
  in_use_ -= block_bytes_;
  drop_if_unused(id);
}

void KvCache::use(std::int32_t id, std::size_t group) noexcept {
  Held& h = held(id, group);
  if (h.users++ > 0) return;
  in_use_ += groups_[group].page_bytes;
  if (block(id).published) leave_unused(entry(id, group));
}

void KvCache::let_go(std::int32_t id, std::size_t group, Side side) noexcept {
  if (--held(id, group).users > 0) return;
  in_use_ -= groups_[group].page_bytes;
  if (block(id).published) {
    join_unused(entry(id, group), side);
  } else {
    drop_page(id, group);
  }
}

void KvCache::drop_page(std::int32_t id, std::size_t group) noexcept {
  pool_.give_back(group, held(id, group).page);
  held(id, group).page = -1;
}

void KvCache::drop_if_unused(std::int32_t id) noexcept {
  const Block& b = block(id);
  if (b.users > 0 || b.children > 0) return;
  if (b.published) {
    join_unused(entry(id), Side::kNewest);
    return;
  }
  drop_checkpoint(id);
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    if (held(id, g).page >= 0) drop_page(id, g);
  }
  free_.push_back(id);
}

void KvCache::unpublish(std::int32_t id) noexcept {
  Block& b = block(id);
  if (!b.published) return;
  const auto [first, last] = published_.equal_range(b.hash);
  for (auto it = first; it != last; ++it) {
    if (it->second == id) {
      published_.erase(it);
      break;
    }
  }
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    if (groups_[g].window == 0 || held(id, g).page < 0 || held(id, g).users > 0) continue;
    leave_unused(entry(id, g));
    drop_page(id, g);
  }
  if (b.users == 0 && b.children == 0) leave_unused(entry(id));
  b.published = false;
  b.tokens.clear();
  const std::int32_t parent = std::exchange(b.parent, -1);
  drop_if_unused(id);
  if (parent < 0) return;
  --block(parent).children;
  drop_if_unused(parent);
}

std::int32_t KvCache::find_published(std::int32_t parent, std::span<const TokenId> tokens) const {
  const auto [first, last] = published_.equal_range(hash_block(parent, tokens));
  for (auto it = first; it != last; ++it) {
    const Block& b = block(it->second);
    if (b.parent == parent && std::equal(tokens.begin(), tokens.end(), b.tokens.begin(), b.tokens.end()))
      return it->second;
  }
  return -1;
}

std::int64_t KvCache::truncate(SequenceId id, std::int64_t n) {
  SequenceState& sequence = sequences_[static_cast<std::size_t>(id)];
  const auto size = static_cast<std::int64_t>(sequence.tokens.size());
  if (n >= size) return size;
  const std::int64_t kept = restorable(sequence.blocks, n, sequence.mark_position);
  become(sequence, std::span(sequence.blocks).first(static_cast<std::size_t>(pages_of(kept))), kept);
  // A block that is left partly filled will be written again.
  if (kept % kPageTokens != 0 && !make_private(sequence)) return truncate(id, kept / kPageTokens * kPageTokens);
  restore(id, kept);
  return kept;
}

// Lets the sequence hold these blocks, of which it can go on from `position`; its tokens are cut there. What it needs is
// taken before anything is let go.
void KvCache::become(SequenceState& sequence, std::span<const std::int32_t> blocks, std::int64_t position) noexcept {
  for (const std::int32_t id : blocks) use(id);
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    if (groups_[g].window == 0) continue;
    for (auto i = static_cast<std::size_t>(first_page_seen(groups_[g].window, position)); i < blocks.size(); ++i)
      use(blocks[i], g);
  }
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    Table& table = sequence.tables[g];
    if (groups_[g].window > 0) {
      for (std::size_t i = table.pages.size(); i > static_cast<std::size_t>(table.first); --i) {
        let_go(sequence.blocks[i - 1], g, Side::kNewest);
      }
    }
    table.first = std::min<std::int64_t>(first_page_seen(groups_[g].window, position), std::ssize(blocks));
    table.pages.resize(blocks.size());  // within what there is room for
    for (std::int64_t i = 0; i < std::ssize(blocks); ++i) {
      const auto at = static_cast<std::size_t>(i);
      table.pages[at] = i < table.first ? -1 : held(blocks[at], g).page;
    }
  }
  for (std::size_t i = sequence.blocks.size(); i > 0; --i) let_go(sequence.blocks[i - 1]);
  if (blocks.data() != sequence.blocks.data()) {
    sequence.blocks.assign(blocks.begin(), blocks.end());
  } else {
    sequence.blocks.resize(blocks.size());
  }
  if (position < static_cast<std::int64_t>(sequence.tokens.size())) {
    sequence.tokens.resize(static_cast<std::size_t>(position));
  }
  sequence.confirmed = std::min(sequence.confirmed, position);
  sequence.prompt_end = std::min(sequence.prompt_end, position);
  if (sequence.mark_position > position) sequence.mark_position = -1;
  if (position == 0) sequence.mark_position = -1;
}

// Makes the sequence's last block one that nobody else sees; false where there is no room for a copy.
bool KvCache::make_private(SequenceState& sequence) noexcept {
  const std::int32_t id = sequence.blocks.back();
  if (block(id).users == 1 && block(id).children == 0) {
    unpublish(id);
    drop_checkpoint(id);  // of tokens that are gone
    return true;
  }
  if (in_use_ + bytes_per_token() * kPageTokens > pool_.budget_bytes()) return false;
  const std::int32_t copy = take_block();
  if (copy < 0) return false;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const std::int32_t from = sequence.tables[g].pages.back(), to = take_page(g);
    held(copy, g).page = sequence.tables[g].pages.back() = to;
    std::memcpy(pool_.pages(g) + to * groups_[g].page_bytes, pool_.pages(g) + from * groups_[g].page_bytes,
                static_cast<std::size_t>(groups_[g].page_bytes));
    if (groups_[g].window > 0) {
      use(copy, g);
      let_go(id, g, Side::kNewest);
    }
  }
  sequence.blocks.back() = copy;
  let_go(id);
  return true;
}

// Why a sequence that holds `blocks` can go on no later than from `kept`.
PrefixReuse::Limit KvCache::limit_of(std::span<const std::int32_t> blocks, std::int64_t kept) const noexcept {
  if (shape_.state_floats == 0) return PrefixReuse::Limit::kWindow;
  const bool has_a_later_state = std::ranges::any_of(blocks.subspan(static_cast<std::size_t>(kept / kPageTokens)),
                                                     [&](std::int32_t id) { return block(id).checkpoint.size() != 0; });
  return has_a_later_state ? PrefixReuse::Limit::kWindow : PrefixReuse::Limit::kCheckpoint;
}

std::int64_t KvCache::reuse(SequenceId id, std::span<const TokenId> tokens) {
  SequenceState& sequence = sequences_[static_cast<std::size_t>(id)];
  const std::int64_t most = static_cast<std::int64_t>(tokens.size()) - 1;
  const auto size = static_cast<std::int64_t>(sequence.tokens.size());
  std::int64_t own = 0;
  while (own < most && own < size &&
         sequence.tokens[static_cast<std::size_t>(own)] == tokens[static_cast<std::size_t>(own)]) {
    ++own;
  }
  // Blocks that other sequences computed continue the whole blocks of it. All memory is taken before anything changes.
  const std::int64_t n_own = own / kPageTokens, bound = std::min(most, shape_.context);
  const auto room = static_cast<std::size_t>(bound / kPageTokens + 1);
  std::vector<std::int32_t> blocks;
  blocks.reserve(room);
  make_room(sequence.blocks, room);
  for (Table& table : sequence.tables) make_room(table.pages, room);
  make_room(sequence.tokens, static_cast<std::size_t>(bound));
  blocks.assign(sequence.blocks.begin(), sequence.blocks.begin() + n_own);
  while (shape_.share && (std::ssize(blocks) + 1) * kPageTokens <= bound) {
    // A block of this sequence is a parent only in its published form: those found by others carry that identity.
    const std::int32_t next =
        find_published(blocks.empty() ? -1 : blocks.back(),
                       tokens.subspan(static_cast<std::size_t>(std::ssize(blocks) * kPageTokens), kPageTokens));
    if (next < 0) break;
    blocks.push_back(next);
  }
  const std::int64_t alone = own == size ? own : restorable(sequence.blocks, own, sequence.mark_position);
  const std::int64_t together = restorable(blocks, std::ssize(blocks) * kPageTokens);
  if (together <= alone) {
    // Blocks that others computed were found, too, where nobody can go on from them.
    const std::int64_t found = std::max(own, std::ssize(blocks) * kPageTokens);
    const PrefixReuse::Limit limit = alone == found ? PrefixReuse::Limit::kNone : limit_of(blocks, alone);
    const std::int64_t kept = truncate(id, own);
    confirm(id, kept);
    last_reuse_ = {kept, found, limit};
    return kept;
  }
  const std::int64_t found = std::ssize(blocks) * kPageTokens;
  last_reuse_ = {together, found, together == found ? PrefixReuse::Limit::kNone : limit_of(blocks, together)};
  become(sequence, std::span(blocks).first(static_cast<std::size_t>(together / kPageTokens)), together);
  if (sequence.mark_position > own) sequence.mark_position = -1;
  sequence.tokens.assign(tokens.begin(), tokens.begin() + together);
  sequence.confirmed = together;
  sequence.prompt_end = together;
  restore(id, together);
  return together;
}

void KvCache::begin_batch() noexcept {
  bound_by_growth_ = in_use_;
  bound_by_each_ = 0;
  for (const SequenceState& sequence : sequences_) {
    bound_by_each_ += std::ssize(sequence.blocks) * block_bytes_;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      if (groups_[g].window == 0) continue;
      bound_by_each_ += (std::ssize(sequence.tables[g].pages) - sequence.tables[g].first) * groups_[g].page_bytes;
    }
  }
}

// By what the sequence will hold at most while it grows.
Status KvCache::admit(SequenceId id, std::int64_t total, std::int64_t n_draft) {
  const SequenceState& sequence = sequences_[static_cast<std::size_t>(id)];
  std::int64_t by_growth = (pages_of(total) - std::ssize(sequence.blocks)) * block_bytes_, by_each = by_growth;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const Group& group = groups_[g];
    if (group.window == 0) continue;
    const Table& table = sequence.tables[g];
    const std::int64_t holds = std::ssize(table.pages) - table.first;
    std::int64_t alone = 0;
    for (auto i = static_cast<std::size_t>(table.first); i < table.pages.size(); ++i) {
      alone += held(sequence.blocks[i], g).users == 1;
    }
    const std::int64_t most =
        std::max(holds, pages_at_once(group.window, shape_.rows_at_once + n_draft, pages_of(total) - table.first));
    by_growth += (most - alone) * group.page_bytes;
    by_each += (most - holds) * group.page_bytes;
  }
  const bool growth_is_less = bound_by_growth_ + by_growth <= bound_by_each_ + by_each;
  const std::int64_t more = growth_is_less ? by_growth : by_each, budget = pool_.budget_bytes();
  const std::int64_t there = budget - (growth_is_less ? bound_by_growth_ : bound_by_each_);
  if (more > there) {
    return Error{ErrorCode::kLimit, "K/V cache: sequence " + std::to_string(id) + " needs " + std::to_string(more) +
                                        " bytes more to hold " + std::to_string(total) + " tokens; " +
                                        std::to_string(std::max<std::int64_t>(there, 0)) + " of the budget's " +
                                        std::to_string(budget) + " are there"};
  }
  bound_by_growth_ += by_growth;
  bound_by_each_ += by_each;
  return {};
}

// Blocks, and their pages in the groups without a window.
bool KvCache::grow(SequenceState& sequence, std::size_t n_blocks) noexcept {
  while (sequence.blocks.size() < n_blocks) {
    const std::int32_t id = take_block();
    if (id < 0) return false;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      if (groups_[g].window == 0 && (held(id, g).page = take_page(g)) < 0) {
        let_go(id);
        return false;
      }
    }
    sequence.blocks.push_back(id);
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      if (groups_[g].window == 0) sequence.tables[g].pages.push_back(held(id, g).page);
    }
  }
  return true;
}

Status KvCache::append(SequenceId id, std::span<const TokenId> tokens, std::int64_t n_draft) {
  SequenceState& sequence = sequences_[static_cast<std::size_t>(id)];
  const std::size_t old_blocks = sequence.blocks.size();
  const std::size_t total = sequence.tokens.size() + tokens.size();
  const auto needed = static_cast<std::size_t>(pages_of(static_cast<std::int64_t>(total)));
  make_room(sequence.blocks, needed);
  for (Table& table : sequence.tables) make_room(table.pages, needed);
  make_room(sequence.tokens, total);
  ROWMAX_RETURN_IF_ERROR(admit(id, static_cast<std::int64_t>(total), n_draft));
  if (!grow(sequence, needed)) {
    for (; sequence.blocks.size() > old_blocks; sequence.blocks.pop_back()) let_go(sequence.blocks.back());
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      if (groups_[g].window == 0) sequence.tables[g].pages.resize(old_blocks);
    }
    return Error{ErrorCode::kLimit, "K/V cache: there is no free page for sequence " + std::to_string(id)};
  }
  sequence.tokens.insert(sequence.tokens.end(), tokens.begin(), tokens.end());
  const std::int64_t n_new = std::ssize(tokens) - n_draft;
  if (n_new > 0) sequence.confirmed = static_cast<std::int64_t>(total) - n_draft;
  if (n_new > 1) sequence.prompt_end = sequence.confirmed;
  return {};
}

Status KvCache::prepare(SequenceId id, std::int64_t begin, std::int64_t end) {
  SequenceState& sequence = sequences_[static_cast<std::size_t>(id)];
  slide(sequence, std::min(begin, sequence.confirmed));
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    Table& table = sequence.tables[g];
    while (std::ssize(table.pages) < pages_of(end)) {
      const std::int32_t at = sequence.blocks[table.pages.size()], page = take_page(g);
      if (page < 0) return Error{ErrorCode::kLimit, "K/V cache: there is no free page of those that were counted"};
      held(at, g).page = page;
      use(at, g);
      table.pages.push_back(page);  // there is room since append()
    }
  }
  return {};
}

void KvCache::settle(SequenceId id) noexcept {
  SequenceState& sequence = sequences_[static_cast<std::size_t>(id)];
  slide(sequence, sequence.confirmed);
}

// Lets go of pages that a token at `position` does not see.
void KvCache::slide(SequenceState& sequence, std::int64_t position) noexcept {
  // What the same prompt would go on from: its last edge, but not its end.
  const std::int64_t edge = std::max<std::int64_t>(0, sequence.prompt_end - 1) / kPageTokens;
  const std::int64_t prompt_blocks = sequence.prompt_end / kPageTokens;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    Table& table = sequence.tables[g];
    const std::int64_t end = std::min(first_page_seen(groups_[g].window, position), std::ssize(table.pages));
    for (; table.first < end; ++table.first) {
      const auto at = static_cast<std::size_t>(table.first);
      const bool before_edge =
          table.first >= first_page_seen(groups_[g].window, edge * kPageTokens) && table.first < prompt_blocks;
      let_go(sequence.blocks[at], g, before_edge ? Side::kNewest : Side::kOldest);
      table.pages[at] = -1;
    }
  }
}

void KvCache::confirm(SequenceId id, std::int64_t n) noexcept {
  SequenceState& sequence = sequences_[static_cast<std::size_t>(id)];
  sequence.confirmed = std::max(sequence.confirmed, n);
}

void KvCache::publish(SequenceId id, std::int64_t n) {
  if (!shape_.share) return;
  SequenceState& sequence = sequences_[static_cast<std::size_t>(id)];
  const auto full = static_cast<std::size_t>(std::min(sequence.confirmed, n) / kPageTokens);
  std::size_t first = full;
  while (first > 0 && !block(sequence.blocks[first - 1]).published) --first;
  for (std::size_t i = first; i < full; ++i) {
    const std::int32_t at = sequence.blocks[i], parent = i > 0 ? sequence.blocks[i - 1] : -1;
    const std::span<const TokenId> tokens(sequence.tokens.data() + i * kPageTokens, kPageTokens);
    if (const std::int32_t twin = find_published(parent, tokens); twin >= 0) {
      replace(i, at, twin);
      continue;
    }
    Block& b = block(at);
    const std::uint64_t hash = hash_block(parent, tokens);
    b.tokens.assign(tokens.begin(), tokens.end());  // what an unpublished block holds here says nothing
    published_.emplace(hash, at);
    b.published = true;
    b.parent = parent;
    b.hash = hash;
    if (parent >= 0) ++block(parent).children;
  }
}

// Another sequence's block of the same tokens behind the same ones, whose numbers have the same bits, stands in for `own`
// in all sequences that hold that one (a sequence and its forks): each block that is published has its parent before it.
// What the twin has lost since, a page that nobody saw any more or a checkpoint, it gets from here.
void KvCache::replace(std::size_t index, std::int32_t own, std::int32_t twin) noexcept {
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    if (held(twin, g).page < 0) std::swap(held(twin, g), held(own, g));  // with those who use it
  }
  if (block(own).checkpoint.size() != 0 && block(twin).checkpoint.size() == 0) {
    std::swap(block(own).checkpoint, block(twin).checkpoint);
    *std::ranges::find(checkpoints_, own) = twin;
  }
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
