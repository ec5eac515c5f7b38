#include "engine/runtime/kv_cache.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "engine/model/batch.h"
#include "engine/runtime/kv_pages.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

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
  if (state_bytes > 0) {
    const std::size_t one = static_cast<std::size_t>(shape.state_floats) * sizeof(float);
    cache.checkpoints_.reserve(
        std::min(static_cast<std::size_t>(shape.checkpoint_bytes) / one, kCheckpointsPerBlock * n));
  }
  cache.published_ = std::set<std::int32_t, ByTokens>(ByTokens{cache.blocks_.data(), false});
  cache.full_ = std::set<std::int32_t, ByTokens>(ByTokens{cache.blocks_.data(), true});
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
  made.owner = from.owner;
  made.tokens = from.tokens;
  made.blocks = from.blocks;
  made.tables = from.tables;
  made.confirmed = from.confirmed;
  made.prompt_end = from.prompt_end;
  made.places = from.places;
  made.n_places = from.n_places;
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
  const std::int64_t begun = std::ssize(to.tokens) % kPageTokens;
  if (begun != 0 && !make_private(to, begun, true)) {
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
  sequence.owner = 0;
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

// As if it had been used just now.
void KvCache::touch(std::int32_t id, std::size_t group) noexcept {
  if (held(id, group).page < 0 || held(id, group).users > 0 || !block(id).published) return;
  leave_unused(entry(id, group));
  join_unused(entry(id, group), Side::kNewest);
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
  drop_checkpoints(id, 0);
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    if (held(id, g).page >= 0) drop_page(id, g);
  }
  free_.push_back(id);
}

void KvCache::unpublish(std::int32_t id) noexcept {
  Block& b = block(id);
  if (!b.published) return;
  published_.erase(published_.find(id));
  if (const auto found = full_.find(id); found != full_.end() && *found == id) full_.erase(found);
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

std::int64_t KvCache::truncate(SequenceId id, std::int64_t n) {
  SequenceState& sequence = sequences_[static_cast<std::size_t>(id)];
  const auto size = static_cast<std::int64_t>(sequence.tokens.size());
  if (n >= size) return size;
  const std::int64_t kept = restorable(sequence.blocks, n, sequence.mark_position);
  become(sequence, std::span(sequence.blocks).first(static_cast<std::size_t>(pages_of(kept))), kept);
  restore(id, kept);
  // A block that is left partly filled will be written again.
  const std::int64_t begun = kept % kPageTokens;
  if (begun != 0 && !make_private(sequence, begun, false)) return truncate(id, kept - begun);
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
  const auto all = std::span(sequence.places).first(sequence.n_places);
  const auto kept = std::remove_if(all.begin(), all.end(), [&](std::int64_t place) { return place > position; });
  sequence.n_places = static_cast<std::size_t>(kept - all.begin());
}

bool KvCache::make_private(SequenceState& sequence, std::int64_t n_tokens, bool leaves_it) noexcept {
  const std::int32_t id = sequence.blocks.back();
  const Block& b = block(id);
  const bool is_alone = b.users == 1 && b.children == 0;
  const bool others_want_more = b.published && std::ssize(b.tokens) > n_tokens;
  const bool has_room = in_use_ + bytes_per_token() * kPageTokens <= pool_.budget_bytes();
  if (is_alone && !(others_want_more && leaves_it && has_room)) {
    if (others_want_more) unpublish(id);
    drop_checkpoints(id, n_tokens);  // of tokens that are gone
    return true;
  }
  const std::int32_t copy = has_room ? take_block() : -1;
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
  // What the same prompt would go on from, or one that goes on behind it: its last edge to its end.
  const std::int64_t edge = std::max<std::int64_t>(0, sequence.prompt_end - 1) / kPageTokens * kPageTokens;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    Table& table = sequence.tables[g];
    const std::int64_t window = groups_[g].window;
    const std::int64_t end = std::min(first_page_seen(window, position), std::ssize(table.pages));
    const auto is_seen = [&](std::int64_t page, std::int64_t first, std::int64_t last) {
      return page >= first_page_seen(window, first) && page < pages_of(last);
    };
    for (; table.first < end; ++table.first) {
      const auto at = static_cast<std::size_t>(table.first);
      bool is_wanted = is_seen(table.first, edge, sequence.prompt_end);
      for (std::size_t i = 0; i < sequence.n_places; ++i) {
        is_wanted = is_wanted || is_seen(table.first, sequence.places[i], sequence.places[i]);
      }
      let_go(sequence.blocks[at], g, is_wanted ? Side::kNewest : Side::kOldest);
      table.pages[at] = -1;
      // The page that the prompt's end began is of use where those before it are there: they go later.
      if (table.first * kPageTokens < sequence.prompt_end && pages_of(sequence.prompt_end) == table.first + 1) {
        for (std::int64_t i = first_page_seen(window, edge); i < table.first; ++i)
          touch(sequence.blocks[static_cast<std::size_t>(i)], g);
      }
    }
  }
}

void KvCache::expect_others_at(SequenceId id, std::int64_t position) noexcept {
  SequenceState& sequence = sequences_[static_cast<std::size_t>(id)];
  const auto all = std::span(sequence.places).first(sequence.n_places);
  if (sequence.n_places == sequence.places.size() || std::ranges::find(all, position) != all.end()) return;
  sequence.places[sequence.n_places++] = position;
}

void KvCache::confirm(SequenceId id, std::int64_t n) noexcept {
  SequenceState& sequence = sequences_[static_cast<std::size_t>(id)];
  sequence.confirmed = std::max(sequence.confirmed, n);
}

}  // namespace rowmax::engine
