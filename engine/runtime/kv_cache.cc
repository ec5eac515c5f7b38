#include "engine/runtime/kv_cache.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "base/buffer.h"
#include "base/seeded_hash.h"

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
  cache.half_page_bytes_ = static_cast<std::size_t>(shape.n_kv_head * shape.head_dim * kPageTokens) * element;
  std::size_t total = 0;
  if (!base::checked_mul(cache.half_page_bytes_, static_cast<std::size_t>(2 * cache.n_pages_), &total) ||
      !base::checked_mul(total, static_cast<std::size_t>(shape.n_layer), &total)) {
    return Error{ErrorCode::kLimit, "K/V cache: context times sequences is larger than the address space"};
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
  cache.sequences_.resize(static_cast<std::size_t>(shape.max_sequences));
  return cache;
}

KvCache::KvCache(KvCache&& other) noexcept { *this = std::move(other); }

KvCache& KvCache::operator=(KvCache&& other) noexcept {
  std::swap(shape_, other.shape_);
  std::swap(memory_, other.memory_);
  std::swap(memory_bytes_, other.memory_bytes_);
  std::swap(half_page_bytes_, other.half_page_bytes_);
  std::swap(n_pages_, other.n_pages_);
  pages_.swap(other.pages_);
  free_.swap(other.free_);
  published_.swap(other.published_);
  sequences_.swap(other.sequences_);
  std::swap(clock_, other.clock_);
  return *this;
}

KvCache::~KvCache() {
  if (memory_ != nullptr) munmap(memory_, memory_bytes_);
}

KvView KvCache::view() const noexcept {
  return paged_kv(shape_.type == KvType::kF16 ? DType::kF16 : DType::kF32, shape_.n_kv_head, shape_.head_dim,
                  shape_.head_dim);
}
void* KvCache::layer_keys(std::int64_t layer) const noexcept {
  return memory_ + static_cast<std::size_t>(2 * layer * n_pages_) * half_page_bytes_;
}
void* KvCache::layer_values(std::int64_t layer) const noexcept {
  return memory_ + static_cast<std::size_t>((2 * layer + 1) * n_pages_) * half_page_bytes_;
}
std::int64_t KvCache::bytes_per_token() const noexcept {
  return 2 * shape_.n_layer * static_cast<std::int64_t>(half_page_bytes_) / kPageTokens;
}

Result<SequenceId> KvCache::open() {
  for (std::size_t id = 0; id < sequences_.size(); ++id) {
    if (sequences_[id].open) continue;
    sequences_[id].open = true;
    return static_cast<SequenceId>(id);
  }
  return Error{ErrorCode::kLimit, "all " + std::to_string(sequences_.size()) + " sequences of the session are in use"};
}

void KvCache::close(SequenceId id) {
  truncate(id, 0);
  sequences_[static_cast<std::size_t>(id)].open = false;
}

bool KvCache::is_open(SequenceId id) const noexcept {
  return id >= 0 && id < static_cast<SequenceId>(sequences_.size()) && sequences_[static_cast<std::size_t>(id)].open;
}

std::int32_t KvCache::take_page() {
  if (free_.empty()) {
    // Only pages that nothing refers to can go; a page with a published successor is referred to by it.
    std::int32_t oldest = -1;
    for (std::int32_t page = 0; page < static_cast<std::int32_t>(n_pages_); ++page) {
      const Page& p = pages_[static_cast<std::size_t>(page)];
      if (p.references == 0 && p.published &&
          (oldest < 0 || p.last_use < pages_[static_cast<std::size_t>(oldest)].last_use)) {
        oldest = page;
      }
    }
    if (oldest < 0) return -1;
    unpublish(oldest);  // puts it on the free list
  }
  const std::int32_t page = free_.back();
  free_.pop_back();
  pages_[static_cast<std::size_t>(page)].references = 1;
  return page;
}

void KvCache::release(std::int32_t page) {
  Page& p = pages_[static_cast<std::size_t>(page)];
  p.last_use = ++clock_;
  if (--p.references == 0 && !p.published) free_.push_back(page);
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
  if (p.references == 0) free_.push_back(page);
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

void KvCache::truncate(SequenceId id, std::int64_t n) {
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
  for (std::int64_t layer = 0; layer < shape_.n_layer; ++layer) {
    for (void* pool : {layer_keys(layer), layer_values(layer)}) {
      std::byte* base = static_cast<std::byte*>(pool);
      std::memcpy(base + static_cast<std::size_t>(copy) * half_page_bytes_,
                  base + static_cast<std::size_t>(page) * half_page_bytes_, half_page_bytes_);
    }
  }
  release(page);
  page = copy;
}

std::int64_t KvCache::reuse(SequenceId id, std::span<const TokenId> tokens) {
  SequenceState& sequence = sequences_[static_cast<std::size_t>(id)];
  const std::int64_t most = static_cast<std::int64_t>(tokens.size()) - 1;
  std::int64_t own = 0;
  while (own < most && own < static_cast<std::int64_t>(sequence.tokens.size()) &&
         sequence.tokens[static_cast<std::size_t>(own)] == tokens[static_cast<std::size_t>(own)]) {
    ++own;
  }
  // Before anything is changed: all the memory that this may need.
  std::vector<std::int32_t> found;
  if (shape_.share) {
    const std::int64_t bound = std::min(most, shape_.context);
    found.reserve(static_cast<std::size_t>(bound / kPageTokens + 1));
    make_room(sequence.pages, static_cast<std::size_t>(bound / kPageTokens + 1));
    make_room(sequence.tokens, static_cast<std::size_t>(bound));
  }
  truncate(id, own);
  // Continue with pages that other sequences computed, from the last page edge on.
  std::int64_t page_index = own / kPageTokens;
  std::int32_t parent = page_index > 0 ? sequence.pages[static_cast<std::size_t>(page_index - 1)] : -1;
  while (shape_.share && (page_index + 1) * kPageTokens <= std::min(most, shape_.context)) {
    // A page of this sequence is a parent only in its published form: pages found by others carry that identity.
    const std::int32_t page =
        find_published(parent, tokens.subspan(static_cast<std::size_t>(page_index * kPageTokens), kPageTokens));
    if (page < 0) break;
    found.push_back(page);
    parent = page;
    ++page_index;
  }
  if (page_index * kPageTokens > own) {
    truncate(id, own / kPageTokens * kPageTokens);
    for (std::int32_t page : found) {
      ++pages_[static_cast<std::size_t>(page)].references;
      sequence.pages.push_back(page);
    }
    own = page_index * kPageTokens;
    sequence.tokens.assign(tokens.begin(), tokens.begin() + own);
  }
  return own;
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
