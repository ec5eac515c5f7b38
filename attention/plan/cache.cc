// MaskPlanCache: a plan's key is everything that compile() reads, written out as bytes, and keys are compared whole;
// the hash only saves comparisons.
#include <cstdlib>
#include <cstring>
#include <new>

#include "attention/plan/compiler.h"
#include "rowmax/try.h"

namespace rowmax {
namespace {

// Bytes that grow; memory is kept when they are written anew.
class KeyBytes {
 public:
  KeyBytes() noexcept = default;
  KeyBytes(const KeyBytes&) = delete;
  KeyBytes& operator=(const KeyBytes&) = delete;
  ~KeyBytes() { std::free(data_); }

  void clear() noexcept { size_ = 0; }
  // False when there is no memory.
  bool append(const void* bytes, std::size_t n) noexcept {
    if (n > capacity_ - size_ && !grow(n)) return false;
    if (n != 0) std::memcpy(data_ + size_, bytes, n);
    size_ += n;
    return true;
  }
  std::uint64_t hash() const noexcept {
    std::uint64_t hash = 0xCBF29CE484222325u ^ size_;
    std::size_t at = 0;
    for (; at + 8 <= size_; at += 8) {
      std::uint64_t word;
      std::memcpy(&word, data_ + at, 8);
      hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
      hash ^= hash >> 29;
    }
    for (; at < size_; ++at) hash = (hash ^ static_cast<std::uint8_t>(data_[at])) * 0x100000001B3u;
    return hash;
  }
  bool operator==(const KeyBytes& other) const noexcept {
    return size_ == other.size_ && (size_ == 0 || std::memcmp(data_, other.data_, size_) == 0);
  }
  void swap(KeyBytes& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

 private:
  bool grow(std::size_t n) noexcept {
    if (n > SIZE_MAX / 2 - size_) return false;
    const std::size_t wanted = (size_ + n) * 2;
    char* grown = static_cast<char*>(std::realloc(data_, wanted));
    if (grown == nullptr) return false;
    data_ = grown;
    capacity_ = wanted;
    return true;
  }

  char* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace

// Writes the key of a mask that MaskCompiler::check() has let pass. Every list is preceded by its length, so that no
// two masks share a key.
struct MaskKey {
  const MaskSpec& spec;
  const Geometry& geometry;
  KeyBytes& bytes;
  bool ok = true;

  template <class T>
  void add(const T& value) noexcept {
    ok = ok && bytes.append(&value, sizeof value);
  }
  template <class T>
  void add_array(const T* values, std::int64_t n) noexcept {
    add(n);
    ok = ok && bytes.append(values, static_cast<std::size_t>(n) * sizeof(T));
  }
  // Per-sequence data: one element for all, or one each. f(element, sequence), for one element all sequences.
  template <class T, class F>
  void for_each(std::span<const T> values, F&& f) noexcept {
    for (std::size_t s = 0; s < geometry.sequences.size(); ++s) {
      f(values.size() == 1 ? values[0] : values[s], geometry.sequences[s]);
    }
  }

  void add_geometry() noexcept {
    add(geometry.n_head);
    add(geometry.n_kv_head);
    add(static_cast<std::int64_t>(geometry.sequences.size()));
    for (const Sequence& q : geometry.sequences) {
      const std::int64_t numbers[] = {q.q_begin, q.n_q, q.q_pos, q.n_kv, q.anchor};
      add(numbers);
      add_array(q.positions, q.positions == nullptr ? 0 : q.n_q);
    }
  }

  void add_conditions() noexcept {
    const std::int64_t numbers[] = {spec.left_,    spec.right_,      spec.chunk_,        spec.keep_first_,
                                    spec.n_valid_, spec.n_segments_, spec.n_bitmaps_,    spec.n_blocks_,
                                    spec.n_trees_, spec.n_chunks_,   spec.n_keep_first_, spec.n_prefix_};
    add(numbers);
    for (int t = 0; t < spec.n_valid_; ++t) {
      for_each(spec.valid_[t], [&](const KeySpan& span, const Sequence&) {
        add(span.begin);
        add(span.end);
      });
    }
    for (int t = 0; t < spec.n_segments_; ++t) {
      for_each(spec.segments_[t], [&](const SegmentIds& ids, const Sequence& q) {
        add_array(ids.q_ids, q.n_q);
        add_array(ids.k_ids, q.n_kv);
      });
    }
    if (spec.n_trees_ > 0) {
      for_each(spec.tree_, [&](const TreeView& tree, const Sequence& q) {
        add(tree.first_key);
        add_array(tree.parents, q.n_q);
      });
    }
    if (spec.n_prefix_ > 0) for_each(spec.prefix_, [&](std::int64_t end, const Sequence&) { add(end); });
  }

  void add_bits() noexcept {
    for (int t = 0; t < spec.n_bitmaps_; ++t) {
      for_each(spec.bitmaps_[t], [&](const BitmapView& map, const Sequence&) {
        add(map.words);
        add(map.row_stride);
        add(map.head_stride);
      });
    }
    for (int t = 0; t < spec.n_blocks_; ++t) {
      for_each(spec.blocks_[t], [&](const BlockMaskView& blocks, const Sequence&) {
        add(blocks.words);
        const std::int64_t numbers[] = {blocks.row_stride, blocks.head_stride, blocks.q_block, blocks.k_block};
        add(numbers);
      });
    }
  }

  bool write() noexcept {
    bytes.clear();
    add_geometry();
    add_conditions();
    add_bits();
    return ok;
  }
};

struct MaskPlanCache::Impl {
  struct Entry {
    KeyBytes key;
    std::uint64_t hash = 0;
    std::uint64_t last_use = 0;
    MaskPlan plan;
  };
  Entry** entries = nullptr;
  std::size_t n_entries = 0;
  KeyBytes key;       // of the running get()
  MaskPlan compiled;  // and its plan, until it is known to be good
  std::uint64_t clock = 0;
  std::int64_t n_hits = 0;
  std::int64_t n_misses = 0;

  Impl() noexcept = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    for (std::size_t e = 0; e < n_entries; ++e) delete entries[e];
    std::free(entries);
  }

  Entry* find(std::uint64_t hash) const noexcept {
    for (std::size_t e = 0; e < n_entries; ++e) {
      if (entries[e]->hash == hash && entries[e]->key == key) return entries[e];
    }
    return nullptr;
  }

  // A new entry, or the least recently used one where there are `capacity`; nullptr when there is no memory.
  Entry* take(std::size_t capacity) noexcept {
    if (n_entries < capacity) {
      if ((n_entries & (n_entries - 1)) == 0) {  // full at powers of two
        const std::size_t wanted = n_entries == 0 ? 1 : n_entries * 2;
        Entry** grown = static_cast<Entry**>(std::realloc(entries, wanted * sizeof(Entry*)));
        if (grown == nullptr) return nullptr;
        entries = grown;
      }
      Entry* entry = new (std::nothrow) Entry;
      if (entry != nullptr) entries[n_entries++] = entry;
      return entry;
    }
    Entry* oldest = entries[0];
    for (std::size_t e = 1; e < n_entries; ++e) {
      if (entries[e]->last_use < oldest->last_use) oldest = entries[e];
    }
    return oldest;
  }
};

MaskPlanCache::MaskPlanCache(std::size_t capacity) noexcept : capacity_(capacity == 0 ? 1 : capacity) {}
MaskPlanCache::MaskPlanCache(MaskPlanCache&&) noexcept = default;
MaskPlanCache& MaskPlanCache::operator=(MaskPlanCache&&) noexcept = default;
MaskPlanCache::~MaskPlanCache() = default;

Result<const MaskPlan*> MaskPlanCache::get(const MaskSpec& spec, const Geometry& geometry) {
  if (impl_ == nullptr) impl_.reset(new (std::nothrow) Impl);
  if (impl_ == nullptr) return Error::out_of_memory();
  MaskPlan::Impl unused;
  ROWMAX_RETURN_IF_ERROR(MaskCompiler{spec, geometry, unused}.check());
  if (!MaskKey{spec, geometry, impl_->key}.write()) return Error::out_of_memory();
  const std::uint64_t hash = impl_->key.hash();
  Impl::Entry* entry = impl_->find(hash);
  if (entry != nullptr) {
    ++impl_->n_hits;
  } else {
    ROWMAX_RETURN_IF_ERROR(impl_->compiled.compile(spec, geometry));
    entry = impl_->take(capacity_);
    if (entry == nullptr) return Error::out_of_memory();
    entry->key.swap(impl_->key);
    entry->hash = hash;
    std::swap(entry->plan, impl_->compiled);
    ++impl_->n_misses;
  }
  entry->last_use = ++impl_->clock;
  return static_cast<const MaskPlan*>(&entry->plan);
}

void MaskPlanCache::clear() noexcept { impl_.reset(); }
std::int64_t MaskPlanCache::n_hits() const noexcept { return impl_ == nullptr ? 0 : impl_->n_hits; }
std::int64_t MaskPlanCache::n_misses() const noexcept { return impl_ == nullptr ? 0 : impl_->n_misses; }

}  // namespace rowmax
