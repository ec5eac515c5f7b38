// The paged K/V cache: pages of 64 tokens (the attention library's key tile), shared between sequences that begin
// alike.
//
// A page holds its 64 tokens for every layer. Pages are reference-counted: by the sequences that use them and by cached
// pages that continue them. A full page that nobody uses stays findable by its tokens and its predecessor until its
// place is needed (least recently used first).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "rowmax/engine/session.h"
#include "rowmax/kv.h"

namespace rowmax::engine {

class KvCache {
 public:
  static constexpr std::int64_t kPageTokens = kKeyTile;

  struct Shape {
    std::int64_t n_layer = 0, n_kv_head = 0, head_dim = 0;
    KvType type = KvType::kF16;
    std::int64_t context = 0;
    int max_sequences = 1;
    bool share = true;
  };
  struct SequenceState {
    bool open = false;
    std::vector<TokenId> tokens;
    std::vector<std::int32_t> pages;
  };

  // Reserves address space; memory comes when pages are first written.
  static Result<KvCache> create(const Shape& shape);
  KvCache(KvCache&& other) noexcept;
  KvCache& operator=(KvCache&& other) noexcept;
  ~KvCache();

  Result<SequenceId> open();
  void close(SequenceId id);
  bool is_open(SequenceId id) const noexcept;
  const SequenceState& sequence(SequenceId id) const noexcept { return sequences_[static_cast<std::size_t>(id)]; }

  // As Session::reuse.
  std::int64_t reuse(SequenceId id, std::span<const TokenId> tokens);
  void truncate(SequenceId id, std::int64_t n);
  // Makes room for more tokens and records them; false when there is no page (cannot happen within the context, as
  // every sequence has its share).
  bool append(SequenceId id, std::span<const TokenId> tokens);
  // Offers the sequence's full pages to others. Call when their keys and values are written.
  void publish(SequenceId id);

  // The cache as the attention library sees one layer.
  KvView view() const noexcept;
  void* layer_keys(std::int64_t layer) const noexcept;
  void* layer_values(std::int64_t layer) const noexcept;
  std::int64_t bytes_per_token() const noexcept;
  const Shape& shape() const noexcept { return shape_; }

 private:
  struct Page {
    int references = 0;
    std::int32_t parent = -1;  // the page before it, when published
    bool published = false;
    std::uint64_t hash = 0;
    std::uint64_t last_use = 0;
    std::vector<TokenId> tokens;  // when published
  };

  KvCache() = default;
  Shape shape_;
  std::byte* memory_ = nullptr;
  std::size_t memory_bytes_ = 0;
  std::size_t half_page_bytes_ = 0;  // keys (or values) of one page in one layer
  std::int64_t n_pages_ = 0;
  std::vector<Page> pages_;
  std::vector<std::int32_t> free_;
  std::unordered_multimap<std::uint64_t, std::int32_t> published_;
  std::vector<SequenceState> sequences_;
  std::uint64_t clock_ = 0;

  std::int32_t take_page();
  void release(std::int32_t page);
  void unpublish(std::int32_t page);
  void make_private(std::int32_t& page);
  std::int32_t find_published(std::int32_t parent, std::span<const TokenId> tokens) const;
};

}  // namespace rowmax::engine
