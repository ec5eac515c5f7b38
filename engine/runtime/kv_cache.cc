#include "engine/runtime/kv_cache.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "base/buffer.h"
#include "base/seeded_hash.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

std::uint64_t hash_page(std::int32_t parent, std::span<const TokenId> tokens) {
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
  const std::int64_t pages_each = (shape.context + kPageTokens - 1) / kPageTokens;
  cache.n_pages_ = pages_each * shape.max_sequences;
  const std::size_t element = shape.type == KvType::kF16 ? 2 : 4;
  std::size_t total = 0;
  for (const Layer& layer : shape.layers) {
    const std::size_t half = static_cast<std::size_t>(layer.n_kv_head * layer.head_dim * kPageTokens) * element;
    cache.half_page_bytes_.push_back(half);
    cache.layer_begin_.push_back(total);
    std::size_t both = 0;
    if (!base::checked_mul(half, static_cast<std::size_t>(2 * cache.n_pages_), &both) ||
        __builtin_add_overflow(total, both, &total)) {
      return Error{ErrorCode::kLimit, "K/V cache: context times sequences is larger than the address space"};
    }
  }
  total = std::max<std::size_t>(total, 1);
  std::size_t state_bytes = 0;
  if (!base::checked_mul(static_cast<std::size_t>(shape.state_floats) * sizeof(float),
                         static_cast<std::size_t>(shape.max_sequences), &state_bytes)) {
    return Error{ErrorCode::kLimit, "recurrent state: sequences take more than the address space"};
  }
  if (state_bytes > 0) {
    ROWMAX_TRY(states, base::Buffer::allocate_zeroed(state_bytes));
    cache.states_ = std::move(states);
  }
  void* memory = mmap(nullptr, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    return Error{ErrorCode::kOutOfMemory, "K/V cache: the system refused " + std::to_string(total) +
                                              " bytes of address space; a smaller context needs less"};
  }
  cache.memory_ = static_cast<std::byte*>(memory);
  cache.memory_bytes_ = total;
  cache.pages_.resize(static_cast<std::size_t>(cache.n_pages_));
  cache.free_.reserve(static_cast<std::size_t>(cache.n_pages_));  // giving a page back never fails
  for (std::int64_t page = cache.n_pages_ - 1; page >= 0; --page)
    cache.free_.push_back(static_cast<std::int32_t>(page));
  if (shape.state_floats > 0) cache.checkpoints_.reserve(static_cast<std::size_t>(cache.n_pages_));
  cache.sequences_.resize(static_cast<std::size_t>(shape.max_sequences));
  return cache;
}

KvCache::KvCache(KvCache&& other) noexcept { *this = std::move(other); }

KvCache& KvCache::operator=(KvCache&& other) noexcept {
  std::swap(shape_, other.shape_);
  std::swap(memory_, other.memory_);
  std::swap(memory_bytes_, other.memory_bytes_);
  half_page_bytes_.swap(other.half_page_bytes_);
  layer_begin_.swap(other.layer_begin_);
  std::swap(n_pages_, other.n_pages_);
  pages_.swap(other.pages_);
  free_.swap(other.free_);
  published_.swap(other.published_);
  sequences_.swap(other.sequences_);
  checkpoints_.swap(other.checkpoints_);
  std::swap(states_, other.states_);
  std::swap(oldest_, other.oldest_);
  std::swap(newest_, other.newest_);
  return *this;
}

KvCache::~KvCache() {
  if (memory_ != nullptr) munmap(memory_, memory_bytes_);
}

KvView KvCache::view(std::int64_t layer) const noexcept {
  const Layer& l = shape_.layers[static_cast<std::size_t>(layer)];
  return paged_kv(shape_.type == KvType::kF16 ? DType::kF16 : DType::kF32, l.n_kv_head, l.head_dim, l.head_dim);
}
void* KvCache::layer_keys(std::int64_t layer) const noexcept {
  return memory_ + layer_begin_[static_cast<std::size_t>(layer)];
}
void* KvCache::layer_values(std::int64_t layer) const noexcept {
  const auto i = static_cast<std::size_t>(layer);
  return memory_ + layer_begin_[i] + static_cast<std::size_t>(n_pages_) * half_page_bytes_[i];
}
std::int64_t KvCache::bytes_per_token() const noexcept {
  std::size_t total = 0;
  for (const std::size_t half : half_page_bytes_) total += 2 * half;
  return static_cast<std::int64_t>(total) / kPageTokens;
}

float* KvCache::state(SequenceId id) noexcept {
  return shape_.state_floats == 0 ? nullptr : states_.as<float>() + id * shape_.state_floats;
}

void KvCache::save_checkpoint(SequenceId id, std::int64_t position) noexcept {
  const auto n_bytes = static_cast<std::size_t>(shape_.state_floats) * sizeof(float);
  if (n_bytes == 0 || static_cast<std::int64_t>(n_bytes) > shape_.checkpoint_bytes) return;
  const std::int32_t page =
      sequences_[static_cast<std::size_t>(id)].pages[static_cast<std::size_t>(position / kPageTokens - 1)];
  drop_checkpoint(page);
  while ((n_checkpoints() + 1) * static_cast<std::int64_t>(n_bytes) > shape_.checkpoint_bytes) {
    drop_checkpoint(checkpoints_.front());
  }
  auto copy = base::Buffer::allocate(n_bytes);
  if (!copy.ok()) return;  // it saves time, and nothing else
  std::memcpy(copy->data(), state(id), n_bytes);
  pages_[static_cast<std::size_t>(page)].checkpoint = std::move(copy).value();
  checkpoints_.push_back(page);  // there is room for one a page
}

void KvCache::drop_checkpoint(std::int32_t page) noexcept {
  Page& p = pages_[static_cast<std::size_t>(page)];
  if (p.checkpoint.size() == 0) return;
  p.checkpoint = {};
  checkpoints_.erase(std::ranges::find(checkpoints_, page));
}

std::int64_t KvCache::restorable(std::span<const std::int32_t> pages, std::int64_t n) const noexcept {
  if (shape_.state_floats == 0) return n;
  for (std::int64_t i = n / kPageTokens; i > 0; --i) {
    const std::int32_t page = pages[static_cast<std::size_t>(i - 1)];
    if (pages_[static_cast<std::size_t>(page)].checkpoint.size() != 0) return i * kPageTokens;
  }
  return 0;
}

void KvCache::restore(SequenceId id, std::int64_t position) noexcept {
  if (shape_.state_floats == 0) return;
  const auto n_bytes = static_cast<std::size_t>(shape_.state_floats) * sizeof(float);
  if (position == 0) {
    std::memset(state(id), 0, n_bytes);
    return;
  }
  const std::int32_t page =
      sequences_[static_cast<std::size_t>(id)].pages[static_cast<std::size_t>(position / kPageTokens - 1)];
  std::memcpy(state(id), pages_[static_cast<std::size_t>(page)].checkpoint.data(), n_bytes);
  const auto used = std::ranges::find(checkpoints_, page);
  std::rotate(used, used + 1, checkpoints_.end());
}

Result<SequenceId> KvCache::open() {
  for (std::size_t id = 0; id < sequences_.size(); ++id) {
    if (sequences_[id].open) continue;
    sequences_[id].open = true;
    restore(static_cast<SequenceId>(id), 0);
    return static_cast<SequenceId>(id);
  }
  return Error{ErrorCode::kLimit, "all " + std::to_string(sequences_.size()) + " sequences of the session are in use"};
}

void KvCache::close(SequenceId id) {
  cut(id, 0);
  sequences_[static_cast<std::size_t>(id)].open = false;
}

bool KvCache::is_open(SequenceId id) const noexcept {
  return id >= 0 && id < static_cast<SequenceId>(sequences_.size()) && sequences_[static_cast<std::size_t>(id)].open;
}

std::int32_t KvCache::take_page() {
  if (free_.empty()) {
    // Only pages that nothing refers to can go; a page with a published successor is referred to by it.
    if (oldest_ < 0) return -1;
    unpublish(oldest_);  // puts it on the free list
  }
  const std::int32_t page = free_.back();
  free_.pop_back();
  pages_[static_cast<std::size_t>(page)].references = 1;
  return page;
}

void KvCache::release(std::int32_t page) {
  Page& p = pages_[static_cast<std::size_t>(page)];
  if (--p.references > 0) return;
  if (p.published) {
    join_unused(page);
  } else {
    drop_checkpoint(page);
    free_.push_back(page);
  }
}

void KvCache::join_unused(std::int32_t page) {
  Page& p = pages_[static_cast<std::size_t>(page)];
  p.older = newest_;
  p.newer = -1;
  (newest_ >= 0 ? pages_[static_cast<std::size_t>(newest_)].newer : oldest_) = page;
  newest_ = page;
}

void KvCache::leave_unused(std::int32_t page) {
  Page& p = pages_[static_cast<std::size_t>(page)];
  (p.older >= 0 ? pages_[static_cast<std::size_t>(p.older)].newer : oldest_) = p.newer;
  (p.newer >= 0 ? pages_[static_cast<std::size_t>(p.newer)].older : newest_) = p.older;
  p.older = p.newer = -1;
}

void KvCache::unpublish(std::int32_t page) {
  Page& p = pages_[static_cast<std::size_t>(page)];
  if (!p.published) return;
  const auto [first, last] = published_.equal_range(p.hash);
  for (auto it = first; it != last; ++it) {
    if (it->second == page) {
      published_.erase(it);
      break;
    }
  }
  p.published = false;
  p.tokens.clear();
  const std::int32_t parent = std::exchange(p.parent, -1);
  if (p.references == 0) {
    leave_unused(page);
    drop_checkpoint(page);
    free_.push_back(page);
  }
  if (parent >= 0) release(parent);
}

std::int32_t KvCache::find_published(std::int32_t parent, std::span<const TokenId> tokens) const {
  const auto [first, last] = published_.equal_range(hash_page(parent, tokens));
  for (auto it = first; it != last; ++it) {
    const Page& p = pages_[static_cast<std::size_t>(it->second)];
    if (p.parent == parent && std::equal(tokens.begin(), tokens.end(), p.tokens.begin(), p.tokens.end()))
      return it->second;
  }
  return -1;
}

std::int64_t KvCache::truncate(SequenceId id, std::int64_t n) {
  const SequenceState& sequence = sequences_[static_cast<std::size_t>(id)];
  const auto size = static_cast<std::int64_t>(sequence.tokens.size());
  if (n >= size) return size;
  const std::int64_t kept = restorable(sequence.pages, n);
  restore(id, kept);
  cut(id, kept);
  return kept;
}

void KvCache::cut(SequenceId id, std::int64_t n) {
  SequenceState& sequence = sequences_[static_cast<std::size_t>(id)];
  if (n >= static_cast<std::int64_t>(sequence.tokens.size())) return;
  sequence.tokens.resize(static_cast<std::size_t>(n));
  const std::size_t keep = static_cast<std::size_t>((n + kPageTokens - 1) / kPageTokens);
  while (sequence.pages.size() > keep) {
    const std::int32_t page = sequence.pages.back();
    sequence.pages.pop_back();
    release(page);
  }
  if (n % kPageTokens != 0) make_private(sequence.pages.back());
}

// A page that is left partly filled will be written again: what others see of it must stay as it is.
void KvCache::make_private(std::int32_t& page) {
  Page& p = pages_[static_cast<std::size_t>(page)];
  if (p.references == 1) {
    unpublish(page);
    return;
  }
  const std::int32_t copy = take_page();  // there is one: this sequence holds fewer pages than its share
  for (std::int64_t layer = 0; layer < std::ssize(shape_.layers); ++layer) {
    const std::size_t half = half_page_bytes_[static_cast<std::size_t>(layer)];
    for (void* pool : {layer_keys(layer), layer_values(layer)}) {
      std::byte* base = static_cast<std::byte*>(pool);
      std::memcpy(base + static_cast<std::size_t>(copy) * half, base + static_cast<std::size_t>(page) * half, half);
    }
  }
  release(page);
  page = copy;
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
  // Pages that other sequences computed continue the whole pages of it. All memory is taken before anything changes.
  const std::int64_t n_own = own / kPageTokens, bound = std::min(most, shape_.context);
  std::vector<std::int32_t> pages;
  pages.reserve(static_cast<std::size_t>(bound / kPageTokens + 1));
  make_room(sequence.pages, static_cast<std::size_t>(bound / kPageTokens + 1));
  make_room(sequence.tokens, static_cast<std::size_t>(bound));
  pages.assign(sequence.pages.begin(), sequence.pages.begin() + n_own);
  while (shape_.share && (std::ssize(pages) + 1) * kPageTokens <= bound) {
    // A page of this sequence is a parent only in its published form: pages found by others carry that identity.
    const std::int32_t page =
        find_published(pages.empty() ? -1 : pages.back(),
                       tokens.subspan(static_cast<std::size_t>(std::ssize(pages) * kPageTokens), kPageTokens));
    if (page < 0) break;
    pages.push_back(page);
  }
  const std::int64_t alone = own == size ? own : restorable(sequence.pages, own);
  const std::int64_t together = restorable(pages, std::ssize(pages) * kPageTokens);
  if (together <= alone) return truncate(id, own);
  cut(id, n_own * kPageTokens);
  for (std::int64_t i = n_own; i < together / kPageTokens; ++i) {
    const std::int32_t page = pages[static_cast<std::size_t>(i)];
    if (pages_[static_cast<std::size_t>(page)].references++ == 0) leave_unused(page);
    sequence.pages.push_back(page);
  }
  sequence.tokens.assign(tokens.begin(), tokens.begin() + together);
  restore(id, together);
  return together;
}

bool KvCache::append(SequenceId id, std::span<const TokenId> tokens) {
  SequenceState& sequence = sequences_[static_cast<std::size_t>(id)];
  const std::size_t old_pages = sequence.pages.size();
  const std::size_t total = sequence.tokens.size() + tokens.size();
  const std::size_t needed = (total + kPageTokens - 1) / kPageTokens;
  make_room(sequence.pages, needed);
  make_room(sequence.tokens, total);
  while (sequence.pages.size() < needed) {
    const std::int32_t page = take_page();
    if (page < 0) {
      while (sequence.pages.size() > old_pages) {
        release(sequence.pages.back());
        sequence.pages.pop_back();
      }
      return false;
    }
    sequence.pages.push_back(page);
  }
  sequence.tokens.insert(sequence.tokens.end(), tokens.begin(), tokens.end());
  return true;
}

void KvCache::publish(SequenceId id) {
  if (!shape_.share) return;
  const SequenceState& sequence = sequences_[static_cast<std::size_t>(id)];
  const std::size_t full = sequence.tokens.size() / kPageTokens;
  std::size_t first = full;
  while (first > 0 && !pages_[static_cast<std::size_t>(sequence.pages[first - 1])].published) --first;
  for (std::size_t i = first; i < full; ++i) {
    const std::int32_t page = sequence.pages[i];
    const std::int32_t parent = i > 0 ? sequence.pages[i - 1] : -1;
    // After an unpublished twin of another sequence's page the chain has a gap: what follows could not be found anyway.
    if (i > 0 && !pages_[static_cast<std::size_t>(parent)].published) return;
    const std::span<const TokenId> tokens(sequence.tokens.data() + i * kPageTokens, kPageTokens);
    if (find_published(parent, tokens) >= 0) return;
    Page& p = pages_[static_cast<std::size_t>(page)];
    const std::uint64_t hash = hash_page(parent, tokens);
    p.tokens.assign(tokens.begin(), tokens.end());  // what an unpublished page holds here says nothing
    published_.emplace(hash, page);
    p.published = true;
    p.parent = parent;
    p.hash = hash;
    if (parent >= 0) ++pages_[static_cast<std::size_t>(parent)].references;
  }
}

}  // namespace rowmax::engine
